#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Map, Value as Json, json};

use super::{POD, fields_reference};
use crate::document::{Kind, Object, Treat};
use crate::manifest::v1::Pod;

#[test]
fn the_reference_is_up_to_date() {
    crate::document::assert_file_equals("docs/fields.md", &fields_reference());
}

/// A document with every field that the table holds, or only those carried out, each with a value that is not its default.
fn everything(object: &Object, only_carried: bool) -> Json {
    let mut map = Map::new();
    for field in object.fields.iter().filter(|field| !only_carried || field.treat() == Treat::Carried) {
        map.insert(field.name.to_owned(), value(&field.kind, field.name, only_carried));
    }
    Json::Object(map)
}

fn value(kind: &Kind, name: &str, only_carried: bool) -> Json {
    match kind {
        Kind::String | Kind::Text(_) if name == "restartPolicy" => json!("Never"),
        Kind::String if name == "apiVersion" => json!("v1"),
        Kind::String if name == "kind" => json!("Pod"),
        Kind::Text(format) if format.name.starts_with("a time") => json!("2024-01-01T00:00:00Z"),
        Kind::String | Kind::Text(_) => json!("1"),
        Kind::Bool => json!(true),
        Kind::Int32 | Kind::Int64 | Kind::IntOrString => json!(7),
        Kind::List(item) | Kind::OneOrList(item) => json!([value(item, name, only_carried)]),
        Kind::Map(item) => json!({"key": value(item, name, only_carried)}),
        Kind::Object(inner) => everything(inner, only_carried),
        Kind::Any => json!({}),
    }
}

#[test]
fn what_the_table_carries_out_has_its_place_in_the_typed_pod() {
    let mut document = everything(&POD, true);
    let fields = document.as_object_mut().expect("an object");
    fields.remove("apiVersion");
    fields.remove("kind");
    fields["metadata"].as_object_mut().expect("an object").remove("generateName");
    let pod: Pod = crate::json::from_value(document.clone()).expect("typed");
    let back = crate::json::to_value(&pod).expect("JSON");
    assert_contains(&back, &document, "");
}

fn assert_contains(whole: &Json, part: &Json, path: &str) {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => {
            for (key, value) in part {
                let path = format!("{path}.{key}");
                assert_contains(whole.get(key).unwrap_or_else(|| panic!("{path} is lost")), value, &path);
            }
        }
        (Json::Array(whole), Json::Array(part)) => {
            for (index, value) in part.iter().enumerate() {
                assert_contains(&whole[index], value, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(whole, part, "{path}"),
    }
}

#[test]
fn every_field_of_the_table_is_a_field_of_the_official_api() {
    let document = everything(&POD, false);
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(document.clone()).expect("the official type");
    assert_contains(&serde_json::to_value(pod).expect("JSON"), &document, "");
}
