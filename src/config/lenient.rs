//! [`lenient`]: a configuration for a node that must boot: what cannot be used is told and left out, all else counts.

use std::path::Path;

use super::read::{Reading, file_bytes};
use super::{Config, ConfigError};
use crate::document::{self, Node, Value};

/// Reads a configuration file key by key. A key that is wrong by itself, or that does not go together with those before it, has
/// its default, and is told. So it is with each of the `overrides` ([`super::parse`]) after it. A file that is missing is told too;
/// without `path` there is none to read.
pub fn lenient(path: Option<&Path>, overrides: &[String]) -> (Config, Vec<String>) {
    let mut problems = Vec::new();
    let mut accepted = Reading::default();
    if let Some(path) = path {
        let file = path.display().to_string();
        let parsed = file_bytes(path).and_then(|bytes| {
            document::parse(&bytes).map_err(|error| ConfigError { problems: vec![format!("{file}: {error}")] })
        });
        match parsed {
            Ok(parsed) => {
                problems.extend(parsed.warnings.iter().map(|odd| format!("{file}:{}: {}", odd.line, odd.message)));
                for key in parsed.documents.first().into_iter().flat_map(single_keys) {
                    accepted =
                        with(accepted, &mut problems, |reading| reading.take(&key, |line| format!("{file}:{line}")));
                }
            }
            Err(error) => problems.extend(error.problems),
        }
    }
    for text in overrides {
        accepted = with(accepted, &mut problems, |reading| reading.take_override(text));
    }
    let mut config = Config::default();
    accepted.fill(&mut config);
    (config, problems)
}

/// What was accepted and one thing more, if they are good together.
fn with(mut accepted: Reading, problems: &mut Vec<String>, take: impl FnOnce(&mut Reading)) -> Reading {
    let mut more = accepted.clone();
    take(&mut more);
    more.fill(&mut Config::default());
    if more.problems.is_empty() {
        return more;
    }
    problems.append(&mut more.problems);
    accepted.problems.clear();
    accepted
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
