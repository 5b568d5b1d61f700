//! Documents as people write them: YAML and JSON as a tree with positions ([`Node`]), the field table ([`Object`])
//! that decodes it, and the two forms of text that all tables share: [`Quantity`] and [`duration`].

pub mod base64;
mod decode;
mod duration;
mod json;
mod quantity;
mod scalar;
mod table;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

pub use decode::{Decoded, Finding, FindingKind, decode};
pub use duration::duration;
pub use quantity::{Quantity, QuantityError};
pub use table::{Field, Format, Kind, Object, Treat, carried, fetched, nearest, quiet, refused, warned};
pub use tree::{Entry, Node, Value, canonical_json};

/// Largest file that is read, in bytes. kubelet: 10 MiB a manifest file.
pub const MAX_FILE_BYTES: usize = 10 << 20;
/// Deepest nesting of lists and maps. The deepest field of the Pod API lies 14 deep.
pub const MAX_DEPTH: usize = 64;
/// Most values in one file, those that aliases repeat included.
pub const MAX_NODES: usize = 300_000;
/// Most bytes of text that aliases may repeat in one file.
pub const MAX_ALIAS_BYTES: usize = 10 << 20;

/// A file's documents in order, and what was odd but readable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    /// The documents; empty ones are left out.
    pub documents: Vec<Node>,
    /// Repeated keys.
    pub warnings: Vec<Oddity>,
}

/// Something odd in an otherwise readable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// Line, from 1.
    pub line: u32,
    /// Which document of the file, from 0.
    pub document: usize,
    /// What is odd.
    pub message: String,
}

/// The file cannot be read as a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}; {remedy}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl SyntaxError {
    fn new(line: u32, column: u32, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, column, what: what.into(), remedy: remedy.into() }
    }
}

/// Reads a file's bytes: JSON when the text looks like it, YAML otherwise.
pub fn parse(bytes: &[u8]) -> Result<Documents, SyntaxError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SyntaxError::new(
            1,
            1,
            format!("the file has {} bytes, the limit is {MAX_FILE_BYTES}", bytes.len()),
            "split it into several files",
        ));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(bytes, error.valid_up_to());
        SyntaxError::new(
            line,
            column,
            "this is not text in UTF-8",
            "save the file as UTF-8, or take it out of the directory",
        )
    })?;
    if is_json(text) { json::parse(text) } else { yaml::parse(text) }
}

/// Whether it begins with `{` or `[` (kubelet decides by the same look) and is not YAML whose first document is in flow style:
/// that has words without quotes, or further documents behind `---`.
fn is_json(text: &str) -> bool {
    let first = text.trim_start_matches(['{', '[', ' ', '\t', '\r', '\n']).chars().next();
    text.trim_start().starts_with(['{', '['])
        && first.is_none_or(|first| first.is_ascii_digit() || "\"}]-".contains(first))
        && !text.lines().any(|line| line.starts_with("---"))
}

/// Line and column, from 1, of a byte offset.
fn position(bytes: &[u8], offset: usize) -> (u32, u32) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line = before.split(|byte| *byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (saturate(line), saturate(column))
}

fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Keeps a generated file of the repository equal to its generator; `GATEPOST_WRITE_DOCS=1` writes it anew.
#[cfg(test)]
#[allow(clippy::expect_used)]
pub(crate) fn assert_file_equals(path: &str, expected: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("GATEPOST_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("the directory");
        std::fs::write(&path, expected).expect("written");
    }
    let actual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(actual == expected, "{} is out of date: run the tests with GATEPOST_WRITE_DOCS=1", path.display());
}
