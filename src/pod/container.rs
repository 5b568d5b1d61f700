//! [`Container`]: one container of a pod, from waiting over its start and run to its end, again and again.
//!
//! States down, what happens across (`·` = ignored: a late or false word changes nothing):
//!
//! | | due | `ImageReady` | `ImageFailed` | `Created` | `Marked` | `Started` | `StartFailed` | `Exited` |
//! |---|---|---|---|---|---|---|---|---|
//! | Waiting | ask image → Image | · | · | · | · | · | · | · |
//! | Image | | ask start → Starting | → Waiting (pull backoff) | · | · | · | · | · |
//! | Starting | created: ask mark, marked: ask start | · | · | step on | step on | → Running | → Waiting (backoff) | → Waiting or Ended |
//! | Running | | · | · | · | · | · | · | → Waiting (backoff) or Ended |
//! | Ended | | · | · | · | · | · | · | · |
//!
//! Every instance that ends or cannot start becomes a leftover until `Removed` is told. What could not start may run all the
//! same for a while (a runtime that was killed half-way), so the next start waits for its `Emptied`, and not for its `Removed`,
//! which may wait for the log's disk. A word about a leftover never moves the instance after it. Stopping is a second, smaller table in `termination`.

use std::rc::Rc;

use super::backoff::{CrashBackoff, Retry};
use super::event::{Action, Device, Exit, Failure, Seq, StartMode};
use super::health::Health;
use super::policy::After;
use super::termination::{Order, Stop};
use super::time::{Instant, Wall};
use super::turn::{Scope, Turn};
use crate::json::{Deserialize, Serialize};
use crate::sorted::BTreeMap;

/// kubelet: image pull backoff, first and longest wait.
const PULL_FIRST_MS: u64 = 10_000;
const PULL_MAX_MS: u64 = 300_000;
/// kubelet tries again with its next sync; neither counted nor doubled.
const CONFIG_RETRY_MS: u64 = 10_000;

/// Which part a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that runs on: the next one starts once it has started.
    Sidecar,
    /// Runs beside the others.
    App,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: Rc<str>,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// The stop under way of the live instance.
    pub(crate) stop: Option<Stop>,
    /// What is known of the running instance.
    #[serde(default)]
    pub(crate) health: Health,
    /// How the last run ended.
    pub(crate) last: Option<Terminated>,
    /// What was found for its image at the last start.
    pub(crate) image: Option<Image>,
    pub(crate) restart_count: u32,
    /// The next start is a restart.
    pub(crate) has_run: bool,
    /// A start of it has failed, so the next one counts for the backoff.
    pub(crate) start_failed: bool,
    pub(crate) backoff: CrashBackoff,
    pub(crate) pulls: Retry,
    pub(crate) leftovers: Vec<Leftover>,
    /// A person asked for a restart that has not begun.
    pub(crate) restart: bool,
    /// The devices of the node that it was given last, by name.
    #[serde(default)]
    pub(crate) devices: BTreeMap<String, Device>,
    /// The device that it cannot have, in a sentence.
    #[serde(default)]
    pub(crate) lacks: Option<String>,
    /// A rule of it asks for a restart of all containers of the pod.
    #[serde(default)]
    pub(crate) restarts_all: bool,
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Nothing of it runs; it starts when it is its turn and not before `until`.
    Waiting { until: Option<Instant>, why: Why },
    /// Asked for its image; `again` when images changed since.
    Image { again: bool, why: Why },
    /// The runtime makes it.
    Starting { seq: Seq, step: Step, at: Instant, why: Why },
    /// Its program runs.
    Running { seq: Seq, since: Wall },
    /// It ended and policy does not start it again.
    Ended,
}

/// Why a container does not run yet: what its status says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// It is its first start, or it starts again at once.
    Starting,
    /// Crash-loop backoff of this many milliseconds.
    Backoff { wait_ms: u64 },
    /// Its last start failed.
    Failed(Failure),
    /// Its image cannot be had.
    Image(Failure),
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Asked to create and start in one call.
    Run,
    /// Asked to create.
    Create,
    /// The runtime was ended while it created it: it is killed, and its end is awaited.
    CutOff,
    /// It is created; the next step is to be asked (after `retry`, where the mark could not be written).
    Created { retry: Retry },
    /// Asked for the durable mark.
    Marking { retry: Retry },
    /// The mark is on disk; the start is to be asked.
    Marked,
    /// Asked to start what was created.
    Launching,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terminated {
    pub(crate) seq: Option<Seq>,
    pub(crate) started: Option<Wall>,
    pub(crate) exit: Exit,
}

/// Facts about the image in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) stop_signal: Option<i32>,
}

/// An instance of which something is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leftover {
    pub(crate) seq: Seq,
    pub(crate) asked: bool,
    pub(crate) retry: Retry,
    /// Its start failed: something of it may run until it is known to be empty, or removed.
    #[serde(default)]
    pub(crate) doubtful: bool,
}

impl Container {
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: Rc::from(name),
            kind,
            state: State::Waiting { until: None, why: Why::Starting },
            stop: None,
            health: Health::default(),
            last: None,
            image: None,
            restart_count: 0,
            has_run: false,
            start_failed: false,
            backoff: CrashBackoff::default(),
            pulls: Retry::default(),
            leftovers: Vec::new(),
            restart: false,
            devices: BTreeMap::new(),
            lacks: None,
            restarts_all: false,
        }
    }

    /// The instance that runs or may run.
    pub(crate) fn live(&self) -> Option<Seq> {
        match self.state {
            State::Starting { seq, .. } | State::Running { seq, .. } => Some(seq),
            State::Waiting { .. } | State::Image { .. } | State::Ended => None,
        }
    }

    pub(crate) fn owns(&self, seq: Seq) -> bool {
        self.live() == Some(seq) || self.leftovers.iter().any(|leftover| leftover.seq == seq)
    }

    /// It ended with code 0 and stays ended.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(self.state, State::Ended) && self.last.as_ref().is_some_and(|last| last.exit.code == 0)
    }

    /// Back to before its first start, for the next life of the pod; `fresh` forgets the past too.
    pub(crate) fn reset(&mut self, fresh: bool) {
        let old = std::mem::replace(self, Self::new(&self.name, self.kind));
        if !fresh {
            self.restart_count = old.restart_count;
            self.has_run = old.has_run;
            self.last = old.last;
            self.image = old.image;
        }
    }

    /// Goes on with whatever is due: the row "due" of the table. Without `may_start` nothing is begun that runs.
    pub(crate) fn advance(&mut self, may_start: bool, scope: Scope<'_>, turn: &mut Turn<'_>) {
        if self.restart {
            self.begin_restart(scope, turn);
        }
        let never = scope.never(&self.name, self.kind);
        match &mut self.state {
            State::Waiting { until: Some(until), .. } if *until > turn.now.boot => turn.wake_at(*until),
            State::Waiting { .. } if !may_start || self.leftovers.iter().any(|leftover| leftover.doubtful) => {}
            State::Waiting { why, .. } => {
                let why = std::mem::replace(why, Why::Starting);
                self.state = State::Image { again: false, why };
                turn.ask(Action::EnsureImage { container: scope.container(&self.name) });
            }
            State::Starting { seq, step, .. } => match *step {
                Step::Created { retry } if never => {
                    if let Some(at) = retry.pending(turn.now.boot) {
                        turn.wake_at(at);
                        return;
                    }
                    *step = Step::Marking { retry };
                    turn.durable.mark(scope.uid, scope.first_seen, &self.name);
                    turn.ask(Action::Mark { seq: *seq, container: scope.container(&self.name) });
                }
                Step::Created { .. } | Step::Marked => {
                    *step = Step::Launching;
                    turn.ask(Action::StartCreated { seq: *seq });
                }
                Step::CutOff => {
                    if let (seq, Some(Stop::Killed { again })) = (*seq, self.stop) {
                        self.kill_again(seq, again, scope, turn);
                    }
                }
                Step::Run | Step::Create | Step::Marking { .. } | Step::Launching => {}
            },
            State::Running { .. } => self.look_after(scope, turn),
            State::Image { .. } | State::Ended => {}
        }
        if let Some(doom) = self.health.doom {
            self.drive_stop(Order::of_doom(doom), scope, turn);
        }
    }

    /// On its way to run, with an answer to come soon.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state, State::Image { .. } | State::Starting { .. })
    }

    /// Asks to remove what ended. Removing is slow, so it waits while a container of the pod is `starting`; not so what
    /// keeps this one from starting.
    pub(crate) fn sweep(&mut self, starting: bool, turn: &mut Turn<'_>) {
        for leftover in &mut self.leftovers {
            if leftover.asked || (starting && !leftover.doubtful) {
                continue;
            }
            if let Some(at) = leftover.retry.pending(turn.now.boot) {
                turn.wake_at(at);
                continue;
            }
            leftover.asked = true;
            turn.ask(Action::Remove { seq: leftover.seq });
        }
    }

    /// `pulled`: it was pulled for this, which has been told.
    pub(crate) fn image_ready(&mut self, (image, pulled): (Image, bool), scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Image { why, .. } = &mut self.state else { return };
        let why = std::mem::replace(why, Why::Starting);
        if !self.has_its_devices(turn) {
            self.state = State::Waiting { until: None, why };
            return;
        }
        self.image = Some(image);
        self.pulls = Retry::default();
        let seq = turn.seqs.next();
        let never = scope.never(&self.name, self.kind);
        let (mode, step) = if never { (StartMode::Create, Step::Create) } else { (StartMode::Run, Step::Run) };
        if !pulled {
            let present = format!(
                "Container image \"{}\" already present on machine and can be accessed by the pod",
                scope.image_of(&self.name)
            );
            self.record(scope, turn, false, "Pulled", present);
        }
        self.state = State::Starting { seq, step, at: turn.now.boot, why };
        turn.ask(Action::Start {
            seq,
            container: scope.container(&self.name),
            attempt: self.restart_count.saturating_add(u32::from(self.has_run)),
            mode,
        });
    }

    pub(crate) fn image_failed(&mut self, failure: Failure, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Image { again, .. } = self.state else { return };
        self.pulls.failed(turn.now.boot, PULL_FIRST_MS, PULL_MAX_MS);
        if again {
            self.pulls.hurry();
        }
        let image = scope.image_of(&self.name);
        if failure.reason == "ErrImagePull" {
            self.record(scope, turn, true, "Failed", format!("Failed to pull image \"{image}\": {}", failure.message));
            self.record(scope, turn, false, "BackOff", format!("Back-off pulling image \"{image}\""));
        }
        let told = match failure.reason.as_str() {
            "ErrImagePull" => None,
            "ErrImageNeverPull" => Some("ErrImageNeverPull"),
            "SignatureValidationFailed" => Some("Failed"),
            _ => Some("InspectFailed"),
        };
        if let Some(reason) = told {
            self.record(scope, turn, true, reason, failure.message.clone());
        }
        self.record(scope, turn, true, "Failed", format!("Error: {}", failure.reason));
        self.state = State::Waiting { until: self.pulls.pending(turn.now.boot), why: Why::Image(failure) };
    }

    /// Images came or went: what waits for one looks again at once.
    pub(crate) fn images_changed(&mut self) {
        match &mut self.state {
            State::Waiting { until, why: Why::Image(_) } => *until = None,
            State::Image { again, .. } => *again = true,
            _ => {}
        }
    }

    /// Documents were read: what waits for one looks again at once.
    pub(crate) fn documents_changed(&mut self) {
        if let State::Waiting { until, why: Why::Failed(failure) } = &mut self.state
            && failure.reason == "CreateContainerConfigError"
        {
            *until = None;
        }
    }

    pub(crate) fn created(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Starting { step: step @ (Step::Run | Step::Create), .. } = &mut self.state else { return };
        *step = Step::Created { retry: Retry::default() };
        self.record(scope, turn, false, "Created", "Container created".to_owned());
    }

    pub(crate) fn marked(&mut self) {
        if let State::Starting { step: step @ Step::Marking { .. }, .. } = &mut self.state {
            *step = Step::Marked;
        }
    }

    pub(crate) fn mark_failed(&mut self, failure: &Failure, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Starting { step, .. } = &mut self.state else { return };
        let Step::Marking { mut retry } = *step else { return };
        retry.failed(turn.now.boot, 1_000, 60_000);
        *step = Step::Created { retry };
        let text = format!("Cannot note on disk that the container is about to have its only run: {}", failure.message);
        self.record(scope, turn, true, "FailedMark", text);
    }

    pub(crate) fn started(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Starting { seq, step, at, .. } = self.state else { return };
        if step == Step::Run {
            self.record(scope, turn, false, "Created", "Container created".to_owned());
        }
        self.record(scope, turn, false, "Started", "Container started".to_owned());
        self.state = State::Running { seq, since: turn.now.wall };
        self.count_run(at, scope, turn);
        self.begin_health(scope, turn);
    }

    pub(crate) fn start_failed(&mut self, failure: Failure, stopping: bool, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Starting { seq, step, at, .. } = self.state else { return };
        let now = turn.now;
        self.leave(seq, true);
        self.record(scope, turn, true, "Failed", format!("Error: {}", failure.message));
        if scope.never(&self.name, self.kind) && step == Step::Launching {
            // The mark is on disk, so this was its run (containerd: exit code 128, StartError).
            self.last = Some(Terminated {
                seq: Some(seq),
                started: None,
                exit: Exit {
                    code: 128,
                    oom_killed: false,
                    reason: Some("StartError".to_owned()),
                    message: failure.message,
                    at: now.boot,
                    at_wall: now.wall,
                },
            });
            self.has_run = true;
            self.state = State::Ended;
            return;
        }
        let until = if stopping || self.restart {
            None
        } else if failure.reason == "CreateContainerConfigError" {
            Some(now.boot.after(CONFIG_RETRY_MS))
        } else {
            self.let_through(at, scope, turn);
            self.start_failed = true;
            Some(now.boot.after(self.backoff.after_failed_start()))
        };
        self.state = State::Waiting { until, why: Why::Failed(failure) };
    }

    pub(crate) fn exited(&mut self, exit: Exit, stopping: bool, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let (seq, started) = match self.state {
            State::Running { seq, since } => (seq, Some(since)),
            State::Starting {
                step: Step::Created { .. } | Step::Marking { .. } | Step::Marked | Step::Create | Step::CutOff,
                ..
            } => {
                let failure = Failure {
                    reason: "RunContainerError".to_owned(),
                    message: format!("ended with code {} before its program was started", exit.code),
                };
                return self.start_failed(failure, stopping, scope, turn);
            }
            State::Starting { seq, at, .. } => {
                self.count_run(at, scope, turn);
                (seq, None)
            }
            State::Waiting { .. } | State::Image { .. } | State::Ended => return,
        };
        // What was told to end has not done its work, whatever its code.
        let by_itself = !stopping && self.stop.is_none() && !self.restart;
        if by_itself && scope.is_done_by(self, exit.code) {
            turn.durable.succeeded(scope.uid, scope.first_seen, &self.name, exit.at_wall);
        }
        self.leave(seq, false);
        let ended = exit.at.min(turn.now.boot);
        let doomed = self.health.doom.take().is_some();
        let after = scope.after(self, exit.code, doomed);
        let done = self.kind == Kind::Init && exit.code == 0 && !doomed;
        self.last = Some(Terminated { seq: Some(seq), started, exit });
        self.restarts_all = after == After::RestartsAll && !stopping;
        self.state = if (self.restart || self.restarts_all) && !stopping {
            self.restart = false;
            State::Waiting { until: None, why: Why::Starting }
        } else if stopping || done || after == After::Stays {
            State::Ended
        } else {
            // Nobody works without a device, and it starts as soon as that is there.
            let wait_ms = if self.lacks.is_some() { 0 } else { self.backoff.after_run(ended) };
            if wait_ms == 0 {
                State::Waiting { until: None, why: Why::Starting }
            } else {
                let text = format!("Back-off restarting failed container {} in pod {}", self.name, scope.long_name());
                self.record(scope, turn, true, "BackOff", text);
                State::Waiting { until: Some(ended.after(wait_ms)), why: Why::Backoff { wait_ms } }
            }
        };
    }

    /// Nothing of a leftover runs any more.
    pub(crate) fn emptied(&mut self, seq: Seq) {
        for leftover in self.leftovers.iter_mut().filter(|leftover| leftover.seq == seq) {
            leftover.doubtful = false;
        }
    }

    pub(crate) fn removed(&mut self, seq: Seq) {
        self.leftovers.retain(|leftover| leftover.seq != seq);
    }

    pub(crate) fn remove_failed(&mut self, seq: Seq, failure: &Failure, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let Some(leftover) = self.leftovers.iter_mut().find(|leftover| leftover.seq == seq) else { return };
        leftover.asked = false;
        leftover.retry.failed(turn.now.boot, 1_000, 60_000);
        self.record(
            scope,
            turn,
            true,
            "FailedRemove",
            format!("Cannot remove an ended container: {}", failure.message),
        );
    }

    /// Forgets crash-loop backoff; what waits for it starts at once.
    pub(crate) fn clear_backoff(&mut self) {
        self.backoff.clear();
        if let State::Waiting { until, why: Why::Backoff { .. } | Why::Failed(_) } = &mut self.state {
            *until = None;
        }
    }

    pub(crate) fn record(&self, scope: Scope<'_>, turn: &mut Turn<'_>, warning: bool, reason: &str, message: String) {
        let list = if self.kind == Kind::App { "containers" } else { "initContainers" };
        scope.record_at(turn, format!("spec.{list}{{{}}}", self.name), warning, reason, message);
    }

    /// The live instance becomes a leftover.
    pub(crate) fn leave(&mut self, seq: Seq, doubtful: bool) {
        self.stop = None;
        self.health = Health { doom: self.health.doom, ..Health::default() };
        self.leftovers.push(Leftover { seq, asked: false, retry: Retry::default(), doubtful });
    }

    /// The start asked at `at` counts for the backoff, if it was not the first.
    fn let_through(&mut self, at: Instant, scope: Scope<'_>, turn: &Turn<'_>) {
        if self.has_run || self.start_failed {
            self.backoff.restarting(at, scope.backoff_rule(&self.name, turn.settings.backoff));
        }
    }

    fn count_run(&mut self, at: Instant, scope: Scope<'_>, turn: &mut Turn<'_>) {
        self.let_through(at, scope, turn);
        self.start_failed = false;
        self.restart_count = self.restart_count.saturating_add(u32::from(self.has_run));
        self.has_run = true;
        turn.durable.started(scope.uid, scope.first_seen, &self.name, self.restart_count);
    }

    fn begin_restart(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        match self.state {
            State::Running { .. } => return self.drive_stop(Order::graceful(None), scope, turn),
            // What is being made is as new as a restart would make it.
            State::Starting { .. } | State::Image { .. } => {}
            State::Waiting { ref mut until, .. } => *until = None,
            State::Ended if self.kind != Kind::Init => {
                turn.durable.again(scope.uid, &self.name);
                self.state = State::Waiting { until: None, why: Why::Starting };
            }
            State::Ended => {}
        }
        self.restart = false;
    }
}
