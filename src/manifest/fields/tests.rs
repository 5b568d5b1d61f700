#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Map, Value as Json, json};

use super::{POD, fields_reference};
use crate::document::{Kind, Object, Treat};
use crate::manifest::v1::Pod;

#[test]
fn the_reference_is_up_to_date() {
    crate::document::assert_file_equals("docs/fields.md", &fields_reference());
}

/// A document with every field that the table carries out, each with a value that is not its default.
fn everything(object: &Object) -> Json {
    let mut map = Map::new();
    for field in object.fields.iter().filter(|field| field.treat == Treat::Carried) {
        map.insert(field.name.to_owned(), value(&field.kind, field.name));
    }
    Json::Object(map)
}

fn value(kind: &Kind, name: &str) -> Json {
    match kind {
        Kind::String | Kind::Text(_) if name == "restartPolicy" => json!("Never"),
        Kind::String | Kind::Text(_) => json!("1"),
        Kind::Bool => json!(true),
        Kind::Int32 | Kind::Int64 | Kind::IntOrString => json!(7),
        Kind::List(item) | Kind::OneOrList(item) => json!([value(item, name)]),
        Kind::Map(item) => json!({"key": value(item, name)}),
        Kind::Object(inner) => everything(inner),
        Kind::Any => json!({}),
    }
}

#[test]
fn what_the_table_carries_out_has_its_place_in_the_typed_pod() {
    let mut document = everything(&POD);
    let fields = document.as_object_mut().expect("an object");
    fields.remove("apiVersion");
    fields.remove("kind");
    fields["metadata"].as_object_mut().expect("an object").remove("generateName");
    let pod: Pod = serde_json::from_value(document.clone()).expect("typed");
    let back = serde_json::to_value(pod).expect("JSON");
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
