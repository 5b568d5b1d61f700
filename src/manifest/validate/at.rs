//! [`At`]: a place in a decoded document: its value and the path that leads there. Paths become text only for an error.

use std::fmt;

use serde_json::Value as Json;

use super::super::error::{ErrorKind, Errors};
use crate::document::Quantity;

static NOTHING: Json = Json::Null;

/// A value and its path. What is not there is null.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// The value.
    pub(super) json: &'a Json,
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Child(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    /// The document as a whole.
    pub(super) fn root(json: &'a Json) -> Self {
        Self { json, parent: None, step: Step::Root }
    }

    /// The same place with another value.
    pub(super) fn showing(self, json: &'a Json) -> At<'a> {
        At { json, ..self }
    }

    /// A field.
    pub(super) fn child(&'a self, name: &'a str) -> At<'a> {
        At { json: self.json.get(name).unwrap_or(&NOTHING), parent: Some(self), step: Step::Child(name) }
    }

    /// An item of a list, or the place where it would be.
    pub(super) fn index(&'a self, index: usize) -> At<'a> {
        At { json: self.json.get(index).unwrap_or(&NOTHING), parent: Some(self), step: Step::Index(index) }
    }

    /// The value of a key of a map, or the place where it would be.
    pub(super) fn key(&'a self, key: &'a str) -> At<'a> {
        At { json: self.json.get(key).unwrap_or(&NOTHING), parent: Some(self), step: Step::Key(key) }
    }

    /// A field, if it is set.
    pub(super) fn set(&'a self, name: &'a str) -> Option<At<'a>> {
        Some(self.child(name)).filter(At::is_set)
    }

    /// Whether something is there.
    pub(super) fn is_set(&self) -> bool {
        !self.json.is_null()
    }

    /// Whether it is there and neither empty, zero nor false.
    pub(super) fn is_truthy(&self) -> bool {
        match self.json {
            Json::Null => false,
            Json::Bool(value) => *value,
            Json::Number(number) => number.as_i64() != Some(0),
            Json::String(text) => !text.is_empty(),
            Json::Array(items) => !items.is_empty(),
            Json::Object(fields) => !fields.is_empty(),
        }
    }

    /// The text; empty when there is none.
    pub(super) fn text(&self) -> &'a str {
        self.json.as_str().unwrap_or_default()
    }

    /// A field's text; empty when there is none.
    pub(super) fn text_of(&self, name: &str) -> &'a str {
        self.json.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// The number; 0 when there is none.
    pub(super) fn number(&self) -> i64 {
        self.json.as_i64().unwrap_or(0)
    }

    /// A field's truth value, if it is set.
    pub(super) fn flag_of(&self, name: &str) -> Option<bool> {
        self.json.get(name).and_then(Json::as_bool)
    }

    /// The amount, if it is one.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        self.json.as_str().and_then(|text| Quantity::parse(text).ok())
    }

    /// The amount as messages show it.
    pub(super) fn amount(&self) -> String {
        self.quantity().map(|amount| amount.shown(self.text())).unwrap_or_default()
    }

    /// The items of a list.
    pub(super) fn items(&'a self) -> impl ExactSizeIterator<Item = At<'a>> + Clone {
        let items = self.json.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(at, json)| At { json, parent: Some(self), step: Step::Index(at) })
    }

    /// The texts of a list of texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.json.as_array().into_iter().flatten().filter_map(Json::as_str)
    }

    /// The entries of a map.
    pub(super) fn entries(&'a self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let entries = self.json.as_object().into_iter().flatten();
        entries.map(|(key, json)| (key.as_str(), At { json, parent: Some(self), step: Step::Key(key) }))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = self.parent.is_some_and(|parent| !matches!(parent.step, Step::Root));
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Child(name) if nested => write!(f, ".{name}"),
            Step::Child(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// The errors of apimachinery's util/validation/field, each at a place.
impl Errors {
    pub(super) fn required_at(&mut self, at: &At<'_>, detail: &str) {
        self.required(&at.to_string(), detail);
    }

    pub(super) fn forbidden_at(&mut self, at: &At<'_>, detail: &str) {
        self.forbidden(&at.to_string(), detail);
    }

    pub(super) fn later_at(&mut self, at: &At<'_>, detail: &str) {
        self.later(&at.to_string(), detail);
    }

    /// The value at the place is wrong.
    pub(super) fn invalid_at(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.invalid(&at.to_string(), at.json.clone(), detail);
    }

    /// A value is wrong that is shown for the place.
    pub(super) fn invalid_as(&mut self, at: &At<'_>, value: impl Into<Json>, detail: impl Into<String>) {
        self.invalid(&at.to_string(), value, detail);
    }

    /// One error for each message about the text at the place.
    pub(super) fn wrong(&mut self, at: &At<'_>, details: Vec<String>) {
        for detail in details {
            self.invalid_at(at, detail);
        }
    }

    /// One error for each message about a text that is shown for the place.
    pub(super) fn wrong_as(&mut self, at: &At<'_>, value: &str, details: Vec<String>) {
        for detail in details {
            self.invalid_as(at, value, detail);
        }
    }

    pub(super) fn duplicate_at(&mut self, at: &At<'_>, value: &str) {
        self.duplicate(&at.to_string(), value);
    }

    pub(super) fn not_found_at(&mut self, at: &At<'_>) {
        self.not_found(&at.to_string(), at.text());
    }

    pub(super) fn too_long_at(&mut self, at: &At<'_>, most: usize) {
        self.add(ErrorKind::TooLong, &at.to_string(), None, format!("may not be more than {most} bytes"));
    }

    pub(super) fn too_many_at(&mut self, at: &At<'_>, count: usize, most: usize) {
        let detail = format!("must have at most {most} items");
        self.add(ErrorKind::TooMany, &at.to_string(), Some(count.to_string()), detail);
    }

    /// The text must be one of these.
    pub(super) fn one_of_at(&mut self, at: &At<'_>, known: &[&str]) {
        if !known.contains(&at.text()) {
            self.unsupported(&at.to_string(), at.text(), known);
        }
    }

    /// The text, if it is set, must be one of these.
    pub(super) fn one_of_if_set(&mut self, at: &At<'_>, known: &[&str]) {
        if at.is_set() {
            self.one_of_at(at, known);
        }
    }

    /// The text must not be empty. Says whether it is not.
    pub(super) fn needs(&mut self, at: &At<'_>) -> bool {
        let present = at.is_truthy();
        if !present {
            self.required_at(at, "");
        }
        present
    }

    /// The number, if it is set, must lie within the range.
    pub(super) fn within(&mut self, at: &At<'_>, from: i64, to: i64) {
        if at.is_set() && !(from..=to).contains(&at.number()) {
            self.invalid_at(at, format!("must be between {from} and {to}, inclusive"));
        }
    }
}
