//! [`Stop`]: ending one live container instance: preStop hook, its turn, stop signal, grace, SIGKILL, and SIGKILL again.
//!
//! | instance is | no stop yet | `Hook` | `Queued` | `Signalled` | `Killed` |
//! |---|---|---|---|---|---|
//! | being created or started | wait for the answer | – | – | – | – |
//! | created, its program not started | kill → `Killed` | – | – | – | every 10 s: kill again, event |
//! | running | event Killing, ask for the hook → `Hook`; without one → `Queued` | hook over, or all grace used → `Queued` | its turn, or all grace used: stop signal → `Signalled` | at the end of the grace: kill → `Killed` | every 10 s: kill again, event |
//!
//! The grace runs from the beginning of the stop. Whatever the hook and the wait have used of it, two seconds are left between
//! signal and SIGKILL. Only a sidecar has to wait for its turn: when what it serves has ended.

use super::container::{Container, State, Step, Why};
use super::event::{Action, HookKind, Seq};
use super::health::{self, Doom};
use super::policy::signal_number;
use super::probe::ProbeKind;
use super::time::Instant;
use super::turn::{Scope, Turn};
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::RestartPolicy;

/// semantics 4.3: even a grace of 0 gives a container this long.
pub(crate) const GRACE_FLOOR_MS: u64 = 2_000;
const KILL_AGAIN_MS: u64 = 10_000;
const SIGTERM: i32 = 15;

/// How far the stop of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    /// Its preStop hook runs, or it pauses until then. It began at `at`.
    Hook { at: Instant, grace_ms: u64, until: Option<Instant> },
    /// It waits for its turn.
    Queued { at: Instant, grace_ms: u64 },
    /// The stop signal was asked for at `at`, and this grace is left from then on.
    Signalled { at: Instant, grace_ms: u64 },
    /// SIGKILL was asked for; it is repeated at `again`.
    Killed { again: Instant },
}

/// How an instance is to be stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Grace in seconds instead of the pod's.
    grace: Option<i64>,
    /// Why, if something is wrong with it.
    doom: Option<Doom>,
    /// What it serves has ended.
    its_turn: bool,
}

impl Order {
    /// For nothing that is wrong with it, and with the pod's grace or another.
    pub(crate) fn graceful(grace: Option<i64>) -> Self {
        Self { grace, doom: None, its_turn: true }
    }

    /// For a bad probe or hook.
    pub(crate) fn of_doom(doom: Doom) -> Self {
        Self { grace: doom.grace, doom: Some(doom), its_turn: true }
    }

    /// Not before its turn.
    pub(crate) fn in_turn(self, its_turn: bool) -> Self {
        Self { its_turn, ..self }
    }
}

impl Container {
    /// Takes the live instance, if any, one step nearer to its end.
    pub(crate) fn drive_stop(&mut self, order: Order, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let now = turn.now.boot;
        let (seq, running) = match self.state {
            State::Running { seq, .. } => (seq, true),
            State::Starting {
                seq,
                step: Step::CutOff | Step::Created { .. } | Step::Marking { .. } | Step::Marked,
                ..
            } => (seq, false),
            // Asked to create or start: the answer comes, and what runs then gets its grace.
            State::Starting { .. } => return,
            State::Image { .. } => {
                self.state = State::Waiting { until: None, why: Why::Starting };
                return;
            }
            State::Waiting { .. } | State::Ended => return,
        };
        let asked_ms = scope.raw_grace_ms(order.grace);
        if self.stop.is_none() {
            if !running {
                return self.kill(seq, turn);
            }
            let text = self.reason_to_stop(order.doom, scope);
            self.record(scope, turn, false, "Killing", text);
            self.stop = Some(self.begin_hook(seq, asked_ms, scope, turn));
        }
        if let Some(Stop::Hook { at, grace_ms, until }) = self.stop {
            let grace_ms = grace_ms.min(asked_ms);
            let end = until.map_or(at.after(grace_ms), |until| until.min(at.after(grace_ms)));
            if now < end {
                self.stop = Some(Stop::Hook { at, grace_ms, until });
                return turn.wake_at(end);
            }
            self.stop = Some(Stop::Queued { at, grace_ms });
        }
        match self.stop {
            Some(Stop::Queued { at, grace_ms }) => {
                // A grace only shrinks.
                let grace_ms = grace_ms.min(asked_ms);
                let end = at.after(grace_ms);
                if !order.its_turn && now < end {
                    self.stop = Some(Stop::Queued { at, grace_ms });
                    return turn.wake_at(end);
                }
                turn.ask(Action::Signal { seq, signal: self.stop_signal(scope) });
                let grace_ms = end.since(now).max(GRACE_FLOOR_MS);
                self.stop = Some(Stop::Signalled { at: now, grace_ms });
                turn.wake_at(now.after(grace_ms));
            }
            Some(Stop::Signalled { at, grace_ms: before }) => {
                let grace_ms = before.min(asked_ms.max(GRACE_FLOOR_MS));
                let end = at.after(grace_ms);
                if now >= end {
                    self.kill(seq, turn);
                } else {
                    self.stop = Some(Stop::Signalled { at, grace_ms });
                    turn.wake_at(end);
                }
            }
            Some(Stop::Killed { again }) => self.kill_again(seq, again, scope, turn),
            Some(Stop::Hook { .. }) | None => {}
        }
    }

    /// What is killed and still there is killed again when it is time for that.
    pub(crate) fn kill_again(&mut self, seq: Seq, at: Instant, scope: Scope<'_>, turn: &mut Turn<'_>) {
        if turn.now.boot < at {
            return turn.wake_at(at);
        }
        let text = format!("Container {} is still there 10 s after SIGKILL; killing it again", self.name);
        self.record(scope, turn, true, "FailedKillPod", text);
        self.kill(seq, turn);
    }

    /// Asks for the preStop hook, if there is one and time for it, and this is the first stop: an earlier one has had it, or
    /// had no time for it and went on to the signal.
    fn begin_hook(&mut self, seq: Seq, grace_ms: u64, scope: Scope<'_>, turn: &mut Turn<'_>) -> Stop {
        let at = turn.now.boot;
        let handler = scope.spec(&self.name).and_then(|spec| health::hook(spec, HookKind::PreStop));
        let first = !std::mem::replace(&mut self.health.pre_stop, true);
        let Some(handler) = handler.filter(|_| grace_ms > 0 && first) else {
            return Stop::Queued { at, grace_ms };
        };
        let pause = health::pause_ms(handler);
        if pause.is_none() {
            let container = scope.container(&self.name);
            turn.ask(Action::Hook { seq, container, kind: HookKind::PreStop, bound_ms: Some(grace_ms) });
        }
        Stop::Hook { at, grace_ms, until: pause.map(|pause| at.after(pause)) }
    }

    /// As kubelet's events have it.
    fn reason_to_stop(&self, doom: Option<Doom>, scope: Scope<'_>) -> String {
        let probe = match doom {
            None => return format!("Stopping container {}", self.name),
            Some(Doom { probe: None, .. }) => return "FailedPostStartHook".to_owned(),
            Some(Doom { probe: Some(ProbeKind::Startup), .. }) => "startup",
            Some(Doom { probe: Some(ProbeKind::Liveness | ProbeKind::Readiness), .. }) => "liveness",
        };
        let again =
            if scope.policy_of(&self.name, self.kind) == RestartPolicy::Never { "" } else { ", will be restarted" };
        format!("Container {} failed {probe} probe{again}", self.name)
    }

    /// The manifest's, the image's, or SIGTERM.
    fn stop_signal(&self, scope: Scope<'_>) -> i32 {
        let lifecycle = scope.spec(&self.name).and_then(|spec| spec.lifecycle.as_ref());
        let own = lifecycle.and_then(|lifecycle| signal_number(lifecycle.stop_signal.as_deref()?));
        own.or(self.image.as_ref().and_then(|image| image.stop_signal)).unwrap_or(SIGTERM)
    }

    pub(crate) fn kill(&mut self, seq: Seq, turn: &mut Turn<'_>) {
        let again = turn.now.boot.after(KILL_AGAIN_MS);
        turn.ask(Action::Kill { seq });
        self.stop = Some(Stop::Killed { again });
        turn.wake_at(again);
    }
}

impl Scope<'_> {
    /// The pod's grace in milliseconds, or the one that was asked for, never below the floor.
    pub(crate) fn grace_ms(&self, asked_seconds: Option<i64>) -> u64 {
        self.raw_grace_ms(asked_seconds).max(GRACE_FLOOR_MS)
    }

    /// The same without a floor; kubelet: a negative one is a second.
    fn raw_grace_ms(&self, asked_seconds: Option<i64>) -> u64 {
        let seconds = asked_seconds.unwrap_or(self.pod.spec.termination_grace_period_seconds);
        u64::try_from(seconds).unwrap_or(1).saturating_mul(1000)
    }
}
