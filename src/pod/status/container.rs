//! [`status`]: the status of one container, semantics 2.3.

use std::fmt::Write as _;
use std::rc::Rc;

use super::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, rfc3339,
};
use crate::pod::container::{Container, Kind, State, Terminated, Why};
use crate::pod::event::Seq;
use crate::pod::lifecycle::{Pod, Stage};
use crate::pod::time::{Instant, Now, Wall};
use crate::pod::turn::Settings;

/// Bytes of all termination messages of a pod together. kubelet: MaxPodTerminationMessageLogLength.
const POD_MESSAGES: usize = 12 << 10;

/// Status of one container of `pod`.
pub(super) fn status(container: &Container, pod: &Pod, now: Now, settings: &Settings) -> ContainerStatus {
    let last = container.last.as_ref().map(|last| terminated(last, container, pod, settings));
    let (state, last_state) = states(container, pod, now, last);
    let shown = container.live().or_else(|| container.last.as_ref().and_then(|last| last.seq));
    ContainerStatus {
        name: container.name.to_string(),
        ready: match container.kind {
            Kind::App | Kind::Sidecar => container.is_ready(),
            Kind::Init => container.succeeded(),
        },
        started: container.is_started(),
        restart_count: container.restart_count,
        image: pod.scope().image_of(&container.name).to_owned(),
        image_id: container.image.as_ref().map(|image| image.id.clone()).unwrap_or_default(),
        container_id: shown.map(|seq| container_id(seq, container, pod, settings)).unwrap_or_default(),
        state,
        last_state: last_state
            .map(|terminated| ContainerState { terminated: Some(terminated), ..Default::default() })
            .unwrap_or_default(),
    }
}

/// State and last state.
fn states(
    container: &Container,
    pod: &Pod,
    now: Now,
    last: Option<ContainerStateTerminated>,
) -> (ContainerState, Option<ContainerStateTerminated>) {
    let (why, until) = match &container.state {
        State::Running { .. } if container.in_post_start() => (&Why::Starting, None),
        State::Running { since, .. } => {
            let running = ContainerStateRunning { started_at: rfc3339(*since) };
            return (ContainerState { running: Some(running), ..Default::default() }, last);
        }
        State::Ended => return (ContainerState { terminated: last, ..Default::default() }, None),
        State::Waiting { why, until } => (why, *until),
        // The wait is over.
        State::Image { why: Why::Backoff { .. }, .. } | State::Starting { why: Why::Backoff { .. }, .. } => {
            (&Why::Starting, None)
        }
        State::Image { why, .. } | State::Starting { why, .. } => (why, None),
    };
    if let (State::Waiting { .. }, Stage::Up, Some(lack)) = (&container.state, pod.stage, &container.lacks) {
        let waiting = ContainerStateWaiting { reason: "ContainerCreating".to_owned(), message: lack.clone() };
        return (ContainerState { waiting: Some(waiting), ..Default::default() }, last);
    }
    let its_turn = pod.stage == Stage::Up && (container.kind != Kind::App || pod.is_initialized());
    if *why == Why::Starting && its_turn && last.is_some() && !pod.restarts_all() {
        // It is being started again, without a wait: as kubelet, the end of the former run is shown until it runs.
        return (ContainerState { terminated: last, ..Default::default() }, None);
    }
    let (reason, mut message) = if container.in_post_start() && container.health.doom.is_some() {
        ("PostStartHookError".to_owned(), "PostStartHook failed".to_owned())
    } else if pod.restarts_all() {
        ("RestartingAllContainers".to_owned(), String::new())
    } else {
        waiting(container, why, pod)
    };
    if let Some(until) = until {
        let _ = write!(message, "; next try {}", rfc3339(wall_of(until, now)));
    }
    (ContainerState { waiting: Some(ContainerStateWaiting { reason, message }), ..Default::default() }, last)
}

/// Reason and message of a container that waits.
fn waiting(container: &Container, why: &Why, pod: &Pod) -> (String, String) {
    match (why, &pod.trouble) {
        (Why::Starting, Some(trouble)) if matches!(pod.stage, Stage::Conditions { .. }) => {
            (trouble.reason.clone(), trouble.message.clone())
        }
        (Why::Starting, _) if pod.inits().next().is_some() => ("PodInitializing".to_owned(), String::new()),
        (Why::Starting, _) => ("ContainerCreating".to_owned(), String::new()),
        (Why::Backoff { wait_ms }, _) => (
            "CrashLoopBackOff".to_owned(),
            format!(
                "back-off {} restarting failed container={} pod={}",
                duration(*wait_ms),
                container.name,
                pod.scope().long_name()
            ),
        ),
        (Why::Failed(failure), _) => (failure.reason.clone(), failure.message.clone()),
        // The first failure is shown as it is, kubelet does so until its next sync.
        (Why::Image(failure), _) if failure.reason == "ErrImagePull" && container.pulls.failures() > 1 => (
            "ImagePullBackOff".to_owned(),
            format!(
                "Back-off pulling image \"{}\": ErrImagePull: {}",
                pod.scope().image_of(&container.name),
                failure.message
            ),
        ),
        (Why::Image(failure), _) => (failure.reason.clone(), failure.message.clone()),
    }
}

fn terminated(last: &Terminated, container: &Container, pod: &Pod, settings: &Settings) -> ContainerStateTerminated {
    let exit = &last.exit;
    let reason = match (&exit.reason, exit.oom_killed, exit.code) {
        (Some(reason), _, _) => reason,
        (None, true, _) => "OOMKilled",
        (None, false, 0) => "Completed",
        (None, false, _) => "Error",
    };
    let share = POD_MESSAGES.checked_div(pod.containers.len()).unwrap_or(POD_MESSAGES);
    ContainerStateTerminated {
        exit_code: exit.code,
        reason: reason.to_owned(),
        message: within(&exit.message, share).to_owned(),
        started_at: last.started.map(rfc3339),
        finished_at: rfc3339(exit.at_wall),
        container_id: last.seq.map(|seq| container_id(seq, container, pod, settings)).unwrap_or_default(),
    }
}

/// As much of a text as fits, cut between characters.
fn within(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

fn container_id(seq: Seq, container: &Container, pod: &Pod, settings: &Settings) -> String {
    format!("{}://{}", settings.runtime, instance_id(&container.name, &pod.uid, seq))
}

/// The id under which the runtime knows an instance: `<container>-<first 8 of uid>-<seq>`.
fn instance_id(container: &Rc<str>, uid: &Rc<str>, seq: Seq) -> String {
    let short: String = uid.chars().take(8).collect();
    format!("{container}-{short}-{}", seq.0)
}

/// What the wall clock will show at `at`, if nobody moves it.
fn wall_of(at: Instant, now: Now) -> Wall {
    let ahead = i64::try_from(at.since(now.boot)).unwrap_or(i64::MAX);
    Wall(now.wall.0.saturating_add(ahead))
}

/// Go's form of a duration, as kubelet prints it: `10s`, `1m20s`, `5m0s`, `1.5s`.
fn duration(ms: u64) -> String {
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let mut text = String::new();
    if minutes >= 60 {
        let _ = write!(text, "{}h", minutes / 60);
    }
    if minutes > 0 {
        let _ = write!(text, "{}m", minutes % 60);
    }
    let _ = write!(text, "{}", rest / 1000);
    if rest % 1000 != 0 {
        let fraction = format!("{:03}", rest % 1000);
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!((within("abc", 5), within("abc", 2), within("aä", 2), within("ä", 0)), ("abc", "ab", "a", ""));
    }
}
