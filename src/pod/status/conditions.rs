//! [`conditions`]: the conditions of a pod in kubelet's order, semantics 2.2.

use super::{NODE_SHUTDOWN, PodCondition, rfc3339};
use crate::json::{Deserialize, Serialize};
use crate::pod::container::Container;
use crate::pod::lifecycle::Pod;
use crate::pod::policy::RESTART_ALL;
use crate::pod::time::{Now, Wall};

const TYPES: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// kubelet's message of `AllContainersRestarting`.
const RULE_MATCHED: &str = "container exited with restart policy rule";

/// Which conditions held when the pod last settled, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transitions {
    known: [Option<(bool, Wall)>; TYPES.len()],
    /// `AllContainersRestarting`.
    #[serde(default)]
    restarting: Option<(bool, Wall)>,
    /// `DisruptionTarget`: since when the node ends this life of the pod.
    #[serde(default)]
    disrupted: Option<Wall>,
}

impl Transitions {
    /// The pod is ended because the node stops.
    pub(crate) fn disrupt(&mut self, now: Wall) {
        self.disrupted.get_or_insert(now);
    }

    /// A new life of it begins.
    pub(crate) fn begin(&mut self) {
        self.disrupted = None;
    }
}

/// Notes which conditions have turned.
pub(crate) fn note_transitions(pod: &mut Pod, now: Now) {
    let restarts = pod.restarts_all();
    let (holds, known) = (pod_holds(pod), &mut pod.transitions);
    let slots = known.known.iter_mut().chain([&mut known.restarting]);
    for (slot, holds) in slots.zip(holds.into_iter().chain([restarts])) {
        if slot.is_none_or(|(held, _)| held != holds) {
            *slot = Some((holds, now.wall));
        }
    }
}

/// All conditions as the v1 API gives them.
pub(super) fn conditions(pod: &Pod, phase: &str, now: Now) -> Vec<PodCondition> {
    let succeeded = phase == "Succeeded";
    let done = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let listed =
        |containers: Vec<&Container>| containers.iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(" ");
    let incomplete = || listed(pod.inits().filter(|c| !c.succeeded() && !c.is_started()).collect());
    let unready = || listed(pod.lasting().filter(|c| !c.is_ready()).collect());
    let rows = std::iter::zip(TYPES, pod_holds(pod)).zip(pod.transitions.known);
    let rows = rows.map(|((condition_type, holds), known)| {
        let holds = holds || (condition_type == "Initialized" && succeeded);
        let (reason, message) = match (condition_type, holds) {
            ("Initialized", true) if succeeded => ("PodCompleted", String::new()),
            ("Initialized", false) => {
                ("ContainersNotInitialized", format!("containers with incomplete status: [{}]", incomplete()))
            }
            ("Ready" | "ContainersReady", false) => match done {
                Some(reason) => (reason, String::new()),
                None => ("ContainersNotReady", format!("containers with unready status: [{}]", unready())),
            },
            _ => ("", String::new()),
        };
        condition(condition_type, holds, since(known, holds, now), reason, message)
    });
    let disrupted = pod
        .transitions
        .disrupted
        .map(|since| condition("DisruptionTarget", true, since, "TerminationByKubelet", NODE_SHUTDOWN.to_owned()));
    // kubelet: only of pods with such a rule, and of one that has come to its end never true.
    let restarts = pod.restarts_all() && done.is_none();
    let restarting = could_restart_all(pod).then(|| {
        let (reason, message) =
            if restarts { ("RestartAllContainersStarted", RULE_MATCHED) } else { (done.unwrap_or_default(), "") };
        let since = since(pod.transitions.restarting, restarts, now);
        condition("AllContainersRestarting", restarts, since, reason, message.to_owned())
    });
    rows.chain(disrupted).chain(restarting).collect()
}

/// Since when it is as it is.
fn since(known: Option<(bool, Wall)>, holds: bool, now: Now) -> Wall {
    known.filter(|(held, _)| *held == holds).map_or(now.wall, |(_, since)| since)
}

fn condition(condition_type: &str, holds: bool, since: Wall, reason: &str, message: String) -> PodCondition {
    PodCondition {
        condition_type: condition_type.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(rfc3339(since)),
        reason: reason.to_owned(),
        message,
    }
}

fn could_restart_all(pod: &Pod) -> bool {
    let spec = &pod.manifest.spec;
    let rules = spec.init_containers.iter().chain(&spec.containers).flat_map(|c| &c.restart_policy_rules);
    rules.into_iter().any(|rule| rule.action == RESTART_ALL)
}

fn pod_holds(pod: &Pod) -> [bool; TYPES.len()] {
    let ready = pod.is_ready();
    [pod.sandbox, pod.is_initialized(), ready, ready, true]
}
