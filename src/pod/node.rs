//! [`Node`]: all pods of this node. It takes events in, lets each pod settle, and hands actions out.

use std::cmp::Reverse;
use std::rc::Rc;

use super::conditions;
use super::container::{Container, Image};
use super::device::Devices;
use super::durable::{Durable, DurableState};
use super::event::{Action, Condition, DesiredPod, Device, Event, Seq, Uid};
use super::host_ports;
use super::lifecycle::{Around, Fate, Pod, Stage};
use super::orphan::Orphans;
use super::probe::{Heard, Prober};
use super::restore::{SavedNode, SavedPod};
use super::status::{self, PodObject};
use super::time::{Instant, Now};
use super::turn::{Scope, SeqSource, Settings, Turn};
use crate::sorted::{BTreeMap, BTreeSet};

/// The set of all pods.
#[derive(Debug)]
pub struct Node {
    pub(crate) settings: Rc<Settings>,
    pub(crate) pods: BTreeMap<Uid, Pod>,
    /// Highest priority first, then by namespace and name.
    order: Vec<Uid>,
    pub(crate) orphans: Orphans,
    prober: Prober,
    /// A former supervisor's containers are being taken over.
    pub(crate) adopting: bool,
    pub(crate) seqs: SeqSource,
    met: BTreeMap<Condition, bool>,
    devices: Rc<Devices>,
    pub(crate) stopping: bool,
    pub(crate) durable: Durable,
    changed: BTreeSet<Uid>,
    saved: SavedNode,
}

impl Node {
    /// A node without pods and without a past.
    pub fn new(settings: Settings) -> Self {
        Self::with(
            settings,
            BTreeMap::new(),
            SeqSource::starting_at(1),
            false,
            Durable::new(DurableState::default(), false),
        )
    }

    pub(crate) fn with(
        settings: Settings,
        pods: BTreeMap<Uid, Pod>,
        seqs: SeqSource,
        stopping: bool,
        durable: Durable,
    ) -> Self {
        let mut node = Self {
            settings: Rc::new(settings),
            changed: pods.keys().cloned().collect(),
            pods,
            order: Vec::new(),
            orphans: Orphans::default(),
            prober: Prober::default(),
            adopting: false,
            saved: SavedNode::new(seqs.reserved(), stopping),
            seqs,
            met: BTreeMap::new(),
            devices: Rc::default(),
            stopping,
            durable,
        };
        node.sort();
        node
    }

    /// Takes one event in. The actions come in the order in which they are to be begun: higher priority first.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut work = BTreeSet::new();
        let mut actions = self.with_turn(now, |node, turn| node.apply(event, turn, &mut work));
        actions.extend(self.settle(now, work));
        actions
    }

    /// The earliest time at which [`Event::Tick`] must come; `None`: nothing is due, for ever.
    pub fn deadline(&self) -> Option<Instant> {
        let own = self.pods.values().filter_map(|pod| pod.wake);
        own.chain(self.orphans.deadline()).chain(self.prober.deadline()).min()
    }

    /// The same of one pod; `None`: it waits for an answer or a word from outside, or for nothing.
    pub fn pod_deadline(&self, uid: &str) -> Option<Instant> {
        let own = self.pods.get(uid).and_then(|pod| pod.wake);
        own.into_iter().chain(self.prober.pod_deadline(uid)).min()
    }

    /// The start conditions whose state the core must be told now and at each change ([`Event::Condition`]). A condition
    /// that appears here anew counts as not met until told.
    pub fn awaited_conditions(&self) -> BTreeSet<Condition> {
        conditions::awaited(&self.pods)
    }

    /// Pods whose snapshot differs from the one taken last, gone ones included. Clears the list.
    pub fn changed_pods(&mut self) -> Vec<Uid> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// What to save of a pod; `None`: it is gone, and its saved state is to be removed.
    pub fn snapshot(&self, uid: &str) -> Option<SavedPod> {
        self.pods.get(uid).map(SavedPod::of)
    }

    /// Whether [`Node::node_snapshot`] differs from the one taken last.
    pub fn node_changed(&self) -> bool {
        self.saved != SavedNode::new(self.seqs.reserved(), self.stopping)
    }

    /// What to save of the node as a whole.
    pub fn node_snapshot(&mut self) -> SavedNode {
        self.saved = SavedNode::new(self.seqs.reserved(), self.stopping);
        self.saved.clone()
    }

    /// Whether [`Node::durable_snapshot`] differs from the one taken last.
    pub fn durable_changed(&self) -> bool {
        self.durable.changed()
    }

    /// What must reach the disk.
    pub fn durable_snapshot(&mut self) -> DurableState {
        self.durable.handed_out()
    }

    /// All pods as v1 objects with their status, by namespace and name.
    pub fn pod_objects(&self, now: Now) -> Vec<PodObject> {
        let mut objects: Vec<PodObject> =
            self.pods.values().map(|pod| status::pod_object(pod, now, &self.settings)).collect();
        objects.sort_by(|a, b| {
            let key = |object: &PodObject| (object.metadata.namespace.clone(), object.metadata.name.clone());
            key(a).cmp(&key(b))
        });
        objects
    }

    /// The pods known, wanted or still going.
    pub fn uids(&self) -> impl Iterator<Item = &Uid> {
        self.pods.keys()
    }

    /// Whether the pod's namespaces and volumes stand.
    pub fn has_sandbox(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.sandbox)
    }

    /// Whether the pod is over because it took too much of the node: its status and logs stay, its volumes do not.
    pub fn is_evicted(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.eviction.is_some() && !pod.ending)
    }

    /// Which container an instance belongs to: pod and container name.
    pub fn instance(&self, seq: Seq) -> Option<(&Uid, &Rc<str>)> {
        self.pods.values().find_map(|pod| pod.containers.iter().find(|c| c.owns(seq)).map(|c| (&pod.uid, &c.name)))
    }

    /// Whether [`Event::StopAll`] was given and everything has stopped.
    pub fn stopped(&self) -> bool {
        self.stopping && self.pods.values().all(Pod::is_down)
    }

    /// Takes the event in; `work` gets the pods it concerns.
    fn apply(&mut self, event: Event, turn: &mut Turn<'_>, work: &mut BTreeSet<Uid>) {
        match event {
            Event::Desired(desired) => self.desire(desired, turn, work),
            Event::Tick => {}
            Event::SandboxReady { pod, ips } => self.on_pod(&pod, work, |pod| pod.sandbox_ready(ips)),
            Event::SandboxFailed { pod, failure } => self.on_pod(&pod, work, |pod| pod.sandbox_failed(failure, turn)),
            Event::SandboxGone { pod } => {
                self.on_pod(&pod, work, |pod| pod.sandbox_gone(turn));
                // Somebody may wait for its devices.
                work.extend(self.with_devices());
            }
            Event::TeardownFailed { pod, failure } => {
                self.on_pod(&pod, work, |pod| pod.teardown_failed(&failure, turn));
            }
            Event::ImageReady { container, image_id, stop_signal, pulled } => {
                let image = (Image { id: image_id, stop_signal }, pulled);
                self.on_pod(&container.pod, work, |pod| {
                    on_container(pod, &container.name, turn, |c, scope, turn| c.image_ready(image, scope, turn));
                });
            }
            Event::ImageFailed { container, failure } => self.on_pod(&container.pod, work, |pod| {
                on_container(pod, &container.name, turn, |c, scope, turn| c.image_failed(failure, scope, turn));
            }),
            Event::ImagesChanged => {
                for pod in self.pods.values_mut() {
                    pod.containers.iter_mut().for_each(Container::images_changed);
                }
                work.extend(self.order.iter().cloned());
            }
            Event::Created { seq, .. } => {
                if !self.on_live(seq, turn, work, |c, _, scope, turn| c.created(scope, turn)) {
                    self.orphans.lives(seq);
                }
            }
            Event::Marked { seq } => _ = self.on_live(seq, turn, work, |c, _, _, _| c.marked()),
            Event::MarkFailed { seq, failure } => {
                self.on_live(seq, turn, work, |c, _, scope, turn| c.mark_failed(&failure, scope, turn));
            }
            Event::Started { seq, .. } => {
                if !self.on_live(seq, turn, work, |c, _, scope, turn| c.started(scope, turn)) {
                    self.orphans.lives(seq);
                }
            }
            Event::StartFailed { seq, failure } => {
                self.on_live(seq, turn, work, |c, stopping, scope, turn| {
                    c.start_failed(failure, stopping, scope, turn);
                });
            }
            Event::Exited { seq, exit } => {
                if !self.on_live(seq, turn, work, |c, stopping, scope, turn| c.exited(exit, stopping, scope, turn)) {
                    self.orphans.ended(seq);
                }
            }
            Event::Emptied { seq } => _ = self.on_instance(seq, turn, work, |c, _, _, _| c.emptied(seq)),
            Event::Removed { seq } => {
                if !self.on_instance(seq, turn, work, |c, _, _, _| c.removed(seq)) {
                    self.orphans.removed(seq);
                }
            }
            Event::RemoveFailed { seq, failure } => {
                if !self.on_instance(seq, turn, work, |c, _, scope, turn| c.remove_failed(seq, &failure, scope, turn)) {
                    self.orphans.remove_failed(seq, turn.now.boot);
                }
            }
            Event::Probed { pod, seq, kind, outcome } => {
                let heard = self.prober.answered(&pod, seq, kind, outcome, turn.now.boot);
                let Some(known) = self.pods.get_mut(&pod).filter(|_| heard != Heard::default()) else { return };
                known.with_instance(seq, turn, |container, scope, turn| {
                    if let Some((reason, text)) = heard.record {
                        container.record(scope, turn, true, reason, text);
                    }
                    if let Some(good) = heard.verdict.filter(|_| container.live() == Some(seq)) {
                        container.probed(kind, good, scope);
                        work.insert(pod);
                    }
                });
            }
            Event::HookEnded { seq, kind, ok } => {
                self.on_live(seq, turn, work, |c, _, scope, turn| c.hook_ended(kind, ok, scope, turn));
            }
            Event::Condition { condition, met } => {
                self.met.insert(condition, met);
                work.extend(self.order.iter().cloned());
            }
            Event::Devices(there) => self.take_stock(there, work),
            Event::Restart { pod, container } => {
                self.on_pod(&pod, work, |pod| pod.restart(container.as_deref(), turn));
            }
            Event::Delete { pod, grace } => self.on_pod(&pod, work, |pod| pod.delete(grace)),
            Event::Evict { pod, message } => self.on_pod(&pod, work, |pod| pod.evict(message, turn)),
            Event::HostIps(ips) => self.host_ips_changed(ips, work),
            Event::StopAll => {
                let again = std::mem::replace(&mut self.stopping, true);
                for pod in self.pods.values_mut() {
                    pod.quarantine = None;
                    if again {
                        pod.hurry();
                    }
                }
                work.extend(self.order.iter().cloned());
            }
        }
    }

    fn take_stock(&mut self, there: BTreeMap<String, Device>, work: &mut BTreeSet<Uid>) {
        self.devices = Rc::new(Devices(Some(there)));
        work.extend(self.with_devices());
    }

    fn with_devices(&self) -> impl Iterator<Item = Uid> {
        self.pods.values().filter(|pod| pod.devices().next().is_some()).map(|pod| Rc::clone(&pod.uid))
    }

    fn desire(&mut self, desired: Vec<DesiredPod>, turn: &mut Turn<'_>, work: &mut BTreeSet<Uid>) {
        let uids: BTreeSet<&str> = desired.iter().map(|d| d.pod.metadata.uid.as_str()).collect();
        for pod in self.pods.values_mut().filter(|pod| pod.desired && !uids.contains(&*pod.uid)) {
            pod.drop_manifest();
        }
        for desired in desired {
            if let Some(pod) = self.pods.get_mut(desired.pod.metadata.uid.as_str()) {
                pod.keep(desired);
            } else {
                let pod = Pod::new(desired, turn.now.wall);
                self.pods.insert(Rc::clone(&pod.uid), pod);
            }
        }
        turn.durable.retain(|uid| self.pods.contains_key(uid));
        self.sort();
        work.extend(self.order.iter().cloned());
        self.changed.extend(self.order.iter().cloned());
    }

    /// Lets the pods in `work`, those whose deadline has come, and then whoever is concerned by their change, settle.
    pub(crate) fn settle(&mut self, now: Now, mut work: BTreeSet<Uid>) -> Vec<Action> {
        let due = self.pods.values().filter(|pod| pod.wake.is_some_and(|at| at <= now.boot));
        work.extend(due.map(|pod| Rc::clone(&pod.uid)));
        self.changed.extend(work.iter().cloned());
        let mut asked: Vec<(Reverse<i32>, Vec<Action>)> = Vec::new();
        while !work.is_empty() {
            let mut seen_by_others = false;
            let stop_level = self.stop_level();
            for uid in self.order.clone() {
                if !work.contains(&uid) {
                    continue;
                }
                let Some(mut pod) = self.pods.remove(&uid) else { continue };
                let around = self.around(&pod, stop_level);
                let before = (pod.stage, pod.wake);
                let mut fate = Fate::Stays;
                let actions = self.with_turn(now, |_, turn| fate = pod.settle(&around, turn));
                if (pod.stage, pod.wake) != before || !actions.is_empty() {
                    self.changed.insert(Rc::clone(&uid));
                }
                asked.push((Reverse(pod.priority()), actions));
                self.prober.keep_exactly(&uid, pod.wanted_probes(), now.boot, self.adopting);
                if fate == Fate::Gone {
                    seen_by_others = true;
                    self.durable.forget(&uid);
                    continue;
                }
                seen_by_others |= self.note_readiness(&mut pod);
                seen_by_others |= pod.stage != before.0 && host_ports::takes_any(&pod.manifest);
                self.pods.insert(uid, pod);
            }
            seen_by_others |= self.stop_level() != stop_level;
            work.clear();
            if seen_by_others {
                self.sort();
                work.extend(self.order.iter().cloned());
            }
        }
        let awaited = self.awaited_conditions();
        self.met.retain(|condition, _| awaited.contains(condition));
        asked.sort_by_key(|(priority, _)| *priority);
        let mut actions: Vec<Action> = asked.into_iter().flat_map(|(_, actions)| actions).collect();
        self.orphans.settle(now.boot, &mut actions);
        actions.extend(self.prober.due(now.boot));
        actions
    }

    /// Notes whether the pod is Ready; when it has become so, the backoff of those that wait for it is cleared.
    fn note_readiness(&mut self, pod: &mut Pod) -> bool {
        let ready = pod.is_ready();
        if ready == pod.was_ready {
            return false;
        }
        pod.was_ready = ready;
        self.changed.insert(Rc::clone(&pod.uid));
        if ready {
            for other in
                self.pods.values_mut().filter(|other| conditions::depends_on(other, pod, &self.settings.node_name))
            {
                other.containers.iter_mut().for_each(Container::clear_backoff);
                self.changed.insert(Rc::clone(&other.uid));
            }
        }
        true
    }

    fn around(&self, pod: &Pod, stop_level: Option<i32>) -> Around {
        let mut around = Around {
            node_stops: self.stopping,
            stop_now: stop_level.is_some_and(|level| pod.priority() <= level),
            ..Around::default()
        };
        let meta = &pod.manifest.metadata;
        if matches!(pod.stage, Stage::Blocked | Stage::Teardown { .. } | Stage::Halted) {
            around.predecessor = self.pods.values().any(|other| {
                let same = &other.manifest.metadata;
                other.stage != Stage::Blocked && same.name == meta.name && same.namespace == meta.namespace
            });
        }
        if pod.stage == Stage::Blocked {
            let holds = |other: &&Pod| !matches!(other.stage, Stage::Blocked | Stage::Completed | Stage::Halted);
            around.taken = self.pods.values().filter(holds).find_map(|other| {
                let port = host_ports::conflict(&pod.manifest, &other.manifest)?;
                let meta = &other.manifest.metadata;
                let stays = other.desired && !other.ending;
                Some((format!("{port} is taken by pod {}/{}", meta.namespace, meta.name), stays))
            });
        }
        // Also for a pod that may come to Conditions in this turn.
        if !pod.sandbox {
            let held =
                |other: &Pod| Some((pod.device_held_by(other)?.to_owned(), other.manifest.metadata.name.clone()));
            around.device_held = self.pods.values().find_map(held);
        }
        if !pod.policy.start_after.is_empty() && !pod.sandbox {
            around.unmet = conditions::unmet(pod, &self.pods, &self.met, &self.settings.node_name);
        }
        around
    }

    /// While the node stops: pods of this priority and below stop now; the next ones when these are down.
    fn stop_level(&self) -> Option<i32> {
        if !self.stopping {
            return None;
        }
        self.pods.values().filter(|pod| !pod.is_down()).map(Pod::priority).min()
    }

    fn sort(&mut self) {
        self.order = self.pods.keys().cloned().collect();
        let pods = &self.pods;
        self.order.sort_by_cached_key(|uid| {
            pods.get(uid).map(|pod| {
                let meta = &pod.manifest.metadata;
                (Reverse(pod.priority()), meta.namespace.clone(), meta.name.clone())
            })
        });
    }

    fn on_pod(&mut self, uid: &Uid, work: &mut BTreeSet<Uid>, f: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.get_mut(uid) {
            f(pod);
            work.insert(Rc::clone(uid));
        }
    }

    /// Calls `f` on the container that has the instance; false when nobody has it.
    fn on_instance(
        &mut self,
        seq: Seq,
        turn: &mut Turn<'_>,
        work: &mut BTreeSet<Uid>,
        f: impl FnOnce(&mut Container, bool, Scope<'_>, &mut Turn<'_>),
    ) -> bool {
        let Some(pod) = self.pods.values_mut().find(|pod| pod.containers.iter().any(|c| c.owns(seq))) else {
            return false;
        };
        let stopping = pod.ends_containers();
        work.insert(Rc::clone(&pod.uid));
        pod.with_instance(seq, turn, |container, scope, turn| f(container, stopping, scope, turn));
        true
    }

    /// The same, but only while the instance is the one that runs or may run: a late word about a leftover moves nothing.
    fn on_live(
        &mut self,
        seq: Seq,
        turn: &mut Turn<'_>,
        work: &mut BTreeSet<Uid>,
        f: impl FnOnce(&mut Container, bool, Scope<'_>, &mut Turn<'_>),
    ) -> bool {
        self.on_instance(seq, turn, work, |container, stopping, scope, turn| {
            if container.live() == Some(seq) {
                f(container, stopping, scope, turn);
            }
        })
    }

    /// Runs `f` with what a turn needs, and gives the actions it asked for.
    pub(crate) fn with_turn(&mut self, now: Now, f: impl FnOnce(&mut Self, &mut Turn<'_>)) -> Vec<Action> {
        let settings = Rc::clone(&self.settings);
        let devices = Rc::clone(&self.devices);
        let mut seqs = self.seqs;
        let mut durable = std::mem::replace(&mut self.durable, Durable::new(DurableState::default(), false));
        let mut turn = Turn {
            now,
            settings: &settings,
            seqs: &mut seqs,
            durable: &mut durable,
            devices,
            actions: Vec::new(),
            wake: None,
        };
        f(self, &mut turn);
        let actions = turn.actions;
        self.seqs = seqs;
        self.durable = durable;
        actions
    }
}

fn on_container(
    pod: &mut Pod,
    name: &str,
    turn: &mut Turn<'_>,
    f: impl FnOnce(&mut Container, Scope<'_>, &mut Turn<'_>),
) {
    pod.with_containers(turn, |containers, scope, turn| {
        if let Some(container) = containers.iter_mut().find(|c| *c.name == *name) {
            f(container, scope, turn);
        }
    });
}
