//! [`Error`]: why a document does not fit its type.

use serde_json::Value;

/// Why a document does not fit its type: the path of the field, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    path: String,
    what: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.path.is_empty() {
            f.write_str(&self.0.path)?;
            f.write_str(": ")?;
        }
        f.write_str(&self.0.what)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

impl Error {
    #[cold]
    #[inline(never)]
    pub(super) fn new(what: String) -> Self {
        Self(Box::new(Inner { path: String::new(), what }))
    }

    /// A value that is not what is expected there.
    #[cold]
    #[inline(never)]
    pub(super) fn unexpected(value: &Value, expected: &str) -> Self {
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => format!("boolean `{value}`"),
            Value::Number(number) => format!("number `{number}`"),
            Value::String(text) => format!("string {text:?}"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        Self::new(["invalid value: ", &found, ", expected ", expected].concat())
    }

    /// The error, met one step further in.
    #[cold]
    #[inline(never)]
    pub(super) fn within(mut self, step: &str) -> Self {
        let dot = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = [step, dot, &self.0.path].concat();
        self
    }
}
