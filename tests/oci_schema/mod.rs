//! [`problems`]: whether a bundle's configuration is valid by the OCI runtime specification's own JSON schema, which lies unchanged in
//! `tests/data/oci/schema`. Knows the keywords that those files use, and panics at any other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// What is wrong with the configuration, each with its place.
pub fn problems(config: &Value) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oci/schema");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), serde_json::from_slice(&text).unwrap());
    }
    let schema = Schema { files };
    let mut found = Vec::new();
    let root = &schema.files["config-schema.json"];
    schema.check("config-schema.json", root, config, "", &mut found);
    found
}

struct Schema {
    files: BTreeMap<String, Value>,
}

impl Schema {
    fn check(&self, file: &str, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let rules = rule.as_object().unwrap_or_else(|| panic!("{file}: {rule} is no schema"));
        for (keyword, rule) in rules {
            match keyword.as_str() {
                "$ref" => {
                    let (other, pointer) = rule.as_str().unwrap().split_once('#').unwrap();
                    let other = if other.is_empty() { file } else { other };
                    let target = self.files[other].pointer(pointer).unwrap_or_else(|| panic!("{file}: no {rule}"));
                    self.check(other, target, value, at, found);
                    return self.rest(file, rules, value, at, found);
                }
                "type" if !rule.as_str().is_some_and(|kind| is_a(value, kind)) => {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    found.push(format!("{at}: {value} is none of {rule}"));
                }
                "minimum" if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) => {
                    found.push(format!("{at}: {value} < {rule}"));
                }
                "maximum" if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) => {
                    found.push(format!("{at}: {value} > {rule}"));
                }
                "minItems" if value.as_array().is_some_and(|list| (list.len() as u64) < rule.as_u64().unwrap()) => {
                    found.push(format!("{at}: {value} has fewer than {rule} items"));
                }
                "pattern" if value.as_str().is_some_and(|text| !matches(rule.as_str().unwrap(), text)) => {
                    found.push(format!("{at}: {value} is not like {rule}"));
                }
                "required" if value.is_object() => {
                    for name in rule.as_array().unwrap() {
                        if value.get(name.as_str().unwrap()).is_none() {
                            found.push(format!("{at}: {name} is missing"));
                        }
                    }
                }
                "properties" => {
                    for (name, rule) in rule.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(file, rule, value, &format!("{at}/{name}"), found);
                        }
                    }
                }
                "patternProperties" => {
                    let (pattern, rule) = rule.as_object().unwrap().iter().next().unwrap();
                    assert_eq!(pattern, ".{1,}");
                    for (name, value) in value.as_object().into_iter().flatten() {
                        self.check(file, rule, value, &format!("{at}/{name}"), found);
                    }
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(file, rule, value, &format!("{at}/{index}"), found);
                    }
                }
                "allOf" => rule.as_array().unwrap().iter().for_each(|rule| self.check(file, rule, value, at, found)),
                "anyOf" => {
                    let of_each: Vec<Vec<String>> = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|rule| {
                            let mut found = Vec::new();
                            self.check(file, rule, value, at, &mut found);
                            found
                        })
                        .collect();
                    if !of_each.iter().any(Vec::is_empty) {
                        found.extend(of_each.into_iter().flatten());
                    }
                }
                "type" | "enum" | "minimum" | "maximum" | "minItems" | "pattern" | "required" | "description"
                | "definitions" | "$schema" => {}
                "additionalProperties" if rule == true => {}
                other => panic!("{file}: the schema uses {other}, which this test does not know"),
            }
        }
    }

    /// What stands beside a `$ref`.
    fn rest(
        &self,
        file: &str,
        rules: &serde_json::Map<String, Value>,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) {
        let others: serde_json::Map<String, Value> =
            rules.iter().filter(|(keyword, _)| *keyword != "$ref").map(|(k, v)| (k.clone(), v.clone())).collect();
        self.check(file, &Value::Object(others), value, at, found);
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

/// The few patterns there are.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[cbup]$" => matches!(text, "c" | "b" | "u" | "p"),
        "^RLIMIT_[A-Z]+$" => text
            .strip_prefix("RLIMIT_")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase())),
        "^[1-9][0-9]*[KMG]B$" => {
            let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
            number.is_some_and(|n| !n.starts_with('0') && !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }
        "^MB:[^\\n]*$" => text.starts_with("MB:") && !text.contains('\n'),
        other => panic!("no pattern {other}"),
    }
}
