//! `publish-events`: the records of the stream, and a history or a bus that refuses or fails.

use std::time::Duration;

use aws_lambda_events::dynamodb::Event;
use harness::{Fault, Service, Wire, event};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::clock::deadline_in;

use crate::faults::{TIMES, Times, all};

/// A function between made-up records and a bus.
struct Function {
    /// The service that runs the database and the bus.
    service: Service,
    database: Wire,
    /// The wire to the bus.
    wire: Wire,
}

impl Function {
    async fn start() -> Self {
        let service = Service::start().await;
        let database = Wire::start(&service.dynamodb_url).await;
        let wire = Wire::start(&service.bus_url()).await;
        Self { service, database, wire }
    }

    /// Hands records to the function. Returns the sequence number of the record at which the stream has to begin again, if any.
    async fn publish(&self, records: &[Value]) -> Option<String> {
        self.publish_in(Duration::from_secs(60), records).await
    }

    async fn publish_in(&self, timeout: Duration, records: &[Value]) -> Option<String> {
        let event: Event = serde_json::from_value(json!({"Records": records})).unwrap();
        let mut context = Context::default();
        context.deadline = deadline_in(timeout);
        let publisher = self.service.publisher(&self.database.url, &self.wire.url);
        let answer = publish_events::handle(&publisher, LambdaEvent::new(event, context)).await.unwrap();
        answer.batch_item_failures.into_iter().find_map(|failure| failure.item_identifier)
    }

    /// Returns the `display` of the subscriptions in each request to the bus.
    fn published(&self) -> Vec<Vec<String>> {
        let entries = |request: &Value| {
            let entries = request["Entries"].as_array().unwrap().iter();
            entries.map(|entry| detail(entry)["data"]["display"].as_str().unwrap().to_owned()).collect()
        };
        self.wire.requests("PutEvents").iter().map(entries).collect()
    }

    /// Returns the versions in the history of the `n`th subscription.
    async fn recorded(&self, n: usize) -> Vec<u64> {
        let entries = self.service.history_of(&id(n)).await;
        entries.iter().map(|entry| entry["revision"].as_s().unwrap().parse().unwrap()).collect()
    }

    /// Returns the messages that were put into the queue.
    fn set_aside(&self) -> Vec<Value> {
        let messages = self.wire.requests("SendMessage").into_iter();
        messages
            .map(|message| serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap())
            .collect()
    }
}

fn detail(entry: &Value) -> Value {
    serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap()
}

fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

fn key(n: usize) -> String {
    format!("demo#{}", id(n))
}

/// Returns the record of a change of the `n`th subscription, which sets its `display` to this.
fn change(n: usize, version: u64, display: &str) -> Value {
    let mut record = event("publish-events/ok")["Records"][0].clone();
    let item = |version: u64, display: &str| {
        json!({
            "pk": {"S": key(n)},
            "version": {"N": version.to_string()},
            "document": {"M": {
                "subscriptionId": {"S": id(n)}, "status": {"S": "ACTIVATED"}, "display": {"S": display},
            }},
        })
    };
    let change = &mut record["dynamodb"];
    change["Keys"]["pk"]["S"] = json!(key(n));
    change["OldImage"] = item(version - 1, "");
    change["NewImage"] = item(version, display);
    change["SequenceNumber"] = json!(format!("{n}-{version}"));
    record
}

/// Returns the answer of a bus that refuses the entries that have a code here.
fn partly(codes: &[Option<&str>]) -> Fault {
    let entries = codes.iter().map(|code| match code {
        None => json!({"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}),
        Some(code) => json!({"ErrorCode": code, "ErrorMessage": "refused"}),
    });
    let failed = codes.iter().flatten().count();
    Fault::Answer(200, json!({"FailedEntryCount": failed, "Entries": entries.collect::<Vec<_>>()}))
}

#[tokio::test]
async fn an_entry_on_the_bus_has_the_source_type_and_resources_that_rules_match() {
    let function = Function::start().await;
    assert_eq!(function.publish(&[change(1, 2, "a")]).await, None);
    let request = &function.wire.requests("PutEvents")[0];
    let entry = &request["Entries"][0];
    assert_eq!(entry["EventBusName"], "connect-subscriptions");
    assert_eq!(entry["Source"], "connect.subscriptions");
    assert_eq!(entry["DetailType"], "subscription.updated");
    assert_eq!(entry["Resources"], json!(["tenant/demo", format!("subscription/{}", id(1))]));
    let event = detail(entry);
    harness::openapi::check_event(&event).unwrap();
    assert_eq!(event["data"]["display"], "a");
    // The time is that of the stream, because the document has none.
    assert_eq!(event["occurredAt"], "2026-01-31T22:30:00Z");
}

#[tokio::test]
async fn additions_removals_hidden_changes_and_pointers_are_not_published_and_some_are_recorded() {
    let function = Function::start().await;
    let mut added = change(1, 1, "a");
    added["eventName"] = json!("INSERT");
    added["dynamodb"].as_object_mut().unwrap().remove("OldImage");
    let mut removed = change(2, 2, "a");
    removed["eventName"] = json!("REMOVE");
    removed["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    let mut unseen = change(3, 2, "");
    unseen["dynamodb"]["NewImage"]["document"]["M"]["puk"] = json!({"S": "12345678"});
    let mut pointer = change(4, 2, "a");
    pointer["dynamodb"]["Keys"]["pk"]["S"] = json!("demo#rid_crm-1001");
    assert_eq!(function.publish(&[added, removed, unseen, pointer]).await, None);
    assert_eq!(function.wire.seen(), Vec::<String>::new());
    // An addition and a change that callers can't see are changes, a removal and a pointer are none.
    assert_eq!((function.recorded(1).await, function.recorded(3).await), (vec![1], vec![1, 2]));
    assert_eq!(function.service.scan("history").await.len(), 3);
}

#[tokio::test]
async fn a_change_is_published_after_its_entry_and_a_repeated_entry_stays_as_it_is() {
    let function = Function::start().await;
    let records = [change(1, 2, "1"), change(2, 2, "2")];
    function.database.always("PutItem", Fault::refusal("ProvisionedThroughputExceededException"));
    assert_eq!(function.publish(&records).await.as_deref(), Some("1-2"));
    assert_eq!((function.published().len(), function.set_aside().len()), (0, 0));
    function.database.clear_faults();

    // The entry is added, and the bus fails. So the stream gives the record again.
    function.wire.always("PutEvents", Fault::refusal("InternalException"));
    assert_eq!(function.publish(&records).await.as_deref(), Some("1-2"));
    let recorded = function.service.history_of(&id(1)).await;
    assert_eq!(recorded.len(), 2);
    function.wire.clear_faults();
    let mut again = records.clone();
    again[0]["dynamodb"]["ApproximateCreationDateTime"] = json!(1_900_000_000);
    assert_eq!(function.publish(&again).await, None);
    assert_eq!(function.service.history_of(&id(1)).await, recorded);
}

#[tokio::test]
async fn a_change_is_recorded_once_and_then_published_whatever_happens_to_the_put() {
    let denied = [("denied", Fault::refusal("AccessDeniedException"), false)];
    for (name, fault, _) in all().chain(denied) {
        for times in TIMES {
            let function = Function::start().await;
            // Of each change, the state before is recorded too.
            let records = [change(1, 2, "1"), change(1, 3, "1 again"), change(2, 2, "2")];
            match times {
                Times::Once => function.database.next("PutItem", [fault.clone()]),
                Times::Always => function.database.always("PutItem", fault.clone()),
            }
            let left = function.publish(&records).await;
            // The SDK tries again what may have failed by chance.
            let passes = times == Times::Once && name != "denied";
            assert_eq!(left.as_deref(), if passes { None } else { Some("1-2") }, "{name}, {times:?}");
            assert_eq!(function.published().is_empty(), !passes, "{name}, {times:?}");
            function.database.clear_faults();
            assert_eq!(function.publish(&records).await, None, "{name}, {times:?}");
            assert_eq!((function.recorded(1).await, function.recorded(2).await), (vec![1, 2, 3], vec![1, 2]));
            assert_eq!(function.set_aside().len(), 0, "{name}, {times:?}");
        }
    }
}

#[tokio::test]
async fn a_change_that_is_not_recorded_holds_up_itself_and_what_comes_after_it() {
    let function = Function::start().await;
    // The puts of a batch are sent at once, so either change may meet the fault.
    function.database.next("PutItem", [Fault::refusal("AccessDeniedException")]);
    let records = [change(1, 2, "1"), change(2, 2, "2")];
    let left = function.publish(&records).await;
    let expected = match left.as_deref() {
        Some("1-2") => vec![],
        Some("2-2") => vec![vec!["1"]],
        other => panic!("{other:?}"),
    };
    assert_eq!(function.published(), expected);
    assert_eq!(function.publish(&records).await, None);
    assert_eq!((function.recorded(1).await, function.recorded(2).await), (vec![1, 2], vec![1, 2]));
}

#[tokio::test]
async fn an_entry_that_the_history_refuses_for_good_is_set_aside_and_its_event_is_published() {
    let function = Function::start().await;
    function.database.always("PutItem", Fault::refusal("ValidationException"));
    assert_eq!(function.publish(&[change(1, 2, "1")]).await, None);
    assert_eq!(function.published(), [["1"]]);
    let reasons: Vec<_> = function.set_aside().iter().map(|message| message["reason"].clone()).collect();
    let refused = |version: u64| format!("the history refused the entry of version {version}");
    assert_eq!(reasons, [refused(1), refused(2)]);
    assert_eq!(function.set_aside()[0]["key"], key(1));
}

#[tokio::test]
async fn events_are_put_in_batches_of_ten_with_at_most_one_per_subscription() {
    let function = Function::start().await;
    let mut records: Vec<_> = (0..23).map(|n| change(n, 2, &n.to_string())).collect();
    records.push(change(22, 3, "22 again"));
    records.push(change(5, 3, "5 again"));
    assert_eq!(function.publish(&records).await, None);
    let tens = |range: std::ops::Range<usize>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    let last = ["22 again", "5 again"].map(str::to_owned).to_vec();
    assert_eq!(function.published(), [tens(0..10), tens(10..20), tens(20..23), last]);
}

#[tokio::test]
async fn large_events_are_put_in_smaller_batches_and_too_large_ones_are_set_aside() {
    let function = Function::start().await;
    let large = "x".repeat(400_000);
    let records = [
        change(1, 2, &large),
        change(2, 2, &large),
        change(3, 2, &large),
        change(4, 2, &"x".repeat(1_000_000)),
        change(5, 2, "small"),
    ];
    assert_eq!(function.publish(&records).await, None);
    let published: Vec<_> = function.published().iter().map(Vec::len).collect();
    assert_eq!(published, [2, 1, 1]);
    let set_aside = function.set_aside();
    assert_eq!(set_aside.len(), 1);
    assert_eq!((&set_aside[0]["key"], &set_aside[0]["sequenceNumber"]), (&json!(key(4)), &json!("4-2")));
    assert_eq!(set_aside[0]["type"], "subscription.updated");
    assert!(set_aside[0]["reason"].as_str().unwrap().starts_with("too large: 1000"), "{}", set_aside[0]);
}

#[tokio::test]
async fn an_unreadable_record_is_set_aside_with_its_key_and_the_others_are_published() {
    let function = Function::start().await;
    let mut records: Vec<_> = (0..6).map(|n| change(n, 2, &n.to_string())).collect();
    records[1]["dynamodb"]["NewImage"]["document"] = json!({"S": "Astrid Lindqvist"});
    records[2]["dynamodb"]["OldImage"].as_object_mut().unwrap().remove("version");
    records[3]["dynamodb"]["Keys"]["pk"]["S"] = json!("demo#1001");
    records[4]["dynamodb"]["NewImage"]["document"]["M"]["subscriptionId"]["S"] = json!(id(7));
    // The writer did not increment the version, so the event would have the id of another one.
    records.insert(5, change(6, 2, "6"));
    records[5]["dynamodb"]["OldImage"]["version"]["N"] = json!("2");
    assert_eq!(function.publish(&records).await, None);
    assert_eq!(function.published(), [["0"], ["5"]]);
    let set_aside = function.set_aside();
    let keys: Vec<_> = set_aside.iter().map(|message| message["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, [key(1), key(2), "demo#1001".to_owned(), key(4), key(6)]);
    // What replaced an unreadable item has an entry, whose place in the history shows if the item had a version.
    assert_eq!((function.recorded(2).await, function.recorded(6).await), (vec![2], vec![]));
    assert!(!format!("{set_aside:?}").contains("Astrid"));
}

#[tokio::test]
async fn an_entry_that_the_bus_refuses_for_now_is_put_again_alone() {
    let function = Function::start().await;
    function.wire.next("PutEvents", [partly(&[None, Some("ThrottlingException"), None])]);
    let records = [change(1, 2, "1"), change(2, 2, "2"), change(3, 2, "3")];
    assert_eq!(function.publish(&records).await, None);
    assert_eq!(function.published(), [vec!["1", "2", "3"], vec!["2"]]);
}

#[tokio::test]
async fn a_repeatedly_refused_entry_is_left_to_the_stream_and_its_later_changes_wait() {
    for code in ["ThrottlingException", "InternalFailure", "AccessDeniedException"] {
        let function = Function::start().await;
        let refusals = [&[None, Some(code), Some(code)][..], &[Some(code), None], &[Some(code)]];
        function.wire.next("PutEvents", refusals.map(partly));
        let records = [change(1, 2, "1"), change(2, 2, "2"), change(3, 2, "3"), change(2, 3, "2 again")];
        assert_eq!(function.publish(&records).await.as_deref(), Some("2-2"), "{code}");
        assert_eq!(function.published(), [vec!["1", "2", "3"], vec!["2", "3"], vec!["2"]]);

        // The stream begins again at that record.
        function.wire.forget();
        assert_eq!(function.publish(&records[1..]).await, None);
        assert_eq!(function.published(), [vec!["2", "3"], vec!["2 again"]]);
    }
}

#[tokio::test]
async fn an_entry_that_the_bus_refuses_for_good_is_set_aside() {
    let function = Function::start().await;
    function.wire.next("PutEvents", [partly(&[None, Some("MalformedDetail"), None])]);
    let records = [change(1, 2, "1"), change(2, 2, "2"), change(3, 2, "3")];
    assert_eq!(function.publish(&records).await, None);
    assert_eq!(function.published(), [vec!["1", "2", "3"]]);
    let set_aside = function.set_aside();
    assert_eq!((set_aside.len(), &set_aside[0]["key"]), (1, &json!(key(2))));
    assert_eq!(set_aside[0]["reason"], "MalformedDetail");
    assert_eq!(
        set_aside[0]["eventId"],
        detail(&function.wire.requests("PutEvents")[0]["Entries"][1])["eventId"]
    );

    // After a request is refused as a whole, its entries are put one by one.
    function.wire.forget();
    let refused = || Fault::refusal("ValidationException");
    function.wire.next("PutEvents", [refused(), Fault::Pass, refused()]);
    assert_eq!(function.publish(&records).await, None);
    assert_eq!(function.published(), [vec!["1", "2", "3"], vec!["1"], vec!["2"], vec!["3"]]);
    assert_eq!(function.set_aside()[0]["key"], key(2));
}

#[tokio::test]
async fn an_entry_that_is_too_large_for_this_bus_is_set_aside_alone() {
    let function = Function::start().await;
    let refused = || Fault::refusal("ValidationException");
    function.wire.next("PutEvents", [refused(), Fault::Pass, refused(), Fault::Pass]);
    let records = [change(1, 2, "1"), change(2, 2, &"x".repeat(300_000)), change(3, 2, "3")];
    assert_eq!(function.publish(&records).await, None);
    let set_aside = function.set_aside();
    assert_eq!((set_aside.len(), &set_aside[0]["key"]), (1, &json!(key(2))));
    assert_eq!(function.published()[1..].len(), 3);
}

#[tokio::test]
async fn records_stay_in_the_stream_while_the_bus_fails() {
    for (name, fault) in [
        ("dropped", Fault::DropRequest),
        ("throttled", Fault::refusal("ThrottlingException")),
        ("failing", Fault::internal_server_error()),
        ("denied", Fault::refusal("AccessDeniedException")),
        ("unanswered", Fault::DropAnswer),
    ] {
        let function = Function::start().await;
        function.wire.always("PutEvents", fault.clone());
        let records = [change(1, 2, "1"), change(2, 2, "2"), change(1, 3, "1 again")];
        assert_eq!(function.publish(&records).await.as_deref(), Some("1-2"), "{name}");
        assert!(function.published().iter().all(|published| *published == ["1", "2"]), "{name}");
        function.wire.clear_faults();
        function.wire.next("PutEvents", [fault]);
        function.wire.forget();
        assert_eq!(function.publish(&records).await, None, "{name}");
        assert_eq!(function.published().last().unwrap(), &["1 again"], "{name}");
    }
}

#[tokio::test]
async fn an_event_published_twice_has_the_same_id() {
    let function = Function::start().await;
    function.wire.next("PutEvents", [Fault::DropAnswer]);
    let records = [change(1, 2, "1"), change(2, 2, "2")];
    assert_eq!(function.publish(&records).await, None);
    assert_eq!(function.publish(&records).await, None);
    let requests = function.wire.requests("PutEvents");
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request["Entries"] == requests[0]["Entries"]));
}

#[tokio::test]
async fn a_record_that_can_be_neither_published_nor_set_aside_is_left_to_the_stream() {
    let function = Function::start().await;
    function.wire.always("SendMessage", Fault::refusal("AccessDeniedException"));
    let mut poison = change(2, 2, "2");
    poison["dynamodb"]["NewImage"]["document"] = json!({"S": ""});
    let records = [change(1, 2, "1"), poison, change(3, 2, "3")];
    assert_eq!(function.publish(&records).await.as_deref(), Some("2-2"));
    assert_eq!(function.published(), [["1"]]);

    // If two records are left, the first one counts, whatever the fault of each.
    function.wire.forget();
    let wrong = [Some("ThrottlingException"), Some("MalformedDetail")];
    function.wire.next("PutEvents", [partly(&wrong), partly(&wrong), partly(&wrong)]);
    let records = [change(1, 2, "1"), change(2, 2, "2")];
    assert_eq!(function.publish(&records).await.as_deref(), Some("1-2"));
    function.wire.next(
        "PutEvents",
        [partly(&[Some("MalformedDetail"), Some("ThrottlingException")]), partly(&[None, None])],
    );
    assert_eq!(function.publish(&records).await, None);
}

#[tokio::test]
async fn records_are_left_to_the_stream_when_time_runs_out() {
    let function = Function::start().await;
    assert_eq!(function.publish_in(Duration::ZERO, &[change(1, 2, "1")]).await.as_deref(), Some("1-2"));
    assert_eq!((function.wire.seen(), function.database.seen()), (Vec::<String>::new(), Vec::new()));
}
