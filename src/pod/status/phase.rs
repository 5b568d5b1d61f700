//! [`phase`]: semantics 2.1 (kubelet `getPhase`).

use crate::manifest::v1::RestartPolicy;
use crate::pod::container::State;
use crate::pod::lifecycle::{Pod, SYSCTL_FORBIDDEN, Stage};

/// The phase of a pod that has no final status yet.
pub(super) fn phase(pod: &Pod) -> &'static str {
    match pod.stage {
        Stage::Halted => return "Failed",
        Stage::Sandbox { .. } if pod.trouble.as_ref().is_some_and(|t| t.reason == SYSCTL_FORBIDDEN) => return "Failed",
        Stage::Blocked | Stage::Conditions { .. } | Stage::Sandbox { .. } => return "Pending",
        Stage::Up | Stage::Stopping | Stage::Teardown { .. } | Stage::Completed => {}
    }
    let restarts = |code: i32| match pod.manifest.spec.restart_policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    };
    let failed_for_good = |code: i32| code != 0 && !restarts(code);
    let mut inits = pod.inits();
    if inits.any(|c| matches!(c.state, State::Ended) && c.last.as_ref().is_some_and(|l| failed_for_good(l.exit.code))) {
        return "Failed";
    }
    if pod.inits().any(|c| !c.succeeded()) || pod.apps().any(|c| !c.is_running() && c.last.is_none()) {
        return "Pending";
    }
    if pod.apps().any(|c| c.is_running() || !matches!(c.state, State::Ended)) {
        return "Running";
    }
    let codes = || pod.apps().filter_map(|c| c.last.as_ref()).map(|last| last.exit.code);
    if codes().any(restarts) {
        "Running"
    } else if codes().all(|code| code == 0) {
        "Succeeded"
    } else {
        "Failed"
    }
}
