#![allow(clippy::unwrap_used, clippy::float_cmp)]

use serde_json::json;

use super::*;
use crate::sorted::BTreeMap;

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
struct Wrapped(u16);

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
        by_shape: BTreeMap::from([(Plain::Square, Wrapped(5)), (Plain::Round, Wrapped(2))]),
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
fn what_is_not_there_keeps_its_default_and_what_is_not_known_is_passed_over() {
    let read = |document: Value| from_value::<Outer>(document).unwrap();
    for document in [json!({}), json!({"maybe": null}), json!({"parts": []}), json!({"unknown": [1, {"deep": null}]})] {
        assert_eq!(read(document), Outer::default());
    }
    let parts = vec![Shape::Nothing, Shape::Nothing];
    assert_eq!(read(json!({"parts": ["Nothing", {"Nothing": null}]})), Outer { parts, ..Outer::default() });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    version: u32,
    #[serde(flatten)]
    call: Call,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "camelCase")]
enum Call {
    AllPods,
    Delete {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<i64>,
    },
    Whole(Box<Strict>),
}

#[test]
fn a_tagged_enum_stands_among_the_fields() {
    let strict = Strict { first: 1, maybe: None, skipped: 0, renamed: 3, last: 2 };
    for (call, text) in [
        (Call::AllPods, r#"{"version":1,"call":"allPods"}"#),
        (Call::Delete { name: "x".into(), grace: None }, r#"{"version":1,"call":"delete","name":"x"}"#),
        (Call::Delete { name: "x".into(), grace: Some(-4) }, r#"{"version":1,"call":"delete","name":"x","grace":-4}"#),
        (Call::Whole(Box::new(strict)), r#"{"version":1,"call":"whole","first":1,"maybe":null,"realName":3,"last":2}"#),
    ] {
        let line = Line { version: 1, call };
        assert_eq!(to_string(&line).unwrap(), text);
        assert_eq!(from_str::<Line>(text).unwrap(), line);
    }
    let wrong = |text: &str| from_str::<Line>(text).unwrap_err().to_string();
    assert!(wrong(r#"{"version":1,"call":"x"}"#).starts_with("unknown variant `x`, expected one of allPods, delete"));
    assert_eq!(wrong(r#"{"version":1}"#), "missing field `call`");
    assert_eq!(wrong(r#"{"version":1,"call":"delete"}"#), "missing field `name`");
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<Box<Sparse>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
}

#[test]
fn only_what_is_empty_itself_is_left_out() {
    let empty = Sparse { inner: Some(Box::default()), ..Sparse::default() };
    assert_eq!(to_string(&empty).unwrap(), r#"{"inner":{}}"#);
    let items = Sparse { items: vec![String::new()], text: "null".into(), inner: None };
    assert_eq!(to_string(&items).unwrap(), r#"{"items":[""],"text":"null"}"#);
}

#[test]
fn text_is_escaped_as_every_reader_of_json_understands() {
    let text = "\u{0}\u{1f}\n\r\t\"\\/\u{7f}é漢🦀";
    let written = to_string(&text).unwrap();
    assert_eq!(written, "\"\\u0000\\u001f\\n\\r\\t\\\"\\\\/\u{7f}é漢🦀\"");
    assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    assert_eq!(from_str::<String>(&written).unwrap(), text);
}

#[test]
fn text_is_read_as_serde_json_reads_it() {
    let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    for text in [
        "null",
        " true ",
        "false",
        "0",
        "12",
        "-3",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "-0.25",
        "1e3",
        "2E-2",
        "18446744073709551616",
        "\"\\ud83e\\udd80 \\u00e9 \\/ \\b\\f\"",
        "[]",
        "[ 1 , [2] ]",
        "{}",
        "{ \"a\" : {\"b\":[]} , \"c\":null}",
        "{\"a\":1,\"a\":2}",
        &deep(100),
        // and what is none
        "",
        "nul",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "\"",
        "\"\\x\"",
        "\"\\ud83e\"",
        "\"\\u12\"",
        "\"\n\"",
        "1 2",
        "[",
        "{",
        "\"\\udd80\"",
        &deep(200),
    ] {
        assert_eq!(value_of(text.as_bytes()).ok(), serde_json::from_str(text).ok(), "{text}");
    }
    assert!(value_of(b"\"\xff\"").is_err());
}

#[test]
fn an_error_names_the_field() {
    let wrong = |document: Value| from_value::<Outer>(document).unwrap_err().to_string();
    assert_eq!(wrong(json!({"maybe": -1})), "maybe: invalid value: number `-1`, expected u32");
    assert_eq!(wrong(json!({"name": 1})), "name: invalid value: number `1`, expected a string");
    assert_eq!(
        wrong(json!({"parts": ["Nothing", {"Named": {"depth": "x"}}]})),
        "parts[1].depth: invalid value: string \"x\", expected u16"
    );
    assert_eq!(wrong(json!({"parts": [{"Two": [1, true, 3]}]})), "parts[0]: 3 items instead of 2");
    assert_eq!(wrong(json!({"parts": ["One"]})), "parts[0]: the variant One has to come with its content");
    assert!(wrong(json!({"parts": ["Other"]})).starts_with("parts[0]: unknown variant `Other`"));
    assert_eq!(wrong(json!([1])), "invalid value: a list, expected an object");
    assert_eq!(wrong(json!({"byNumber": {"x": [1, "a"]}})), "byNumber: invalid value: string \"x\", expected u64");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
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
    assert_eq!(strict(json!({"first": 1, "last": "x"})).unwrap_err(), "last: invalid value: string \"x\", expected u8");
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

#[test]
fn decimal_numbers_are_read_as_std_reads_them() {
    for text in [
        "0.5",
        "1e3",
        "-2.5e-3",
        "0.1",
        "123456.789",
        "1e22",
        "1e-22",
        "+7.25",
        "9007199254740991",
        "3.",
        ".5",
        "0.000001",
        "999999999999999e-22",
        "1e400",
        "-1e400",
        "1e-400",
        "0e99999999999",
        "1e99999999999",
        "00.10",
    ] {
        assert_eq!(float(text), text.parse::<f64>().unwrap(), "{text}");
    }
    for text in ["1.7976931348623157e308", "3.141592653589793238462643", "1e23", "123456789012345678901234567890e-10"] {
        let (ours, theirs) = (float(text), text.parse::<f64>().unwrap());
        assert!((ours - theirs).abs() <= theirs.abs() * 1e-15, "{text}: {ours}");
    }
}
