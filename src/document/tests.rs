#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::format_push_string, clippy::format_collect)] // readable, and not in a hurry

use serde_json::{Value as Json, json};

use super::{FindingKind, Kind, Object, Quantity, canonical_json, carried, decode, duration, later, parse, warned};

fn one(text: &str) -> Json {
    let parsed = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.documents.len(), 1, "{text}");
    parsed.documents[0].to_json()
}

fn error(text: &[u8]) -> String {
    parse(text).expect_err("must be refused").to_string()
}

#[test]
fn a_first_document_in_flow_style_is_yaml_and_broken_json_is_told_as_such() {
    let parsed = parse(b"{kind: Pod, name: a}\n---\nkind: Pod\nname: b\n").unwrap();
    assert_eq!(parsed.documents.len(), 2);
    assert_eq!(parsed.documents[1].line, 3);
    assert_eq!(parse(b"{\"kind\": \"Pod\"}\n---\n{\"kind\": \"Pod\"}\n").unwrap().documents.len(), 2);
    let error = parse(b"{\"kind\": \"Pod\",\n \"name\" \"a\"}").unwrap_err();
    assert_eq!(error.line, 2);
    assert!(error.remedy.contains("JSON"), "{error}");
}

#[test]
fn plain_scalars_are_resolved_as_yaml_1_1() {
    for (text, expected) in [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("y", json!(true)),
        ("~", json!(null)),
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("-12", json!(-12)),
        ("1_000", json!(1000)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000)),
        (".5", json!(0.5)),
        ("08", json!(8)),
        ("1:30", json!("1:30")),
        ("12:30:45", json!("12:30:45")),
        ("2024-01-01", json!("2024-01-01")),
        (".inf", json!(".inf")),
        ("1.2.3", json!("1.2.3")),
        ("100m", json!("100m")),
        ("'yes'", json!("yes")),
        ("\"0644\"", json!("0644")),
        ("!!str 0644", json!("0644")),
        ("!!int 3", json!(3)),
        ("0x", json!("0x")),
        ("+", json!("+")),
    ] {
        assert_eq!(one(&format!("v: {text}"))["v"], expected, "{text}");
    }
}

#[test]
fn keys_become_text() {
    assert_eq!(one("8080: a\nyes: b\n1.5: c\n"), json!({"8080": "a", "true": "b", "1.5": "c"}));
}

#[test]
fn values_and_keys_know_their_lines() {
    let parsed = parse(b"a:\n  - name: x\n  -\n    name: y\n    port:\n      9\nb: {c: 1,\n  d: 2}\n").expect("YAML");
    let root = &parsed.documents[0];
    for (path, line) in
        [("a", 1), ("a[0].name", 2), ("a[1].name", 4), ("a[1].port", 5), ("b.d", 8), ("a[1].missing", 4), ("z", 1)]
    {
        assert_eq!(root.line_of(path), line, "{path}");
    }
}

#[test]
fn a_key_in_brackets_may_hold_dots() {
    let parsed = parse(b"metadata:\n  annotations:\n    a: b\n    gatepost.io/x: y\n").expect("YAML");
    assert_eq!(parsed.documents[0].line_of("metadata.annotations[gatepost.io/x]"), 4);
}

#[test]
fn merge_keys_give_way_to_own_keys() {
    let text = "base: &b {k: 1, l: 2}\nother: &o {l: 5, m: 6}\nmine:\n  l: 3\n  <<: [*b, *o]\n";
    assert_eq!(one(text)["mine"], json!({"k": 1, "l": 3, "m": 6}));
}

#[test]
fn the_last_of_repeated_keys_counts_with_a_warning() {
    let parsed = parse(b"a: 1\nb: 2\na: 3\n---\n{}\n").expect("YAML");
    assert_eq!(parsed.documents[0].to_json(), json!({"a": 3, "b": 2}));
    assert_eq!((parsed.warnings[0].line, parsed.warnings[0].document), (3, 0));
}

#[test]
fn empty_documents_are_left_out() {
    assert_eq!(parse(b"---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").expect("YAML").documents.len(), 2);
    assert!(parse(b"").expect("nothing").documents.is_empty());
}

#[test]
fn json_has_positions_and_several_values() {
    let parsed =
        parse(b"\xef\xbb\xbf {\"a\": [1,\n {\"b\": \"\\u00e9\\ud83d\\ude00\"}]}\n{\"c\": null}").expect("JSON");
    assert_eq!(parsed.documents[0].to_json(), json!({"a": [1, {"b": "\u{e9}\u{1f600}"}]}));
    assert_eq!(parsed.documents[0].line_of("a[1].b"), 2);
    assert_eq!(parsed.documents.len(), 2);
}

#[test]
fn broken_input_is_named_with_its_line() {
    for (text, expected) in [
        ("{\"a\": 1,\n \"b\" 2}", "line 2, column 6: a colon was expected"),
        ("{\"a\": [1, 2", "line 1, column 12: the file ends inside a list"),
        ("{\"a\": \"x", "line 1, column 7: a string without its closing quote"),
        ("{\"a\": tru}", "line 1, column 7: a value was expected"),
        ("[1}", "line 1, column 3: a comma or the end of a list"),
        ("a: b\n c: d\n", "line 2"),
        ("a: [1, 2\n", "line 2"),
        ("a: \"x\n", "line"),
        ("a: *nowhere\n", "line 1"),
        ("a: &x [*x]\n", "line 1, column 8: an alias stands inside the value it names"),
        ("a: !custom 1\n", "the tag !custom means nothing here"),
        ("? [a]\n: b\n", "stands where a key was expected"),
        ("<<: 3\n", "merge key"),
    ] {
        let message = error(text.as_bytes());
        assert!(message.contains(expected), "{text:?}: {message}");
    }
    assert!(error(b"a: b\nc: \xff\xfe\n").starts_with("line 2, column 4: this is not text in UTF-8"));
}

#[test]
fn yaml_bombs_are_refused_within_bounds() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(error(bomb.as_bytes()).contains("anchors and aliases expand to more than"));
    let mut wide = format!("a: &a {}\nb:\n", "x".repeat(1 << 20));
    wide += &"- *a\n".repeat(100);
    assert!(error(wide.as_bytes()).contains("bytes of text"));
}

#[test]
fn deep_nesting_is_refused() {
    for text in
        ["[".repeat(100_000), "{\"a\":".repeat(100_000), format!("a: {}", "[".repeat(100_000)), "- ".repeat(5_000)]
    {
        let message = error(text.as_bytes());
        assert!(message.contains("nested deeper than 64 levels"), "{message}");
    }
}

#[test]
fn a_file_above_the_limit_is_refused() {
    assert!(error(&vec![b'a'; super::MAX_FILE_BYTES + 1]).contains("the limit is 10485760"));
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let text = format!("[{}1]", "1,".repeat(super::MAX_NODES));
    assert!(error(text.as_bytes()).contains("more than 300000 values"));
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut state = 1_u64;
    let alphabet = b"{}[]:,-&*!|>'\"%@`#? \n\tabc0<~\\x\xc3\xa9";
    for _ in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..(state % 40) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        state = state.wrapping_add(1);
        let _ = parse(&text);
    }
}

#[test]
fn canonical_json_sorts_keys_and_has_no_spaces() {
    assert_eq!(canonical_json(&one("b: [1, {z: '\"', a: ~}]\na: yes\n")), r#"{"a":true,"b":[1,{"a":null,"z":"\""}]}"#);
}

static INNER: Object =
    Object { name: "Inner", fields: &[carried("port", Kind::Int32), later("probe", Kind::Object(&INNER))] };
static OUTER: Object = Object {
    name: "Outer",
    fields: &[
        carried("name", Kind::String),
        carried("items", Kind::List(&Kind::Object(&INNER))),
        warned("hint", Kind::String, "has no effect").unless(&["\"None\""]),
    ],
};

#[test]
fn the_decoder_collects_every_finding_with_its_line() {
    let text = "name: yes\nitems:\n- port: 70000000000\n- prot: 1\n- {probe: {port: x}}\n- ~\nhint: x\n";
    let parsed = parse(text.as_bytes()).expect("YAML");
    let decoded = decode(&parsed.documents[0], &OUTER);
    let found: Vec<_> = decoded.findings.iter().map(|f| (f.field.as_str(), f.line, f.kind)).collect();
    assert_eq!(
        found,
        [
            ("name", 1, FindingKind::WrongType),
            ("items[0].port", 3, FindingKind::WrongType),
            ("items[1].prot", 4, FindingKind::Unknown),
            ("items[2].probe", 5, FindingKind::Later),
            ("items[2].probe.port", 5, FindingKind::WrongType),
            ("hint", 7, FindingKind::NoEffect),
        ]
    );
    assert!(decoded.findings[0].message.contains("put it in quotes"));
    assert!(decoded.findings[2].message.contains("did you mean \"port\"?"));
    assert_eq!(decoded.value, json!({"items": [{}, {}, {"probe": {}}, {}], "hint": "x"}));
}

#[test]
fn neutral_values_are_not_reported() {
    let parsed = parse(b"hint: None\nitems: [{probe: ~}]\n").expect("YAML");
    assert!(decode(&parsed.documents[0], &OUTER).findings.is_empty());
}

#[test]
fn garbage_gives_a_bounded_number_of_findings() {
    let text = (0..10_000).map(|n| format!("k{n}: 1\n")).collect::<String>();
    let parsed = parse(text.as_bytes()).expect("YAML");
    assert_eq!(decode(&parsed.documents[0], &OUTER).findings.len(), 201);
}

#[test]
fn a_ratio_is_printed_as_c_prints_it() {
    let over = |left: &str, right: &str| Quantity::parse(left).unwrap().over(Quantity::parse(right).unwrap());
    for (left, right, text) in [
        ("1", "3", "0.333333"),
        ("2", "3", "0.666667"),
        ("1Gi", "64Mi", "16.000000"),
        ("129", "128", "1.007812"),
        ("131", "128", "1.023438"),
        ("-1", "2", "-0.500000"),
        ("0", "5", "0.000000"),
    ] {
        assert_eq!(over(left, right), text, "{left} / {right}");
    }
}

#[test]
fn quantities_are_exact_and_print_canonically() {
    for (text, nanos, printed) in [
        ("0", 0, "0"),
        ("1.5", 1_500_000_000, "1500m"),
        ("1500m", 1_500_000_000, "1500m"),
        ("1000m", 1_000_000_000, "1"),
        ("1.5Gi", 1_610_612_736_000_000_000, "1536Mi"),
        ("1024Mi", 1_073_741_824_000_000_000, "1Gi"),
        ("1000Ki", 1_024_000_000_000_000, "1000Ki"),
        ("0.5Ki", 512_000_000_000, "512"),
        ("1E3", 1_000_000_000_000, "1e3"),
        ("1e3", 1_000_000_000_000, "1e3"),
        ("2k", 2_000_000_000_000, "2k"),
        (".5", 500_000_000, "500m"),
        ("5.", 5_000_000_000, "5"),
        ("+1", 1_000_000_000, "1"),
        ("-1", -1_000_000_000, "-1"),
        ("100n", 100, "100n"),
        ("0.1n", 1, "1n"),
        ("-0.1n", -1, "-1n"),
        ("1E", 1_000_000_000_000_000_000_000_000_000, "1E"),
        ("1e-3", 1_000_000, "1e-3"),
        ("0.0000000001Ki", 103, "103n"),
    ] {
        let quantity = Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(quantity.nanos(), nanos, "{text}");
        assert_eq!(quantity.to_string(), printed, "{text}");
    }
    assert_eq!(Quantity::parse("128m").expect("quantity").whole(), 1);
    assert_eq!(Quantity::parse("0.1m").expect("quantity").milli(), 1);
    assert_eq!(Quantity::parse("99999999999999999999E").expect("quantity").whole(), i64::MAX);
    for text in ["", "Mi", ".", "1X", "1.2.3", "1 Gi", "one", "1mi", "--1", "1e", "1e1.5", "Ki1"] {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, millis) in [
        ("5s", 5_000),
        ("2m", 120_000),
        ("1h30m", 5_400_000),
        ("90", 90_000),
        ("5m0s", 300_000),
        ("250ms", 250),
        ("1.5h", 5_400_000),
    ] {
        assert_eq!(duration(text).expect("a duration").as_millis(), millis, "{text}");
    }
    for text in ["", "s", "5 s", "-1s", "1.", "1..5s", "1.5.5s", ".5s", "1.5", "1h-2m", "5x", "99999999999s"] {
        assert!(duration(text).is_err(), "{text}");
    }
}
