//! [`Turn`]: what one call of the core works with: the time, the settings, and where actions are collected.

use std::rc::Rc;

use super::backoff::BackoffRule;
use super::device::Devices;
use super::durable::Durable;
use super::event::{Action, ContainerRef, PodPolicy, Recorded, Seq, Uid};
use super::time::{Instant, Now, Wall};
use crate::manifest::v1;

/// What the core must know of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the node: a pod named `x` in `start-after` is also found as `x-<node>`.
    pub node_name: String,
    /// The node's addresses, the first is the primary one; shown as `hostIP`.
    pub host_ips: Vec<String>,
    /// Name of the OCI runtime, shown before container ids.
    pub runtime: String,
    /// The node's crash-loop backoff.
    pub backoff: BackoffRule,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            host_ips: Vec::new(),
            runtime: "runc".to_owned(),
            backoff: BackoffRule::default(),
        }
    }
}

/// One call of the core.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) settings: &'a Settings,
    pub(crate) seqs: &'a mut SeqSource,
    pub(crate) durable: &'a mut Durable,
    pub(crate) devices: Rc<Devices>,
    pub(crate) actions: Vec<Action>,
    /// Earliest deadline found so far by the pod under work.
    pub(crate) wake: Option<Instant>,
}

impl Turn<'_> {
    /// Asks to be called again at `at`.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |other| other.min(at)));
    }

    pub(crate) fn ask(&mut self, action: Action) {
        self.actions.push(action);
    }
}

/// The pod a container belongs to, while one of them is worked on.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) pod: &'a v1::Pod,
    pub(crate) policy: &'a PodPolicy,
    pub(crate) first_seen: Wall,
}

impl Scope<'_> {
    /// `<pod>_<namespace>(<uid>)`, as kubelet's messages name a pod.
    pub(crate) fn long_name(&self) -> String {
        format!("{}_{}({})", self.pod.metadata.name, self.pod.metadata.namespace, self.uid)
    }

    pub(crate) fn container(&self, name: &Rc<str>) -> ContainerRef {
        ContainerRef { pod: Rc::clone(self.uid), name: Rc::clone(name) }
    }

    /// Event about the pod itself.
    pub(crate) fn record(&self, turn: &mut Turn<'_>, warning: bool, reason: &str, message: String) {
        self.record_at(turn, String::new(), warning, reason, message);
    }

    pub(crate) fn record_at(&self, turn: &mut Turn<'_>, path: String, warning: bool, reason: &str, message: String) {
        turn.ask(Action::Record(Recorded {
            pod: Rc::clone(self.uid),
            namespace: self.pod.metadata.namespace.clone(),
            name: self.pod.metadata.name.clone(),
            field_path: path,
            warning,
            reason: reason.to_owned(),
            message,
        }));
    }
}

/// Gives out instance numbers. What is saved is the end of a reserved block, so that not each start writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeqSource {
    next: u64,
    reserved: u64,
}

impl SeqSource {
    const BLOCK: u64 = 1024;

    /// Continues after everything that was ever reserved.
    pub(crate) fn starting_at(first: u64) -> Self {
        let first = first.max(1);
        Self { next: first, reserved: first }
    }

    pub(crate) fn next(&mut self) -> Seq {
        let seq = Seq(self.next);
        self.next = self.next.saturating_add(1);
        if self.next > self.reserved {
            self.reserved = self.next.saturating_add(Self::BLOCK);
        }
        seq
    }

    /// No number at or above this has been given out.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }
}
