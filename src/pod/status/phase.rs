//! [`phase`]: semantics 2.1 (kubelet `getPhase`).

use crate::pod::container::{Container, Kind, State};
use crate::pod::lifecycle::{Pod, Stage};
use crate::pod::policy::After;

/// The phase of a pod that has no final status yet.
pub(super) fn phase(pod: &Pod) -> &'static str {
    match pod.stage {
        Stage::Halted => return "Failed",
        _ if pod.is_rejected() => return "Failed",
        Stage::Blocked | Stage::Conditions { .. } | Stage::Sandbox { .. } => return "Pending",
        Stage::Up | Stage::Stopping | Stage::Teardown { .. } | Stage::Completed => {}
    }
    let scope = pod.scope();
    let code = |c: &Container| c.last.as_ref().map(|last| last.exit.code);
    let restarts = |c: &Container| code(c).is_some_and(|code| scope.after(c, code, false) != After::Stays);
    let failed_for_good = |c: &Container| code(c).is_some_and(|code| code != 0) && !restarts(c);
    let mut ordinary = pod.inits().filter(|c| c.kind == Kind::Init);
    if ordinary.any(|c| matches!(c.state, State::Ended) && failed_for_good(c)) {
        return "Failed";
    }
    if !pod.is_initialized() || pod.apps().any(|c| !c.is_up() && c.last.is_none()) {
        return "Pending";
    }
    if pod.apps().any(|c| c.is_up() || !matches!(c.state, State::Ended)) {
        return "Running";
    }
    if pod.apps().any(restarts) {
        "Running"
    } else if pod.apps().filter_map(code).all(|code| code == 0) {
        "Succeeded"
    } else {
        "Failed"
    }
}
