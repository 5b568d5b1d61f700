//! [`ValidationError`]: what is wrong with an object, in the grammar and words of Kubernetes.

use std::fmt;

use super::quote::quoted;
use crate::json::{Deserialize, Serialize};

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationError {
    /// Which sort of error.
    pub kind: ErrorKind,
    /// Path of the field, as Kubernetes writes it (`spec.containers[0].image`).
    pub field: String,
    /// The value as printed (strings quoted), where the sort shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is expected, or what to do.
    pub detail: String,
    /// Line in the file, from 1; 0 when unknown.
    pub line: u32,
}

/// Sorts of validation errors. apimachinery: util/validation/field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A field that must be set is not.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is none of the known ones.
    NotSupported,
    /// The value is there twice.
    Duplicate,
    /// The value names something that is not there.
    NotFound,
    /// The field may not be set like this.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// There are too many items.
    TooMany,
    /// The value is of another type than the field.
    TypeInvalid,
    /// Valid in Kubernetes, but not carried out by this version.
    Unimplemented,
}

impl ErrorKind {
    /// The words of the sort in a message.
    pub fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::TypeInvalid => "Invalid type",
            Self::Unimplemented => "Not carried out",
        }
    }
}

impl ValidationError {
    /// The message without the field: `<words>[: <value>][: <detail>]`.
    pub fn message(&self) -> String {
        let mut text = self.kind.words().to_owned();
        for part in [self.value.as_deref().unwrap_or_default(), &self.detail] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        text
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message())
    }
}

impl std::error::Error for ValidationError {}

/// Errors being collected; lines are filled in at the end, from the tree.
#[derive(Debug, Default)]
pub(super) struct Errors {
    pub(super) list: Vec<ValidationError>,
}

/// Most errors kept of one object.
const MAX_ERRORS: usize = 200;

impl Errors {
    pub(super) fn add(&mut self, kind: ErrorKind, field: &str, value: Option<String>, detail: impl Into<String>) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(ValidationError { kind, field: field.to_owned(), value, detail: detail.into(), line: 0 });
        }
    }

    pub(super) fn required(&mut self, field: &str, detail: &str) {
        self.add(ErrorKind::Required, field, None, detail);
    }

    pub(super) fn forbidden(&mut self, field: &str, detail: &str) {
        self.add(ErrorKind::Forbidden, field, None, detail);
    }

    pub(super) fn later(&mut self, field: &str, detail: &str) {
        self.add(ErrorKind::Unimplemented, field, None, detail);
    }

    pub(super) fn invalid(&mut self, field: &str, value: impl Into<serde_json::Value>, detail: impl Into<String>) {
        let value = value.into();
        self.add(ErrorKind::Invalid, field, Some(value.as_str().map_or_else(|| value.to_string(), quoted)), detail);
    }

    pub(super) fn duplicate(&mut self, field: &str, value: &str) {
        self.add(ErrorKind::Duplicate, field, Some(quoted(value)), "");
    }

    pub(super) fn not_found(&mut self, field: &str, value: &str) {
        self.add(ErrorKind::NotFound, field, Some(quoted(value)), "");
    }

    pub(super) fn unsupported(&mut self, field: &str, value: &str, known: &[&str]) {
        let known: Vec<_> = known.iter().map(|word| quoted(word)).collect();
        let detail = format!("supported values: {}", known.join(", "));
        self.add(ErrorKind::NotSupported, field, Some(quoted(value)), detail);
    }

    /// Adds an error unless the value is one of the known ones.
    pub(super) fn one_of(&mut self, field: &str, value: &str, known: &[&str]) {
        if !known.contains(&value) {
            self.unsupported(field, value, known);
        }
    }
}
