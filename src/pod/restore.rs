//! [`Node::restore`]: a new supervisor takes over: saved state, what the machine still has, and the way on from there.
//!
//! The saved state was written before the actions that followed from it, so an action that is noted as asked may or may not
//! have been done. Helpers of the former supervisor have been ended. So: what makes or removes is asked again (both may be
//! asked twice), and what concerns an instance is decided by what was found of it:
//!
//! | saved as | running | created | exited | gone |
//! |---|---|---|---|---|
//! | asked to run | Running | kill it: its failed start | its run | start anew under a new number |
//! | asked to create | kill it: its failed start | kill it: its failed start | its failed start | start anew under a new number |
//! | created, marking | kill it: its failed start | go on | its failed start | start anew under a new number |
//! | marked | kill it: its failed start | start it | its failed start | start anew (the start was never asked) |
//! | asked to start | Running | start it | its run | its run: 137 `ContainerStatusUnknown` |
//! | running | Running | Running | its run | its run: 137 `ContainerStatusUnknown` |
//! | unknown | orphan: kill | orphan: kill | remove | – |
//!
//! A runtime that was ended while it created an instance may leave a first process that looks created, waits for the rest of its
//! orders, and soon ends without them: an end that must not be taken for that of the program. What has ended and is not yet reaped
//! looks as if it ran. So nothing that was not asked to start counts as running.

use std::rc::Rc;

use super::backoff::Retry;
use super::container::{Container, State, Step, Why};
use super::durable::{Durable, DurableState};
use super::event::{Action, Exit, Found, Seq, Uid};
use super::lifecycle::{Pod, Stage};
use super::node::Node;
use super::termination::Stop;
use super::time::Now;
use super::turn::{Scope, SeqSource, Settings, Turn};
use crate::json::{Deserialize, Serialize};
use crate::sorted::{BTreeMap, BTreeSet};

/// One pod as saved under `/run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPod {
    /// Format; [`SavedPod::VERSION`].
    pub version: u32,
    pod: Pod,
}

impl SavedPod {
    /// The format this program writes.
    pub const VERSION: u32 = 1;

    pub(crate) fn of(pod: &Pod) -> Self {
        Self { version: Self::VERSION, pod: pod.clone() }
    }

    /// The pod's UID: the name under which it is saved.
    pub fn uid(&self) -> &Uid {
        &self.pod.uid
    }
}

/// The node as a whole as saved under `/run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNode {
    /// Format; [`SavedNode::VERSION`].
    pub version: u32,
    /// No instance number at or above this has been given out.
    pub reserved_seq: u64,
    /// [`Event::StopAll`](super::event::Event::StopAll) was given. Whoever starts the node anew sets it to false.
    pub stopping: bool,
}

impl SavedNode {
    /// The format this program writes.
    pub const VERSION: u32 = 1;

    pub(crate) fn new(reserved_seq: u64, stopping: bool) -> Self {
        Self { version: Self::VERSION, reserved_seq, stopping }
    }
}

/// What a former supervisor left.
#[derive(Debug, Default)]
pub struct Past {
    /// From `/run`; empty after a reboot.
    pub node: Option<SavedNode>,
    /// From `/run`; empty after a reboot. A pod in an unknown format counts as not saved.
    pub pods: Vec<SavedPod>,
    /// Within a boot the newest one, so a copy of it is kept under `/run` too; after a reboot the one on disk.
    pub durable: DurableState,
    /// All instances of which anything is on the machine.
    pub found: BTreeMap<Seq, Found>,
    /// Pods to leave alone, and why: known before anything is asked for them.
    pub quarantined: BTreeMap<Uid, String>,
    /// The boot id differs from the one under which the rest was saved: only `durable` holds.
    pub rebooted: bool,
}

impl Node {
    /// Takes over from a former supervisor. The actions are what is to be done now; the newest [`Desired`] set follows.
    ///
    /// [`Desired`]: super::event::Event::Desired
    pub fn restore(settings: Settings, past: Past, now: Now) -> (Self, Vec<Action>) {
        let Past { node: saved_node, pods: saved, durable, found, quarantined, rebooted } = past;
        let (saved_node, saved) = if rebooted { (None, Vec::new()) } else { (saved_node, saved) };
        let saved = saved.into_iter().filter(|saved| saved.version == SavedPod::VERSION);
        let mut pods: BTreeMap<Uid, Pod> = saved.map(|saved| (Rc::clone(&saved.pod.uid), saved.pod)).collect();
        let stopping = saved_node.as_ref().is_some_and(|node| node.stopping);
        for (uid, reason) in quarantined {
            // When all pods are being stopped, that one is too.
            if let Some(pod) = pods.get_mut(&uid).filter(|_| !stopping) {
                pod.quarantine = Some(reason);
            }
        }
        let highest = found.keys().map(|seq| seq.0).chain(pods.values().flat_map(seqs_of)).max().unwrap_or(0);
        let reserved = saved_node.as_ref().map_or(0, |node| node.reserved_seq);
        let seqs = SeqSource::starting_at(reserved.max(highest.saturating_add(1)));
        let mut node = Self::with(settings, pods, seqs, stopping, Durable::new(durable, !rebooted));
        for (seq, found) in &found {
            if node.instance(*seq).is_none() {
                match found {
                    Found::Running { .. } | Found::Created { .. } => node.orphans.lives(*seq),
                    Found::Exited(_) | Found::Gone => node.orphans.found_ended(*seq),
                }
            }
        }
        let mut actions = node.with_turn(now, |node, turn| {
            for pod in node.pods.values_mut() {
                pod.take_over(&found, turn);
            }
        });
        let all: BTreeSet<Uid> = node.pods.keys().cloned().collect();
        node.adopting = true;
        actions.extend(node.settle(now, all));
        node.adopting = false;
        (node, actions)
    }
}

fn seqs_of(pod: &Pod) -> impl Iterator<Item = u64> {
    pod.containers.iter().flat_map(|c| c.live().into_iter().chain(c.leftovers.iter().map(|l| l.seq))).map(|seq| seq.0)
}

impl Pod {
    fn take_over(&mut self, found: &BTreeMap<Seq, Found>, turn: &mut Turn<'_>) {
        match &mut self.stage {
            Stage::Sandbox { asked, .. } | Stage::Teardown { asked, .. } => *asked = false,
            _ => {}
        }
        let stopping = self.ends_containers();
        self.with_containers(turn, |containers, scope, turn| {
            for container in containers {
                container.take_over(found, stopping, scope, turn);
            }
        });
    }
}

impl Container {
    fn take_over(&mut self, found: &BTreeMap<Seq, Found>, stopping: bool, scope: Scope<'_>, turn: &mut Turn<'_>) {
        for leftover in &mut self.leftovers {
            leftover.asked = false;
        }
        self.stop = match self.stop {
            Some(Stop::Killed { .. }) => Some(Stop::Killed { again: turn.now.boot }),
            // Whether the signal went out is not known: once too often is better than SIGKILL without warning.
            Some(Stop::Signalled { .. }) | None => None,
            // A hook was cut off, and is not begun again.
            Some(Stop::Hook { at, grace_ms, until: None } | Stop::Queued { at, grace_ms }) => {
                Some(Stop::Queued { at, grace_ms })
            }
            Some(pause @ Stop::Hook { .. }) => Some(pause),
        };
        let never = scope.never(&self.name, self.kind);
        let found = self.live().map(|seq| (seq, found.get(&seq).cloned().unwrap_or(Found::Gone)));
        match (&mut self.state, found) {
            (State::Image { why, .. }, _) => {
                self.state = State::Waiting { until: None, why: std::mem::replace(why, Why::Starting) };
            }
            (State::Starting { step: Step::Run | Step::Launching, .. }, Some((_, Found::Running { .. }))) => {
                self.started(scope, turn);
            }
            (State::Starting { step, .. }, Some((seq, Found::Running { .. }))) => {
                *step = Step::CutOff;
                self.kill(seq, turn);
            }
            (State::Running { .. }, Some((_, Found::Running { .. } | Found::Created { .. }))) => {
                self.adopt_health(scope, turn);
            }
            (State::Starting { step, .. }, Some((seq, Found::Created { .. }))) => match *step {
                Step::Run | Step::Create | Step::CutOff => {
                    *step = Step::CutOff;
                    self.kill(seq, turn);
                }
                Step::Marking { .. } => *step = Step::Created { retry: Retry::default() },
                Step::Launching => {
                    *step = if never { Step::Marked } else { Step::Created { retry: Retry::default() } };
                }
                Step::Created { .. } | Step::Marked => {}
            },
            (State::Starting { .. } | State::Running { .. }, Some((_, Found::Exited(exit)))) => {
                self.exited(exit, stopping, scope, turn);
            }
            (State::Starting { step: Step::Launching, .. } | State::Running { .. }, Some((_, Found::Gone))) => {
                self.exited(Exit::unknown(turn.now), stopping, scope, turn);
            }
            (State::Starting { why, .. }, Some((seq, Found::Gone))) => {
                self.state = State::Waiting { until: None, why: std::mem::replace(why, Why::Starting) };
                self.leave(seq, false);
            }
            _ => {}
        }
    }
}
