//! [`EventLog`]: the newest events for people (`get events`), bounded, identical ones merged.

use std::collections::VecDeque;

use super::event::Recorded;
use super::status::rfc3339;
use super::time::Wall;
use crate::json::{Deserialize, Serialize};

/// The newest events, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLog {
    version: u32,
    entries: VecDeque<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    what: Recorded,
    count: u32,
    first: Wall,
    last: Wall,
}

impl EventLog {
    /// The format this program writes.
    pub const VERSION: u32 = 1;
    /// How many different events are kept.
    pub const CAPACITY: usize = 512;

    /// An empty log.
    pub fn new() -> Self {
        Self { version: Self::VERSION, entries: VecDeque::new() }
    }

    /// Notes an event. One that is like an earlier one in everything but the time raises that one's count.
    pub fn record(&mut self, what: Recorded, now: Wall) {
        let known = self.entries.iter().position(|entry| entry.what == what);
        let entry = match known.and_then(|at| self.entries.remove(at)) {
            Some(entry) => Entry { count: entry.count.saturating_add(1), last: now, ..entry },
            None => Entry { what, count: 1, first: now, last: now },
        };
        if self.entries.len() >= Self::CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The one recorded last.
    pub fn newest(&self) -> Option<EventObject> {
        self.entries.back().map(EventObject::of)
    }

    /// All as v1 objects, the newest last.
    pub fn objects(&self) -> impl Iterator<Item = EventObject> {
        self.entries.iter().map(EventObject::of)
    }
}

/// A v1 Event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventObject {
    /// `v1`.
    pub api_version: String,
    /// `Event`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: EventMeta,
    /// What it is about.
    pub involved_object: InvolvedObject,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// For example `BackOff`.
    pub reason: String,
    /// Text.
    pub message: String,
    /// Who says so.
    pub source: EventSource,
    /// How often it happened.
    pub count: u32,
    /// RFC 3339.
    pub first_timestamp: String,
    /// RFC 3339.
    pub last_timestamp: String,
}

/// Metadata of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMeta {
    /// `<object>.<number>`; the number is the first time in hexadecimal nanoseconds, as kubelet's.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvolvedObject {
    /// `v1`.
    pub api_version: String,
    /// `Pod`, or `Node`.
    pub kind: String,
    /// Namespace; empty for a node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Full name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// For example `spec.containers{app}`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

/// Who says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventSource {
    /// `gatepost`.
    pub component: String,
}

impl EventObject {
    fn of(entry: &Entry) -> Self {
        let what = &entry.what;
        // Nodes lie in no namespace; kubelet puts their events into `default`.
        let (kind, events_namespace) =
            if what.namespace.is_empty() { ("Node", "default") } else { ("Pod", what.namespace.as_str()) };
        let nanos = entry.first.0.saturating_mul(1_000_000);
        Self {
            api_version: "v1".to_owned(),
            kind: "Event".to_owned(),
            metadata: EventMeta { name: format!("{}.{nanos:x}", what.name), namespace: events_namespace.to_owned() },
            involved_object: InvolvedObject {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                namespace: what.namespace.clone(),
                name: what.name.clone(),
                uid: what.pod.to_string(),
                field_path: what.field_path.clone(),
            },
            event_type: if what.warning { "Warning" } else { "Normal" }.to_owned(),
            reason: what.reason.clone(),
            message: what.message.clone(),
            source: EventSource { component: "gatepost".to_owned() },
            count: entry.count,
            first_timestamp: rfc3339(entry.first),
            last_timestamp: rfc3339(entry.last),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    fn event(reason: &str) -> Recorded {
        Recorded {
            pod: "u".into(),
            namespace: "default".into(),
            name: "web".into(),
            field_path: "spec.containers{app}".into(),
            warning: true,
            reason: reason.into(),
            message: "m".into(),
        }
    }

    #[test]
    fn identical_events_are_merged_with_first_and_last_time() {
        let mut log = EventLog::new();
        log.record(event("BackOff"), Wall(1_000));
        log.record(event("Failed"), Wall(2_000));
        log.record(event("BackOff"), Wall(3_000));
        let objects: Vec<_> = log.objects().collect();
        assert_eq!(objects.len(), 2);
        assert_eq!((objects[1].reason.as_str(), objects[1].count), ("BackOff", 2));
        assert_eq!(objects[1].first_timestamp, "1970-01-01T00:00:01Z");
        assert_eq!(objects[1].last_timestamp, "1970-01-01T00:00:03Z");
        assert_eq!(objects[1].event_type, "Warning");
    }

    #[test]
    fn the_log_is_bounded_and_loses_the_oldest() {
        let mut log = EventLog::new();
        for n in 0..600 {
            log.record(event(&format!("R{n}")), Wall(n));
        }
        assert_eq!(log.objects().count(), EventLog::CAPACITY);
        assert_eq!(log.objects().next().unwrap().reason, "R88");
    }

    #[test]
    fn the_log_survives_being_saved() {
        let mut log = EventLog::new();
        log.record(event("BackOff"), Wall(1));
        let text = crate::json::to_string(&log).unwrap();
        assert_eq!(crate::json::from_str::<EventLog>(&text).unwrap(), log);
    }
}
