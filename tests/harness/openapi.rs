//! `infra/openapi.yaml`, and the check of a request and its answer against it.
//!
//! An answer must have no status, content type, header or field that the document does not name. A request that the document
//! allows must not be refused for its form. A request that it does not allow must be refused.
//! [`Service::send`](crate::Service::send) checks every exchange of every test.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::json;
use jsonschema::Validator;
use local::gateway::decode_path;
use reqwest::Method;
use serde_json::{Map, Value, json};
use service::http::problem::MAX_BODY_BYTES;

use crate::template::yaml;
use crate::{Response, SentRequest};

/// The document as it is written, with its references unresolved.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| yaml(include_str!("../../infra/openapi.yaml")));

/// The operations of the document, by their routes as API Gateway names them.
pub static OPERATIONS: LazyLock<BTreeMap<String, Operation>> = LazyLock::new(|| {
    let mut operations = BTreeMap::new();
    for (path, item) in object(&DOCUMENT["paths"]) {
        for (method, operation) in object(item).iter().filter(|(name, _)| *name != "parameters") {
            operations.insert(format!("{} {path}", method.to_uppercase()), Operation::read(item, operation));
        }
    }
    operations
});

/// Headers of the HTTP exchange or of the gateway. The document need not name them.
const OF_THE_GATEWAY: [&str; 5] = ["apigw-requestid", "connection", "content-length", "content-type", "date"];

/// Headers that the document promises for every answer of the service. The gateway's own answers have none of them.
const ON_EVERY_ANSWER: [&str; 2] = ["x-request-id", "cache-control"];

/// Codes of faults that no schema can express: a date that has begun, a skipped date, and limits of the bytes as they are sent.
const BEYOND_SCHEMAS: [&str; 4] = ["not_in_future", "skipped_date", "too_large", "invalid_text"];

/// An operation of the document.
pub struct Operation {
    needs_key: bool,
    /// Parameters of which a request has exactly one: `x-exactly-one-of`, because no schema says so.
    exactly_one_of: Vec<String>,
    parameters: Vec<Parameter>,
    body: Option<Validator>,
    /// Answers by status.
    answers: BTreeMap<u16, Answer>,
}

struct Parameter {
    name: String,
    place: String,
    /// True if a text that is a number is compared as one.
    is_number: bool,
    schema: Validator,
}

struct Answer {
    headers: BTreeMap<String, Header>,
    /// Schemas by media type.
    content: BTreeMap<String, Validator>,
}

struct Header {
    is_required: bool,
    schema: Validator,
}

impl Operation {
    fn read(path: &'static Value, operation: &'static Value) -> Self {
        let listed = [path, operation].into_iter().filter_map(|of| of["parameters"].as_array()).flatten();
        let parameters = listed.map(resolve).map(|parameter| Parameter {
            // Only the names in a query are case-sensitive.
            name: match text(&parameter["in"]) {
                "query" => text(&parameter["name"]).to_owned(),
                _ => text(&parameter["name"]).to_lowercase(),
            },
            place: text(&parameter["in"]).to_owned(),
            is_number: parameter["schema"]["type"] == "integer",
            schema: validator(&parameter["schema"]),
        });
        let body = operation.get("requestBody");
        let answers = object(&operation["responses"]).iter().map(|(status, answer)| {
            let answer = resolve(answer);
            let headers = answer.get("headers").map(object).into_iter().flatten().map(|(name, header)| {
                let header = resolve(header);
                let is_required = header["required"] == true;
                (name.to_lowercase(), Header { is_required, schema: validator(&header["schema"]) })
            });
            let content = answer.get("content").map(object).into_iter().flatten();
            let content = content.map(|(kind, content)| (kind.clone(), validator(&content["schema"])));
            (status.parse().unwrap(), Answer { headers: headers.collect(), content: content.collect() })
        });
        Self {
            exactly_one_of: operation["x-exactly-one-of"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| text(name).to_owned())
                .collect(),
            needs_key: operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()),
            parameters: parameters.collect(),
            body: body.map(|body| validator(&body["content"]["application/json"]["schema"])),
            answers: answers.collect(),
        }
    }

    /// Checks that the document names an answer and everything in it.
    ///
    /// # Errors
    /// Description of the deviation from the document.
    pub fn check_answer(&self, answer: &Response) -> Result<(), String> {
        let status = answer.status;
        let documented = self.answers.get(&status).ok_or(format!("the status {status} is not documented"))?;
        for (name, value) in &answer.headers {
            match documented.headers.get(name) {
                Some(header) => {
                    check(&header.schema, &json!(value)).map_err(|why| format!("{name}: {why}"))?
                }
                None if OF_THE_GATEWAY.contains(&name.as_str()) => {}
                None => return Err(format!("the header {name} is not documented for {status}")),
            }
        }
        let of_the_service: &[&str] = if is_of_the_gateway(answer) { &[] } else { &ON_EVERY_ANSWER };
        let required = documented.headers.iter().filter(|(_, header)| header.is_required);
        for name in required.map(|(name, _)| name.as_str()).chain(of_the_service.iter().copied()) {
            answer.header(name).ok_or(format!("the header {name} is missing"))?;
        }
        match answer.header("content-type") {
            None if answer.body.is_empty() && documented.content.is_empty() => Ok(()),
            kind => {
                let content = kind.and_then(|kind| documented.content.get(kind));
                let schema = content.ok_or(format!("{kind:?} is not documented for {status}"))?;
                check(schema, &answer.json())?;
                check_title(&answer.json())
            }
        }
    }

    /// Checks that the document allows a request.
    ///
    /// # Errors
    /// Description of the part that the document does not allow.
    fn check_request(&self, template: &str, path: &str, request: &SentRequest) -> Result<(), String> {
        if self.needs_key && header(request.headers, "x-api-key").is_none() {
            return Err("the API key is missing".to_owned());
        }
        let mut query = query(request.path);
        let chosen = self.exactly_one_of.iter().filter(|name| query.contains_key(*name));
        if !self.exactly_one_of.is_empty() && chosen.count() != 1 {
            return Err(format!("not exactly one of {:?}", self.exactly_one_of));
        }
        for Parameter { name, place, is_number, schema } in &self.parameters {
            let sent = match place.as_str() {
                "header" => header(request.headers, name),
                "query" => match query.remove(name).as_deref() {
                    None => None,
                    Some([value]) => Some(value.clone()),
                    Some(_) => return Err(format!("{name} is there twice")),
                },
                _ => path_parameter(template, path, name),
            };
            if let Some(sent) = sent {
                let is_plain = sent.bytes().all(|byte| byte.is_ascii_digit());
                let number = sent.parse::<u64>().ok().filter(|_| *is_number && is_plain);
                let sent = number.map_or_else(|| json!(sent), |number| json!(number));
                check(schema, &sent).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        // Only the reading of one thing ignores parameters that it does not know.
        let is_list = self.parameters.iter().any(|parameter| parameter.place == "query");
        if (is_list || *request.method != Method::GET) && !query.is_empty() {
            return Err(format!("query parameters are not allowed: {query:?}"));
        }
        if let Some(schema) = &self.body {
            let kind = header(request.headers, "content-type").unwrap_or_default().to_lowercase();
            if !matches!(kind.as_str(), "application/json" | "application/json; charset=utf-8") {
                return Err(format!("the content type {kind} is not allowed"));
            }
            if request.body.len() > MAX_BODY_BYTES {
                return Err("the body is too large".to_owned());
            }
            let body = json::parse(request.body).map_err(|error| error.to_string())?;
            check(schema, &body.value)?;
        }
        Ok(())
    }
}

/// Checks an event against the document's webhook for its type.
///
/// # Errors
/// Description of the deviation from the document.
pub fn check_event(event: &Value) -> Result<(), String> {
    let kind = event["type"].as_str().unwrap_or_default();
    let webhook = DOCUMENT["webhooks"].get(kind).ok_or(format!("the webhook {kind} is not documented"))?;
    check(&validator(&webhook["post"]["requestBody"]["content"]["application/json"]["schema"]), event)
}

/// Checks an exchange with the service against the document. Accepts any exchange that is not an operation of the document.
///
/// # Errors
/// Description of the deviation from the document.
pub fn check_exchange(request: &SentRequest, answer: &Response) -> Result<(), String> {
    // The document describes paths as the gateway decodes them.
    let sent = request.path.split('?').next().unwrap_or_default();
    let Some(path) = decode_path(sent) else { return Ok(()) };
    let Some((template, operation)) = operation_of(request.method, &path) else {
        return Ok(());
    };
    operation.check_answer(answer)?;
    match operation.check_request(template, &path, request) {
        Err(why) if answer.status < 400 => {
            Err(format!("done, although the document does not allow it: {why}"))
        }
        Ok(()) if is_refused_for_its_form(request, answer) => {
            Err("refused, although the document allows it".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_refused_for_its_form(request: &SentRequest, answer: &Response) -> bool {
    if is_of_the_gateway(answer) {
        return false;
    }
    match answer.status {
        // `Idempotency-Key` is the other name of a header that the document lists once. Its value may be in quotes, which no
        // schema describes.
        400 => {
            let has_other_name = header(request.headers, "idempotency-key").is_some();
            !(has_other_name && answer.json()["code"] == "idempotency_key_invalid")
        }
        413 | 415 => true,
        422 => {
            let faults = answer.json()["errors"].as_array().unwrap().clone();
            faults.iter().any(|fault| !BEYOND_SCHEMAS.contains(&text(&fault["code"])))
        }
        _ => false,
    }
}

/// Returns true if the gateway has answered in place of the service.
fn is_of_the_gateway(answer: &Response) -> bool {
    answer.status >= 400 && answer.header("content-type") == Some("application/json")
}

/// Checks that a problem has the title that the document shows for its code.
fn check_title(answer: &Value) -> Result<(), String> {
    match answer["code"].as_str() {
        Some(code) if DOCUMENT["components"]["examples"][code]["value"]["title"] != answer["title"] => {
            Err(format!("the title of {code} differs from the document"))
        }
        _ => Ok(()),
    }
}

fn operation_of(method: &Method, path: &str) -> Option<(&'static str, &'static Operation)> {
    OPERATIONS.iter().find_map(|(route, operation)| {
        let template = route.strip_prefix(method.as_str())?.strip_prefix(' ')?;
        let parts: Vec<_> = template.split('/').collect();
        let sent: Vec<_> = path.split('/').collect();
        let fits = parts.len() == sent.len()
            && parts
                .iter()
                .zip(&sent)
                .all(|(part, sent)| if part.starts_with('{') { !sent.is_empty() } else { part == sent });
        fits.then_some((template, operation))
    })
}

/// Returns the parameters of the query behind a path.
fn query(path: &str) -> BTreeMap<String, Vec<String>> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let mut parameters = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    parameters
}

/// Returns the part of a path at the place where its template has this name.
fn path_parameter(template: &str, path: &str, name: &str) -> Option<String> {
    let named = |part: &str| part.to_lowercase() == format!("{{{name}}}");
    let (_, sent) = template.split('/').zip(path.split('/')).find(|(part, _)| named(part))?;
    Some(sent.to_owned())
}

/// Joins all values of a header, without the spaces and tabs around them. A value that is repeated counts once.
fn header(headers: &[(&str, &str)], name: &str) -> Option<String> {
    let values = headers.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name));
    // Gateways join the values of one name with commas, so an idempotency key has no comma. The same key sent twice is one key.
    let separator = if name.to_lowercase().ends_with("idempotency-key") { "," } else { "\n" };
    let values = values.flat_map(|(_, values)| values.split(separator));
    let mut values: Vec<_> = values.map(|value| value.trim_matches([' ', '\t'])).collect();
    values.dedup();
    (!values.is_empty()).then(|| values.join(","))
}

/// Checks a value against a schema of the document.
///
/// # Errors
/// Each fault and its place.
pub fn check(schema: &Validator, value: &Value) -> Result<(), String> {
    let faults: Vec<_> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Builds a validator from a schema of the document. It rejects members that the schema does not name.
pub fn validator(schema: &Value) -> Validator {
    let mut schema = json!({"allOf": [schema], "components": {"schemas": DOCUMENT["components"]["schemas"]}});
    close(&mut schema);
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

/// Forbids unnamed members in all objects of a schema. The document allows them, because callers shall ignore members that they
/// don't know.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Resolves a reference into the document. Returns any other value unchanged.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref") {
        Some(reference) => DOCUMENT.pointer(text(reference).strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is not an object"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}
