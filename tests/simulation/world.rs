//! [`World`]: the core, the machine below it, and chance. One step is one event taken in by the core.

use std::collections::VecDeque;
use std::rc::Rc;

use gatepost::pod::event::{Action, Condition, ContainerRef, DesiredPod, Event, Found, Seq, Uid};
use gatepost::pod::probe::{ProbeKind, ProbeOutcome};
use gatepost::pod::{BackoffRule, DurableState, Node, Past, SavedNode, SavedPod, Settings};
use gatepost::sorted::{BTreeMap, BTreeSet};

use super::machine::Machine;
use super::manifests;
use super::random::Random;

#[path = "checks.rs"]
mod checks;
#[path = "faults.rs"]
mod faults;

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
    containers: BTreeMap<Seq, ContainerRef>,
    /// Instances whose end, or failed start, the core has taken in.
    over: BTreeSet<Seq>,
    /// Sandboxes that were last asked to go with all the pod has: then a life of it ends.
    discarding: BTreeSet<Uid>,
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
    stopping: bool,
    /// The pods that wait for a pod before they start.
    waiting: BTreeSet<Uid>,
    /// When pauses of postStart hooks end.
    pauses: BTreeSet<u64>,
    /// When something happened that was not an attempt of a probe.
    busy_at: u64,
    pub steps: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let library = manifests::library(&mut random);
        let pods = library.iter().flatten().map(|d| (Rc::from(d.pod.metadata.uid.as_str()), d.pod.clone())).collect();
        let waits = |d: &&DesiredPod| d.policy.start_after.iter().any(|c| matches!(c, Condition::Pod(_)));
        let waiting = library.iter().flatten().filter(waits).map(|d| Rc::from(d.pod.metadata.uid.as_str())).collect();
        let policies =
            library.iter().flatten().map(|d| (Rc::from(d.pod.metadata.uid.as_str()), d.policy.clone())).collect();
        let backoff = manifests::node_backoff(&mut random);
        let machine = Machine { faults: true, wall: 1_700_000_000_000, pods, policies, backoff, ..Machine::default() };
        Self {
            random,
            node: Node::new(settings(backoff)),
            machine,
            desired: vec![None; library.len()],
            library,
            unwanted_since: BTreeMap::new(),
            containers: BTreeMap::new(),
            over: BTreeSet::new(),
            discarding: BTreeSet::new(),
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
            stopping: false,
            waiting,
            pauses: BTreeSet::new(),
            busy_at: 0,
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
            self.stopping = true;
            self.tell(Event::StopAll)?;
            self.run_out()?;
            let left = self.machine.instances.values().any(|i| !i.overlooked);
            if !self.node.stopped() || left || !self.machine.sandboxes.is_empty() {
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
                if self.machine.faults && self.random.percent(5) {
                    self.reports.push((late + self.random.below(3_000), event.clone()));
                }
                self.reports.push((late, event));
            }
        }
        if let Some(due) = self.requests.iter().position(|(at, _)| *at <= now) {
            let (_, action) = self.requests.remove(due);
            let Some(event) = self.execute(&action)? else { return Ok(()) };
            if let Event::Exited { seq, .. } = event
                && self.random.percent(50)
            {
                // The helper that started it is heard after its end.
                self.reports.push((now + self.random.below(3_000), Event::Started { seq, pid: 1 }));
            }
            return self.tell(event);
        }
        if let Some(due) = self.reports.iter().position(|(at, _)| *at <= now) {
            let (_, event) = self.reports.remove(due);
            return match event {
                // Nobody speaks of an instance once it is removed.
                Event::Started { seq, .. } if self.machine.instances.get(&seq).is_none_or(|i| i.forsaken) => Ok(()),
                // Looked at again while something of it runs.
                Event::Emptied { seq } if self.machine.instances.get(&seq).is_some_and(|i| !i.ended()) => {
                    self.reports.push((now + 1 + self.random.below(1_000), Event::Emptied { seq }));
                    Ok(())
                }
                event => self.tell(event),
            };
        }
        self.tell(Event::Tick)
    }

    fn execute(&mut self, action: &Action) -> Result<Option<Event>, String> {
        let event = self.machine.execute(action, &mut self.random)?;
        let written = match event {
            Some(Event::Marked { .. }) => true,
            Some(Event::MarkFailed { .. }) => self.random.percent(50),
            _ => false,
        };
        if written {
            self.disk = self.durable.clone();
        }
        Ok(event)
    }

    /// One event into the core, its state saved, its actions on their way.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        self.steps += 1;
        self.note(Note::Told(event.clone()));
        if let Event::SandboxGone { pod } = &event {
            self.clear_rules(|uid| uid == pod);
        }
        if self.may_make_ready(&event) {
            self.dependency_may_be_ready();
        }
        let lost_before_saving = self.machine.faults && self.random.below(300) == 0;
        let failed_start = match &event {
            Event::StartFailed { seq, failure } if failure.reason != "CreateContainerConfigError" => Some(*seq),
            _ => None,
        };
        let told = event.clone();
        if !matches!(event, Event::Probed { .. } | Event::Tick) {
            self.busy_at = self.machine.boot;
        }
        let actions = self.node.handle(self.machine.now(), event);
        if lost_before_saving {
            return self.restart(false, 0);
        }
        self.taken_in(&told);
        if let Event::StartFailed { seq, .. } = told
            && self.random.percent(80)
        {
            let soon = self.machine.boot + self.random.below(200);
            self.reports.push((soon, Event::Emptied { seq }));
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

    /// The core knows it, and will not forget it.
    fn taken_in(&mut self, event: &Event) {
        match event {
            Event::Exited { seq, .. } | Event::StartFailed { seq, .. } => _ = self.over.insert(*seq),
            Event::SandboxGone { pod } => {
                self.machine.grace.remove(pod);
                if self.discarding.contains(pod) {
                    self.machine.allow_a_run(pod, None);
                }
            }
            Event::Delete { pod, grace: Some(grace) } => self.machine.grace_is_known(pod, *grace),
            Event::Desired(desired) => {
                let known: BTreeSet<Uid> = self.node.uids().cloned().collect();
                let wanted: BTreeSet<&str> = desired.iter().map(|d| d.pod.metadata.uid.as_str()).collect();
                for uid in self.machine.pods.keys().cloned().collect::<Vec<_>>() {
                    if !known.contains(&uid) && !wanted.contains(&*uid) {
                        self.machine.allow_a_run(&uid, None);
                    }
                }
            }
            _ => {}
        }
    }

    fn save(&mut self) {
        for uid in self.node.changed_pods() {
            if let Some(saved) = self.node.snapshot(&uid) {
                self.saved.insert(uid, saved);
            } else {
                self.saved.remove(&uid);
                self.machine.allow_a_run(&uid, None);
            }
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
            match &action {
                Action::Start { seq, container, .. } => _ = self.containers.insert(*seq, container.clone()),
                Action::StartCreated { seq } => self.check_marked(*seq)?,
                Action::Probe { seq, kind, .. } => {
                    let same = |(_, other): &(u64, Action)| matches!(other, Action::Probe { seq: s, kind: k, .. } if (s, k) == (seq, kind));
                    if self.requests.iter().any(same) {
                        return Err(format!("{kind:?} of {seq:?} is probed while it is being probed"));
                    }
                }
                Action::TeardownSandbox { pod, discard_volumes: true } => _ = self.discarding.insert(pod.clone()),
                Action::TeardownSandbox { pod, .. } => _ = self.discarding.remove(pod),
                _ => {}
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
                self.execute(&action)?;
            }
        }
        for (seq, instance) in &mut self.machine.instances {
            // Nobody was told that it did not start, and a new supervisor looks at everything.
            instance.denied &= self.over.contains(seq);
            instance.overlooked = false;
            // Whether the signal went out is not known to the next one, which sends it again.
            instance.kill_by = None;
        }
        self.reports.clear();
        self.told.clear();
        if rebooted {
            self.machine.instances.clear();
            self.machine.sandboxes.clear();
            self.machine.rules.clear();
            self.machine.grace.clear();
            self.over.clear();
            self.durable = self.disk.clone();
            self.saved.clear();
            self.quarantined.clear();
        }
        let lost: Vec<_> = self.machine.instances.iter().filter(|(_, i)| i.ended()).map(|(s, _)| *s).collect();
        for seq in lost {
            if self.random.percent(20)
                && let Some(instance) = self.machine.instances.get_mut(&seq)
            {
                instance.lost = true;
                let container = instance.container.clone();
                self.machine.rule(&container).clear();
            }
        }
        // What has ended and is not reaped yet looks as if it ran, and its end is told soon.
        let mut found = self.machine.found();
        for (seq, found) in &mut found {
            if let Found::Exited(exit) = found
                && self.random.percent(50)
            {
                let told = Event::Exited { seq: *seq, exit: exit.clone() };
                self.reports.push((self.machine.boot + self.random.below(50), told));
                *found = Found::Running { pid: 1 };
            }
        }
        // Through their written form and back.
        let text = gatepost::json::to_string(&self.saved.values().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        let past = Past {
            node: if rebooted { None } else { self.saved_node.clone() },
            pods: gatepost::json::from_str(&text).map_err(|e| e.to_string())?,
            quarantined: self.quarantined.iter().map(|uid| (uid.clone(), "simulated".to_owned())).collect(),
            durable: self.durable.clone(),
            found,
            rebooted,
        };
        if rebooted {
            self.machine.given.clear();
            self.containers.clear();
        }
        let (node, actions) = Node::restore(settings(self.machine.backoff), past, self.machine.now());
        self.node = node;
        self.save();
        self.check_deadline()?;
        self.begin(actions.into_iter())?;
        for seq in self.machine.instances.keys().copied().collect::<Vec<_>>() {
            self.note_pause(seq);
        }
        self.dependency_may_be_ready();
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

    /// Whether a pod may become Ready by the event, or because a pause after a start is over.
    fn may_make_ready(&mut self, event: &Event) -> bool {
        if let Event::Started { seq, .. } = event {
            self.note_pause(*seq);
        }
        let now = self.machine.boot;
        let paused = self.pauses.len();
        self.pauses.retain(|end| *end > now);
        self.pauses.len() < paused
            || match event {
                Event::Started { .. } | Event::HookEnded { .. } | Event::Restart { .. } | Event::StopAll => true,
                Event::Probed { kind, outcome, .. } => {
                    *kind != ProbeKind::Liveness && matches!(outcome, ProbeOutcome::Success | ProbeOutcome::Warning(_))
                }
                _ => false,
            }
    }

    /// The instance runs, and may have to pause before it is ready.
    fn note_pause(&mut self, seq: Seq) {
        let Some(instance) = self.machine.instances.get(&seq) else { return };
        let hooks = self.machine.spec(&instance.container).lifecycle.as_ref();
        let pause = hooks.and_then(|hooks| hooks.post_start.as_ref()?.sleep.as_ref());
        if let Some(pause) = pause {
            self.pauses.insert(self.machine.boot + pause.seconds.unsigned_abs() * 1000);
        }
    }

    /// A pod that becomes Ready clears the backoff of those that wait for it: here, of all that wait for any pod.
    fn dependency_may_be_ready(&mut self) {
        for (_, rule) in self.machine.rules.iter_mut().filter(|((uid, _), _)| self.waiting.contains(uid)) {
            rule.clear();
        }
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
        let machine = &mut self.machine;
        for instance in machine.instances.values_mut() {
            // Nobody restarts what is only not ready; it gets well by itself.
            let spec = &machine.pods[&instance.container.pod].spec;
            let spec = spec.init_containers.iter().chain(&spec.containers).find(|c| c.name == *instance.container.name);
            if spec.is_some_and(|spec| spec.liveness_probe.is_none()) {
                instance.sick_since = None;
            }
        }
        let quarantined = |pod: &gatepost::pod::status::PodObject| pod.status.reason == "Quarantined";
        let uids: Vec<String> =
            self.node.pod_objects(self.machine.now()).into_iter().filter(quarantined).map(|p| p.metadata.uid).collect();
        for uid in uids {
            self.restart_pod(&Rc::from(uid), None)?;
        }
        for condition in [Condition::Clock, Condition::Path("/dev/x".to_owned())] {
            self.truth.insert(condition.clone(), true);
            if self.told.contains(&condition) {
                self.tell(Event::Condition { condition, met: true })?;
            }
        }
        self.run_out()
    }

    /// Nothing is to come but attempts of probes, and what the core waits for.
    fn only_probes(&self) -> bool {
        self.reports.is_empty()
            && self.requests.iter().all(|(_, action)| matches!(action, Action::Probe { .. }))
            && self.machine.instances.values().all(|instance| instance.dies_at == u64::MAX)
    }

    fn run_out(&mut self) -> Result<(), String> {
        self.machine.faults = false;
        self.busy_at = self.machine.boot;
        for _ in 0..100_000 {
            match self.next_moment() {
                // Longer than anything waits.
                Some(_) if self.only_probes() && self.machine.boot.saturating_sub(self.busy_at) > 1_200_000 => {
                    return Ok(());
                }
                Some(at) => self.happen(at)?,
                None => return Ok(()),
            }
        }
        Err("it does not come to rest".to_owned())
    }
}

fn settings(backoff: BackoffRule) -> Settings {
    Settings { node_name: "n".to_owned(), backoff, ..Settings::default() }
}
