//! [`Probes`]: attempts of probes and hooks under way. Connections are made in this loop, commands by helpers, and so is what needs TLS
//! or HTTP/2, by `gatepost-fetch`.
//!
//! A command costs the runtime's 27 ms and 14 MB until it has begun, so only so many may begin at a time, and one that takes
//! longer than [`YOUNG_MS`] gives its place up: those that hang never hold the others back.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd as _;

use super::Supervisor;
use super::act::{Task, container_of, memory_allows};
use super::helpers::{Command, Job, Outcome as HelperOutcome};
use super::start::host_ips;
use super::token::Token;
use crate::json;
use crate::oci;
use crate::pod::event::{ContainerRef, Event, HookKind, Seq};
use crate::pod::probe::{ProbeKind, ProbeOutcome};
use crate::pod::time::Instant;
use crate::probe::fetch::{self, Question};
use crate::probe::{self, Attempt, Call, Connection, Interest, Outcome, Place, Progress, Reach, exec};
use crate::sorted::{BTreeMap, BTreeSet};
use crate::sys::epoll::EventFlags;
use crate::sys::namespace::Home;

/// How long a command counts as beginning, in milliseconds.
const YOUNG_MS: u64 = 1_000;
/// Seen later than that after its time was over, an attempt says nothing: this process was held up, or the machine slept.
const LATE_MS: u64 = 1_000;
/// The longest time a hook may take, in milliseconds: a year.
const FOR_EVER_MS: u64 = 365 * 24 * 3_600_000;
/// What a helper may take beside the runtime and the command, in milliseconds.
const HELPER_MS: u64 = 10_000;

/// What an attempt is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purpose {
    number: u64,
    seq: Seq,
    container: ContainerRef,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Probe(ProbeKind),
    Hook(HookKind),
}

/// All attempts under way.
#[derive(Debug)]
pub(crate) struct Probes {
    home: Option<Home>,
    connections: BTreeMap<u64, Running>,
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    waiting: VecDeque<Waiting>,
    /// Commands that are beginning, and until when they count as such.
    young: BTreeMap<u64, Instant>,
    /// How many of these there may be.
    places: usize,
}

/// A connection.
#[derive(Debug)]
struct Running {
    purpose: Purpose,
    attempt: Attempt,
    namespace: Option<File>,
    interest: Interest,
    deadline: Instant,
}

/// What a helper will do, and has no place yet.
#[derive(Debug)]
struct Waiting {
    purpose: Purpose,
    work: Work,
    bound_ms: Option<u64>,
}

#[derive(Debug)]
enum Work {
    Command(Vec<String>),
    Fetch(Question, Place),
}

impl Probes {
    /// With so many commands beginning at a time.
    pub(super) fn new(places: usize) -> Self {
        let home = Home::here().inspect_err(|error| log::error!("pods' networks cannot be probed: {error}")).ok();
        Self {
            home,
            connections: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: 1,
            waiting: VecDeque::new(),
            young: BTreeMap::new(),
            places: places.max(1),
        }
    }

    /// When something of it is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let place = if self.waiting.is_empty() { None } else { self.young.values().min().copied() };
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(place).min()
    }

    fn take(&mut self, number: u64) -> Option<Running> {
        let running = self.connections.remove(&number)?;
        self.deadlines.remove(&(running.deadline, number));
        Some(running)
    }

    /// The instance has ended: nothing about it is of interest.
    pub(super) fn forget(&mut self, seq: Seq) {
        self.waiting.retain(|waiting| waiting.purpose.seq != seq);
        let of_it = |(number, running): (&u64, &Running)| (running.purpose.seq == seq).then_some(*number);
        let numbers: Vec<u64> = self.connections.iter().filter_map(of_it).collect();
        for number in numbers {
            self.take(number);
        }
    }
}

impl Supervisor {
    /// Begins one attempt of a probe.
    pub(super) fn begin_probe(&mut self, seq: Seq, container: ContainerRef, kind: ProbeKind, timeout_ms: u64) {
        self.begin(seq, container, Kind::Probe(kind), timeout_ms, Some(timeout_ms));
    }

    /// Begins a hook.
    pub(super) fn begin_hook(&mut self, seq: Seq, container: ContainerRef, kind: HookKind, bound_ms: Option<u64>) {
        self.begin(seq, container, Kind::Hook(kind), bound_ms.unwrap_or(FOR_EVER_MS), bound_ms);
    }

    fn begin(&mut self, seq: Seq, container: ContainerRef, kind: Kind, timeout_ms: u64, bound_ms: Option<u64>) {
        let number = self.probes.next;
        self.probes.next = number.saturating_add(1);
        let purpose = Purpose { number, seq, container, kind };
        let work = match self.call_of(&purpose) {
            Ok(Call::Connect(connection)) => return self.connect(purpose, connection, timeout_ms),
            Ok(Call::Exec(command)) => Work::Command(command),
            Ok(Call::Fetch(question, place)) => Work::Fetch(question, place),
            Err(why) => return self.attempted(&purpose, Outcome::Unable(why)),
        };
        let waiting = Waiting { purpose, work, bound_ms };
        // Nobody waits for a probe as for a hook.
        match kind {
            Kind::Hook(_) => self.probes.waiting.push_front(waiting),
            Kind::Probe(_) => self.probes.waiting.push_back(waiting),
        }
    }

    /// What the manifest wants to be done.
    fn call_of(&self, purpose: &Purpose) -> Result<Call, String> {
        let pod = self.node.pod(&purpose.container.pod).ok_or("its pod is not known")?;
        let container = container_of(&pod, &purpose.container.name).ok_or("its pod has no such container")?;
        let reach = if pod.spec.host_network {
            // Asked anew: the node's address may change while the pod runs.
            Reach { place: Place::Node, ..Reach::of(&host_ips()) }
        } else {
            Reach::of(&self.node.pod_ips(&purpose.container.pod))
        };
        match purpose.kind {
            Kind::Probe(kind) => {
                let probe = kind.of(container).ok_or("it has no such probe")?;
                let call = probe::of_probe(container, probe, reach)?;
                Ok(match call {
                    Call::Exec(command) => Call::Exec(oci::probe_command(container, &command)?),
                    other => other,
                })
            }
            Kind::Hook(kind) => {
                let lifecycle = container.lifecycle.as_ref();
                let handler = lifecycle.and_then(|lifecycle| match kind {
                    HookKind::PostStart => lifecycle.post_start.as_ref(),
                    HookKind::PreStop => lifecycle.pre_stop.as_ref(),
                });
                probe::of_hook(container, handler.ok_or("it has no such hook")?, reach)
            }
        }
    }

    fn connect(&mut self, purpose: Purpose, connection: Connection, timeout_ms: u64) {
        let number = purpose.number;
        let deadline = self.now().boot.after(timeout_ms);
        let namespace = self.network_of(&purpose, connection.place);
        let begun = match (&self.probes.home, namespace) {
            (Some(home), Ok(namespace)) => {
                Attempt::begin(connection, home, namespace.as_ref()).map(|attempt| (attempt, namespace))
            }
            (None, _) => Err(Outcome::Unable("the node's network namespace is not known".to_owned())),
            (_, Err(why)) => Err(Outcome::Unable(why)),
        };
        match begun {
            Ok((attempt, namespace)) => {
                let running = Running { purpose, attempt, namespace, interest: Interest::Write, deadline };
                self.probes.deadlines.insert((deadline, number));
                self.go_on(number, running, true);
            }
            Err(outcome) => self.attempted(&purpose, outcome),
        }
    }

    /// The namespace to connect from; `None`: this one.
    fn network_of(&self, purpose: &Purpose, place: Place) -> Result<Option<File>, String> {
        match place {
            Place::Node => Ok(None),
            Place::Pod => {
                let path = self.config.layout.pod_namespace(&purpose.container.pod, "net");
                File::open(path).map(Some).map_err(|error| format!("the pod's network namespace: {error}"))
            }
        }
    }

    /// The socket of a connection is as it was waited for.
    pub(super) fn connection_ready(&mut self, number: u64) {
        if let Some(running) = self.probes.connections.remove(&number) {
            self.go_on(number, running, false);
        }
    }

    /// Takes a connection as far as it can go; `new`: its socket is not waited on yet.
    fn go_on(&mut self, number: u64, mut running: Running, new: bool) {
        let Some(home) = &self.probes.home else { return };
        match running.attempt.advance(home, running.namespace.as_ref()) {
            Progress::Waits(interest, moved) => {
                let flags = if interest == Interest::Read { EventFlags::IN } else { EventFlags::OUT };
                let (socket, token) = (running.attempt.as_fd(), Token::Attempt(number).into());
                let waits = if new || moved {
                    self.epoll.add(socket, token, flags)
                } else if interest == running.interest {
                    Ok(())
                } else {
                    self.epoll.modify(socket, token, flags)
                };
                if let Err(error) = waits {
                    log::error!("cannot wait on a probe's connection: {error}");
                }
                running.interest = interest;
                self.probes.connections.insert(number, running);
            }
            Progress::Ended(outcome) => {
                self.probes.deadlines.remove(&(running.deadline, number));
                self.attempted(&running.purpose, outcome);
            }
            Progress::Secured(question) => {
                self.probes.deadlines.remove(&(running.deadline, number));
                let bound_ms = Some(running.deadline.since(self.now().boot));
                let work = Work::Fetch(question, running.attempt.place());
                self.probes.waiting.push_back(Waiting { purpose: running.purpose, work, bound_ms });
            }
        }
    }

    /// Ends connections whose time is over, and begins commands that have a place.
    pub(super) fn tend_probes(&mut self, now: Instant) {
        while let Some((at, number)) = self.probes.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            // Its answer may be there, and this loop the one that is late.
            self.connection_ready(number);
            if let Some(running) = self.probes.take(number) {
                let probe = matches!(running.purpose.kind, Kind::Probe(_));
                if probe && now.since(at) > LATE_MS {
                    self.probe_ended(&running.purpose, ProbeOutcome::Lost);
                } else {
                    self.attempted(&running.purpose, running.attempt.timed_out());
                }
            }
            self.probes.deadlines.remove(&(at, number));
        }
        self.probes.young.retain(|_, until| *until > now);
        while !self.probes.waiting.is_empty()
            && self.probes.young.len() < self.probes.places
            && (self.probes.young.is_empty() || memory_allows())
        {
            let Some(waiting) = self.probes.waiting.pop_front() else { return };
            let Waiting { purpose, work, bound_ms } = waiting;
            match work {
                Work::Command(command) => self.execute(purpose, command, bound_ms, now),
                Work::Fetch(question, place) => self.fetch(purpose, question, place, bound_ms, now),
            }
        }
    }

    fn execute(&mut self, purpose: Purpose, command: Vec<String>, bound_ms: Option<u64>, now: Instant) {
        let Some(id) = self.instances.get(&purpose.seq).map(|instance| instance.record.id.clone()) else {
            return self.attempted(&purpose, Outcome::Unable("it is not known".to_owned()));
        };
        let number = purpose.number;
        let request = exec::Request {
            version: exec::VERSION,
            runtime: self.runtime.clone(),
            root: self.config.layout.runtime_root(),
            directory: self.config.layout.container(&id),
            id,
            name: format!("exec-{number}"),
            command,
            bound_ms,
        };
        let request = json::to_vec(&request).unwrap_or_default();
        self.probes.young.insert(number, now.after(YOUNG_MS));
        let bound_ms = bound_ms.unwrap_or(FOR_EVER_MS).saturating_add(exec::BEGIN_MS).saturating_add(HELPER_MS);
        let command = Command::Role("container-exec");
        self.start_helper(Job { task: Task::Exec(purpose), command, request, output: None, passed: None, bound_ms });
    }

    fn fetch(&mut self, purpose: Purpose, question: Question, place: Place, bound_ms: Option<u64>, now: Instant) {
        let namespace = match self.network_of(&purpose, place) {
            Ok(namespace) => namespace,
            Err(why) => return self.attempted(&purpose, Outcome::Unable(why)),
        };
        let bound_ms = bound_ms.unwrap_or(FOR_EVER_MS);
        let request = fetch::Request { version: fetch::VERSION, bound_ms, in_pod: namespace.is_some(), question };
        let request = json::to_vec(&request).unwrap_or_default();
        self.probes.young.insert(purpose.number, now.after(YOUNG_MS));
        let program = self.config.fetch_program().display().to_string();
        let command = Command::Program(&program, vec!["gatepost-fetch".to_owned(), "probe".to_owned()]);
        let (task, passed) = (Task::Fetch(purpose), namespace.as_ref().map(File::as_fd));
        let bound_ms = bound_ms.saturating_add(HELPER_MS);
        self.start_helper(Job { task, command, request, output: None, passed, bound_ms });
    }

    /// `gatepost-fetch` has ended.
    pub(super) fn fetched(&mut self, purpose: &Purpose, outcome: HelperOutcome) {
        self.probes.young.remove(&purpose.number);
        let (HelperOutcome::Done(report) | HelperOutcome::Failed(report, _)) = &outcome;
        let outcome = match (json::from_slice::<fetch::Report>(report), outcome) {
            (Ok(report), _) => report.outcome,
            (Err(_), HelperOutcome::Failed(_, why)) => Outcome::Unable(format!("gatepost-fetch: {why}")),
            (Err(error), HelperOutcome::Done(_)) => Outcome::Unable(format!("gatepost-fetch: {error}")),
        };
        self.attempted(purpose, outcome);
    }

    /// A command has ended, or was not run.
    pub(super) fn executed(&mut self, purpose: &Purpose, outcome: HelperOutcome) {
        self.probes.young.remove(&purpose.number);
        let (HelperOutcome::Done(report) | HelperOutcome::Failed(report, _)) = &outcome;
        let report = json::from_slice::<exec::Report>(report);
        let outcome = match (report, outcome) {
            (Ok(exec::Report { timed_out: true, .. }), _) => {
                let command = match self.call_of(purpose) {
                    Ok(Call::Exec(command)) => command.join(" "),
                    _ => String::new(),
                };
                Outcome::Bad(format!("command {command:?} timed out"))
            }
            (Ok(exec::Report { code: Some(0), .. }), _) => Outcome::Good,
            (Ok(exec::Report { code: Some(_), output, .. }), _) => Outcome::Bad(output),
            (Ok(report), _) => Outcome::Unable(report.error),
            (Err(_), HelperOutcome::Failed(_, why)) => Outcome::Unable(why),
            (Err(error), HelperOutcome::Done(_)) => Outcome::Unable(error.to_string()),
        };
        self.attempted(purpose, outcome);
    }

    fn attempted(&mut self, purpose: &Purpose, outcome: Outcome) {
        let Kind::Hook(kind) = purpose.kind else {
            let outcome = match outcome {
                Outcome::Good => ProbeOutcome::Success,
                Outcome::Warned(text) => ProbeOutcome::Warning(text),
                Outcome::Bad(text) => ProbeOutcome::Failure(text),
                Outcome::Unable(text) => ProbeOutcome::Error(text),
            };
            return self.probe_ended(purpose, outcome);
        };
        let ok = matches!(outcome, Outcome::Good | Outcome::Warned(_));
        match outcome {
            Outcome::Good => {}
            Outcome::Warned(message) => self.warn_of_pod(&purpose.container.pod, "LifecycleHTTPFallback", message),
            Outcome::Bad(why) | Outcome::Unable(why) => {
                log::warn!("container {}: its {kind:?} hook failed: {why}", purpose.container.name);
            }
        }
        self.inbox.push_back(Event::HookEnded { seq: purpose.seq, kind, ok });
    }

    fn probe_ended(&mut self, purpose: &Purpose, outcome: ProbeOutcome) {
        if let Kind::Probe(kind) = purpose.kind {
            let pod = purpose.container.pod.clone();
            self.inbox.push_back(Event::Probed { pod, seq: purpose.seq, kind, outcome });
        }
    }
}
