//! [`Prober`]: which probe of which container is due, and what the answers say together.
//!
//! A worker is one probe of one instance. It is there while that probe is wanted (the table in [`super::health`]), asks for one
//! attempt at a time ([`Action::Probe`]), and takes its answer in:
//!
//! | answer | counts as | told to people |
//! |---|---|---|
//! | `Success` | success | – |
//! | `Warning` | success | `ProbeWarning` |
//! | `Failure` | failure | `Unhealthy`, each time |
//! | `Error` | nothing; it is tried three times in a row | `Unhealthy`, after the third |
//! | `Lost` | nothing | – |
//!
//! As many successes or failures in a row as the threshold says are a verdict, told once. Attempts come in exact periods. The
//! first one comes after the initial delay, but not before the container has run for a second: about when a kubelet learns that
//! it runs. All are moved to the next tenth of a second, so that a node with many probes wakes up seldom; since periods are
//! whole seconds they stay exact.
//!
//! Nothing here is saved. What a verdict has changed is saved with its container; a new supervisor counts anew, and spreads the
//! first attempts over one period, as a kubelet that has just been started does.

use crate::sorted::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::json::{Deserialize, Serialize};

use super::event::{Action, ContainerRef, Seq, Uid};
use super::time::Instant;
use crate::manifest::v1;

/// Attempts come at multiples of this many milliseconds.
const GRID_MS: u64 = 100;
/// The least time in milliseconds from a container's start to its first attempt.
const FIRST_MS: u64 = 1_000;
/// kubelet: `maxProbeRetries`.
const TRIES: u8 = 3;

/// Which probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeKind {
    /// Whether it has started; holds the others back until then.
    Startup,
    /// Whether it is to go on.
    Liveness,
    /// Whether it may be used.
    Readiness,
}

impl ProbeKind {
    pub(crate) const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The probe of that kind in a container's manifest.
    pub fn of(self, container: &v1::Container) -> Option<&v1::Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// As kubelet's events have it.
    fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// As it should.
    Success,
    /// The same, with something to say.
    Warning(String),
    /// As it should not, in words.
    Failure(String),
    /// It could not be made, which says nothing of the container.
    Error(String),
    /// It was made, and this program was too late to see the answer.
    Lost,
}

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    pods: BTreeMap<Uid, BTreeMap<Key, Worker>>,
    due: BTreeSet<(Instant, Key, Uid)>,
}

type Key = (Seq, ProbeKind);

/// One probe of one instance.
#[derive(Debug)]
struct Worker {
    container: ContainerRef,
    rule: Rule,
    /// When the next attempt is due; `None` while one is under way.
    next: Option<Instant>,
    /// When the one under way, or the last one, was due.
    begun: Instant,
    tries: u8,
    last: Option<bool>,
    run: u32,
    told: Option<bool>,
}

/// The numbers of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    delay_ms: u64,
    period_ms: u64,
    timeout_ms: u64,
    successes: u32,
    failures: u32,
}

impl Rule {
    /// A number that is not set is defaulted when the manifest is read; 0 here is as good as 1.
    fn of(probe: &v1::Probe) -> Self {
        let whole = |number: i32| u32::try_from(number).unwrap_or(0);
        let ms = |seconds: i32| u64::from(whole(seconds)).saturating_mul(1000);
        Self {
            delay_ms: ms(probe.initial_delay_seconds),
            period_ms: ms(probe.period_seconds.max(1)),
            timeout_ms: ms(probe.timeout_seconds.max(1)),
            successes: whole(probe.success_threshold).max(1),
            failures: whole(probe.failure_threshold).max(1),
        }
    }
}

/// A probe that is wanted of a running instance.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) seq: Seq,
    pub(crate) kind: ProbeKind,
    pub(crate) container: ContainerRef,
    pub(crate) probe: &'a v1::Probe,
    /// When the instance was started.
    pub(crate) started: Instant,
    /// The verdict that holds.
    pub(crate) told: Option<bool>,
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Reason and text of an event.
    pub(crate) record: Option<(&'static str, String)>,
    /// A verdict that differs from the one before.
    pub(crate) verdict: Option<bool>,
}

impl Prober {
    /// Makes the workers of a pod those that are wanted. `adopting`: the instances are those of a former supervisor.
    pub(crate) fn keep_exactly(&mut self, pod: &Uid, wanted: Vec<Wanted<'_>>, now: Instant, adopting: bool) {
        if wanted.is_empty() && !self.pods.contains_key(pod) {
            return;
        }
        let mut before = self.pods.remove(pod).unwrap_or_default();
        let mut workers = BTreeMap::new();
        for wanted in wanted {
            let key = (wanted.seq, wanted.kind);
            let worker = before.remove(&key).unwrap_or_else(|| {
                let worker = Worker::new(&wanted, now, adopting);
                self.due.extend(worker.next.map(|at| (at, key, Rc::clone(pod))));
                worker
            });
            workers.insert(key, worker);
        }
        for (key, worker) in before {
            if let Some(at) = worker.next {
                self.due.remove(&(at, key, Rc::clone(pod)));
            }
        }
        if !workers.is_empty() {
            self.pods.insert(Rc::clone(pod), workers);
        }
    }

    /// The attempts that are due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((at, key, pod)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, key, pod));
                break;
            }
            let Some(worker) = self.worker(&pod, key) else { continue };
            worker.next = None;
            if worker.tries == 0 {
                worker.begun = at;
            }
            let (seq, kind) = key;
            actions.push(Action::Probe {
                seq,
                container: worker.container.clone(),
                kind,
                timeout_ms: worker.rule.timeout_ms,
            });
        }
        actions
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// The earliest deadline of one pod.
    pub(crate) fn pod_deadline(&self, pod: &str) -> Option<Instant> {
        self.pods.get(pod)?.values().filter_map(|worker| worker.next).min()
    }

    /// Takes an answer in. One that nobody waits for says nothing.
    pub(crate) fn answered(
        &mut self,
        pod: &Uid,
        seq: Seq,
        kind: ProbeKind,
        outcome: ProbeOutcome,
        now: Instant,
    ) -> Heard {
        let key = (seq, kind);
        let Some(worker) = self.worker(pod, key).filter(|worker| worker.next.is_none()) else {
            return Heard::default();
        };
        let (heard, at) = worker.answered(kind, outcome, now);
        worker.next = Some(at);
        self.due.insert((at, key, Rc::clone(pod)));
        heard
    }

    fn worker(&mut self, pod: &Uid, key: Key) -> Option<&mut Worker> {
        self.pods.get_mut(pod).and_then(|workers| workers.get_mut(&key))
    }
}

impl Worker {
    fn new(wanted: &Wanted<'_>, now: Instant, adopting: bool) -> Self {
        let rule = Rule::of(wanted.probe);
        let first = wanted.started.after(rule.delay_ms.max(FIRST_MS));
        let next = if first > now {
            first
        } else if adopting {
            // Any number will do that differs from one to the next.
            now.after(wanted.seq.0.wrapping_mul(7_919).checked_rem(rule.period_ms).unwrap_or(0))
        } else if wanted.kind == ProbeKind::Liveness {
            // It has just answered a startup probe, or has had its hook.
            now.after(rule.period_ms)
        } else {
            now
        };
        Self {
            container: wanted.container.clone(),
            rule,
            next: Some(on_grid(next)),
            begun: now,
            tries: 0,
            last: None,
            run: 0,
            told: wanted.told,
        }
    }

    /// What follows, and when the next attempt is due.
    fn answered(&mut self, kind: ProbeKind, outcome: ProbeOutcome, now: Instant) -> (Heard, Instant) {
        let word = kind.word();
        let (record, good) = match outcome {
            ProbeOutcome::Success => (None, Some(true)),
            ProbeOutcome::Warning(text) => {
                (Some(("ProbeWarning", format!("{word} probe warning: {text}"))), Some(true))
            }
            ProbeOutcome::Failure(text) => (Some(("Unhealthy", format!("{word} probe failed: {text}"))), Some(false)),
            ProbeOutcome::Error(_) if self.tries.saturating_add(1) < TRIES => {
                self.tries = self.tries.saturating_add(1);
                return (Heard::default(), now);
            }
            ProbeOutcome::Error(text) => {
                (Some(("Unhealthy", format!("{word} probe errored and resulted in unknown state: {text}"))), None)
            }
            ProbeOutcome::Lost => (None, None),
        };
        self.tries = 0;
        let next = self.begun.after(self.rule.period_ms);
        let next = if next > now { next } else { on_grid(now.after(1)) };
        (Heard { record, verdict: good.and_then(|good| self.count(good)) }, next)
    }

    /// A verdict, when it is a new one.
    fn count(&mut self, good: bool) -> Option<bool> {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let enough = if good { self.rule.successes } else { self.rule.failures };
        if self.run < enough || self.told == Some(good) {
            return None;
        }
        self.told = Some(good);
        Some(good)
    }
}

fn on_grid(at: Instant) -> Instant {
    Instant(at.0.checked_next_multiple_of(GRID_MS).unwrap_or(u64::MAX))
}
