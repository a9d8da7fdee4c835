//! Capacity units that requests to DynamoDB consume, and the requests themselves, as a [`Wire`](crate::Wire) counts them.
//!
//! Emulators differ in their own account of units (it is kept as well), so they are counted by DynamoDB's documentation, from the
//! items themselves: a consistent read takes a unit for each started 4 KiB of an item, half of that if it is eventually
//! consistent, and one if there is no item; a write takes a unit for each started KiB of the item before or after, whichever is
//! larger, whether its condition holds or not, and twice that in a transaction; and an index takes a unit for each entry that is
//! added, changed or removed.

use std::collections::HashMap;

use dynoxide::types::{Item, item_size};
use hyper::body::Bytes;
use serde_json::{Value, json};

/// Requests to DynamoDB, and the capacity units that they consumed.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    /// The operations, in their order.
    pub requests: Vec<String>,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Read units.
    pub read: f64,
    /// Write units.
    pub write: f64,
    /// The units by the emulator's account.
    pub by_emulator: f64,
}

impl Capacity {
    /// This without an earlier part of it.
    pub fn without(mut self, earlier: &Self) -> Self {
        self.requests.drain(..earlier.requests.len());
        self.bytes -= earlier.bytes;
        self.read -= earlier.read;
        self.write -= earlier.write;
        self.by_emulator -= earlier.by_emulator;
        self
    }

    /// The part of one of `count` equal changes that were written together, with the requests of all of them.
    pub fn of_each(self, count: u32) -> Self {
        let each = |all: f64| all / f64::from(count);
        let bytes = self.bytes / usize::try_from(count).unwrap();
        let (read, write, by_emulator) = (each(self.read), each(self.write), each(self.by_emulator));
        Self { bytes, read, write, by_emulator, ..self }
    }

    /// This and another part.
    pub fn with(mut self, more: &Self) -> Self {
        self.requests.extend(more.requests.iter().cloned());
        self.bytes += more.bytes;
        self.read += more.read;
        self.write += more.write;
        self.by_emulator += more.by_emulator;
        self
    }

    /// Adds a request, by its answer and by the items that it writes, as they were before and after it.
    pub(crate) fn add(
        &mut self,
        request: Counted,
        answer: &Bytes,
        before: &[Option<Item>],
        after: &[Option<Item>],
    ) {
        let answer: Value = serde_json::from_slice(answer).unwrap();
        self.by_emulator += emulated(&answer["ConsumedCapacity"]);
        self.read += read_units(&request.operation, &request.request, &answer);
        for (write, (before, after)) in request.writes.iter().zip(before.iter().zip(after)) {
            self.write += write.units(before.as_ref(), after.as_ref());
        }
        self.bytes += request.bytes;
        self.requests.push(request.operation);
    }
}

/// A request whose units are counted.
pub(crate) struct Counted {
    operation: String,
    bytes: usize,
    request: Value,
    writes: Vec<Write>,
}

impl Counted {
    pub(crate) fn new(operation: &str, body: &[u8]) -> Self {
        let mut request: Value = serde_json::from_slice(body).unwrap();
        request["ReturnConsumedCapacity"] = json!("TOTAL");
        let writes = writes(operation, &request);
        Self { operation: operation.to_owned(), bytes: body.len(), request, writes }
    }

    /// The request with a question: the emulator's account.
    pub(crate) fn body(&self) -> Bytes {
        self.request.to_string().into()
    }

    /// Requests for the items that it writes.
    pub(crate) fn reads(&self) -> impl Iterator<Item = Bytes> {
        self.writes.iter().map(|write| {
            let read = json!({"TableName": write.table, "Key": write.key, "ConsistentRead": true});
            read.to_string().into()
        })
    }
}

/// The item in the answer to a read, if there is one.
pub(crate) fn item_of(answer: &Bytes) -> Option<Item> {
    item(&serde_json::from_slice::<Value>(answer).unwrap()["Item"])
}

/// One write of a request.
struct Write {
    table: String,
    key: Value,
    /// The whole item, of a put.
    new: Option<Item>,
    in_transaction: bool,
}

fn writes(operation: &str, request: &Value) -> Vec<Write> {
    // The history alone has a range key.
    let key = |asked: &Value| -> Value {
        let named = asked.get("Key").unwrap_or(&asked["Item"]);
        let names = ["pk", "revision"].into_iter().filter(|name| named.get(name).is_some());
        names.map(|name| (name.to_owned(), named[name].clone())).collect()
    };
    let write = |asked: &Value, in_transaction| Write {
        table: asked["TableName"].as_str().unwrap().to_owned(),
        key: key(asked),
        new: item(&asked["Item"]),
        in_transaction,
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![write(request, false)],
        "TransactWriteItems" => {
            let all = request["TransactItems"].as_array().unwrap().iter();
            all.map(|asked| write(asked.as_object().unwrap().values().next().unwrap(), true)).collect()
        }
        "GetItem" | "BatchGetItem" | "Query" => Vec::new(),
        other => panic!("the units of {other} are not counted here"),
    }
}

impl Write {
    fn units(&self, before: Option<&Item>, after: Option<&Item>) -> f64 {
        let sizes = [before, after, self.new.as_ref()].map(|item| item.map_or(0, item_size));
        let own = started(sizes.into_iter().max().unwrap_or(0), 1024);
        let in_index = |index: &Index| {
            let entry = |item| index_entry(index, item);
            match (before.and_then(entry), after.and_then(entry)) {
                (None, None) => 0.0,
                (Some(before), Some(after)) if before == after => 0.0,
                // The old entry is removed and a new one is added, unless they are in the same place.
                (Some(before), Some(after)) if before.0 != after.0 => 2.0,
                _ => 1.0,
            }
        };
        own * if self.in_transaction { 2.0 } else { 1.0 } + INDEXES.iter().map(in_index).sum::<f64>()
    }
}

/// An index of the subscriptions: its keys, and its other attributes.
type Index = (&'static [&'static str], &'static [&'static str]);

const INDEXES: [Index; 3] =
    [(&["dueShard", "dueAt"], &["pk", "cancellationId"]), (&["msisdn"], &["pk"]), (&["customerId"], &["pk"])];

/// The entry of an item in an index: its keys, and its other attributes. An item without the keys has none.
fn index_entry<'i>((keys, others): &Index, item: &'i Item) -> Option<(Attributes<'i>, Attributes<'i>)> {
    let of = |names: &[&str]| names.iter().map(|name| item.get(*name)).collect::<Attributes<'i>>();
    keys.iter().all(|key| item.contains_key(*key)).then(|| (of(keys), of(others)))
}

type Attributes<'i> = Vec<Option<&'i dynoxide::AttributeValue>>;

fn read_units(operation: &str, request: &Value, answer: &Value) -> f64 {
    let factor = |asked: &Value| if asked["ConsistentRead"] == json!(true) { 1.0 } else { 0.5 };
    let size = |found: &Value| item(found).as_ref().map_or(0, item_size);
    let list = |found: &Value| found.as_array().cloned().unwrap_or_default();
    match operation {
        "GetItem" => factor(request) * started(size(&answer["Item"]), 4096),
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().unwrap();
            let units = tables.iter().map(|(table, asked)| {
                let found = list(&answer["Responses"][table]);
                let missing = list(&asked["Keys"]).len() - found.len();
                let units = found.iter().map(|found| started(size(found), 4096)).sum::<f64>();
                factor(asked) * (units + missing as f64)
            });
            units.sum()
        }
        // A query pays for the sum of what it finds.
        "Query" => factor(request) * started(list(&answer["Items"]).iter().map(size).sum(), 4096),
        _ => 0.0,
    }
}

/// Number of units that an item of this size has started: at least one.
fn started(size: usize, unit: usize) -> f64 {
    size.div_ceil(unit).max(1) as f64
}

fn item(value: &Value) -> Option<Item> {
    serde_json::from_value::<HashMap<_, _>>(value.clone()).ok()
}

/// Sum of the emulator's account over the tables.
fn emulated(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(emulated).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}
