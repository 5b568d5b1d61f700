//! [`DurableState`]: the little that must survive a power cut: restart counts, what has had
//! its run or its success, final statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::event::Uid;
use super::status::PodStatus;
use super::time::Wall;

/// Everything the core keeps on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DurableState {
    /// Format; [`DurableState::VERSION`].
    pub version: u32,
    /// By pod.
    pub pods: BTreeMap<Uid, DurablePod>,
}

impl DurableState {
    /// The format this program writes.
    pub const VERSION: u32 = 1;
}

impl Default for DurableState {
    fn default() -> Self {
        Self { version: Self::VERSION, pods: BTreeMap::new() }
    }
}

/// What is kept of one pod until its manifest is gone or a person deletes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DurablePod {
    /// When this node first saw it.
    pub first_seen: Wall,
    /// Restart count of each container that was ever started.
    pub restarts: BTreeMap<Rc<str>, u32>,
    /// Containers under `restartPolicy: Never` that have had their run, whether or not its end is known.
    pub marks: BTreeSet<Rc<str>>,
    /// App containers under `restartPolicy: OnFailure` that have ended with code 0, and when: they are not to run again.
    pub succeeded: BTreeMap<Rc<str>, Wall>,
    /// The final status of a completed pod.
    pub completed: Option<PodStatus>,
}

/// The durable state and whether it differs from what was last handed out to be written.
#[derive(Debug)]
pub(crate) struct Durable {
    state: DurableState,
    changed: bool,
}

impl Durable {
    pub(crate) fn new(state: DurableState, changed: bool) -> Self {
        Self { state, changed }
    }

    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn handed_out(&mut self) -> DurableState {
        self.changed = false;
        self.state.clone()
    }

    pub(crate) fn pod(&self, uid: &Uid) -> Option<&DurablePod> {
        self.state.pods.get(uid)
    }

    pub(crate) fn started(&mut self, uid: &Uid, first_seen: Wall, container: &Rc<str>, count: u32) {
        if self.entry(uid, first_seen).restarts.insert(Rc::clone(container), count) != Some(count) {
            self.changed = true;
        }
    }

    pub(crate) fn mark(&mut self, uid: &Uid, first_seen: Wall, container: &Rc<str>) {
        if self.entry(uid, first_seen).marks.insert(Rc::clone(container)) {
            self.changed = true;
        }
    }

    pub(crate) fn complete(&mut self, uid: &Uid, first_seen: Wall, status: PodStatus) {
        self.entry(uid, first_seen).completed = Some(status);
        self.changed = true;
    }

    pub(crate) fn succeeded(&mut self, uid: &Uid, first_seen: Wall, container: &Rc<str>, at: Wall) {
        self.entry(uid, first_seen).succeeded.insert(Rc::clone(container), at);
        self.changed = true;
    }

    /// A person wants a container to run again that has succeeded.
    pub(crate) fn again(&mut self, uid: &Uid, container: &str) {
        self.changed |= self.state.pods.get_mut(uid).is_some_and(|pod| pod.succeeded.remove(container).is_some());
    }

    /// A person wants the completed pod to run again: counts stay, marks, successes and the final status go.
    pub(crate) fn reopen(&mut self, uid: &Uid) {
        let Some(pod) = self.state.pods.get_mut(uid) else { return };
        self.changed |= pod.completed.take().is_some() || !pod.marks.is_empty() || !pod.succeeded.is_empty();
        pod.marks.clear();
        pod.succeeded.clear();
    }

    pub(crate) fn forget(&mut self, uid: &Uid) {
        self.changed |= self.state.pods.remove(uid).is_some();
    }

    /// Forgets pods that are not in `keep`.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Uid) -> bool) {
        let before = self.state.pods.len();
        self.state.pods.retain(|uid, _| keep(uid));
        self.changed |= self.state.pods.len() != before;
    }

    fn entry(&mut self, uid: &Uid, first_seen: Wall) -> &mut DurablePod {
        self.state.pods.entry(Rc::clone(uid)).or_insert_with(|| DurablePod { first_seen, ..DurablePod::default() })
    }
}
