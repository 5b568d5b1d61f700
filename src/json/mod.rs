//! [`from_slice`] and [`to_vec`]: JSON of our own types, made for little code.
//!
//! A type reads itself out of a [`Value`] ([`Deserialize`]) and writes itself as text ([`Serialize`]), field after field through
//! `dyn`: a field costs a call each way, whatever its type. Both are derived (`derive/`), with serde's attributes. What reads
//! stands in [`read`](mod@read) and [`content`], what writes in [`write`](mod@write), the grammar in [`text`].

mod content;
mod error;
mod read;
mod text;
mod write;

pub use content::Content;
pub use error::Error;
pub use gatepost_derive::{Deserialize, Serialize};
pub use read::{Deserialize, Fields, read_tuple};
pub use serde_json::Value;
pub use text::{float, value_of};
pub use write::{Serialize, Writer};

/// Reads one document.
pub fn from_slice<T: Deserialize>(text: &[u8]) -> Result<T, Error> {
    from_value(value_of(text)?)
}

/// As [`from_slice`].
pub fn from_str<T: Deserialize>(text: &str) -> Result<T, Error> {
    from_slice(text.as_bytes())
}

/// Makes a value of a type from a document read already.
pub fn from_value<T: Deserialize>(value: Value) -> Result<T, Error> {
    let mut made = T::blank();
    made.read(value)?;
    Ok(made)
}

/// Writes one document, without line breaks. Only a path that is not UTF-8 cannot be written.
pub fn to_vec(value: &dyn Serialize) -> Result<Vec<u8>, Error> {
    let mut out = Writer::default();
    value.write(&mut out);
    out.end()
}

/// As [`to_vec`], as text.
pub fn to_string(value: &dyn Serialize) -> Result<String, Error> {
    to_vec(value).and_then(|text| String::from_utf8(text).map_err(|_| Error::new("not UTF-8".to_owned())))
}

/// A value of a type as a document.
pub fn to_value(value: &dyn Serialize) -> Result<Value, Error> {
    value_of(&to_vec(value)?)
}

#[cfg(test)]
mod tests;
