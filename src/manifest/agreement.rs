//! Agreement with Kubernetes' own validation on judged manifests: one JSON object a line with `manifest`, `ok`, `stage`,
//! `fields`, `messages`, `qos`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value as Json;

use super::{DocumentVerdict, validate_bytes};

struct Agreement {
    /// Cases that use only what this version carries out.
    comparable: usize,
    same_verdict: usize,
    same_fields: usize,
    differing: Vec<String>,
}

fn compare(cases: &str) -> Agreement {
    let mut agreement = Agreement { comparable: 0, same_verdict: 0, same_fields: 0, differing: Vec::new() };
    for (number, line) in cases.lines().enumerate() {
        let case: Json = crate::json::from_str(line).expect("a case a line");
        let verdicts = validate_bytes("case", case["manifest"].to_string().as_bytes(), false);
        if !is_comparable(&case, &verdicts) {
            continue;
        }
        agreement.comparable += 1;
        let errors: Vec<_> = verdicts.iter().flat_map(|verdict| &verdict.errors).collect();
        let expected = case["ok"].as_bool().expect("ok");
        let same_qos =
            !expected || verdicts.first().and_then(|v| v.qos).is_some_and(|qos| qos.to_string() == case["qos"]);
        if errors.is_empty() == expected && same_qos {
            agreement.same_verdict += 1;
        } else {
            let ours: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
            agreement.differing.push(format!("case {number}: expected {expected} {}, got {ours:?}", case["messages"]));
            continue;
        }
        let mut theirs: Vec<_> =
            case["messages"].as_array().expect("list").iter().map(|m| words(m.as_str().expect("text"))).collect();
        let mut ours: Vec<_> =
            errors.iter().map(|error| words(&format!("{}: {}", error.field, error.message))).collect();
        theirs.sort();
        ours.sort();
        if case["stage"] != "validate" || theirs == ours {
            agreement.same_fields += 1;
        } else {
            agreement.differing.push(format!("case {number} words:\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    agreement
}

/// A message without a value that is an object: Kubernetes prints its internal structs there.
fn words(message: &str) -> String {
    match (message.split_once(": {"), message.rsplit_once("}: ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}: {{}}: {after}"),
        _ => message.to_owned(),
    }
}

/// Fields that come later or never, and what differs on purpose: names from `generateName`, a `PodList` in a file,
/// other kinds (a warning), and whatever `status` holds.
fn is_comparable(case: &Json, verdicts: &[DocumentVerdict]) -> bool {
    let refused = |kind: &str, message: &str| {
        kind == "Unimplemented"
            || (kind == "Forbidden" && !message.contains("volume type") && !message.contains("resource quantity"))
    };
    let ours = verdicts.iter().flat_map(|verdict| &verdict.errors).any(|error| refused(&error.kind, &error.message));
    let messages = case["messages"].to_string();
    let status = messages.contains("PodStatus") || messages.contains("no kind ");
    !ours && !status && case["stage"] != "name" && case["manifest"]["kind"] != "PodList"
}

#[test]
fn verdicts_agree_with_kubernetes_where_only_carried_out_fields_are_used() {
    let path = std::env::var("GATEPOST_VALIDATION_CASES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/validation.jsonl").to_owned());
    let agreement = compare(&std::fs::read_to_string(path).expect("the judged cases"));
    let Agreement { comparable, same_verdict, same_fields, differing } = agreement;
    let summary =
        format!("{comparable} comparable, {same_verdict} with the same verdict, {same_fields} with the same words");
    assert_eq!(same_verdict, comparable, "{summary}\n{}", differing.join("\n"));
    assert_eq!(same_fields, comparable, "{summary}\n{}", differing.join("\n"));
}
