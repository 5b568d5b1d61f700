//! [`lenient`]: a configuration for a node that must boot: what cannot be used is told and left out, all else counts.

use std::path::Path;

use super::read::{Reading, file_bytes, modified};
use super::{Config, ConfigError, trust};
use crate::document::{self, Node, Value};

/// Reads a configuration file and the `overrides` ([`super::parse`]) after it. Where something is wrong, everything that is good
/// together with what is good already counts, and each key or override that is left has its default, and is told
/// ([`Config::stands_in`]). A file that is missing is told too; without `path` there is none to read.
pub fn lenient(path: Option<&Path>, overrides: &[String]) -> (Config, Vec<String>) {
    let mut problems = Vec::new();
    let mut stands_in = false;
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    if let Some(path) = path {
        let file = path.display().to_string();
        let parsed = file_bytes(path).and_then(|bytes| {
            document::parse(&bytes).map_err(|error| ConfigError { problems: vec![format!("{file}: {error}")] })
        });
        match parsed {
            Ok(parsed) => {
                problems.extend(parsed.warnings.iter().map(|odd| format!("{file}:{}: {}", odd.line, odd.message)));
                let keys = parsed.documents.first().into_iter().flat_map(single_keys);
                pieces.extend(keys.map(|key| Piece::Key(file.clone(), key)));
            }
            Err(error) => {
                problems.extend(error.problems);
                stands_in = true;
            }
        }
    }
    pieces.extend(overrides.iter().map(|text| Piece::Override(text)));
    let mut accepted = Reading::default();
    // Keys may be good only together with later ones: so again, as long as that brings anything.
    loop {
        let before = pieces.len();
        let mut refused = Vec::new();
        let mut wrong = Vec::new();
        for piece in pieces {
            let mut more = accepted.clone();
            piece.read_into(&mut more);
            more.fill(&mut Config::default());
            if more.problems.is_empty() {
                accepted = more;
            } else {
                wrong.append(&mut more.problems);
                refused.push(piece);
            }
        }
        pieces = refused;
        if pieces.is_empty() || pieces.len() == before {
            problems.append(&mut wrong);
            break;
        }
    }
    stands_in |= !pieces.is_empty();
    let mut config = Config { modified: path.map_or(0, modified), stands_in, ..Config::default() };
    accepted.fill(&mut config);
    for setting in trust::KEYS {
        if pieces.iter().any(|piece| piece.sets(setting)) {
            config.trust_nothing(setting);
        }
    }
    (config, problems)
}

/// What is good or wrong as a whole.
enum Piece<'a> {
    /// A key of the file with its value, and the file's name.
    Key(String, Node),
    /// A setting from outside.
    Override(&'a str),
}

impl Piece<'_> {
    fn sets(&self, setting: &str) -> bool {
        match self {
            Self::Key(_, node) => node.get(setting).is_some(),
            Self::Override(text) => text.starts_with(setting),
        }
    }

    fn read_into(&self, reading: &mut Reading) {
        match self {
            Self::Key(file, node) => reading.take(node, |line| format!("{file}:{line}")),
            Self::Override(text) => reading.take_override(text),
        }
    }
}

/// A document for each key of a document. What is no map stays whole, and is refused as that.
fn single_keys(node: &Node) -> Vec<Node> {
    match &node.value {
        Value::Map(entries) => {
            let single = |entry: &document::Entry| Node { value: Value::Map(vec![entry.clone()]), ..node.clone() };
            entries.iter().map(single).collect()
        }
        _ => vec![node.clone()],
    }
}
