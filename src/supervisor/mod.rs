//! The role `supervise`: [`Supervisor`], the event loop between the pure core and the world.
//!
//! The loop never waits for a disk: what may wait is done by [`helpers`]. Each turn feeds the core what happened, stores what it
//! says under `/run`, and then does what it asks for. The rooms beside it hold one thing each:
//!
//! | file | what |
//! | --- | --- |
//! | `start` | from an empty process to a running loop |
//! | `memory` | what the supervisor before knew |
//! | `adopt` | what a previous supervisor left: records, containers, half-done things |
//! | `act` | what the core asks for |
//! | `outcome` | how helpers ended |
//! | `ending` | how containers end |
//! | `probes` | probes and hooks |
//! | `instance` | one run of one container |
//! | `manifests`, `watch` | the desired pods |
//! | `images` | which images are there |
//! | `upkeep` | when images go that nobody wants |
//! | `conditions`, `look` | start conditions |
//! | `devices`, `find_devices` | devices that pods ask for |
//! | `network` | how pods are attached, and their names |
//! | `volumes` | volumes that change, and their sizes |
//! | `sweep` | what former pods have left |
//! | `logs` | the log writer |
//! | `requests`, `clients` | people at the control socket |
//! | `chart` | when what was started, for `gatepost boot-chart` |
//! | `features` | what the runtime really does |
//! | `persist` | state under `/run` and on disk |
//! | `guard`, `safe_mode` | what is left alone after crashes |

mod act;
mod adopt;
mod chart;
mod clients;
mod conditions;
mod devices;
mod ending;
mod features;
pub(crate) mod find_devices;
mod guard;
mod helpers;
mod images;
pub mod init_link;
mod instance;
pub(crate) mod look;
mod manifests;
mod memory;
mod network;
mod outcome;
mod persist;
mod probes;
mod pulls;
mod requests;
mod safe_mode;
mod start;
mod sweep;
mod token;
mod trust;
mod upkeep;
mod volumes;
mod watch;

mod logs;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

pub use start::{Incarnation, Setup, main};

use crate::config::Config;
use crate::oci::NodeFacts;
use crate::pod::Node;
use crate::pod::event::{Event, Seq, Uid};
use crate::pod::events::EventLog;
use crate::pod::time::{Instant, Now, Wall};
use crate::runtime::Runtime;
use crate::runtime::features::Features;
use crate::sorted::BTreeMap;
use crate::sys;
use crate::sys::cgroup::Cgroups;
use crate::sys::clock::{self, BootTimer};
use crate::sys::epoll::{Epoll, EventFlags, NO_EVENT};
use crate::sys::signal::{Signal, SignalFd};
use act::{Starts, Task, Terminal};
use chart::Chart;
use clients::Clients;
use conditions::Conditions;
use devices::Devices;
use guard::Guard;
use helpers::{Descriptor, Helpers, Job};
use images::Images;
use init_link::{Link, LinkError};
use instance::Instance;
use logs::Logs;
use manifests::Manifests;
use network::Networks;
use persist::Durable;
use probes::Probes;
use token::Token;
use volumes::Volumes;

/// Events taken from the kernel in one turn.
const BATCH: usize = 64;

/// Milliseconds after the last work until memory is given back.
const REST_MS: u64 = 2_000;

/// Everything the loop works with.
struct Supervisor {
    config: Config,
    runtime: Runtime,
    node_facts: NodeFacts,
    /// Memory that all pods together may use, in bytes; 0 for no limit.
    pods_memory: u64,
    /// What the runtime really does, once that is found.
    features: Option<Features>,
    cgroups: Cgroups,
    epoll: Epoll,
    timer: BootTimer,
    signals: SignalFd,
    link: Link,
    node: Node,
    /// Events for the core that have not been handled yet.
    inbox: VecDeque<Event>,
    events: EventLog,
    /// Events were recorded in this turn and are not stored yet.
    events_changed: bool,
    helpers: Helpers<Task>,
    starts: Starts,
    probes: Probes,
    instances: BTreeMap<Seq, Instance>,
    images: Images,
    manifests: Manifests,
    conditions: Conditions,
    devices: Devices,
    networks: Networks,
    volumes: Volumes,
    logs: Logs,
    clients: Clients,
    chart: Chart,
    durable: Durable,
    guard: Guard,
    /// Pods being torn down: whether their volumes go too.
    discard: BTreeMap<Uid, bool>,
    /// Where runtimes hand terminals over.
    terminals: BTreeMap<Seq, Terminal>,
    /// `run` calls of the runtime under way.
    runs_in_flight: u32,
    /// What people should know of the boot.
    warnings: Vec<String>,
    /// When the wall clock is saved next; `None` where the hardware keeps it, or a host's init does.
    clock_due: Option<Instant>,
    /// SIGTERM stops the pods.
    stop_pods: bool,
    /// What the boot before left on disk is not read yet: no pod is begun, and nothing is written over it.
    recalling: bool,
    /// When safe mode ends, while this is it.
    safe_until: Option<Instant>,
    started_at: Wall,
    /// The deadline init was last told.
    announced: Option<Instant>,
    /// When memory that work has taken is given back, unless there is more work.
    rest_at: Option<Instant>,
    /// Leftovers of former pods have been looked for.
    swept: bool,
    /// People want to know: something changed in this turn.
    changed: bool,
    leaving: bool,
    /// Init is gone, and with it what holds streams and tells of ends: nothing can be supervised any more.
    orphaned: bool,
    /// … only to be replaced by a new supervisor, whatever SIGTERM would mean.
    renewing: bool,
}

impl Supervisor {
    /// Runs until a signal asks it to leave.
    fn run(&mut self) {
        let mut events = [NO_EVENT; BATCH];
        loop {
            self.settle();
            if self.orphaned || (self.leaving && self.has_left()) {
                return;
            }
            self.announce_deadline();
            let count = match self.epoll.wait(&mut events) {
                Ok(count) => count,
                Err(error) => {
                    log::error!("cannot wait for events: {error}; the init role starts a new supervisor");
                    return;
                }
            };
            for event in events.iter().take(count) {
                if let Some(token) = Token::of(event.data.u64()) {
                    self.dispatch(token);
                }
            }
        }
    }

    /// The whole program, source by source.
    fn dispatch(&mut self, token: Token) {
        match token {
            Token::Signals => self.signalled(),
            Token::Timer => self.timer.acknowledge(),
            Token::Link => self.answer_init(),
            Token::ExitRecords => self.take_exit_records(),
            Token::Manifests => self.manifests_noticed(false),
            Token::Mounts => self.manifests_noticed(true),
            Token::Conditions => self.conditions_changed(),
            Token::Devices => self.devices.changed(self.now().boot),
            Token::Routes => self.routes_changed(),
            Token::Listener => self.accept_clients(),
            Token::LogSocket => self.logs_answered(),
            Token::LogProcess => self.log_writer_ended(),
            Token::Client(number) => {
                self.serve_client(number);
                self.rest_later();
            }
            Token::Helper(number, descriptor) => self.helper_ready(number, descriptor),
            Token::Foreign(seq) => self.foreign_ended(seq),
            Token::Terminal(seq) => self.terminal_offered(seq),
            Token::Attempt(number) => self.connection_ready(number),
        }
    }

    /// Does everything that is due, until nothing is.
    fn settle(&mut self) {
        let now = self.now();
        self.helpers.kill_overdue(now.boot);
        if self.logs.tend(now.boot) {
            self.watch_log_writer();
        }
        self.look_at_emptying(now);
        self.tend_probes(now.boot);
        if self.recalling {
            // Whatever is wanted, it cannot be begun.
        } else if self.safe_until.is_none() {
            self.read_manifests_if_due(now.boot);
        } else if self.safe_until.is_some_and(|until| until <= now.boot) {
            self.end_safe_mode();
        }
        if self.node.deadline().is_some_and(|at| at <= now.boot) {
            self.inbox.push_back(Event::Tick);
        }
        while let Some(event) = self.inbox.pop_front() {
            self.handle(event);
        }
        self.keep_names();
        self.start_waiting();
        self.tend_volumes(now.boot);
        self.tend_images(now.boot);
        self.save_clock_if_due();
        self.look_at_paths(now.boot);
        self.look_for_devices(now.boot);
        self.save_durable_if_due();
        self.rest_if_due(now.boot);
        if std::mem::take(&mut self.events_changed) {
            self.store_events();
        }
        if std::mem::take(&mut self.changed) {
            self.tell_watchers();
        }
    }

    /// One event through the core: state is stored before anything is done.
    fn handle(&mut self, event: Event) {
        let of_instance = event.seq().and_then(|seq| self.instances.get(&seq)).map(|i| &i.record.container.pod);
        self.guard.enter(event.pod().or(of_instance));
        // Nobody wants to look at a pod again because a probe was made of it.
        let seldom = !matches!(event, Event::Probed { .. } | Event::Tick);
        let actions = self.node.handle(self.now(), event);
        self.changed |= self.store_changed_pods() || seldom;
        for action in actions {
            self.act(action);
        }
        self.changed |= self.events_changed;
        self.await_conditions();
        self.guard.leave();
    }

    #[allow(clippy::unused_self)] // asked for where time is needed, which is where `self` is
    fn now(&self) -> Now {
        Now { boot: Instant(clock::boottime_ms()), wall: Wall(clock::wall_ms()) }
    }

    /// Requests, reports and answers took memory that is not needed while nothing happens.
    fn rest_later(&mut self) {
        self.rest_at = Some(self.now().boot.after(REST_MS));
    }

    /// Nothing was done for a while; what a helper still does is another reason when it ends.
    fn rest_if_due(&mut self, now: Instant) {
        if self.rest_at.is_some_and(|at| at <= now) {
            self.rest_at = None;
            if self.helpers.tasks().next().is_none() {
                sys::memory::give_back();
            }
        }
    }

    /// The earliest time at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let emptying = self.instances.values().filter_map(|i| i.look_again.map(|(at, _)| at)).min();
        let reading = self.safe_until.or_else(|| self.manifests.deadline()).filter(|_| !self.recalling);
        let volumes = self.volumes.deadline();
        let rooms = [self.node.deadline(), self.helpers.deadline(), self.logs.deadline(), volumes, reading];
        let others = [
            self.probes.deadline(),
            self.durable.deadline().filter(|_| !self.recalling),
            self.conditions.deadline(),
            self.devices.deadline(),
            emptying,
            self.rest_at,
            self.collection_deadline(),
            self.clock_due,
        ];
        rooms.into_iter().chain(others).flatten().min()
    }

    /// Arms the timer and tells init, which kills a supervisor that sleeps through its deadline.
    fn announce_deadline(&mut self) {
        let deadline = self.deadline();
        if let Err(error) = self.timer.set(deadline.map(|d| d.0)) {
            log::error!("cannot set the timer: {error}");
        }
        // To the next second: probes move it many times a second, and init takes ten seconds for overdue.
        let deadline = deadline.map(|d| Instant(d.0.checked_next_multiple_of(1_000).unwrap_or(u64::MAX)));
        if deadline == self.announced {
            return;
        }
        if let Err(error) = self.link.deadline(deadline.map(|d| d.0)) {
            log::error!("{error}");
        }
        self.announced = deadline;
    }

    /// Waits on a descriptor.
    fn watch(&self, descriptor: BorrowedFd<'_>, token: Token, flags: EventFlags) {
        if let Err(error) = self.epoll.add(descriptor, token.into(), flags) {
            log::error!("cannot wait on {token:?}: {error}");
        }
    }

    /// Starts a helper and waits on it; a start that fails is an outcome like any other.
    fn start_helper(&mut self, job: Job<'_, Task>) {
        self.chart.begin(&job.task);
        match self.helpers.start(job, self.now().boot) {
            Ok(number) => self.watch_helper(number),
            Err((task, error)) => {
                self.finished(
                    task,
                    helpers::Outcome::Failed(Vec::new(), format!("cannot start a helper process: {error}")),
                );
            }
        }
    }

    fn watch_helper(&self, number: u64) {
        if let Some((process, report)) = self.helpers.descriptors(number) {
            self.watch(process, Token::Helper(number, Descriptor::Process), EventFlags::IN);
            if let Some(report) = report {
                self.watch(report, Token::Helper(number, Descriptor::Report), EventFlags::IN);
            }
        }
    }

    fn helper_ready(&mut self, number: u64, descriptor: Descriptor) {
        if descriptor == Descriptor::Process
            && let Some((process, report)) = self.helpers.descriptors(number)
        {
            // A pidfd shared by nobody ends its watch when it is closed; the pipe may be shared with what the helper started.
            let _ = self.epoll.remove(process);
            if let Some(report) = report {
                let _ = self.epoll.remove(report);
            }
        }
        if let Some((task, outcome)) = self.helpers.ready(number, descriptor) {
            if !matches!(task, Task::Exec(_) | Task::Fetch(_)) {
                self.rest_later();
            }
            self.finished(task, outcome);
        }
    }

    fn signalled(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal == Signal::HUP {
                self.read_manifests_now();
            } else {
                log::info!("{}", if self.leaving { "asked to leave, again" } else { "asked to leave" });
                (self.leaving, self.renewing) = (true, false);
                self.durable.hurry();
                if self.stop_pods {
                    // Given again it shortens the grace.
                    self.inbox.push_back(Event::StopAll);
                }
            }
        }
    }

    /// Somebody wants the manifests to be read, and so the end of safe mode, if this is it.
    fn read_manifests_now(&mut self) {
        if self.safe_until.is_some() {
            self.end_safe_mode();
        } else {
            self.manifests.read_soon(self.now().boot);
        }
    }

    /// The next supervisor, which init starts at once, begins with nothing in doubt. Containers notice nothing.
    fn end_safe_mode(&mut self) {
        log::info!("safe mode ends");
        self.guard.forget_unexplained();
        self.safe_until = None;
        (self.leaving, self.renewing) = (true, true);
        self.durable.hurry();
    }

    fn answer_init(&mut self) {
        if let Err(error) = self.link.answer_pings() {
            log::error!("{error}");
            self.orphaned |= matches!(error, LinkError::Gone);
        }
    }

    /// Whether nothing is left to be done before this process may end. The log writer goes last: it stores what was printed.
    fn has_left(&mut self) -> bool {
        (!self.stop_pods || self.renewing || self.node.stopped())
            && (self.recalling || self.durable.is_saved())
            && self.logs.leave()
    }

    fn conditions_changed(&mut self) {
        for (condition, met) in self.conditions.changed() {
            self.inbox.push_back(Event::Condition { condition, met });
        }
    }

    fn await_conditions(&mut self) {
        let awaited = self.node.awaited_conditions();
        let before: Vec<_> = self.conditions.descriptors().map(|d| std::os::fd::AsRawFd::as_raw_fd(&d)).collect();
        for (condition, met) in self.conditions.await_exactly(&awaited) {
            self.inbox.push_back(Event::Condition { condition, met });
        }
        for descriptor in self.conditions.descriptors() {
            if !before.contains(&std::os::fd::AsRawFd::as_raw_fd(&descriptor)) {
                self.watch(descriptor, Token::Conditions, EventFlags::IN);
            }
        }
    }

    fn watch_log_writer(&self) {
        if let Some((socket, process)) = self.logs.descriptors() {
            let flags = if self.logs.wants_write() { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            self.watch(socket, Token::LogSocket, flags);
            self.watch(process, Token::LogProcess, EventFlags::IN);
        }
    }

    fn logs_answered(&mut self) {
        self.logs.flush();
        for logs::News::Closed { stream_id } in self.logs.read() {
            self.stream_closed(stream_id);
        }
        self.renew_log_watch();
    }

    /// Writability is waited for only while requests queue.
    fn renew_log_watch(&self) {
        if let Some((socket, _)) = self.logs.descriptors() {
            let flags = if self.logs.wants_write() { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if let Err(error) = self.epoll.modify(socket, Token::LogSocket.into(), flags) {
                log::error!("cannot wait on the log writer: {error}");
            }
        }
    }

    fn log_writer_ended(&mut self) {
        if let Some((socket, process)) = self.logs.descriptors() {
            let _ = self.epoll.remove(socket);
            let _ = self.epoll.remove(process);
        }
        self.logs.ended(self.now().boot);
    }
}
