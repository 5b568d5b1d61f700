//! [`Pod`]: one pod from its manifest to its end. [`Pod::settle`] is the table: it takes the pod as far as it can go now.
//!
//! Each stage holds what is true of the machine; what should be is asked anew at each turn, so no order is ever lost and
//! the same content that vanishes and returns needs no case of its own.
//!
//! | stage | goes on when | to |
//! |---|---|---|
//! | Blocked | no older pod of the same name is left, and its ports of the node are free | Conditions, or Completed from an earlier boot |
//! | Conditions | all start conditions hold, or their time is over | Sandbox |
//! | Sandbox | `SandboxReady` (`SandboxFailed`: again after 1, 2, 4 … 60 s) | Up |
//! | Up | init containers in order, then app containers; when all are done, or the pod's deadline is over | Stopping |
//! | Stopping | no container lives and nothing is left of any | Teardown |
//! | Teardown | `SandboxGone` (`TeardownFailed`: again after 1, 2, 4 … 60 s) | Completed if it has its final status, else Blocked |
//! | Completed | its manifest goes, or a person deletes or restarts it | Teardown, Blocked |
//! | Halted | the node no longer stops | Blocked |
//!
//! While a rule of a container restarts all of them, Up ends each of them and begins anew. Sidecars (restartable init containers)
//! hold back what comes after them until they have started, and go last.
//!
//! Across all stages: an unwanted pod (manifest gone, deleted, node stopping) goes to Stopping, with nothing to stop to
//! Teardown, and from Blocked it is dropped. A quarantined pod takes in facts and asks for nothing.

use std::rc::Rc;

use super::backoff::Retry;
use super::conditions::Unmet;
use super::container::{Container, Kind, State};
use super::event::{Action, DesiredPod, Exit, Failure, PodPolicy, Seq, Uid};
use super::probe::Wanted;
use super::status::{self, PodStatus};
use super::time::{Instant, Wall};
use super::turn::{Scope, Turn};
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::{self, RestartPolicy};

/// One pod and everything known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pod {
    pub(crate) uid: Uid,
    pub(crate) manifest: Rc<v1::Pod>,
    pub(crate) policy: PodPolicy,
    pub(crate) qos_class: String,
    pub(crate) manifest_error: Option<String>,
    /// It is in the newest set of manifests.
    pub(crate) desired: bool,
    /// This life ends for good: its manifest went (it may be back) or a person deleted it. The next life starts afresh.
    pub(crate) ending: bool,
    pub(crate) grace_override: Option<i64>,
    pub(crate) quarantine: Option<String>,
    /// Why it is ended for good, in this life.
    #[serde(default)]
    pub(crate) eviction: Option<Failure>,
    pub(crate) stage: Stage,
    /// The pod's namespaces and volumes stand.
    pub(crate) sandbox: bool,
    pub(crate) ips: Vec<String>,
    /// Init containers in order, then app containers.
    pub(crate) containers: Vec<Container>,
    /// The final status, from the moment the pod is done.
    pub(crate) outcome: Option<PodStatus>,
    /// Why the pod as a whole does not go on: shown in its status.
    pub(crate) trouble: Option<Failure>,
    pub(crate) first_seen: Wall,
    pub(crate) start_time: Option<Wall>,
    /// When this life of it began.
    #[serde(default)]
    pub(crate) start_at: Option<Instant>,
    /// Its init containers are done, and its sidecars have started, in this life.
    #[serde(default)]
    pub(crate) initialized: bool,
    pub(crate) deletion: Option<Wall>,
    pub(crate) was_ready: bool,
    pub(crate) transitions: status::Transitions,
    pub(crate) wake: Option<Instant>,
}

/// The reason of a pod that this node refuses to run: it is `Failed`, and does not come back by itself (kubelet).
pub(super) const SYSCTL_FORBIDDEN: &str = "SysctlForbidden";
const DAY_MS: u64 = 86_400_000;

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Blocked,
    Conditions { since: Instant },
    Sandbox { asked: bool, retry: Retry },
    Up,
    Stopping,
    Teardown { asked: bool, discard: bool, retry: Retry },
    Completed,
    Halted,
}

/// What a pod must know of the others.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// An older pod of the same namespace and name is not gone yet.
    pub(crate) predecessor: bool,
    /// Another pod has a port of the node that this one wants, and whether it stays.
    pub(crate) taken: Option<(String, bool)>,
    /// The node stops all pods for good.
    pub(crate) node_stops: bool,
    /// … and it is this pod's turn.
    pub(crate) stop_now: bool,
    /// A device that it asks for, and the pod that has it.
    pub(crate) device_held: Option<(String, String)>,
    /// What it still waits for before it starts.
    pub(crate) unmet: Unmet,
}

/// Whether the pod is still to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Gone,
}

impl Pod {
    pub(crate) fn new(desired: DesiredPod, now: Wall) -> Self {
        let containers = containers_of(&desired.pod);
        Self {
            uid: Rc::from(desired.pod.metadata.uid.as_str()),
            manifest: desired.pod,
            policy: desired.policy,
            qos_class: desired.qos_class,
            manifest_error: desired.manifest_error,
            desired: true,
            ending: false,
            grace_override: None,
            quarantine: None,
            eviction: None,
            stage: Stage::Blocked,
            sandbox: false,
            ips: Vec::new(),
            containers,
            outcome: None,
            trouble: None,
            first_seen: now,
            start_time: None,
            start_at: None,
            initialized: false,
            deletion: None,
            was_ready: false,
            transitions: status::Transitions::default(),
            wake: None,
        }
    }

    /// The manifest is there (again); the content is the same, so only what stands beside it can differ.
    pub(crate) fn keep(&mut self, desired: DesiredPod) {
        self.desired = true;
        self.manifest = desired.pod;
        self.policy = desired.policy;
        self.qos_class = desired.qos_class;
        self.manifest_error = desired.manifest_error;
        // Documents were read anew: the one that it waits for may be among them.
        if let Stage::Sandbox { retry, .. } = &mut self.stage
            && self.trouble.as_ref().is_none_or(|trouble| trouble.reason != SYSCTL_FORBIDDEN)
        {
            retry.hurry();
        }
        self.containers.iter_mut().for_each(Container::documents_changed);
    }

    /// Its manifest is gone.
    pub(crate) fn drop_manifest(&mut self) {
        self.desired = false;
        self.ending = true;
        self.quarantine = None;
    }

    /// A person deletes it.
    pub(crate) fn delete(&mut self, grace: Option<i64>) {
        self.quarantine = None;
        self.ending = true;
        self.grace_override = match (self.grace_override, grace) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => before.or(now),
        };
    }

    /// The machine goes down, and somebody is impatient: the shortest grace there is.
    pub(crate) fn hurry(&mut self) {
        self.grace_override = Some(0);
    }

    /// A person restarts it, or one of its containers.
    pub(crate) fn restart(&mut self, container: Option<&str>, turn: &mut Turn<'_>) {
        self.quarantine = None;
        if self.ending {
            return;
        }
        let named = |c: &Container| container.is_none_or(|name| *c.name == *name);
        if !self.containers.iter().any(named) {
            return;
        }
        if self.outcome.take().is_some() {
            if self.stage == Stage::Completed {
                self.stage = Stage::Blocked;
            }
            turn.durable.reopen(&self.uid);
            return;
        }
        if let Stage::Sandbox { retry, .. } = &mut self.stage {
            *retry = Retry::default();
        }
        for container in self.containers.iter_mut().filter(|c| named(c)) {
            container.clear_backoff();
            container.restart = self.stage == Stage::Up;
        }
    }

    pub(crate) fn priority(&self) -> i32 {
        self.manifest.spec.priority
    }

    /// All containers that are to run are ready, and nothing stops them.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Up && self.lasting().all(Container::is_ready)
    }

    /// Init containers are done and sidecars have started, now or before in this life.
    pub(crate) fn is_initialized(&self) -> bool {
        let done = |c: &Container| if c.kind == Kind::Sidecar { c.is_started() } else { c.succeeded() };
        self.initialized || self.inits().all(done)
    }

    /// Nothing of it is or will be on the machine while the node stops.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.stage, Stage::Completed | Stage::Halted)
    }

    pub(crate) fn stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping | Stage::Teardown { .. })
    }

    /// Whether a container that ends is one that is to end.
    pub(crate) fn ends_containers(&self) -> bool {
        self.stopping() || self.restarts_all()
    }

    /// A rule wants all containers to be started anew.
    pub(crate) fn restarts_all(&self) -> bool {
        self.containers.iter().any(|c| c.restarts_all)
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|c| c.kind == Kind::App)
    }

    /// Init containers, sidecars among them.
    pub(crate) fn inits(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|c| c.kind != Kind::App)
    }

    /// Sidecars and app containers.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|c| c.kind != Kind::Init)
    }

    /// The probes that are wanted of its containers now.
    pub(crate) fn wanted_probes(&self) -> Vec<Wanted<'_>> {
        let ends = self.stage != Stage::Up || self.restarts_all();
        let asks = self.quarantine.is_none().then_some(&self.containers);
        asks.into_iter().flatten().flat_map(|container| container.wanted_probes(ends, self.scope())).collect()
    }

    /// Calls `f` on the container that has the instance; `None` when this pod has no such instance.
    pub(crate) fn with_instance<R>(
        &mut self,
        seq: Seq,
        turn: &mut Turn<'_>,
        f: impl FnOnce(&mut Container, Scope<'_>, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        self.with_containers(turn, |containers, scope, turn| {
            containers.iter_mut().find(|c| c.owns(seq)).map(|container| f(container, scope, turn))
        })
    }

    pub(crate) fn with_containers<R>(
        &mut self,
        turn: &mut Turn<'_>,
        f: impl FnOnce(&mut [Container], Scope<'_>, &mut Turn<'_>) -> R,
    ) -> R {
        let scope = Scope { uid: &self.uid, pod: &self.manifest, policy: &self.policy, first_seen: self.first_seen };
        f(&mut self.containers, scope, turn)
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope { uid: &self.uid, pod: &self.manifest, policy: &self.policy, first_seen: self.first_seen }
    }

    pub(crate) fn sandbox_ready(&mut self, ips: Vec<String>) {
        if let Stage::Sandbox { asked: true, .. } = self.stage {
            self.sandbox = true;
            self.ips = ips;
            self.trouble = None;
            self.stage = Stage::Up;
        }
    }

    pub(crate) fn sandbox_failed(&mut self, failure: Failure, turn: &mut Turn<'_>) {
        let Stage::Sandbox { asked: asked @ true, retry } = &mut self.stage else { return };
        *asked = false;
        let refused = failure.reason == SYSCTL_FORBIDDEN;
        // Only another configuration of the node, and so another start, can make a refusal undone.
        let (first, longest) = if refused { (DAY_MS, DAY_MS) } else { (1_000, 60_000) };
        retry.failed(turn.now.boot, first, longest);
        let reason = match failure.reason.as_str() {
            "FailedMount" => "FailedMount",
            SYSCTL_FORBIDDEN => SYSCTL_FORBIDDEN,
            _ => "FailedCreatePodSandBox",
        };
        self.scope().record(turn, true, reason, failure.message.clone());
        self.trouble = Some(failure);
    }

    pub(crate) fn teardown_failed(&mut self, failure: &Failure, turn: &mut Turn<'_>) {
        let Stage::Teardown { asked: asked @ true, retry, .. } = &mut self.stage else { return };
        *asked = false;
        retry.failed(turn.now.boot, 1_000, 60_000);
        self.scope().record(turn, true, "FailedKillPod", format!("Cannot remove what is left: {}", failure.message));
    }

    pub(crate) fn sandbox_gone(&mut self, turn: &mut Turn<'_>) {
        let Stage::Teardown { asked: asked @ true, discard, .. } = &mut self.stage else { return };
        if self.ending && !*discard {
            // It became unwanted while it was taken down, and its volumes are still there.
            *asked = false;
            return;
        }
        self.sandbox = false;
        self.ips.clear();
        self.stage = Stage::Blocked;
        if self.ending {
            turn.durable.forget(&self.uid);
            self.containers = containers_of(&self.manifest);
            self.outcome = None;
            self.first_seen = turn.now.wall;
        } else if self.outcome.is_some() {
            self.stage = Stage::Completed;
        }
        self.ending = false;
        self.grace_override = None;
        self.deletion = None;
        self.trouble = None;
    }

    /// Takes the pod as far as it can go now, and asks for what takes it further.
    pub(crate) fn settle(&mut self, around: &Around, turn: &mut Turn<'_>) -> Fate {
        turn.wake = None;
        let mut fate = Fate::Stays;
        if self.quarantine.is_none() {
            loop {
                match self.step(around, turn) {
                    Flow::Again => {}
                    Flow::Wait => break,
                    Flow::Gone => {
                        fate = Fate::Gone;
                        break;
                    }
                }
            }
            let terminating = self.stopping() && self.outcome.is_none() || self.stage != Stage::Blocked && self.ending;
            if terminating && self.deletion.is_none() {
                self.deletion = Some(turn.now.wall);
            }
        }
        let told_to_stop = around.stop_now || self.stage == Stage::Halted;
        if told_to_stop && self.desired && !self.ending && self.outcome.is_none() {
            self.transitions.disrupt(turn.now.wall);
        }
        self.wake = turn.wake.take();
        status::note_transitions(self, turn.now);
        fate
    }

    /// One row of the table.
    fn step(&mut self, around: &Around, turn: &mut Turn<'_>) -> Flow {
        let now = turn.now.boot;
        let wanted = self.desired && !self.ending && !around.stop_now;
        if wanted && self.exceeds_deadline(turn) {
            return Flow::Again;
        }
        match self.stage {
            Stage::Blocked if !self.desired => Flow::Gone,
            Stage::Blocked if around.node_stops => self.enter(Stage::Halted),
            Stage::Blocked if around.predecessor => {
                self.ending = false;
                Flow::Wait
            }
            Stage::Blocked if around.taken.is_some() => {
                self.ending = false;
                self.refuse_port(around, turn);
                Flow::Wait
            }
            Stage::Blocked => {
                self.trouble = None;
                self.begin(turn);
                Flow::Again
            }
            Stage::Conditions { .. } if self.ending => self.tear_down(),
            Stage::Conditions { .. } if around.node_stops => self.enter(Stage::Halted),
            Stage::Conditions { since } => self.wait_for_conditions(since, around, turn),
            Stage::Sandbox { asked: true, .. } => Flow::Wait,
            Stage::Sandbox { .. } if !wanted => self.tear_down(),
            Stage::Sandbox { retry, .. } => {
                if let Some(at) = retry.pending(now) {
                    turn.wake_at(at);
                } else {
                    self.stage = Stage::Sandbox { asked: true, retry };
                    turn.ask(Action::PrepareSandbox { pod: Rc::clone(&self.uid) });
                }
                Flow::Wait
            }
            Stage::Up if !wanted || self.eviction.is_some() => self.enter(Stage::Stopping),
            Stage::Up => self.run_containers(turn),
            Stage::Stopping => self.stop_containers(turn),
            Stage::Teardown { asked: true, .. } => Flow::Wait,
            Stage::Teardown { retry, .. } => {
                if let Some(at) = retry.pending(now) {
                    turn.wake_at(at);
                } else {
                    let discard = self.ending || self.eviction.is_some();
                    self.stage = Stage::Teardown { asked: true, discard, retry };
                    turn.ask(Action::TeardownSandbox { pod: Rc::clone(&self.uid), discard_volumes: discard });
                }
                Flow::Wait
            }
            Stage::Completed if self.ending => self.tear_down(),
            Stage::Completed => Flow::Wait,
            Stage::Halted if around.node_stops => Flow::Wait,
            Stage::Halted if self.ending => self.tear_down(),
            Stage::Halted => self.enter(Stage::Blocked),
        }
    }

    pub(super) fn enter(&mut self, stage: Stage) -> Flow {
        self.stage = stage;
        Flow::Again
    }

    pub(super) fn tear_down(&mut self) -> Flow {
        self.enter(Stage::Teardown { asked: false, discard: false, retry: Retry::default() })
    }

    /// A new life: from what is on disk of the earlier ones it follows whether there is anything to run.
    fn begin(&mut self, turn: &mut Turn<'_>) {
        self.ending = false;
        self.grace_override = None;
        self.eviction = None;
        self.transitions.begin();
        self.start_time = Some(turn.now.wall);
        self.start_at = Some(turn.now.boot);
        self.initialized = false;
        for container in &mut self.containers {
            container.reset(false);
        }
        self.stage = Stage::Conditions { since: turn.now.boot };
        let Some(durable) = turn.durable.pod(&self.uid) else { return };
        self.first_seen = durable.first_seen;
        for container in &mut self.containers {
            if let Some(count) = durable.restarts.get(&container.name) {
                container.restart_count = *count;
                container.has_run = true;
            }
        }
        // Once told, it stays done, while the pod's other containers go on (semantics 3.1).
        let (done, marks) = (durable.succeeded.clone(), durable.marks.clone());
        for container in self.containers.iter_mut().filter(|c| c.kind == Kind::App) {
            if let Some(at_wall) = done.get(&container.name) {
                container.has_succeeded(*at_wall, turn);
            }
        }
        let ends = self.apps().map(|c| done.get(&c.name).copied()).collect::<Option<Vec<_>>>();
        if let Some(status) = &durable.completed {
            self.outcome = Some(status.clone());
            self.stage = Stage::Completed;
            return;
        }
        if let Some(at_wall) = ends.and_then(|ends| ends.into_iter().next()) {
            // The power went between the last success and the final status. The init containers came before the first success.
            for init in self.containers.iter_mut().filter(|c| c.kind == Kind::Init) {
                init.has_succeeded(at_wall, turn);
            }
            self.initialized = true;
            self.stage = Stage::Completed;
            self.finish(None, turn);
            return;
        }
        if marks.is_empty() {
            return;
        }
        for container in self.containers.iter_mut().filter(|c| marks.contains(&c.name)) {
            container.interrupted(turn);
        }
        if self.manifest.spec.restart_policy == RestartPolicy::Never {
            let message =
                "The pod was interrupted, and restartPolicy Never allows one run only. Delete the pod to run it again.";
            self.scope().record(turn, true, "Interrupted", message.to_owned());
            self.finish(Some(Failure { reason: "Interrupted".to_owned(), message: message.to_owned() }), turn);
            self.stage = Stage::Completed;
        }
    }

    fn wait_for_conditions(&mut self, since: Instant, around: &Around, turn: &mut Turn<'_>) -> Flow {
        let unmet = &around.unmet;
        if let Some((device, holder)) = &around.device_held {
            let message = format!("{device} is in use by the pod {holder}; this pod starts when that one is gone");
            if self.trouble.as_ref().is_none_or(|trouble| trouble.message != message) {
                self.scope().record(turn, true, "DeviceInUse", message.clone());
            }
            self.trouble = Some(Failure { reason: "DeviceInUse".to_owned(), message });
            return Flow::Wait;
        }
        if let Some(cycle) = &unmet.cycle {
            let text = format!("start-after is ignored where pods wait for each other: {cycle}");
            if self.trouble.as_ref().is_none_or(|trouble| trouble.message != text) {
                self.scope().record(turn, true, "StartAfterCycle", text.clone());
            }
            self.trouble = Some(Failure { reason: "StartAfterCycle".to_owned(), message: text });
        }
        let timeout = self.policy.start_after_timeout_ms;
        let end = since.after(timeout);
        if !unmet.names.is_empty() && (timeout == 0 || turn.now.boot < end) {
            self.trouble = Some(Failure {
                reason: format!("WaitingFor: {}", unmet.names.join(", ")),
                message: "The pod starts when this holds (annotation gatepost.io/start-after)".to_owned(),
            });
            if timeout != 0 {
                turn.wake_at(end);
            }
            return Flow::Wait;
        }
        if !unmet.names.is_empty() {
            let text = format!("Starting although this does not hold after {timeout} ms: {}", unmet.names.join(", "));
            self.scope().record(turn, true, "StartAfterTimeout", text);
        }
        self.trouble = None;
        self.enter(Stage::Sandbox { asked: false, retry: Retry::default() })
    }

    /// Ends a pod that has been active for longer than its manifest allows.
    fn exceeds_deadline(&mut self, turn: &mut Turn<'_>) -> bool {
        let next = match self.stage {
            Stage::Up => Stage::Stopping,
            Stage::Conditions { .. } | Stage::Sandbox { asked: false, .. } => {
                Stage::Teardown { asked: false, discard: false, retry: Retry::default() }
            }
            _ => return false,
        };
        let (Some(seconds), Some(start)) = (self.manifest.spec.active_deadline_seconds, self.start_at) else {
            return false;
        };
        let end = start.after(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        if turn.now.boot < end {
            turn.wake_at(end);
            return false;
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.scope().record(turn, false, "DeadlineExceeded", message.clone());
        self.stage = next;
        self.finish(Some(Failure { reason: "DeadlineExceeded".to_owned(), message }), turn);
        true
    }

    /// Fixes the final status, here and on disk.
    pub(super) fn finish(&mut self, why: Option<Failure>, turn: &mut Turn<'_>) {
        self.trouble = why;
        let status = status::final_status(self, turn.now, turn.settings);
        turn.durable.complete(&self.uid, self.first_seen, status.clone());
        self.outcome = Some(status);
    }
}

/// What follows a row of the table.
pub(super) enum Flow {
    Again,
    Wait,
    Gone,
}

impl Container {
    /// It has done its work in an earlier life of the pod.
    fn has_succeeded(&mut self, at_wall: Wall, turn: &Turn<'_>) {
        let (at, message) = (turn.now.boot, String::new());
        let exit = Exit { code: 0, oom_killed: false, reason: None, message, at, at_wall };
        // What this life of the supervisor knows of it says more.
        if self.last.as_ref().is_none_or(|last| last.exit.code != 0) {
            self.last = Some(super::container::Terminated { seq: None, started: None, exit });
        }
        self.has_run = true;
        self.state = State::Ended;
    }

    /// Its only run was cut off and nobody saw its end.
    pub(crate) fn interrupted(&mut self, turn: &Turn<'_>) {
        self.has_run = true;
        self.last = Some(super::container::Terminated { seq: None, started: None, exit: Exit::unknown(turn.now) });
        self.state = State::Ended;
    }
}

fn containers_of(pod: &v1::Pod) -> Vec<Container> {
    let kind = |c: &v1::Container| match c.restart_policy {
        Some(RestartPolicy::Always) => Kind::Sidecar,
        _ => Kind::Init,
    };
    let inits = pod.spec.init_containers.iter().map(|c| Container::new(&c.name, kind(c)));
    inits.chain(pod.spec.containers.iter().map(|c| Container::new(&c.name, Kind::App))).collect()
}
