//! JSON within a text, read and refused as Kubernetes does: [`object`], [`tolerations`]. Its errors are those of Go's reader.

use serde_json::{Map, Value as Json};

use crate::json;

/// The fields of a toleration and the type that an error names.
const TOLERATION: [(&str, &str, &str); 5] = [
    ("key", "Key", "string"),
    ("operator", "Operator", "core.TolerationOperator"),
    ("value", "Value", "string"),
    ("effect", "Effect", "core.TaintEffect"),
    ("tolerationSeconds", "TolerationSeconds", "int64"),
];

/// Says what keeps the text from being an object. `null` is one.
pub(super) fn object(text: &[u8]) -> Result<(), String> {
    match read(text)? {
        Json::Object(_) | Json::Null => Ok(()),
        other => Err(mismatch(&other, "value of type map[string]interface {}")),
    }
}

/// A list of tolerations, by the names that the API gives their fields.
pub(super) fn tolerations(text: &[u8]) -> Result<Json, String> {
    let list = match read(text)? {
        Json::Array(list) => list,
        Json::Null => Vec::new(),
        other => return Err(mismatch(&other, "value of type []core.Toleration")),
    };
    list.into_iter().map(toleration).collect()
}

fn toleration(item: Json) -> Result<Json, String> {
    let fields = match item {
        Json::Object(fields) => fields,
        Json::Null => Map::new(),
        other => return Err(mismatch(&other, "value of type core.Toleration")),
    };
    let mut found = Map::new();
    for (name, value) in fields {
        // Go takes a name in any letter case.
        let field = TOLERATION.iter().find(|(known, ..)| known.eq_ignore_ascii_case(&name));
        let Some((known, shown, kind)) = field.filter(|_| !value.is_null()) else { continue };
        let fits = if *kind == "int64" { value.as_i64().is_some() } else { value.is_string() };
        if !fits {
            return Err(mismatch(&value, &format!("struct field Toleration.{shown} of type {kind}")));
        }
        found.insert((*known).to_owned(), value);
    }
    Ok(Json::Object(found))
}

fn read(text: &[u8]) -> Result<Json, String> {
    let first = String::from_utf8_lossy(text).chars().find(|letter| !" \t\r\n".contains(*letter));
    match first {
        None => return Err("unexpected end of JSON input".to_owned()),
        Some(letter) if !"{[\"-0123456789tfn".contains(letter) => {
            return Err(format!("invalid character {letter:?} looking for beginning of value"));
        }
        Some(_) => {}
    }
    json::from_slice(text).map_err(|error| error.to_string())
}

fn mismatch(value: &Json, place: &str) -> String {
    let kind = match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go {place}")
}
