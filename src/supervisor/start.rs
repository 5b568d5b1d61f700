//! From an empty process to a running loop: [`main`].

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Supervisor;
use super::act::Starts;
use super::adopt::{Adopted, adopt};
use super::chart::Chart;
use super::clients::Clients;
use super::conditions::Conditions;
use super::devices::Devices;
use super::guard::Guard;
use super::helpers::Helpers;
use super::images::Images;
use super::init_link::Link;
use super::logs::Logs;
use super::manifests::Manifests;
use super::memory::Memory;
use super::network::Networks;
use super::persist::{self, Durable};
use super::probes::Probes;
use super::safe_mode::{self, Caution};
use super::token::Token;
use super::volumes::Volumes;
use crate::config::{Config, Layout};
use crate::control::Server;
use crate::json;
use crate::oci::NodeFacts;
use crate::pod::event::Event;
use crate::pod::time::{Instant, Now, Wall};
use crate::pod::{BackoffRule, Node, Past, SavedPod, Settings};
use crate::runtime::Runtime;
use crate::sorted::BTreeMap;
use crate::state::volatile;
use crate::sys::cgroup::Cgroups;
use crate::sys::clock::{self, BootTimer};
use crate::sys::epoll::{Epoll, EventFlags};
use crate::sys::signal::{Signal, SignalFd};

/// What `gatepost run` leaves for every supervisor it will have.
#[derive(Debug, Clone, json::Serialize, json::Deserialize)]
pub struct Setup {
    /// The node's settings, complete.
    pub config: Config,
    /// The OCI runtime.
    pub runtime: Runtime,
    /// Whether SIGTERM stops the pods, or leaves them running.
    pub stop_pods: bool,
    /// Whether the wall clock is kept for the next boot.
    #[serde(default)]
    pub save_clock: bool,
    /// What people should know of the boot: one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Setup {
    /// Where it lies.
    pub fn path(run: &Path) -> PathBuf {
        Layout { run: run.to_owned(), ..Layout::default() }.setup()
    }

    /// Leaves it for the supervisors to come. A stop that an earlier `gatepost run` was asked for ends with that one.
    pub fn begin(&self) -> Result<(), crate::state::StateError> {
        let run = &self.config.layout.run;
        let node = self.config.layout.node_state();
        if let Ok(Some(saved)) = volatile::read::<crate::pod::SavedNode>(&node)
            && saved.stopping
        {
            volatile::write(&node, &crate::pod::SavedNode { stopping: false, ..saved })?;
        }
        // The chart of another start.
        let _ = std::fs::remove_file(self.config.layout.boot_chart());
        volatile::write(&Self::path(run), self)
    }
}

/// What init says about a supervisor it starts.
#[derive(Debug, Clone, Copy)]
pub struct Incarnation {
    /// The one before ended by its own fault.
    pub crashed: bool,
    /// Init is PID 1 of a gateway.
    pub gateway: bool,
}

/// The role `supervise RUN-DIR`, started by init.
pub fn main(run: &Path, incarnation: Incarnation) -> ExitCode {
    let began = clock::boottime_us();
    if incarnation.gateway
        && let Err(error) = crate::sys::memory::lock()
    {
        log::warn!("the supervisor cannot lock itself into memory: {error}");
    }
    let result = volatile::read::<Setup>(&Setup::path(run))
        .map_err(|e| e.to_string())
        .and_then(|setup| setup.ok_or_else(|| format!("there is no {}", Setup::path(run).display())))
        .map(|setup| Setup { stop_pods: setup.stop_pods || incarnation.gateway, ..setup })
        .and_then(|setup| Supervisor::start(setup, incarnation.crashed, incarnation.gateway));
    match result {
        Ok(mut supervisor) => {
            supervisor.chart.note(began, "supervisor", "start");
            supervisor.run();
            if supervisor.leaving {
                // What they were at is done again by the next one.
                supervisor.helpers.end_all();
            }
            // Init takes any other end for a crash.
            if supervisor.leaving { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            log::error!("the supervisor cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Supervisor {
    #[allow(clippy::too_many_lines)] // a list of what there is, in the order in which it is made
    fn start(setup: Setup, crashed: bool, gateway: bool) -> Result<Self, String> {
        let Setup { config, runtime, stop_pods, save_clock, warnings } = setup;
        let layout = config.layout.clone();
        let (mut link, log_descriptors) = Link::from_fixed_fds().map_err(|e| e.to_string())?;
        let signals = SignalFd::new(&[Signal::TERM, Signal::INT, Signal::HUP]).map_err(|e| format!("signals: {e}"))?;
        link.hello().map_err(|e| e.to_string())?;
        let cgroups = Cgroups::detect().unwrap_or_else(|error| {
            log::error!("no container can be started: {error}");
            Cgroups::none()
        });
        let mut helpers = Helpers::take_over(cgroups.clone(), format!("gatepost/{}", config.cgroup_root));
        for directory in [layout.containers(), layout.pods(), layout.runtime_root()] {
            std::fs::create_dir_all(&directory).map_err(|e| format!("cannot create {}: {e}", directory.display()))?;
        }

        let now = Now { boot: Instant(clock::boottime_ms()), wall: Wall(clock::wall_ms()) };
        let memory = Memory::load(&config, &mut helpers);
        let Adopted { found, instances } = adopt(&layout, &mut link, now);
        let node_facts = crate::runtime::node::facts(&config.node_name, host_ips(), &layout.data, &cgroups);
        let node_facts = NodeFacts {
            single_process_oom_kill: config.single_process_oom_kill,
            cluster_domain: config.cluster_domain.clone(),
            ..node_facts
        };
        let pods_memory = crate::runtime::node::pods_memory(&config, gateway, node_facts.memory_bytes);
        let settings = settings(&config, &node_facts, &runtime);
        let mut guard = Guard::open(&layout.run, crashed, now.boot.0);
        let caution = guard.caution(now.boot.0);
        if caution == Caution::Alone {
            link.nothing_left().map_err(|e| e.to_string())?;
        }
        let quarantined = guard.left_alone(caution, memory.pods.iter().map(SavedPod::uid));
        let past = Past {
            node: memory.node,
            pods: memory.pods,
            durable: memory.durable,
            found,
            quarantined,
            rebooted: memory.rebooted,
        };
        let rebooted = past.rebooted;
        let (node, actions) = Node::restore(settings, past, now);
        let server = Server::bind(&layout.control_socket()).map_err(|e| e.to_string())?;
        let stream_table = log_descriptors.stream_table;
        let journal = (log_descriptors.journal_read, log_descriptors.journal_write);
        let cgroup = format!("gatepost/{}/log-writer", config.cgroup_root);
        let mut supervisor = Self {
            logs: Logs::new(cgroups.clone(), cgroup, &layout, config.logs.total, stream_table, journal),
            epoll: Epoll::new().map_err(|e| format!("epoll: {e}"))?,
            timer: BootTimer::new().map_err(|e| format!("timerfd: {e}"))?,
            manifests: Manifests::new(memory.manifests),
            recalling: memory.recalling.is_some(),
            safe_until: (caution != Caution::None).then(|| now.boot.after(safe_mode::LASTS_MS)),
            images: Images::new(
                caution == Caution::None && !config.layout.preload.is_empty(),
                config.fetch_program().is_file(),
            ),
            starts: Starts::new(parallel_starts(&config)),
            probes: Probes::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
            events: Self::load_events(&layout.run),
            clients: Clients::new(server),
            chart: Chart::open(layout.boot_chart()),
            networks: Networks::default(),
            volumes: Volumes::default(),
            conditions: Conditions::new(config.modified),
            devices: Devices::new(&config.devices),
            durable: Durable::default(),
            inbox: VecDeque::new(),
            discard: BTreeMap::new(),
            terminals: BTreeMap::new(),
            runs_in_flight: 0,
            announced: None,
            rest_at: None,
            swept: false,
            changed: true,
            events_changed: false,
            leaving: false,
            orphaned: false,
            renewing: false,
            started_at: now.wall,
            stop_pods,
            runtime,
            node_facts,
            pods_memory,
            features: None,
            cgroups,
            warnings,
            clock_due: save_clock.then(|| now.boot.after(persist::CLOCK_MS)),
            signals,
            link,
            node,
            helpers,
            instances,
            guard,
            config,
        };
        supervisor.watch_everything();
        supervisor.go_on_recalling(memory.recalling);
        if let Some(why) = memory.withheld {
            supervisor.tell_withheld(why);
        }
        supervisor.tell_caution(caution);
        supervisor.resume();
        supervisor.take_up_networks();
        if rebooted {
            supervisor.record_warnings();
        }
        supervisor.store_changed_pods();
        if supervisor.config.devices.is_empty() {
            // A pod of before may ask for one that the setting has no more.
            supervisor.inbox.push_back(Event::Devices(BTreeMap::new()));
        }
        // Until the directories are read, what was last good is what is wanted.
        let last_good = supervisor.manifests.desired_pods();
        if !last_good.is_empty() && caution != Caution::Alone && !supervisor.recalling {
            supervisor.inbox.push_back(Event::Desired(last_good));
        }
        for action in actions {
            supervisor.act(action);
        }
        // Everything that lives is registered: init may reap the rest.
        supervisor.link.keep_unknown(false).map_err(|e| e.to_string())?;
        supervisor.work_at_store();
        supervisor.know_features();
        log::info!("supervising {} with {}", supervisor.config.node_name, supervisor.runtime.path.display());
        Ok(supervisor)
    }

    fn tell_caution(&mut self, caution: Caution) {
        if let Some(event) = caution.event(&self.config.node_name) {
            log::error!(target: "event", "{}", event.message);
            self.record(event);
        }
    }

    /// What the boot had to tell, as events of the node.
    fn record_warnings(&mut self) {
        for message in self.warnings.clone() {
            self.warn_of_node("BootProblem", message);
        }
    }

    fn watch_everything(&self) {
        self.watch(std::os::fd::AsFd::as_fd(&self.signals), Token::Signals, EventFlags::IN);
        self.watch(std::os::fd::AsFd::as_fd(&self.timer), Token::Timer, EventFlags::IN);
        self.watch(self.link.socket(), Token::Link, EventFlags::IN);
        self.watch(self.link.records(), Token::ExitRecords, EventFlags::IN);
        self.watch(self.clients.listener(), Token::Listener, EventFlags::IN);
        for descriptor in self.devices.descriptors() {
            self.watch(descriptor, Token::Devices, EventFlags::IN);
        }
        if let Some(watch) = self.manifests.watch() {
            self.watch(watch.changes(), Token::Manifests, EventFlags::IN);
            self.watch(watch.mounts(), Token::Mounts, EventFlags::PRI);
        }
    }
}

fn settings(config: &Config, node_facts: &NodeFacts, runtime: &Runtime) -> Settings {
    Settings {
        node_name: config.node_name.clone(),
        host_ips: node_facts.host_ips.clone(),
        runtime: runtime_name(runtime),
        backoff: BackoffRule {
            initial_ms: milliseconds(config.backoff.initial),
            max_ms: milliseconds(config.backoff.max),
        },
    }
}

/// By itself one more than there are cores, since a fifth of a runtime call is spent waiting for the kernel's grace periods: what
/// free memory allows is looked at besides.
fn parallel_starts(config: &Config) -> usize {
    match config.max_parallel_starts {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).saturating_add(1),
        most => most,
    }
}

/// The scheme of container ids: `runc`, `crun`, or what else the binary is called.
fn runtime_name(runtime: &Runtime) -> String {
    runtime.path.file_name().map_or_else(|| "runc".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The addresses by which this node would reach others, IPv4 first. No packet is sent: connect(2) on UDP only picks a route.
pub(super) fn host_ips() -> Vec<String> {
    // Addresses, not text: text would bring the resolver of the C library along.
    let outside: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let reach = |(any, other): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((other, 9)).ok()?;
        let own = socket.local_addr().ok()?.ip();
        (!own.is_loopback() && !own.is_unspecified()).then(|| own.to_string())
    };
    let mut found: Vec<String> = outside.into_iter().filter_map(reach).collect();
    if found.is_empty() {
        // No route: the node is alone, and itself.
        found.push("127.0.0.1".to_owned());
    }
    found
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
