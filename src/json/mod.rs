//! [`from_slice`] and [`to_vec`]: JSON of our own types, every document through one decoder and one encoder.
//!
//! serde makes a copy of each type's parser for each source it is read from. Text is therefore read into a [`Value`] first,
//! and every type is made from that ([`decode`]), which costs some allocations and saves much of the binary's code.

mod decode;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a document does not fit its type: the path of the field, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    path: String,
    what: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            f.write_str(&self.path)?;
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
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
    fn new(what: String) -> Self {
        Self { path: String::new(), what }
    }

    #[cold]
    #[inline(never)]
    fn within(self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: [step, dot, &self.path].concat(), what: self.what }
    }
}

/// Reads one document.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    from_value(value_of(text)?)
}

/// Makes a value of a type from a document read already.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(decode::Decoder(value))
}

/// Writes one document, without line breaks.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::new(error.to_string()))
}

/// As [`to_vec`], as text.
pub fn to_string(value: &impl Serialize) -> Result<String, Error> {
    to_vec(value).and_then(|text| String::from_utf8(text).map_err(|error| Error::new(error.to_string())))
}

/// A value of a type as a document.
pub fn to_value(value: &impl Serialize) -> Result<Value, Error> {
    value_of(&to_vec(value)?)
}

#[inline(never)]
fn value_of(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(text).map_err(|error| Error::new(error.to_string()))
}

#[cfg(test)]
mod tests;
