//! [`PodRow`]: what `get pods` says of one pod, computed from its v1 object as kubectl's printer does
//! (kubernetes pkg/printers/internalversion/printers.go).

use serde_json::Value;

use super::age;
use super::view::{entries, flag, int, list, named, or_none, part, text};

/// The cells of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodRow {
    /// Namespace.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// `<ready>/<app containers and sidecars>`.
    pub(crate) ready: String,
    /// Phase, or the reason that says more.
    pub(crate) status: String,
    /// `3` or `3 (20s ago)`.
    pub(crate) restarts: String,
    /// Since creation.
    pub(crate) age: String,
    /// The first address, or `<none>`.
    pub(crate) ip: String,
    /// The node, or `<none>`.
    pub(crate) node: String,
    /// `true/total`, or `<none>`.
    pub(crate) readiness_gates: String,
    /// `a=b,c=d`, or `<none>`.
    pub(crate) labels: String,
}

/// What is found while walking the container statuses.
#[derive(Default)]
struct Walk {
    reason: String,
    ready: i64,
    restarts: Restarts,
}

/// Restarts of the containers counted so far.
#[derive(Default)]
struct Restarts {
    count: i64,
    /// Newest end of a counted container's last run.
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count = self.count.saturating_add(int(status, "/restartCount"));
        let finished = age::parse(text(status, "/lastState/terminated/finishedAt"));
        self.last = self.last.max(finished);
    }
}

impl PodRow {
    /// The cells of this pod at wall time `now`, in seconds.
    pub(crate) fn new(pod: &Value, now: i64) -> Self {
        let walk = walk(pod);
        let init = list(pod, "/spec/initContainers");
        let total = list(pod, "/spec/containers").len().saturating_add(init.iter().filter(|c| is_sidecar(c)).count());
        let restarts = match walk.restarts {
            Restarts { count, last: Some(then) } if count != 0 => {
                format!("{count} ({} ago)", age::human(now.saturating_sub(then)))
            }
            Restarts { count, .. } => count.to_string(),
        };
        Self {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            name: text(pod, "/metadata/name").to_owned(),
            ready: format!("{}/{total}", walk.ready),
            status: walk.reason,
            restarts,
            age: age::ago(text(pod, "/metadata/creationTimestamp"), now),
            ip: or_none(first_ip(pod)).to_owned(),
            node: or_none(text(pod, "/spec/nodeName")).to_owned(),
            readiness_gates: readiness_gates(pod),
            labels: labels(pod),
        }
    }

    /// The cells in the order of [`header`], joined by tabs.
    pub(crate) fn line(&self, shown: Shown) -> String {
        let mut cells: Vec<&str> = Vec::new();
        if shown.namespace {
            cells.push(&self.namespace);
        }
        cells.extend([&*self.name, &self.ready, &self.status, &self.restarts, &self.age]);
        if shown.wide {
            cells.extend([&*self.ip, &self.node, "<none>", &self.readiness_gates]);
        }
        if shown.labels {
            cells.push(&self.labels);
        }
        cells.join("\t")
    }
}

/// Which columns are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown {
    /// `-A`: NAMESPACE first.
    pub(crate) namespace: bool,
    /// `-o wide`.
    pub(crate) wide: bool,
    /// `--show-labels`: LABELS last.
    pub(crate) labels: bool,
}

/// The header of the pod table, joined by tabs.
pub(crate) fn header(shown: Shown) -> String {
    let mut cells = Vec::new();
    if shown.namespace {
        cells.push("NAMESPACE");
    }
    cells.extend(["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    if shown.wide {
        cells.extend(["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
    }
    if shown.labels {
        cells.push("LABELS");
    }
    cells.join("\t")
}

/// Whether a container of `spec.initContainers` keeps running beside the app containers.
pub(crate) fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn walk(pod: &Value) -> Walk {
    let phase = text(pod, "/status/phase");
    let mut walk = Walk { reason: phase.to_owned(), ..Walk::default() };
    let pod_reason = text(pod, "/status/reason");
    if !pod_reason.is_empty() {
        pod_reason.clone_into(&mut walk.reason);
    }
    if list(pod, "/status/conditions")
        .iter()
        .any(|c| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut walk.reason);
    }
    let initializing = walk_init(pod, &mut walk);
    if !initializing || condition(pod, "Initialized") {
        walk.restarts = sidecar_restarts(pod);
        walk_apps(pod, &mut walk);
    }
    // Ours: it says more than anything its containers say.
    if ["Quarantined", "Interrupted"].contains(&pod_reason) {
        pod_reason.clone_into(&mut walk.reason);
    }
    if part(pod, "/metadata/deletionTimestamp").is_some() {
        if pod_reason == "NodeLost" {
            "Unknown".clone_into(&mut walk.reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut walk.reason);
        }
    }
    walk
}

/// Walks the init containers in order up to the one that is not done; says whether there is one.
fn walk_init(pod: &Value, walk: &mut Walk) -> bool {
    let specs = list(pod, "/spec/initContainers");
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        walk.restarts.add(status);
        let sidecar = named(specs, text(status, "/name")).is_some_and(is_sidecar);
        let terminated = part(status, "/state/terminated");
        let waiting = text(status, "/state/waiting/reason");
        walk.reason = match terminated {
            Some(end) if int(end, "/exitCode") == 0 => continue,
            _ if sidecar && flag(status, "/started") => {
                walk.ready = walk.ready.saturating_add(i64::from(flag(status, "/ready")));
                continue;
            }
            Some(end) => format!("Init:{}", end_reason(end)),
            // Ours: the pod waits, not this container.
            None if waiting.starts_with("WaitingFor") => waiting.to_owned(),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        return true;
    }
    false
}

/// Walks the app containers from last to first: the first in order has the final say.
fn walk_apps(pod: &Value, walk: &mut Walk) {
    let mut running = false;
    let mut error = None;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        walk.restarts.add(status);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut walk.reason);
        } else if let Some(end) = part(status, "/state/terminated") {
            walk.reason = end_reason(end);
            if int(end, "/exitCode") != 0 {
                error = Some(walk.reason.clone());
            }
        } else if flag(status, "/ready") && part(status, "/state/running").is_some() {
            running = true;
            walk.ready = walk.ready.saturating_add(1);
        }
    }
    if walk.reason == "Completed" {
        if running && condition(pod, "Ready") {
            "Running".clone_into(&mut walk.reason);
        } else if let Some(error) = error {
            walk.reason = error;
        } else if running {
            "NotReady".clone_into(&mut walk.reason);
        }
    }
}

/// The reason of a terminated state, else its signal, else its exit code.
fn end_reason(end: &Value) -> String {
    match (text(end, "/reason"), int(end, "/signal")) {
        ("", 0) => format!("ExitCode:{}", int(end, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn sidecar_restarts(pod: &Value) -> Restarts {
    let specs = list(pod, "/spec/initContainers");
    let mut restarts = Restarts::default();
    for status in list(pod, "/status/initContainerStatuses") {
        if named(specs, text(status, "/name")).is_some_and(is_sidecar) {
            restarts.add(status);
        }
    }
    restarts
}

/// Whether the pod's condition of this type is True.
pub(crate) fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

fn first_ip(pod: &Value) -> &str {
    let listed = list(pod, "/status/podIPs").first().map_or("", |ip| text(ip, "/ip"));
    if listed.is_empty() { text(pod, "/status/podIP") } else { listed }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType"))).count();
    format!("{met}/{}", gates.len())
}

fn labels(pod: &Value) -> String {
    let labels: Vec<String> =
        entries(pod, "/metadata/labels").into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&labels.join(",")).to_owned()
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
