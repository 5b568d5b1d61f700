//! [`Machine`]: what is true outside of the core: instances, sandboxes, disk. It does actions, checks each against the
//! rules, and says what really happened.

use gatepost::sorted::{BTreeMap, BTreeSet};
use std::rc::Rc;

use gatepost::manifest::v1::{Container, Pod, RestartPolicy};
use gatepost::pod::BackoffRule;
use gatepost::pod::event::{
    Action, BackoffOverride, ContainerRef, Event, Exit, Failure, Found, HookKind, PodPolicy, Seq, StartMode, Uid,
};
use gatepost::pod::probe::{ProbeKind, ProbeOutcome};
use gatepost::pod::time::{Instant, Now, Wall};

use super::random::Random;

/// One container instance.
#[derive(Debug, Clone)]
pub struct Instance {
    pub container: ContainerRef,
    pub state: Life,
    /// When it ends by itself.
    pub dies_at: u64,
    pub signalled: Option<u64>,
    /// Shortest grace a person gave it, and the core has taken in.
    pub given: Option<i64>,
    /// When SIGKILL is to be asked for at the latest.
    pub kill_by: Option<u64>,
    /// Since when no probe of it succeeds.
    pub sick_since: Option<u64>,
    /// A startup probe has been answered well.
    pub started: bool,
    /// Hooks that were asked for.
    pub hooks: BTreeSet<HookKind>,
    /// The record of its end is lost.
    pub lost: bool,
    /// Its start was told to have failed though something of it runs.
    pub denied: bool,
    /// It was told to be removed though something of it is there.
    pub forsaken: bool,
    /// … and no supervisor has looked at the machine since.
    pub overlooked: bool,
}

impl Instance {
    fn new(container: ContainerRef, state: Life) -> Self {
        Self {
            container,
            state,
            dies_at: u64::MAX,
            signalled: None,
            given: None,
            kill_by: None,
            sick_since: None,
            started: false,
            hooks: BTreeSet::new(),
            lost: false,
            denied: false,
            forsaken: false,
            overlooked: false,
        }
    }

    pub fn ended(&self) -> bool {
        matches!(self.state, Life::Ended(_))
    }
}

#[derive(Debug, Clone)]
pub enum Life {
    Created,
    Running,
    Ended(Exit),
}

/// The crash-loop rule, told a second time and in another way: an index into a table of waits.
#[derive(Debug, Clone)]
pub struct Rule {
    waits: Vec<u64>,
    pub ends: usize,
    pub started: u64,
    pub not_before: u64,
}

impl Rule {
    /// The rule of a container: each value is that of the narrowest scope that sets it, of the container's, its pod's and the
    /// node's; a first wait raises a longest one of a wider scope.
    fn of(node: BackoffRule, narrower: [BackoffOverride; 2]) -> Self {
        let first = narrower.iter().rev().find_map(|scope| scope.initial_ms).unwrap_or(node.initial_ms);
        let mut longest = node.max_ms;
        for scope in narrower {
            longest = scope.max_ms.unwrap_or_else(|| longest.max(scope.initial_ms.unwrap_or(0)));
        }
        let mut waits = vec![0, first.min(longest)];
        while waits[waits.len() - 1] < longest {
            waits.push((waits[waits.len() - 1] * 2).min(longest));
        }
        Self { waits, ends: 0, started: 0, not_before: 0 }
    }

    pub fn ended(&mut self, at: u64, ran: bool) {
        if ran && at.saturating_sub(self.started) > 600_000 {
            self.ends = 0;
        }
        self.not_before = at + self.waits[self.ends.min(self.waits.len() - 1)];
        self.ends += 1;
    }

    pub fn clear(&mut self) {
        (self.ends, self.started, self.not_before) = (0, 0, 0);
    }
}

/// People give no longer grace than this, in seconds.
pub const LONGEST_GIVEN: i64 = 4;

/// What an action did: nothing to say, an event, or a broken rule.
pub type Outcome = Result<Option<Event>, String>;

#[derive(Default)]
pub struct Machine {
    pub boot: u64,
    pub wall: i64,
    pub faults: bool,
    pub pods: BTreeMap<Uid, Rc<Pod>>,
    pub sandboxes: BTreeSet<Uid>,
    pub instances: BTreeMap<Seq, Instance>,
    pub given: BTreeSet<Seq>,
    pub rules: BTreeMap<(Uid, Rc<str>), Rule>,
    /// Program starts of `Never` containers, and how many are allowed; 1 where nothing stands.
    pub runs: BTreeMap<(Uid, Rc<str>), u32>,
    pub allowed: BTreeMap<(Uid, Rc<str>), u32>,
    /// Shortest grace a person gave for the stop under way.
    pub grace: BTreeMap<Uid, i64>,
    /// The node's own backoff, and those of pods and containers.
    pub backoff: BackoffRule,
    pub policies: BTreeMap<Uid, PodPolicy>,
}

impl Machine {
    pub fn now(&self) -> Now {
        Now { boot: Instant(self.boot), wall: Wall(self.wall) }
    }

    pub fn rule(&mut self, container: &ContainerRef) -> &mut Rule {
        let policy = &self.policies[&container.pod];
        let own = policy.container_backoff.get(&*container.name).copied().unwrap_or_default();
        let new = || Rule::of(self.backoff, [policy.backoff, own]);
        self.rules.entry((container.pod.clone(), container.name.clone())).or_insert_with(new)
    }

    /// The containers of the pod, or the one, may run once more, however often that is said before they do.
    pub fn allow_a_run(&mut self, pod: &Uid, container: Option<&str>) {
        let spec = &self.pods[pod].spec;
        let names = spec.init_containers.iter().chain(&spec.containers).map(|c| &*c.name);
        for name in names.filter(|name| container.is_none_or(|one| one == *name)) {
            let key = (pod.clone(), Rc::from(name));
            let runs = self.runs.get(&key).copied().unwrap_or(0);
            self.allowed.insert(key, runs + 1);
        }
    }

    /// Whether the container may run once only.
    pub fn never(&self, container: &ContainerRef) -> bool {
        self.pods[&container.pod].spec.restart_policy == RestartPolicy::Never && !container.name.starts_with("side")
    }

    pub fn spec(&self, container: &ContainerRef) -> &Container {
        let spec = &self.pods[&container.pod].spec;
        spec.init_containers.iter().chain(&spec.containers).find(|c| c.name == *container.name).unwrap()
    }

    /// Rules that hold at the moment of asking.
    pub fn check_asked(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Start { seq, container, mode, .. } => {
                if !self.given.insert(*seq) {
                    return Err(format!("{seq:?} was given twice"));
                }
                let boot = self.boot;
                let rule = self.rule(container);
                if boot < rule.not_before {
                    return Err(format!("{container:?} starts {} ms before its backoff ends", rule.not_before - boot));
                }
                if self.never(container) != (*mode == StartMode::Create) {
                    return Err(format!("{container:?} starts in mode {mode:?}"));
                }
                self.rule(container).started = boot;
            }
            Action::Kill { seq } => {
                let Some(instance) = self.instances.get(seq) else { return Ok(()) };
                let uid = &instance.container.pod;
                let spec = self.spec(&instance.container);
                let shorter = spec.lifecycle.is_some()
                    || spec.restart_policy.is_some()
                    || spec.liveness_probe.is_some()
                    || spec.startup_probe.is_some();
                // A hook, or the wait of a sidecar, may have used all but the last two seconds, and a probe has its own.
                let own = if shorter { 2 } else { self.pods[uid].spec.termination_grace_period_seconds };
                let grace = self.grace.get(uid).map_or(own, |given| own.min(*given)).max(2).unsigned_abs() * 1000;
                let over = instance.signalled.is_some_and(|at| at + grace <= self.boot);
                if matches!(instance.state, Life::Running) && !over {
                    return Err(format!("{seq:?} is killed before its grace of {grace} ms is over"));
                }
            }
            Action::Hook { seq, kind, .. } => {
                let Some(instance) = self.instances.get_mut(seq) else { return Ok(()) };
                if !instance.hooks.insert(*kind) {
                    return Err(format!("{kind:?} of {seq:?} is asked for twice"));
                }
                if *kind == HookKind::PreStop && instance.signalled.is_some() {
                    return Err(format!("the preStop hook of {seq:?} comes after its signal"));
                }
            }
            Action::Probe { seq, container, kind, .. } => {
                let holds = self.spec(container).startup_probe.is_some() && *kind != ProbeKind::Startup;
                if holds && self.instances.get(seq).is_some_and(|i| !i.started) {
                    return Err(format!("{kind:?} of {seq:?} is probed before it has started"));
                }
            }
            // What was told not to have started may live; the clean-up ends it.
            Action::Remove { seq } if self.instances.get(seq).is_some_and(|i| !i.ended() && !i.denied) => {
                return Err(format!("{seq:?} is removed while it lives"));
            }
            Action::TeardownSandbox { pod, .. }
                if self.instances.values().any(|i| i.container.pod == *pod && !i.forsaken) =>
            {
                return Err(format!("the sandbox of {pod} is removed before its containers"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Does an action; what it did is true from now on.
    pub fn execute(&mut self, action: &Action, random: &mut Random) -> Outcome {
        let fails = self.faults && random.percent(15);
        let failure = |reason: &str| Failure { reason: reason.to_owned(), message: "simulated".to_owned() };
        let event = match action {
            Action::PrepareSandbox { pod } if fails => {
                Event::SandboxFailed { pod: pod.clone(), failure: failure("FailedMount") }
            }
            Action::PrepareSandbox { pod } => {
                self.sandboxes.insert(pod.clone());
                Event::SandboxReady { pod: pod.clone(), ips: vec!["127.0.0.1".to_owned()] }
            }
            Action::TeardownSandbox { pod, .. } if fails => {
                Event::TeardownFailed { pod: pod.clone(), failure: failure("Busy") }
            }
            Action::TeardownSandbox { pod, .. } => {
                self.sandboxes.remove(pod);
                Event::SandboxGone { pod: pod.clone() }
            }
            Action::EnsureImage { container } if fails => {
                Event::ImageFailed { container: container.clone(), failure: failure("ErrImagePull") }
            }
            Action::EnsureImage { container } => Event::ImageReady {
                container: container.clone(),
                image_id: "sha256:0".to_owned(),
                stop_signal: random.percent(30).then_some(2),
                pulled: false,
            },
            Action::Start { seq, container, mode, .. } => {
                self.check_alone(container)?;
                let state = if *mode == StartMode::Run { Life::Running } else { Life::Created };
                if fails {
                    // A runtime that was killed half-way.
                    if random.percent(30) {
                        self.instances.insert(*seq, Instance::new(container.clone(), state));
                        self.deny(*seq, random);
                    }
                    let reason =
                        *random.pick(&["CreateContainerConfigError", "CreateContainerError", "RunContainerError"]);
                    return Ok(Some(Event::StartFailed { seq: *seq, failure: failure(reason) }));
                }
                self.instances.insert(*seq, Instance::new(container.clone(), state));
                if *mode == StartMode::Run {
                    self.program_runs(*seq, random)?
                } else {
                    Event::Created { seq: *seq, pid: 1 }
                }
            }
            Action::Mark { seq, .. } if fails => Event::MarkFailed { seq: *seq, failure: failure("ENOSPC") },
            Action::Mark { seq, .. } => Event::Marked { seq: *seq },
            Action::StartCreated { seq } => {
                let Some(instance) = self.instances.get(seq) else { return Ok(None) };
                if instance.ended() {
                    return Ok(None);
                }
                if fails {
                    if random.percent(30) {
                        self.program_runs(*seq, random)?;
                        self.deny(*seq, random);
                    } else {
                        self.instances.remove(seq);
                    }
                    return Ok(Some(Event::StartFailed { seq: *seq, failure: failure("RunContainerError") }));
                }
                self.program_runs(*seq, random)?
            }
            Action::Signal { seq, .. } => {
                let boot = self.boot;
                let longest = self.longest_grace(*seq);
                if let Some(instance) = self.instances.get_mut(seq).filter(|i| !i.ended()) {
                    instance.signalled = Some(boot);
                    instance.kill_by = Some(boot + longest);
                    let obeys = random.percent(70);
                    if obeys {
                        instance.dies_at = instance.dies_at.min(boot + random.below(3_000));
                    }
                }
                return Ok(None);
            }
            Action::Kill { seq } => {
                let stuck = self.faults && random.percent(20);
                let boot = self.boot;
                if let Some(instance) = self.instances.get_mut(seq) {
                    instance.kill_by = None;
                }
                if let Some(instance) = self.instances.get_mut(seq).filter(|i| !i.ended())
                    && !stuck
                {
                    instance.dies_at = instance.dies_at.min(boot + random.below(50));
                }
                return Ok(None);
            }
            Action::Remove { seq } if fails => Event::RemoveFailed { seq: *seq, failure: failure("Busy") },
            Action::Remove { seq } => self.removed(*seq, random),
            Action::Probe { seq, container, kind, .. } => {
                let outcome = self.probe(*seq, *kind, random);
                Event::Probed { pod: container.pod.clone(), seq: *seq, kind: *kind, outcome }
            }
            Action::Hook { seq, kind, .. } => Event::HookEnded { seq: *seq, kind: *kind, ok: !fails },
            Action::Record(_) => return Ok(None),
        };
        Ok(Some(event))
    }

    /// Longest time in milliseconds from its signal to SIGKILL, whoever stops it and why.
    fn longest_grace(&self, seq: Seq) -> u64 {
        let Some(instance) = self.instances.get(&seq) else { return 0 };
        let spec = self.spec(&instance.container);
        let probes = spec.liveness_probe.iter().chain(&spec.startup_probe);
        let own = self.pods[&instance.container.pod].spec.termination_grace_period_seconds;
        // What a person gave while it was being started replaces its own, too.
        let given = self.grace.contains_key(&instance.container.pod).then_some(LONGEST_GIVEN);
        let all = probes.filter_map(|probe| probe.termination_grace_period_seconds).chain([own]).chain(given);
        let longest = all.max().unwrap();
        // A person's replaces all of them, also by a longer one.
        instance.given.unwrap_or(longest).max(2).unsigned_abs() * 1000
    }

    /// A person has given the pod's containers this grace, and the core has taken it in. A stop under way is only shortened by it.
    pub fn grace_is_known(&mut self, pod: &Uid, seconds: i64) {
        let of_pod = |(seq, i): (&Seq, &Instance)| (i.container.pod == *pod).then_some(*seq);
        for seq in self.instances.iter().filter_map(of_pod).collect::<Vec<_>>() {
            let instance = self.instances.get_mut(&seq).unwrap();
            instance.given = instance.given.into_iter().chain([seconds]).min();
            let longest = self.longest_grace(seq);
            let (boot, instance) = (self.boot, self.instances.get_mut(&seq).unwrap());
            let due = instance.signalled.map(|at| (at + longest).max(boot));
            instance.kill_by = instance.kill_by.min(due);
        }
    }

    fn removed(&mut self, seq: Seq, random: &mut Random) -> Event {
        match self.instances.get_mut(&seq) {
            Some(instance) if self.faults && instance.ended() && random.percent(3) => {
                (instance.forsaken, instance.overlooked) = (true, true);
            }
            _ => _ = self.instances.remove(&seq),
        }
        Event::Removed { seq }
    }

    fn probe(&mut self, seq: Seq, kind: ProbeKind, random: &mut Random) -> ProbeOutcome {
        let faults = self.faults;
        let Some(instance) = self.instances.get_mut(&seq).filter(|i| matches!(i.state, Life::Running)) else {
            return ProbeOutcome::Error("simulated".to_owned());
        };
        let outcome = match random.below(20) {
            0 if faults => ProbeOutcome::Error("simulated".to_owned()),
            1 if faults => ProbeOutcome::Lost,
            2 | 3 if faults => ProbeOutcome::Failure("simulated".to_owned()),
            _ if instance.sick_since.is_some() => ProbeOutcome::Failure("simulated".to_owned()),
            4 => ProbeOutcome::Warning("simulated".to_owned()),
            _ => ProbeOutcome::Success,
        };
        if kind == ProbeKind::Startup && matches!(outcome, ProbeOutcome::Success | ProbeOutcome::Warning(_)) {
            instance.started = true;
        }
        outcome
    }

    /// The instance ends now.
    pub fn end(&mut self, seq: Seq, code: i32) -> Option<Event> {
        let (boot, wall) = (self.boot, self.wall);
        let instance = self.instances.get_mut(&seq)?;
        if instance.ended() {
            return None;
        }
        let ran = matches!(instance.state, Life::Running);
        let exit = Exit {
            code,
            oom_killed: false,
            reason: None,
            message: String::new(),
            at: Instant(boot),
            at_wall: Wall(wall),
        };
        instance.state = Life::Ended(exit.clone());
        instance.dies_at = u64::MAX;
        let container = instance.container.clone();
        // A start that failed counted when that was told.
        if !instance.denied {
            self.rule(&container).ended(boot, ran);
        }
        Some(Event::Exited { seq, exit })
    }

    /// What a new supervisor finds.
    pub fn found(&self) -> BTreeMap<Seq, Found> {
        let of = |instance: &Instance| match &instance.state {
            Life::Created => Found::Created { pid: 1 },
            Life::Running => Found::Running { pid: 1 },
            Life::Ended(_) if instance.lost => Found::Gone,
            Life::Ended(exit) => Found::Exited(exit.clone()),
        };
        self.instances.iter().map(|(seq, instance)| (*seq, of(instance))).collect()
    }

    fn program_runs(&mut self, seq: Seq, random: &mut Random) -> Result<Event, String> {
        let boot = self.boot;
        let faults = self.faults;
        let Some(instance) = self.instances.get_mut(&seq) else { return Err(format!("{seq:?} is not there")) };
        instance.state = Life::Running;
        instance.sick_since = (faults && random.percent(10)).then_some(boot);
        let container = instance.container.clone();
        let init = container.name.starts_with("init");
        instance.dies_at = match (init, faults) {
            (true, _) => boot + random.below(5_000),
            (false, false) => u64::MAX,
            (false, true) => match random.below(10) {
                0..=3 => boot + random.below(5_000),
                4 => boot + 600_000 + random.below(3),
                5 => boot + random.below(2_000_000),
                _ => u64::MAX,
            },
        };
        let key = (container.pod.clone(), container.name.clone());
        let allowed = self.allowed.get(&key).copied().unwrap_or(1);
        let runs = self.runs.entry(key).or_default();
        *runs += 1;
        let runs = *runs;
        if self.never(&container) && runs > allowed {
            return Err(format!("{container:?} with restartPolicy Never runs {runs} times, allowed are {allowed}"));
        }
        // It may be dead before anybody says that it started; then only the end is told.
        if faults
            && random.percent(5)
            && let Some(event) = self.end(seq, 1)
        {
            return Ok(event);
        }
        Ok(Event::Started { seq, pid: 1 })
    }

    /// Its start is about to be told to have failed; it has been sent SIGKILL, which may take its time.
    fn deny(&mut self, seq: Seq, random: &mut Random) {
        let slow = random.percent(40);
        if let Some(instance) = self.instances.get_mut(&seq).filter(|i| !i.ended()) {
            instance.denied = true;
            instance.dies_at = self.boot + random.below(if slow { 100_000 } else { 50 });
        }
    }

    fn check_alone(&self, container: &ContainerRef) -> Result<(), String> {
        if !self.sandboxes.contains(&container.pod) {
            return Err(format!("{container:?} starts without a sandbox"));
        }
        let name = |uid: &Uid| self.pods[uid].metadata.name.clone();
        let own = name(&container.pod);
        for (seq, other) in &self.instances {
            let same = other.container.name == container.name && name(&other.container.pod) == own;
            if same && !other.ended() {
                return Err(format!("{container:?} starts while {seq:?} of {:?} lives", other.container));
            }
        }
        Ok(())
    }
}
