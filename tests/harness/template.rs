//! `infra/template.yaml`, as CloudFormation reads it.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// Returns the template as JSON: `!Ref X` is `{"Ref": "X"}`, `!GetAtt X.Y` is `{"Fn::GetAtt": "X.Y"}`.
pub fn template() -> Value {
    yaml(TEMPLATE)
}

/// Converts a YAML document to JSON.
pub(crate) fn yaml(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    json_of(&documents[0])
}

/// Returns the properties of the resources of a type, by their logical ids.
pub fn resources(kind: &str) -> Map<String, Value> {
    let template = template();
    let resources = template["Resources"].as_object().unwrap().iter();
    let of_kind = resources.filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(id, resource)| (id.clone(), resource["Properties"].clone())).collect()
}

fn json_of(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(nodes) => nodes.iter().map(json_of).collect(),
        Yaml::Mapping(members) => {
            members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), json_of(value))).collect()
        }
        Yaml::Tagged(tag, value) => {
            let function = match tag.suffix.as_str() {
                "Ref" => "Ref".to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({function: json_of(value)})
        }
        other => panic!("{other:?}"),
    }
}
