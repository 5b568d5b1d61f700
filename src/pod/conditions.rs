//! [`Unmet`]: what a pod still waits for before it starts (`gatepost.io/start-after`).

use super::event::{Condition, Uid};
use super::lifecycle::{Pod, Stage};
use crate::sorted::{BTreeMap, BTreeSet};

/// What a pod still waits for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// As written in the annotation.
    pub(crate) names: Vec<String>,
    /// Pods that wait for each other, this one among them; such a condition is not waited for.
    pub(crate) cycle: Option<String>,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clock => f.write_str("clock"),
            Self::Route => f.write_str("route"),
            Self::Path(path) => write!(f, "path:{path}"),
            Self::Pod(name) => write!(f, "pod/{name}"),
        }
    }
}

/// What `pod` waits for now.
pub(crate) fn unmet(pod: &Pod, pods: &BTreeMap<Uid, Pod>, met: &BTreeMap<Condition, bool>, node_name: &str) -> Unmet {
    let mut unmet = Unmet::default();
    for condition in &pod.policy.start_after {
        let holds = match condition {
            Condition::Clock | Condition::Route | Condition::Path(_) => met.get(condition).copied().unwrap_or(false),
            Condition::Pod(name) => {
                // The pod itself is out of the map while it is worked on.
                let all = || pods.values().chain([pod]);
                let found = || all().filter(|other| is_named(other, name, pod, node_name));
                if found().any(|other| other.was_ready) {
                    true
                } else if found().any(|other| leads_to(other, pod, pods, node_name)) {
                    unmet.cycle = Some(format!("{} waits for {condition}", pod.manifest.metadata.name));
                    true
                } else {
                    false
                }
            }
        };
        if !holds {
            unmet.names.push(condition.to_string());
        }
    }
    unmet
}

/// Whether `pod` waits for `other` in its annotation.
pub(crate) fn depends_on(pod: &Pod, other: &Pod, node_name: &str) -> bool {
    pod.policy.start_after.iter().any(|c| matches!(c, Condition::Pod(name) if is_named(other, name, pod, node_name)))
}

/// The conditions that must be watched now: those that a pod waits for and that the core cannot judge itself.
pub(crate) fn awaited(pods: &BTreeMap<Uid, Pod>) -> BTreeSet<Condition> {
    pods.values()
        .filter(|pod| matches!(pod.stage, Stage::Conditions { .. } | Stage::Blocked) && pod.quarantine.is_none())
        .flat_map(|pod| &pod.policy.start_after)
        .filter(|condition| !matches!(condition, Condition::Pod(_)))
        .cloned()
        .collect()
}

/// Whether `name`, written in the annotation of `by`, means `other`: as written or with the node's suffix, in the same
/// namespace unless it is `namespace/name`.
fn is_named(other: &Pod, name: &str, by: &Pod, node_name: &str) -> bool {
    let meta = &other.manifest.metadata;
    let (namespace, name) = name.split_once('/').unwrap_or((by.manifest.metadata.namespace.as_str(), name));
    let suffixed = || meta.name.strip_suffix(node_name).and_then(|rest| rest.strip_suffix('-')) == Some(name);
    other.desired && meta.namespace == namespace && (meta.name == name || (!node_name.is_empty() && suffixed()))
}

/// Whether `from` waits, directly or through others, for `to`.
fn leads_to(from: &Pod, to: &Pod, pods: &BTreeMap<Uid, Pod>, node_name: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(pod) = open.pop() {
        if pod.uid == to.uid || depends_on(pod, to, node_name) {
            return true;
        }
        if seen.insert(&pod.uid) {
            open.extend(pods.values().filter(|other| depends_on(pod, other, node_name)));
        }
    }
    false
}
