//! What a v1 Event says: when it was seen, how often, about what.

use serde_json::Value;

use super::age;
use super::view::{int, text};

/// Oldest first.
pub(crate) fn sort(events: &mut [Value]) {
    events.sort_by_key(|event| (age::parse(last(event)), age::parse(first(event))));
}

/// When it was last seen.
pub(crate) fn last(event: &Value) -> &str {
    or(text(event, "/lastTimestamp"), or(text(event, "/series/lastObservedTime"), text(event, "/eventTime")))
}

/// When it was first seen.
pub(crate) fn first(event: &Value) -> &str {
    or(text(event, "/firstTimestamp"), text(event, "/eventTime"))
}

/// How often it was seen; at least once.
pub(crate) fn count(event: &Value) -> i64 {
    int(event, "/count").max(int(event, "/series/count")).max(1)
}

/// The component that tells it.
pub(crate) fn source(event: &Value) -> &str {
    or(text(event, "/source/component"), text(event, "/reportingComponent"))
}

/// One line: the table's cells hold no line feeds.
pub(crate) fn message(event: &Value) -> String {
    let message = text(event, "/message").trim();
    match message.split_once('\n') {
        Some((line, _)) => format!("{}...", line.replace('\t', " ")),
        None => message.replace('\t', " "),
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
