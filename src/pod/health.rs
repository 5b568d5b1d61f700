//! [`Health`]: what is known of a running instance beside that it runs: hooks, probes, and what it must end for.
//!
//! An instance is *up* once its postStart hook has succeeded, *started* once its startup probe has too, and *ready* while its
//! readiness probe succeeds besides. What there is no hook or probe for counts as done.
//!
//! | probe | is made while the instance is | a verdict |
//! |---|---|---|
//! | startup | up and not started | good: started; bad: it is stopped |
//! | liveness | started | bad: it is stopped |
//! | readiness | started, also while it stops | ready, or not |
//!
//! What is stopped for a bad verdict, or for a postStart hook that failed, starts again unless policy is `Never`, whatever its
//! exit code. A hook is asked for at most once in an instance's life, also across supervisors.

use crate::json::{Deserialize, Serialize};

use super::container::{Container, State};
use super::event::{Action, HookKind};
use super::probe::{ProbeKind, Wanted};
use super::termination::Stop;
use super::time::Instant;
use super::turn::{Scope, Turn};
use crate::manifest::v1;

/// What is known of the instance that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    /// When it was started.
    pub(crate) at: Instant,
    /// Its postStart hook, until that has succeeded.
    pub(crate) post_start: Option<Hook>,
    /// Its stop has begun: the preStop hook has been asked for, or there is none, or there was no time for it.
    pub(crate) pre_stop: bool,
    pub(crate) started: bool,
    pub(crate) ready: bool,
    /// It must end.
    pub(crate) doom: Option<Doom>,
}

/// A hook under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hook {
    /// Asked for.
    Asked,
    /// A pause until then.
    Sleeping(Instant),
}

/// Why an instance must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doom {
    /// A probe's bad verdict; else its postStart hook failed.
    pub(crate) probe: Option<ProbeKind>,
    /// Grace in seconds instead of the pod's.
    pub(crate) grace: Option<i64>,
}

/// The handler of a hook in a container's manifest.
pub(crate) fn hook(container: &v1::Container, kind: HookKind) -> Option<&v1::LifecycleHandler> {
    let lifecycle = container.lifecycle.as_ref()?;
    match kind {
        HookKind::PostStart => lifecycle.post_start.as_ref(),
        HookKind::PreStop => lifecycle.pre_stop.as_ref(),
    }
}

/// Milliseconds a hook pauses for, if that is what it does.
pub(crate) fn pause_ms(handler: &v1::LifecycleHandler) -> Option<u64> {
    let seconds = handler.sleep.as_ref()?.seconds;
    Some(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

impl Container {
    /// Its postStart hook has succeeded.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Running { .. }) && self.health.post_start.is_none()
    }

    /// … and its startup probe.
    pub(crate) fn is_started(&self) -> bool {
        self.is_up() && self.health.started
    }

    /// … and its readiness probe does.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && self.health.ready
    }

    /// Its postStart hook is under way.
    pub(crate) fn in_post_start(&self) -> bool {
        matches!(self.state, State::Running { .. }) && self.health.post_start.is_some()
    }

    /// What comes after it waits for its postStart hook, which is under way or about to be.
    pub(crate) fn holds_the_next(&self, scope: Scope<'_>) -> bool {
        let hooked = || scope.spec(&self.name).is_some_and(|spec| hook(spec, HookKind::PostStart).is_some());
        self.in_post_start() || (self.is_starting() && hooked())
    }

    /// A new instance has begun to run.
    pub(crate) fn begin_health(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let State::Running { seq, .. } = self.state else { return };
        let now = turn.now.boot;
        self.health = Health { at: now, ..Health::default() };
        let handler = scope.spec(&self.name).and_then(|spec| hook(spec, HookKind::PostStart));
        match handler.map(pause_ms) {
            None => self.come_up(scope),
            Some(Some(pause)) => self.health.post_start = Some(Hook::Sleeping(now.after(pause))),
            Some(None) => {
                self.health.post_start = Some(Hook::Asked);
                let container = scope.container(&self.name);
                turn.ask(Action::Hook { seq, container, kind: HookKind::PostStart, bound_ms: None });
            }
        }
    }

    /// No hook holds it back any more; probes may.
    pub(crate) fn come_up(&mut self, scope: Scope<'_>) {
        self.health.post_start = None;
        let has = |kind: ProbeKind| scope.spec(&self.name).is_some_and(|spec| kind.of(spec).is_some());
        self.health.started |= !has(ProbeKind::Startup);
        self.health.ready |= self.health.started && !has(ProbeKind::Readiness);
    }

    /// What time alone brings about while it runs.
    pub(crate) fn look_after(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        match self.health.post_start {
            Some(Hook::Sleeping(until)) if until > turn.now.boot => turn.wake_at(until),
            Some(Hook::Sleeping(_)) => self.come_up(scope),
            Some(Hook::Asked) | None => {}
        }
    }

    pub(crate) fn hook_ended(&mut self, kind: HookKind, ok: bool, scope: Scope<'_>, turn: &mut Turn<'_>) {
        if !matches!(self.state, State::Running { .. }) {
            return;
        }
        match (kind, self.stop) {
            (HookKind::PostStart, _) if self.health.post_start != Some(Hook::Asked) => {}
            (HookKind::PostStart, _) if ok => self.come_up(scope),
            (HookKind::PostStart, _) => {
                self.record(scope, turn, true, "FailedPostStartHook", "PostStartHook failed".to_owned());
                self.health.doom.get_or_insert(Doom { probe: None, grace: None });
            }
            (HookKind::PreStop, Some(Stop::Hook { at, grace_ms, .. })) => {
                if !ok {
                    self.record(scope, turn, true, "FailedPreStopHook", "PreStopHook failed".to_owned());
                }
                self.stop = Some(Stop::Queued { at, grace_ms });
            }
            (HookKind::PreStop, _) => {}
        }
    }

    /// A verdict of one of its probes.
    pub(crate) fn probed(&mut self, kind: ProbeKind, good: bool, scope: Scope<'_>) {
        if !self.is_up() {
            return;
        }
        match (kind, good) {
            (ProbeKind::Startup, true) => {
                self.health.started = true;
                self.come_up(scope);
            }
            (ProbeKind::Readiness, good) => self.health.ready = good,
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                let probe = scope.spec(&self.name).and_then(|spec| kind.of(spec));
                let grace = probe.and_then(|probe| probe.termination_grace_period_seconds);
                self.health.doom.get_or_insert(Doom { probe: Some(kind), grace });
            }
        }
    }

    /// The probes that are wanted of it now: the table above.
    pub(crate) fn wanted_probes<'a>(&self, stopping: bool, scope: Scope<'a>) -> impl Iterator<Item = Wanted<'a>> {
        let seq = match self.state {
            State::Running { seq, .. } if self.is_up() => Some(seq),
            _ => None,
        };
        let ends = stopping || self.stop.is_some() || self.health.doom.is_some();
        let (started, ready, at) = (self.health.started, self.health.ready, self.health.at);
        let spec = scope.spec(&self.name).filter(|_| self.kind != super::container::Kind::Init);
        let container = scope.container(&self.name);
        ProbeKind::ALL.into_iter().filter_map(move |kind| {
            let probe = kind.of(spec?)?;
            let (due, told) = match kind {
                ProbeKind::Startup => (!started && !ends, None),
                ProbeKind::Liveness => (started && !ends, Some(true)),
                ProbeKind::Readiness => (started, Some(ready)),
            };
            let container = container.clone();
            due.then_some(Wanted { seq: seq?, kind, container, probe, started: at, told })
        })
    }

    /// It was running under a former supervisor.
    pub(crate) fn adopt_health(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        if self.health.at == Instant::default() {
            self.health.at = turn.now.boot;
        }
        match self.health.post_start {
            Some(Hook::Asked) => {
                let text = "PostStartHook was cut off by a restart of gatepost; it is taken as done".to_owned();
                self.record(scope, turn, true, "FailedPostStartHook", text);
                self.come_up(scope);
            }
            Some(Hook::Sleeping(_)) => {}
            None => self.come_up(scope),
        }
    }
}
