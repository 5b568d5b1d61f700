//! [`PodStatus`]: what people see of a pod, in the words and rules of the Kubernetes v1 API.

mod conditions;
mod container;
mod object;
mod phase;

pub(crate) use conditions::{Transitions, note_transitions};
pub use object::PodObject;
pub(crate) use object::{pod_object, seen_metadata};

use super::lifecycle::{Pod, Stage};
use super::time::{Now, Wall};
use super::turn::Settings;
use crate::json::{Deserialize, Serialize};

/// What kubelet says of a pod that is ended because the node stops.
const NODE_SHUTDOWN: &str = "Pod was terminated in response to imminent node shutdown.";

/// Status of a v1 Pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded` or `Failed`.
    pub phase: String,
    /// In the order in which kubelet gives them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<PodCondition>,
    /// Why the pod as a whole is where it is: `WaitingFor: clock`, `Interrupted`, `Quarantined`, `Terminated`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The reason in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The node's primary address.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// The node's addresses.
    #[serde(rename = "hostIPs", skip_serializing_if = "Vec::is_empty")]
    pub host_ips: Vec<Ip>,
    /// The pod's primary address.
    #[serde(rename = "podIP", skip_serializing_if = "String::is_empty")]
    pub pod_ip: String,
    /// The pod's addresses.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty")]
    pub pod_ips: Vec<Ip>,
    /// RFC 3339; when this node began with the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Init containers in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// App containers in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub qos_class: String,
}

/// An address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// As text.
    pub ip: String,
}

/// One condition of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// For example `Ready`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True` or `False`.
    pub status: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// For example `ContainersNotReady`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For example `containers with unready status: [app]`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Status of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// Where it is.
    pub state: ContainerState,
    /// How the run before ended.
    #[serde(skip_serializing_if = "ContainerState::is_empty")]
    pub last_state: ContainerState,
    /// It may be used; an ordinary init container has exited with 0.
    pub ready: bool,
    /// It runs, and its startup probe has succeeded.
    pub started: bool,
    /// How often it was started again.
    pub restart_count: u32,
    /// Image as written.
    pub image: String,
    /// Manifest digest.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// `runc://<id>`; empty before the first start.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
}

/// Where a container is: at most one is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    /// It does not run yet, or not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ContainerStateWaiting>,
    /// It runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<ContainerStateRunning>,
    /// It has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<ContainerStateTerminated>,
}

impl ContainerState {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// It does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStateWaiting {
    /// For example `CrashLoopBackOff`.
    pub reason: String,
    /// The reason in a sentence, with the time of the next try.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// It runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStateRunning {
    /// RFC 3339.
    pub started_at: String,
}

/// It has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStateTerminated {
    /// 0-255; 128 + n for signal n.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// Its last words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    pub finished_at: String,
    /// `runc://<id>`.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
}

/// The status of a pod now.
pub(crate) fn pod_status(pod: &Pod, now: Now, settings: &Settings) -> PodStatus {
    let mut status = match &pod.outcome {
        Some(outcome) if pod.stage == Stage::Stopping => with_ends(outcome, pod, now, settings),
        Some(outcome) => outcome.clone(),
        None => live_status(pod, now, settings),
    };
    if let Some(reason) = &pod.quarantine {
        "Quarantined".clone_into(&mut status.reason);
        status.message.clone_from(reason);
    }
    status
}

/// The status a pod that is done keeps for ever: called when its last container has ended.
pub(crate) fn final_status(pod: &Pod, now: Now, settings: &Settings) -> PodStatus {
    let mut status = live_status(pod, now, settings);
    if pod.trouble.is_some() {
        "Failed".clone_into(&mut status.phase);
    }
    status.conditions = conditions::conditions(pod, &status.phase, now);
    status
}

/// The same, with the ends of containers that were still running when it was made.
pub(crate) fn with_ends(done: &PodStatus, pod: &Pod, now: Now, settings: &Settings) -> PodStatus {
    let live = live_status(pod, now, settings);
    PodStatus {
        init_container_statuses: live.init_container_statuses,
        container_statuses: live.container_statuses,
        ..done.clone()
    }
}

fn live_status(pod: &Pod, now: Now, settings: &Settings) -> PodStatus {
    let ips = |addresses: &[String]| addresses.iter().map(|ip| Ip { ip: ip.clone() }).collect();
    let (reason, message) = match (&pod.trouble, pod.stage) {
        (_, Stage::Halted) => ("Terminated".to_owned(), NODE_SHUTDOWN.to_owned()),
        (Some(trouble), _) if pod.is_rejected() => {
            (trouble.reason.clone(), format!("Pod was rejected: {}", trouble.message))
        }
        (Some(trouble), _) => (trouble.reason.clone(), trouble.message.clone()),
        (None, Stage::Blocked) => {
            ("WaitingForPredecessor".to_owned(), "The pod starts when the former version of it is gone".to_owned())
        }
        (None, _) => (String::new(), String::new()),
    };
    let phase = phase::phase(pod);
    let refused = pod.is_rejected();
    PodStatus {
        phase: phase.to_owned(),
        conditions: conditions::conditions(pod, phase, now),
        reason,
        message,
        host_ip: settings.host_ips.first().cloned().unwrap_or_default(),
        host_ips: ips(&settings.host_ips),
        pod_ip: pod.ips.first().cloned().unwrap_or_default(),
        pod_ips: ips(&pod.ips),
        start_time: pod.start_time.map(rfc3339),
        init_container_statuses: pod
            .inits()
            .filter(|_| !refused)
            .map(|c| container::status(c, pod, now, settings))
            .collect(),
        container_statuses: pod.apps().filter(|_| !refused).map(|c| container::status(c, pod, now, settings)).collect(),
        qos_class: pod.qos_class.clone(),
    }
}

/// A moment as the v1 API writes it: UTC, cut to seconds.
pub(crate) fn rfc3339(wall: Wall) -> String {
    rfc3339_exact(Wall(wall.0.div_euclid(1000).saturating_mul(1000)))
}

/// A moment to the millisecond.
fn rfc3339_exact(wall: Wall) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(wall.0).saturating_mul(1_000_000))
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests;
