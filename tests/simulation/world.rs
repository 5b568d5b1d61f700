//! [`World`]: the core, the machine below it, and chance. One step is one event taken in by the core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use gatepost::manifest::v1::RestartPolicy;
use gatepost::pod::event::{Action, Condition, DesiredPod, Event, Uid};
use gatepost::pod::{DurableState, Node, Past, SavedNode, SavedPod, Settings};

use super::machine::{Life, Machine};
use super::manifests;
use super::random::Random;

/// What happened, for the report of a failure.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "read by its Debug form")]
enum Note {
    Told(Event),
    Asked(Action),
    Restarted { rebooted: bool, actions_done: usize },
}

pub struct World {
    random: Random,
    machine: Machine,
    node: Node,
    library: Vec<Vec<DesiredPod>>,
    desired: Vec<Option<usize>>,
    unwanted_since: BTreeMap<Uid, u64>,
    containers: BTreeMap<gatepost::pod::event::Seq, gatepost::pod::event::ContainerRef>,
    requests: Vec<(u64, Action)>,
    reports: Vec<(u64, Event)>,
    truth: BTreeMap<Condition, bool>,
    told: BTreeSet<Condition>,
    quarantined: BTreeSet<Uid>,
    saved: BTreeMap<Uid, SavedPod>,
    saved_node: Option<SavedNode>,
    durable: DurableState,
    disk: DurableState,
    notes: VecDeque<(u64, Note)>,
    pub steps: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let library = manifests::library(&mut random);
        let pods = library.iter().flatten().map(|d| (Rc::from(d.pod.metadata.uid.as_str()), d.pod.clone())).collect();
        let machine = Machine { faults: true, wall: 1_700_000_000_000, pods, ..Machine::default() };
        Self {
            random,
            machine,
            node: Node::new(settings()),
            desired: vec![None; library.len()],
            library,
            unwanted_since: BTreeMap::new(),
            containers: BTreeMap::new(),
            requests: Vec::new(),
            reports: Vec::new(),
            truth: BTreeMap::new(),
            told: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            saved: BTreeMap::new(),
            saved_node: None,
            durable: DurableState::default(),
            disk: DurableState::default(),
            notes: VecDeque::new(),
            steps: 0,
        }
    }

    /// The last events and actions, for people.
    pub fn story(&self) -> String {
        self.notes.iter().map(|(at, note)| format!("{at:>12} {note:?}\n")).collect()
    }

    /// Faults for `steps` steps, then peace until nothing is left to do; then, in some worlds, the end of all pods.
    pub fn live(&mut self, steps: u64) -> Result<(), String> {
        self.change_manifests()?;
        while self.steps < steps {
            self.step()?;
        }
        self.calm_down()?;
        self.check_calm()?;
        if self.random.percent(30) {
            self.tell(Event::StopAll)?;
            self.run_out()?;
            if !self.node.stopped() || !self.machine.instances.is_empty() || !self.machine.sandboxes.is_empty() {
                return Err("something is left after all pods were stopped".to_owned());
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.percent(12) {
            let until = self.next_moment().map_or(1_000_000, |at| at.saturating_sub(self.machine.boot));
            let ahead = self.random.below(until.min(1_000_000) + 1);
            self.advance(self.machine.boot + ahead);
            return self.fault();
        }
        match self.next_moment() {
            Some(at) => self.happen(at),
            None => self.fault(),
        }
    }

    fn advance(&mut self, to: u64) {
        let passed = to.saturating_sub(self.machine.boot);
        self.machine.boot += passed;
        self.machine.wall = self.machine.wall.saturating_add(i64::try_from(passed).unwrap());
    }

    /// The next time at which something happens by itself.
    fn next_moment(&self) -> Option<u64> {
        let dies = self.machine.instances.values().map(|i| i.dies_at).filter(|at| *at != u64::MAX);
        let told = self.requests.iter().map(|(at, _)| *at).chain(self.reports.iter().map(|(at, _)| *at));
        told.chain(dies).chain(self.node.deadline().map(|at| at.0)).min()
    }

    fn happen(&mut self, at: u64) -> Result<(), String> {
        self.advance(at);
        let now = self.machine.boot;
        let dying: Vec<_> = self.machine.instances.iter().filter(|(_, i)| i.dies_at <= now).map(|(s, _)| *s).collect();
        for seq in dying {
            let code = i32::try_from(self.random.below(2)).unwrap();
            let init = self.machine.instances[&seq].container.name.starts_with("init");
            let code = if init && (!self.machine.faults || self.random.percent(80)) { 0 } else { code };
            if let Some(event) = self.machine.end(seq, code) {
                let late = now + self.random.below(20);
                self.reports.push((late, event));
            }
        }
        if let Some(due) = self.requests.iter().position(|(at, _)| *at <= now) {
            let (_, action) = self.requests.remove(due);
            if let Action::Mark { .. } = action {
                self.disk = self.durable.clone();
            }
            return match self.machine.execute(&action, &mut self.random)? {
                Some(event) => self.tell(event),
                None => Ok(()),
            };
        }
        if let Some(due) = self.reports.iter().position(|(at, _)| *at <= now) {
            let (_, event) = self.reports.remove(due);
            return self.tell(event);
        }
        self.tell(Event::Tick)
    }

    /// One event into the core, its state saved, its actions on their way.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        self.steps += 1;
        self.note(Note::Told(event.clone()));
        match &event {
            Event::SandboxGone { pod } => self.clear_rules(|uid| uid == pod),
            Event::Started { .. } => self.dependency_may_be_ready(),
            _ => {}
        }
        let lost_before_saving = self.machine.faults && self.random.below(300) == 0;
        let failed_start = match &event {
            Event::StartFailed { seq, failure } if failure.reason != "CreateContainerConfigError" => Some(*seq),
            _ => None,
        };
        let actions = self.node.handle(self.machine.now(), event);
        if lost_before_saving {
            return self.restart(false, 0);
        }
        if let Some(container) = failed_start.and_then(|seq| self.containers.get(&seq).cloned()) {
            let boot = self.machine.boot;
            self.machine.rule(&container).ended(boot, false);
        }
        self.save();
        self.check_deadline()?;
        if self.machine.faults && self.random.below(60) == 0 {
            let done = usize::try_from(self.random.below(actions.len() as u64 + 1)).unwrap();
            self.begin(actions.into_iter().take(done))?;
            return self.restart(false, done);
        }
        self.begin(actions.into_iter())?;
        self.tell_conditions();
        self.check()
    }

    fn save(&mut self) {
        for uid in self.node.changed_pods() {
            match self.node.snapshot(&uid) {
                Some(saved) => self.saved.insert(uid, saved),
                None => self.saved.remove(&uid),
            };
        }
        if self.node.node_changed() {
            self.saved_node = Some(self.node.node_snapshot());
        }
        if self.node.durable_changed() {
            self.durable = self.node.durable_snapshot();
            if self.random.percent(50) {
                self.disk = self.durable.clone();
            }
        }
    }

    fn begin(&mut self, actions: impl Iterator<Item = Action>) -> Result<(), String> {
        for action in actions {
            self.note(Note::Asked(action.clone()));
            self.machine.check_asked(&action)?;
            if let Action::Start { seq, container, .. } = &action {
                self.containers.insert(*seq, container.clone());
            }
            match action {
                Action::Record(_) => {}
                Action::Signal { .. } | Action::Kill { .. } => {
                    self.machine.execute(&action, &mut self.random)?;
                }
                _ => {
                    let hangs = self.machine.faults && self.random.percent(4);
                    let delay = if hangs { 1_000 + self.random.below(900_000) } else { self.random.below(100) };
                    self.requests.push((self.machine.boot + delay, action));
                }
            }
        }
        Ok(())
    }

    /// The supervisor ends here and now, and a new one takes over.
    fn restart(&mut self, rebooted: bool, actions_done: usize) -> Result<(), String> {
        self.note(Note::Restarted { rebooted, actions_done });
        // What was being done was done, or was not; nobody hears of it.
        for (_, action) in std::mem::take(&mut self.requests) {
            if self.random.percent(50) {
                if let Action::Mark { .. } = action {
                    self.disk = self.durable.clone();
                }
                self.machine.execute(&action, &mut self.random)?;
            }
        }
        self.reports.clear();
        self.told.clear();
        if rebooted {
            self.machine.instances.clear();
            self.machine.sandboxes.clear();
            self.machine.rules.clear();
            self.durable = self.disk.clone();
            self.saved.clear();
            self.quarantined.clear();
        }
        let lost: Vec<_> =
            self.machine.instances.iter().filter(|(_, i)| matches!(i.state, Life::Ended(_))).map(|(s, _)| *s).collect();
        for seq in lost {
            if self.random.percent(20)
                && let Some(instance) = self.machine.instances.get_mut(&seq)
            {
                instance.lost = true;
                let container = instance.container.clone();
                self.machine.rule(&container).clear();
            }
        }
        // Through their written form and back.
        let text = serde_json::to_string(&self.saved.values().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        let past = Past {
            node: if rebooted { None } else { self.saved_node.clone() },
            pods: serde_json::from_str(&text).map_err(|e| e.to_string())?,
            quarantined: self.quarantined.iter().map(|uid| (uid.clone(), "simulated".to_owned())).collect(),
            durable: self.durable.clone(),
            found: self.machine.found(),
            rebooted,
        };
        if rebooted {
            self.machine.given.clear();
            self.containers.clear();
        }
        let (node, actions) = Node::restore(settings(), past, self.machine.now());
        self.node = node;
        self.save();
        self.check_deadline()?;
        self.begin(actions.into_iter())?;
        self.dependency_may_be_ready();
        self.tell_desired()
    }

    fn fault(&mut self) -> Result<(), String> {
        match self.random.below(16) {
            0 | 1 => self.change_manifests(),
            2 => self.restart(false, 0),
            3 if self.random.percent(40) => self.restart(true, 0),
            4 | 5 => {
                let ahead = i64::try_from(self.random.below(1 << 40)).unwrap();
                self.machine.wall += if self.random.percent(50) { ahead } else { -ahead };
                self.tell(Event::Tick)
            }
            6 | 7 => {
                let condition = self.random.pick(&[Condition::Clock, Condition::Path("/dev/x".to_owned())]).clone();
                let met = self.random.percent(60);
                self.truth.insert(condition.clone(), met);
                if self.told.contains(&condition) { self.tell(Event::Condition { condition, met }) } else { Ok(()) }
            }
            8 => self.tell(Event::ImagesChanged),
            9 | 10 => {
                let live: Vec<_> = self.machine.instances.keys().copied().collect();
                if !live.is_empty() {
                    let seq = *self.random.pick(&live);
                    if let Some(event) = self.machine.end(seq, 137) {
                        self.reports.push((self.machine.boot, event));
                    }
                }
                Ok(())
            }
            11 | 12 => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                self.lift(&pod);
                self.clear_rules(|uid| *uid == pod);
                let container = self.random.percent(50).then(|| Rc::from("app0"));
                self.tell(Event::Restart { pod, container })
            }
            13 => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                self.lift(&pod);
                let grace = self.random.percent(50).then_some(i64::try_from(self.random.below(5)).unwrap());
                if let Some(grace) = grace {
                    let known = self.machine.grace.entry(pod.clone()).or_insert(grace);
                    *known = grace.min(*known);
                }
                self.tell(Event::Delete { pod, grace })
            }
            14 if self.random.percent(20) => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                // It has just crashed over this pod for the second time.
                self.quarantined.insert(pod);
                self.restart(false, 0)
            }
            // A word out of place.
            _ => {
                let known: Vec<_> = self.containers.keys().copied().collect();
                if known.is_empty() {
                    return Ok(());
                }
                let seq = *self.random.pick(&known);
                let gone = !self.machine.instances.contains_key(&seq)
                    && !self.requests.iter().any(|(_, action)| format!("{action:?}").contains(&format!("{seq:?}")));
                if gone && self.node.instance(seq).is_none() {
                    self.tell(Event::Marked { seq })
                } else {
                    self.tell(Event::Tick)
                }
            }
        }
    }

    fn any_pod(&mut self) -> Option<Uid> {
        let uids: Vec<Uid> = self.node.uids().cloned().collect();
        (!uids.is_empty()).then(|| self.random.pick(&uids).clone())
    }

    fn lift(&mut self, pod: &Uid) {
        self.quarantined.remove(pod);
        *self.machine.allowed.entry(pod.clone()).or_default() += 1;
    }

    fn change_manifests(&mut self) -> Result<(), String> {
        for name in 0..self.desired.len() {
            if self.random.percent(30) {
                let version = usize::try_from(self.random.below(manifests::VERSIONS)).unwrap();
                self.desired[name] = self.random.percent(80).then_some(version);
            }
        }
        self.tell_desired()
    }

    fn tell_desired(&mut self) -> Result<(), String> {
        let mut desired = Vec::new();
        for (name, wanted) in self.desired.iter().enumerate() {
            for (version, pod) in self.library[name].iter().enumerate() {
                let uid: Uid = Rc::from(pod.pod.metadata.uid.as_str());
                if *wanted == Some(version) {
                    desired.push(pod.clone());
                    self.unwanted_since.remove(&uid);
                } else {
                    self.unwanted_since.entry(uid.clone()).or_insert(self.machine.boot);
                    self.quarantined.remove(&uid);
                    // Its next life may run again.
                    *self.machine.allowed.entry(uid).or_default() += 1;
                }
            }
        }
        self.tell(Event::Desired(desired))
    }

    fn tell_conditions(&mut self) {
        let awaited = self.node.awaited_conditions();
        for condition in awaited.difference(&self.told) {
            let met = self.truth.get(condition).copied().unwrap_or(false);
            self.reports.push((self.machine.boot, Event::Condition { condition: condition.clone(), met }));
        }
        self.told = awaited;
    }

    /// A pod that becomes Ready clears the backoff of those that wait for it: here, of all that wait for any pod.
    fn dependency_may_be_ready(&mut self) {
        let waits = |uid: &Uid| {
            self.library.iter().flatten().any(|d| {
                *d.pod.metadata.uid == **uid && d.policy.start_after.iter().any(|c| matches!(c, Condition::Pod(_)))
            })
        };
        let of: BTreeSet<Uid> = self.machine.rules.keys().map(|(uid, _)| uid.clone()).filter(waits).collect();
        self.clear_rules(|uid| of.contains(uid));
    }

    fn clear_rules(&mut self, of: impl Fn(&Uid) -> bool) {
        self.machine.rules.iter_mut().filter(|((uid, _), _)| of(uid)).for_each(|(_, rule)| rule.clear());
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() >= 60 {
            self.notes.pop_front();
        }
        self.notes.push_back((self.machine.boot, note));
    }

    /// No faults any more: until nothing is left to do.
    fn calm_down(&mut self) -> Result<(), String> {
        self.machine.faults = false;
        self.quarantined.clear();
        let quarantined = |pod: &gatepost::pod::status::PodObject| pod.status.reason == "Quarantined";
        let uids: Vec<String> =
            self.node.pod_objects(self.machine.now()).into_iter().filter(quarantined).map(|p| p.metadata.uid).collect();
        for uid in uids {
            let uid: Uid = Rc::from(uid);
            self.lift(&uid);
            self.clear_rules(|other| *other == uid);
            self.tell(Event::Restart { pod: uid, container: None })?;
        }
        for condition in [Condition::Clock, Condition::Path("/dev/x".to_owned())] {
            self.truth.insert(condition.clone(), true);
            if self.told.contains(&condition) {
                self.tell(Event::Condition { condition, met: true })?;
            }
        }
        self.run_out()
    }

    fn run_out(&mut self) -> Result<(), String> {
        self.machine.faults = false;
        for _ in 0..5_000 {
            match self.next_moment() {
                Some(at) => self.happen(at)?,
                None => return Ok(()),
            }
        }
        Err("it does not come to rest".to_owned())
    }

    fn check_deadline(&self) -> Result<(), String> {
        match self.node.deadline() {
            Some(at) if at.0 <= self.machine.boot => Err(format!("the deadline {at:?} stays in the past")),
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        let now = self.machine.boot;
        for (seq, instance) in &self.machine.instances {
            let late = |since: &u64| now.saturating_sub(*since) > 3 * 3_600_000;
            let ended = matches!(instance.state, Life::Ended(_));
            if !ended && self.unwanted_since.get(&instance.container.pod).is_some_and(late) {
                return Err(format!("{seq:?} of {:?} still runs though nobody wants it", instance.container));
            }
        }
        if !self.steps.is_multiple_of(16) || self.next_moment().is_some() {
            return Ok(());
        }
        self.check_settled(false)
    }

    /// Nothing will happen by itself any more: then every pod is where it should be.
    fn check_settled(&self, all: bool) -> Result<(), String> {
        for pod in self.node.pod_objects(self.machine.now()) {
            let uid: Uid = Rc::from(pod.metadata.uid.as_str());
            let status = &pod.status;
            let reason = &status.reason;
            if reason == "Terminated" || reason == "Quarantined" || (!all && reason.starts_with("WaitingFor")) {
                continue;
            }
            let done = matches!(status.phase.as_str(), "Succeeded" | "Failed");
            let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
            let stuck = containers.clone().any(|c| c.state.waiting.is_some());
            if !done && stuck {
                return Err(format!("{uid} waits, and nothing is under way: {status:?}"));
            }
            let always = pod.spec.restart_policy == RestartPolicy::Always;
            let ready = status.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True");
            if always && !ready {
                return Err(format!("{uid} should run, and nothing is under way: {status:?}"));
            }
        }
        Ok(())
    }

    fn check_calm(&self) -> Result<(), String> {
        self.check_settled(true)?;
        if let Some((seq, _)) = self.machine.instances.iter().find(|(_, i)| matches!(i.state, Life::Ended(_))) {
            return Err(format!("{seq:?} has ended and is never removed"));
        }
        for (name, wanted) in self.desired.iter().enumerate() {
            for (version, pod) in self.library[name].iter().enumerate() {
                let uid = pod.pod.metadata.uid.as_str();
                let known = self.node.uids().any(|other| **other == *uid);
                if known != (*wanted == Some(version)) {
                    return Err(format!("{uid}: wanted {}, known {known}", *wanted == Some(version)));
                }
            }
        }
        Ok(())
    }
}

fn settings() -> Settings {
    Settings { node_name: "n".to_owned(), ..Settings::default() }
}
