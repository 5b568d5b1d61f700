//! [`decode`]: a tree against its field table. Finds everything that is wrong in one pass and gives back checked JSON.

use serde_json::{Map, Value as Json};

use super::table::nearest;
use super::{Field, Kind, Node, Object, Treat, Value, canonical_json};

/// Most findings kept of one document; a file of garbage must not become a report of its size.
const MAX_FINDINGS: usize = 200;

/// Checked JSON and all that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Known fields only, each of its kind, those that are refused as well. Nulls are left out.
    pub value: Json,
    /// Errors and warnings in the order of the document.
    pub findings: Vec<Finding>,
}

/// Something found at a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path of the field, as Kubernetes writes it.
    pub field: String,
    /// Line, from 1.
    pub line: u32,
    /// Which sort of finding.
    pub kind: FindingKind,
    /// The value as JSON, for wrong types.
    pub value: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Sorts of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// The value is of another kind than the field. An error.
    WrongType,
    /// No such field. A warning; an error to a strict reader.
    Unknown,
    /// Refused for good. An error.
    Refused,
    /// Not carried out by this version. An error.
    Later,
    /// Carried out where `gatepost-fetch` is installed; an error where it is not.
    Fetched,
    /// Accepted without effect. A warning.
    NoEffect,
    /// There was more than fits. An error.
    TooMany,
}

const NO_FETCH: &str = "needs the program gatepost-fetch, which is not installed; put it beside gatepost, or name it with the \
                        setting fetchBinary";

/// Decodes a document by its table.
pub fn decode(node: &Node, object: &Object) -> Decoded {
    let mut decoder = Decoder { path: String::new(), findings: Vec::new(), left_out: 0 };
    let value = decoder.object(node, object, true).unwrap_or_else(|| Json::Object(Map::new()));
    if decoder.left_out > 0 {
        decoder.findings.push(Finding {
            field: String::new(),
            line: node.line,
            kind: FindingKind::TooMany,
            value: None,
            message: format!("{} more findings are not shown; correct these first", decoder.left_out),
        });
    }
    Decoded { value, findings: decoder.findings }
}

struct Decoder {
    path: String,
    findings: Vec<Finding>,
    left_out: usize,
}

impl Decoder {
    fn find(&mut self, line: u32, kind: FindingKind, value: Option<String>, message: String) {
        if self.findings.len() >= MAX_FINDINGS {
            self.left_out += 1;
            return;
        }
        self.findings.push(Finding { field: self.path.clone(), line, kind, value, message });
    }

    fn wrong_type(&mut self, node: &Node, kind: &Kind) {
        let hint = match (kind, &node.value) {
            (Kind::String | Kind::Text(_), Value::Bool(_)) => {
                " (unquoted yes, no, on, off, y and n are booleans in YAML): put it in quotes"
            }
            (Kind::String | Kind::Text(_), Value::Number(_)) => ": put it in quotes",
            (Kind::Bool | Kind::Int32 | Kind::Int64, Value::String(_)) => ": write it without quotes",
            (Kind::List(_), Value::Map(_)) => ": begin each item with a dash",
            _ => "",
        };
        let message = format!("expected {}, found {}{hint}", kind.described(), node.described());
        self.find(node.line, FindingKind::WrongType, Some(excerpt(node)), message);
    }

    /// Decodes within a deeper path.
    fn within<T>(&mut self, step: std::fmt::Arguments<'_>, work: impl FnOnce(&mut Self) -> T) -> T {
        use std::fmt::Write as _;
        let length = self.path.len();
        // Writing to a String cannot fail.
        let _ = self.path.write_fmt(step);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    /// `judged`: whether the treatment of fields is reported; below a field that is refused or warned about it is not.
    fn object(&mut self, node: &Node, object: &Object, judged: bool) -> Option<Json> {
        let Value::Map(entries) = &node.value else {
            if !self.path.is_empty() || node.value != Value::Null {
                let message = format!("expected an object {}, found {}", object.name, node.described());
                self.find(node.line, FindingKind::WrongType, Some(excerpt(node)), message);
            }
            return None;
        };
        let mut out = Map::new();
        for entry in entries {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.within(format_args!("{dot}{}", entry.key), |this| {
                let Some(field) = object.fields.iter().find(|field| field.name == entry.key) else {
                    let names = object.fields.iter().map(|field| field.name);
                    let hint =
                        nearest(&entry.key, names).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
                    this.find(
                        entry.line,
                        FindingKind::Unknown,
                        None,
                        format!("unknown field of {}{hint}", object.name),
                    );
                    return;
                };
                if let Some(value) = this.field(&entry.node, entry.line, field, judged) {
                    out.insert(entry.key.clone(), value);
                }
            });
        }
        Some(Json::Object(out))
    }

    fn field(&mut self, node: &Node, line: u32, field: &Field, judged: bool) -> Option<Json> {
        if node.value == Value::Null {
            return None;
        }
        let verdict = match field.treat() {
            Treat::Carried | Treat::Quiet(_) => None,
            _ if !judged || is_neutral(node, field) => None,
            Treat::Warned(why) => Some((FindingKind::NoEffect, why)),
            Treat::Refused(why) => Some((FindingKind::Refused, why)),
            Treat::Later => Some((FindingKind::Later, "not carried out by this version; remove the field")),
            Treat::Fetched => Some((FindingKind::Fetched, NO_FETCH)),
        };
        if let Some((kind, why)) = verdict {
            self.find(line, kind, None, why.to_owned());
        }
        self.value(node, &field.kind, judged && matches!(field.treat(), Treat::Carried | Treat::Fetched))
    }

    fn value(&mut self, node: &Node, kind: &Kind, judged: bool) -> Option<Json> {
        match (kind, &node.value) {
            (Kind::Object(object), _) => self.object(node, object, judged),
            (Kind::Any, _) => Some(node.to_json()),
            (Kind::OneOrList(item), value) if !matches!(value, Value::List(_)) => {
                self.value(node, item, judged).map(|value| Json::Array(vec![value]))
            }
            (Kind::List(item) | Kind::OneOrList(item), Value::List(nodes)) => {
                let mut items = Vec::with_capacity(nodes.len());
                for (index, node) in nodes.iter().enumerate() {
                    let value = self.within(format_args!("[{index}]"), |this| this.item(node, item, judged));
                    // A wrong item is already an error; the place is kept so that later paths still count right.
                    items.push(value.unwrap_or_else(|| zero(item)));
                }
                Some(Json::Array(items))
            }
            (Kind::Map(item), Value::Map(entries)) => {
                let mut map = Map::new();
                for entry in entries {
                    let value =
                        self.within(format_args!("[{}]", entry.key), |this| this.item(&entry.node, item, judged));
                    map.insert(entry.key.clone(), value.unwrap_or_else(|| zero(item)));
                }
                Some(Json::Object(map))
            }
            _ => self.scalar(node, kind),
        }
    }

    /// An item of a list or map: null stands for the kind's zero value, as in Kubernetes.
    fn item(&mut self, node: &Node, kind: &Kind, judged: bool) -> Option<Json> {
        if node.value == Value::Null { Some(zero(kind)) } else { self.value(node, kind, judged) }
    }

    fn scalar(&mut self, node: &Node, kind: &Kind) -> Option<Json> {
        match (kind, &node.value) {
            (Kind::String | Kind::IntOrString, Value::String(text)) => Some(Json::from(text.as_str())),
            (Kind::Bool, Value::Bool(value)) => Some(Json::from(*value)),
            (Kind::Int64, Value::Number(number)) if number.is_i64() => Some(Json::Number(number.clone())),
            (Kind::Int32 | Kind::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|value| i32::try_from(value).is_ok()) =>
            {
                Some(Json::Number(number.clone()))
            }
            (Kind::Int32 | Kind::Int64 | Kind::IntOrString, Value::Number(_)) => {
                let message = format!("expected {}; the number has a fraction or is out of range", kind.described());
                self.find(node.line, FindingKind::WrongType, Some(excerpt(node)), message);
                None
            }
            (Kind::Text(format), Value::String(text)) => self.formatted(node, format, text.clone()),
            (Kind::Text(format), Value::Number(number)) if format.numbers => {
                self.formatted(node, format, number.to_string())
            }
            _ => {
                self.wrong_type(node, kind);
                None
            }
        }
    }

    fn formatted(&mut self, node: &Node, format: &super::Format, text: String) -> Option<Json> {
        match (format.check)(&text) {
            Ok(()) => Some(Json::from(text)),
            Err(message) => {
                self.find(node.line, FindingKind::WrongType, Some(excerpt(node)), message);
                None
            }
        }
    }
}

fn is_neutral(node: &Node, field: &Field) -> bool {
    match (&node.value, &field.kind) {
        (Value::List(items), _) if items.is_empty() => true,
        (Value::Map(entries), Kind::Map(_)) if entries.is_empty() => true,
        (Value::String(text), _) if text.is_empty() => true,
        (Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {
            field.neutral().contains(&canonical_json(&node.to_json()).as_str())
        }
        (Value::Map(entries), _) if entries.len() <= 2 => {
            field.neutral().contains(&canonical_json(&node.to_json()).as_str())
        }
        _ => false,
    }
}

fn zero(kind: &Kind) -> Json {
    match kind {
        // An amount of nothing.
        Kind::Text(format) if format.numbers => Json::from("0"),
        Kind::String | Kind::Text(_) => Json::from(""),
        Kind::Bool => Json::from(false),
        Kind::Int32 | Kind::Int64 | Kind::IntOrString => Json::from(0),
        Kind::List(_) | Kind::OneOrList(_) => Json::Array(Vec::new()),
        Kind::Map(_) | Kind::Object(_) => Json::Object(Map::new()),
        Kind::Any => Json::Null,
    }
}

/// The value as JSON, short enough for a message.
fn excerpt(node: &Node) -> String {
    const LONGEST: usize = 80;
    match &node.value {
        Value::List(items) if items.len() > 4 => return format!("a list of {}", items.len()),
        Value::Map(_) => return "{…}".to_owned(),
        Value::List(_) => return "[…]".to_owned(),
        _ => {}
    }
    let text = canonical_json(&node.to_json());
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
