#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Outer {
    name: String,
    maybe: Option<u32>,
    signed: i64,
    parts: Vec<Shape>,
    by_number: BTreeMap<u64, (u8, String)>,
    by_shape: BTreeMap<Plain, Wrapped>,
    free: Value,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Plain {
    Round,
    Square,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Wrapped(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    One(String),
    Two(i32, bool),
    Named { depth: u16 },
}

fn full() -> Outer {
    Outer {
        name: "a \"quoted\" name".into(),
        maybe: Some(7),
        signed: i64::MIN,
        parts: vec![Shape::Nothing, Shape::One("x".into()), Shape::Two(-3, true), Shape::Named { depth: 9 }],
        by_number: BTreeMap::from([(u64::MAX, (255, "last".into()))]),
        by_shape: BTreeMap::from([(Plain::Square, Wrapped(0.5)), (Plain::Round, Wrapped(2.0))]),
        free: json!({"a": [1, -1, 1.5, null, true, "text", {"b": {}}]}),
    }
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let text = to_vec(&full()).unwrap();
    assert_eq!(from_slice::<Outer>(&text).unwrap(), full());
    assert_eq!(from_value::<Outer>(to_value(&full()).unwrap()).unwrap(), full());
    assert_eq!(to_string(&full()).unwrap().as_bytes(), text);
}

#[test]
fn it_reads_what_serde_json_reads() {
    for document in [
        json!({}),
        json!({"name": "x", "unknown": [1, {"deep": null}]}),
        json!({"maybe": null}),
        json!({"parts": ["Nothing", {"Nothing": null}]}),
        json!({"parts": []}),
    ] {
        let theirs: Outer = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(from_value::<Outer>(document).unwrap(), theirs);
    }
}

#[test]
fn an_error_names_the_field() {
    let wrong = |document: Value| from_value::<Outer>(document).unwrap_err().to_string();
    assert_eq!(wrong(json!({"maybe": -1})), "maybe: invalid value: integer `-1`, expected u32");
    assert_eq!(wrong(json!({"name": 1})), "name: invalid type: integer `1`, expected a string");
    assert_eq!(
        wrong(json!({"parts": ["Nothing", {"Named": {"depth": "x"}}]})),
        "parts[1].depth: invalid type: string \"x\", expected u16"
    );
    assert_eq!(wrong(json!({"parts": [{"Two": [1, true, 3]}]})), "parts[0]: 1 items more than expected");
    assert_eq!(wrong(json!({"parts": ["One"]})), "parts[0]: the variant One has to come with its content");
    assert!(wrong(json!({"parts": ["Other"]})).starts_with("parts[0]: unknown variant `Other`"));
    assert_eq!(wrong(json!([1])), "invalid type: sequence, expected struct Outer");
    assert_eq!(wrong(json!({"byNumber": {"x": [1, "a"]}})), "byNumber: invalid type: string \"x\", expected u64");
}

#[derive(Debug, PartialEq, Deserialize)]
struct Strict {
    first: u8,
    maybe: Option<String>,
    #[serde(skip)]
    skipped: u8,
    #[serde(rename = "realName", default)]
    renamed: u8,
    last: u8,
}

#[test]
fn fields_may_stand_in_any_order_and_only_those_with_a_default_may_be_missing() {
    let strict = |document: Value| from_value::<Strict>(document).map_err(|error| error.to_string());
    let wanted = Strict { first: 1, maybe: None, skipped: 0, renamed: 0, last: 2 };
    assert_eq!(strict(json!({"last": 2, "skipped": 9, "first": 1, "other": 3})).unwrap(), wanted);
    let wanted = Strict { maybe: Some("x".into()), renamed: 5, ..wanted };
    assert_eq!(strict(json!({"realName": 5, "maybe": "x", "last": 2, "first": 1})).unwrap(), wanted);
    assert_eq!(strict(json!({"first": 1})).unwrap_err(), "missing field `last`");
    assert_eq!(strict(json!({"last": 1})).unwrap_err(), "missing field `first`");
    assert_eq!(strict(json!({"first": 1, "last": "x"})).unwrap_err(), "last: invalid type: string \"x\", expected u8");
    assert_eq!(from_value::<Vec<Strict>>(json!([{}])).unwrap_err().to_string(), "[0]: missing field `first`");
}

#[test]
fn text_that_is_no_json_is_told_with_its_place() {
    assert_eq!(
        from_slice::<Outer>(b"{\"name\": \n oops}").unwrap_err().to_string(),
        "expected value at line 2 column 2"
    );
    assert!(from_slice::<Outer>(b"").is_err());
}
