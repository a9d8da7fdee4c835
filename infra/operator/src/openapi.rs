//! The document of the API, as JSON.

use std::sync::LazyLock;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

/// The document as it is written.
pub const TEXT: &str = include_str!("../../openapi.yaml");

/// The document, with its references unresolved.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document = Yaml::load_from_str(TEXT).unwrap_or_default();
    document.first().map(json).unwrap_or_default()
});

/// Converts YAML to JSON. Keys that are not texts are left out.
fn json(yaml: &Yaml<'_>) -> Value {
    if let Some(members) = yaml.as_mapping() {
        return members
            .iter()
            .filter_map(|(name, value)| Some((name.as_str()?.to_owned(), json(value))))
            .collect();
    }
    if let Some(items) = yaml.as_sequence() {
        return items.iter().map(json).collect();
    }
    let number = || yaml.as_integer().map(Value::from).or_else(|| yaml.as_bool().map(Value::from));
    let number = || number().or_else(|| yaml.as_floating_point().map(Value::from));
    yaml.as_str().map(Value::from).or_else(number).unwrap_or_default()
}
