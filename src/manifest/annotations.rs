//! [`Annotations`]: the `gatepost.io/` annotations of a pod, typed. kubelet and k3s ignore them, so manifests stay portable.

use std::time::Duration;

use super::error::Errors;
use super::v1::{ObjectMeta, Pod};
use crate::document::{duration, nearest};
use crate::sorted::{BTreeMap, BTreeSet};

const PREFIX: &str = "gatepost.io/";
const KEYS: [&str; 4] = ["backoff-initial", "backoff-max", "start-after", "start-after-timeout"];
/// Longest duration that an annotation may name: a year.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// The `gatepost.io/` annotations of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Crash-loop backoff of the whole pod; what is unset comes from the node.
    pub backoff: BackoffOverride,
    /// Crash-loop backoff by container name; what is unset comes from the pod.
    pub container_backoff: BTreeMap<String, BackoffOverride>,
    /// What must hold before the pod starts, each once.
    pub start_after: Vec<StartCondition>,
    /// How long to wait for that; unset means 5 minutes, zero for ever.
    pub start_after_timeout: Option<Duration>,
}

/// Backoff settings that replace wider ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackoffOverride {
    /// First wait.
    pub initial: Option<Duration>,
    /// Longest wait.
    pub max: Option<Duration>,
}

/// Something that must hold before a pod starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartCondition {
    /// The wall clock is plausible.
    Clock,
    /// There is a default route.
    Route,
    /// The absolute path exists.
    Path(String),
    /// The pod, named as in its manifest (`name`, or `namespace/name`), is Ready.
    Pod(String),
}

impl Annotations {
    /// The annotations of a pod that passed validation; what is invalid counts as unset.
    pub fn of(pod: &Pod) -> Self {
        let mut quiet = Findings::default();
        read(pod, &mut quiet)
    }
}

/// What was found while reading.
#[derive(Default)]
struct Findings {
    /// Annotation key and what is wrong with its value.
    errors: Vec<(String, String)>,
    /// Annotation key and what is odd.
    warnings: Vec<(String, String)>,
}

/// Checks a pod's annotations; warnings are pairs of field and message.
pub(super) fn check(pod: &Pod, errors: &mut Errors) -> Vec<(String, String)> {
    let mut found = Findings::default();
    read(pod, &mut found);
    for (key, message) in found.errors {
        let value = pod.metadata.annotations.get(&key).cloned().unwrap_or_default();
        errors.invalid(&format!("metadata.annotations[{key}]"), value, message);
    }
    found.warnings.into_iter().map(|(key, message)| (format!("metadata.annotations[{key}]"), message)).collect()
}

fn read(pod: &Pod, found: &mut Findings) -> Annotations {
    let mut result = Annotations::default();
    for (full, value) in &pod.metadata.annotations {
        let Some(key) = full.strip_prefix(PREFIX) else { continue };
        let (name, container) = match key.split_once('.') {
            Some((name, container)) if name.starts_with("backoff-") => (name, Some(container)),
            _ => (key, None),
        };
        match name {
            "backoff-initial" | "backoff-max" => {
                let target = match container {
                    None => &mut result.backoff,
                    Some(container) => {
                        let known =
                            pod.spec.init_containers.iter().chain(&pod.spec.containers).any(|c| c.name == container);
                        if !known {
                            found
                                .errors
                                .push((full.clone(), format!("there is no container {container:?} in this pod")));
                            continue;
                        }
                        result.container_backoff.entry(container.to_owned()).or_default()
                    }
                };
                let slot = if name == "backoff-initial" { &mut target.initial } else { &mut target.max };
                match positive_duration(value) {
                    Ok(duration) => *slot = Some(duration),
                    Err(message) => found.errors.push((full.clone(), message)),
                }
            }
            "start-after-timeout" => match bounded_duration(value) {
                Ok(duration) => result.start_after_timeout = Some(duration),
                Err(message) => found.errors.push((full.clone(), message)),
            },
            "start-after" => match conditions(value) {
                Ok(conditions) => result.start_after = conditions,
                Err(message) => found.errors.push((full.clone(), message)),
            },
            _ => {
                let hint = nearest(name, KEYS.into_iter()).map(|name| format!("; did you mean {PREFIX}{name}?"));
                found.warnings.push((full.clone(), format!("unknown annotation{}", hint.unwrap_or_default())));
            }
        }
    }
    check_order(&result, found);
    result
}

fn check_order(result: &Annotations, found: &mut Findings) {
    let mut check = |own: BackoffOverride, suffix: String| {
        if let (Some(initial), Some(max)) = (own.initial, own.max)
            && initial > max
        {
            let message = "the first wait is longer than the longest (backoff-max)".to_owned();
            found.errors.push((format!("{PREFIX}backoff-initial{suffix}"), message));
        }
    };
    check(result.backoff, String::new());
    for (container, own) in &result.container_backoff {
        check(*own, format!(".{container}"));
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = bounded_duration(text)?;
    if duration.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(duration) }
}

fn bounded_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration > LONGEST { Err("must not be longer than 366d".to_owned()) } else { Ok(duration) }
}

fn conditions(text: &str) -> Result<Vec<StartCondition>, String> {
    let mut seen = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let condition = match part.split_once([':', '/']) {
            None if part == "clock" => StartCondition::Clock,
            None if part == "route" => StartCondition::Route,
            Some(("path", path)) if part.starts_with("path:") && path.starts_with('/') => {
                StartCondition::Path(path.to_owned())
            }
            Some(("pod", name)) if part.starts_with("pod/") && !name.is_empty() => StartCondition::Pod(name.to_owned()),
            _ => {
                return Err(format!(
                    "{part:?} is no condition; write clock, route, path:/an/absolute/path or pod/NAME, separated by commas"
                ));
            }
        };
        seen.insert(condition);
    }
    Ok(seen.into_iter().collect())
}

/// A pod as others name it in `start-after`.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Metadata with the full name.
    pub metadata: &'a ObjectMeta,
    /// The name in the manifest.
    pub written_name: &'a str,
    /// What it waits for.
    pub start_after: &'a [StartCondition],
}

/// The circles among pods that wait for each other: each as namespaces and written names in order, the first repeated at the end.
/// Every pod that lies on a circle is in exactly one of them.
pub fn cycles(pods: &[Waiting<'_>]) -> Vec<Vec<(String, String)>> {
    // As written, or in full with the node's name: both name the pod.
    let index: BTreeMap<(&str, &str), usize> = pods
        .iter()
        .enumerate()
        .flat_map(|(at, pod)| {
            let names = [pod.written_name, pod.metadata.name.as_str()];
            names.map(|name| ((pod.metadata.namespace.as_str(), name), at))
        })
        .collect();
    let target = |pod: &Waiting<'_>, condition: &StartCondition| match condition {
        StartCondition::Pod(name) => match name.split_once('/') {
            Some((namespace, name)) => index.get(&(namespace, name)).copied(),
            None => index.get(&(pod.metadata.namespace.as_str(), name.as_str())).copied(),
        },
        _ => None,
    };
    let edges: Vec<Vec<usize>> = pods
        .iter()
        .map(|pod| pod.start_after.iter().filter_map(|condition| target(pod, condition)).collect())
        .collect();
    let mut found: Vec<Vec<(String, String)>> = Vec::new();
    let mut reported = BTreeSet::new();
    for start in 0..pods.len() {
        if reported.contains(&start) {
            continue;
        }
        if let Some(path) = path_back(start, &edges) {
            reported.extend(path.iter().copied());
            let mut names: Vec<(String, String)> = path
                .iter()
                .filter_map(|at| pods.get(*at))
                .map(|pod| (pod.metadata.namespace.clone(), pod.written_name.to_owned()))
                .collect();
            names.extend(names.first().cloned());
            found.push(names);
        }
    }
    found
}

/// The shortest way from a pod back to itself.
fn path_back(start: usize, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in edges.get(at).into_iter().flatten().copied() {
            if next == start {
                let mut path = vec![at];
                let mut step = at;
                while step != start {
                    step = *from.get(&step)?;
                    path.push(step);
                }
                path.reverse();
                return Some(path);
            }
            from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                at
            });
        }
    }
    None
}
