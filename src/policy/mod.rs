//! [`check`]: the Pod Security Standards, latest version. kubernetes: pod-security-admission/policy. It reads pods as decoded
//! JSON, so that also what is not carried out here counts.

mod baseline;
mod images;
mod restricted;
#[cfg(test)]
mod tests;

use std::fmt;

pub use images::{ImageRule, Require, Vouched};

use crate::json::{Deserialize, Serialize};
use serde_json::Value as Json;

/// How much a pod may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Everything.
    #[default]
    Privileged,
    /// Nothing that is known to lead out of the container.
    Baseline,
    /// What hardening demands.
    Restricted,
}

/// The names of the levels.
pub const LEVELS: [&str; 3] = ["privileged", "baseline", "restricted"];

impl Level {
    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// What a pod has that a level forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In a few words.
    pub reason: String,
    /// Who asks for what.
    pub detail: String,
}

/// What of a defaulted pod (with `metadata` and `spec`) a level forbids; nothing if it complies.
pub fn check(pod: &Json, level: Level) -> Vec<Violation> {
    let subject = Subject::of(pod);
    let mut found = Vec::new();
    if level >= Level::Baseline {
        baseline::check(&subject, level == Level::Baseline, &mut found);
    }
    if level == Level::Restricted {
        restricted::check(&subject, &mut found);
    }
    found
}

/// Upstream's words for a refused pod: `violates PodSecurity "baseline:latest": …`
pub fn refusal(level: Level, violations: &[Violation]) -> String {
    let list: Vec<String> = violations.iter().map(|v| format!("{} ({})", v.reason, v.detail)).collect();
    format!("violates PodSecurity \"{level}:latest\": {}", list.join(", "))
}

/// A pod, taken apart.
struct Subject<'a> {
    annotations: Vec<(&'a str, &'a str)>,
    spec: &'a Json,
    /// All containers in upstream's order: init, app, ephemeral.
    containers: Vec<(&'a str, &'a Json)>,
}

impl<'a> Subject<'a> {
    fn of(pod: &'a Json) -> Self {
        let spec = &pod["spec"];
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|list| items(&spec[*list]));
        let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
        Self {
            annotations: annotations.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect(),
            spec,
            containers: containers.map(|container| (text(&container["name"]), container)).collect(),
        }
    }

    /// The names of the containers of which something holds.
    fn names(&self, holds: impl Fn(&Json) -> bool) -> Vec<&'a str> {
        self.containers.iter().filter(|(_, container)| holds(container)).map(|(name, _)| *name).collect()
    }

    /// Those who set something: the pod and some containers, in words; none if nobody does.
    fn setters(&self, holds: impl Fn(&Json) -> bool) -> Option<String> {
        let pod = holds(&self.spec["securityContext"]).then(|| "pod".to_owned());
        let names = self.names(|container| holds(&container["securityContext"]));
        let containers = (!names.is_empty()).then(|| containers(&names));
        match (pod, containers) {
            (Some(pod), Some(containers)) => Some(format!("{pod} and {containers}")),
            (pod, containers) => pod.or(containers),
        }
    }

    /// The distinct values of a field of the security contexts of which something holds.
    fn values(&self, value: impl Fn(&'a Json) -> Option<&'a str>) -> Vec<&'a str> {
        let contexts = self.containers.iter().map(|(_, container)| &container["securityContext"]);
        let mut values: Vec<_> =
            std::iter::once(&self.spec["securityContext"]).chain(contexts).filter_map(value).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// A pod in a user namespace of its own may do more.
    fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }
}

fn items(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn number_of<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

fn quoted(words: &[&str]) -> String {
    format!("\"{}\"", words.join("\", \""))
}

/// `container "a"`, `containers "a", "b"`
fn containers(names: &[&str]) -> String {
    format!("{} {}", number_of(names.len(), "container", "containers"), quoted(names))
}

fn add(found: &mut Vec<Violation>, reason: &str, detail: String) {
    found.push(Violation { reason: reason.to_owned(), detail });
}
