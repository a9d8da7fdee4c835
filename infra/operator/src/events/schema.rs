//! `events schema`: the JSON Schemas of the events, from the document of the API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::openapi::DOCUMENT;
use crate::terminal::pretty_json;
use crate::{CommandError, Session};

/// The beginning of a reference within the document.
const SCHEMAS: &str = "#/components/schemas/";

/// Prints the schema of one type of events, or of all by their types.
pub(super) fn run(session: &mut Session<'_>, only: Option<&str>) -> Result<(), CommandError> {
    let schemas = match only {
        Some(name) => schema(name).ok_or(CommandError::Usage("there is no such type of events"))?,
        None => all().into_iter().collect::<Map<_, _>>().into(),
    };
    let text = pretty_json(&schemas).map_err(std::io::Error::from)?;
    session.print(&schemas, || text)
}

/// Returns the schemas of all types.
fn all() -> BTreeMap<String, Value> {
    let webhooks = DOCUMENT.get("webhooks").and_then(Value::as_object).into_iter().flatten();
    webhooks.filter_map(|(name, _)| Some((name.clone(), schema(name)?))).collect()
}

/// Returns the schema of a type, with every schema that it refers to.
fn schema(name: &str) -> Option<Value> {
    let webhook = DOCUMENT.get("webhooks")?.get(name)?;
    let root = webhook.pointer("/post/requestBody/content/application~1json/schema")?;
    let mut definitions = BTreeMap::new();
    let mut wanted = BTreeSet::from_iter(references(root));
    while let Some(name) = wanted.pop_first() {
        let definition = DOCUMENT.pointer(&format!("/components/schemas/{name}"))?;
        wanted.extend(references(definition).into_iter().filter(|other| !definitions.contains_key(other)));
        definitions.insert(name, within(definition));
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "$defs": definitions,
    });
    schema.as_object_mut()?.extend(within(root).as_object()?.clone());
    Some(schema)
}

/// Returns the names of the schemas that a value refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SCHEMAS));
            let below = members.values().flat_map(references);
            own.map(str::to_owned).into_iter().chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Returns a value whose references lead to the definitions of its own document.
fn within(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let own = value.as_str().filter(|_| name == "$ref").and_then(|to| to.strip_prefix(SCHEMAS));
                let value = own.map_or_else(|| within(value), |to| format!("#/$defs/{to}").into());
                (name.clone(), value)
            };
            members.iter().map(member).collect()
        }
        Value::Array(items) => items.iter().map(within).collect(),
        other => other.clone(),
    }
}
