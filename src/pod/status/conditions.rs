//! [`conditions`]: the conditions of a pod in kubelet's order, semantics 2.2.

use super::{PodCondition, rfc3339};
use crate::json::{Deserialize, Serialize};
use crate::pod::container::Container;
use crate::pod::lifecycle::Pod;
use crate::pod::time::{Now, Wall};

const TYPES: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Which conditions held when the pod last settled, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transitions {
    known: [Option<(bool, Wall)>; TYPES.len()],
}

/// Notes which conditions have turned.
pub(crate) fn note_transitions(pod: &mut Pod, now: Now) {
    let holds = pod_holds(pod);
    for (slot, holds) in std::iter::zip(&mut pod.transitions.known, holds) {
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
    rows.map(|((condition_type, holds), known)| {
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
        let since = known.filter(|(held, _)| *held == holds).map_or(now.wall, |(_, since)| since);
        PodCondition {
            condition_type: condition_type.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(rfc3339(since)),
            reason: reason.to_owned(),
            message,
        }
    })
    .collect()
}

fn pod_holds(pod: &Pod) -> [bool; TYPES.len()] {
    let ready = pod.is_ready();
    [pod.sandbox, pod.is_initialized(), ready, ready, true]
}
