//! What the core asks for, done or begun here; and [`Starts`], the line at the runtime's door.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use super::Supervisor;
use super::ending::FIRST_LOOK_MS;
use super::helpers::{Command, Job};
use super::images::ImageTask;
use super::instance::{self, End, Instance, Phase, Record};
use super::logs::Source;
use super::probes::Purpose;
use super::token::Token;
use crate::json;
use crate::log::protocol::{Open, StreamKind};
use crate::manifest::{QosClass, qos_class, v1};
use crate::network;
use crate::oci;
use crate::pod::event::{Action, ContainerRef, Event, Failure, Seq, StartMode, Uid};
use crate::runtime::cleanup::CleanupRequest;
use crate::runtime::launch::{LaunchRequest, Mode, RootSource};
use crate::runtime::protocol::VERSION;
use crate::runtime::sandbox::{self, Caps, PrepareRequest, SandboxRequest, TeardownRequest, Verb};
use crate::sys::cgroup::Cgroups;
use crate::sys::epoll::EventFlags;
use crate::sys::socket;
use crate::wire;

/// What a helper of the supervisor is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Reading the manifest directories.
    ReadManifests,
    /// Looking whether the path of a start condition is there.
    Look(String),
    /// Looking which devices of the setting `devices` are there.
    FindDevices,
    /// Making a pod's sandbox.
    Prepare(Uid),
    /// Removing it.
    Teardown(Uid),
    /// Creating a container, or running it.
    Launch(Seq),
    /// Starting a created container.
    StartCreated(Seq),
    /// Removing what is left of a container.
    CleanUp(Seq),
    /// Something at the image store.
    Images(ImageTask),
    /// Writing durable state.
    Save,
    /// Reading that of the boot before.
    Recall,
    /// Reading the last words of a container that failed without a message.
    LastWords(Seq),
    /// Bringing the volumes of running pods up to date.
    RefreshVolumes,
    /// Measuring them.
    MeasureVolumes,
    /// Looking for what former pods have left.
    FindLeftovers,
    /// Removing what a former pod has left.
    Sweep(Uid),
    /// Running a command in a container.
    Exec(Purpose),
    /// Pulling an image.
    Pull,
    /// Asking a server something by TLS or HTTP/2.
    Fetch(Purpose),
    /// Finding out what the runtime really does.
    FindFeatures,
}

impl Task {
    /// Whether it runs the runtime, whose number is bounded.
    fn is_runtime_call(&self) -> bool {
        matches!(
            self,
            Self::Prepare(_)
                | Self::Teardown(_)
                | Self::Launch(_)
                | Self::StartCreated(_)
                | Self::CleanUp(_)
                | Self::Sweep(_)
                | Self::FindFeatures
        )
    }
}

/// Milliseconds a runtime call may take: a disk that hangs for half a minute is no reason to give one up.
const RUNTIME_BOUND_MS: u64 = 120_000;

/// Memory in bytes that must be free for each further runtime call; `runc create` peaks at 14 MB.
const MEMORY_A_CALL: u64 = 24 << 20;

/// A terminal on its way from the runtime.
#[derive(Debug)]
pub(super) enum Terminal {
    /// The runtime has not connected yet.
    Awaited(UnixListener),
    /// It has, and will send the master.
    Offered(UnixStream),
}

/// What waits for a free place at the runtime: starts before removals, both in the core's order.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    first: VecDeque<Task>,
    last: VecDeque<Task>,
    /// Runtime calls at a time.
    most: usize,
}

impl Starts {
    /// At most `most` runtime calls at a time.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), ..Self::default() }
    }

    /// Queues the removal of an ended instance, once.
    pub(super) fn queue_clean_up(&mut self, seq: Seq) {
        let task = Task::CleanUp(seq);
        if !self.last.contains(&task) {
            self.last.push_back(task);
        }
    }

    /// Queues the removal of what a former pod has left.
    pub(super) fn queue_sweep(&mut self, pod: Uid) {
        self.last.push_back(Task::Sweep(pod));
    }

    /// Queues the look at what the runtime does, for when nothing else is under way.
    pub(super) fn queue_features(&mut self) {
        self.last.push_back(Task::FindFeatures);
    }

    /// Containers of pods that are prepared come before other pods' sandboxes: the first ones run while the rest is made ready.
    fn next(&mut self, may_begin: impl Fn(&Task) -> bool) -> Option<Task> {
        let ready = self.first.iter().position(|task| may_begin(task) && !matches!(task, Task::Prepare(_)));
        match ready.or_else(|| self.first.iter().position(&may_begin)) {
            Some(at) => self.first.remove(at),
            None => self.last.iter().position(may_begin).and_then(|at| self.last.remove(at)),
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }
}

impl Supervisor {
    /// Does, or begins to do, one thing the core asks for.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::PrepareSandbox { pod } => self.starts.first.push_back(Task::Prepare(pod)),
            Action::TeardownSandbox { pod, discard_volumes } => {
                self.discard.insert(pod.clone(), discard_volumes);
                self.starts.first.push_back(Task::Teardown(pod));
            }
            Action::EnsureImage { container } => self.ensure_image(container),
            Action::Start { seq, container, attempt, mode } => self.queue_start(seq, container, attempt, mode),
            Action::Mark { seq, .. } => self.durable.mark(seq),
            Action::StartCreated { seq } => self.starts.first.push_back(Task::StartCreated(seq)),
            Action::Probe { seq, container, kind, timeout_ms } => self.begin_probe(seq, container, kind, timeout_ms),
            Action::Hook { seq, container, kind, bound_ms } => self.begin_hook(seq, container, kind, bound_ms),
            Action::Signal { seq, signal } => self.signal(seq, signal),
            Action::Kill { seq } => self.kill(seq),
            Action::Remove { seq } => self.remove(seq),
            Action::Record(event) => {
                log::info!(
                    target: "event",
                    "{}/{} {} {}{}",
                    event.namespace,
                    event.name,
                    event.reason,
                    if event.field_path.is_empty() { String::new() } else { format!("{}: ", event.field_path) },
                    event.message
                );
                self.record(event);
            }
        }
    }

    fn remove(&mut self, seq: Seq) {
        match self.instances.get_mut(&seq) {
            None => self.inbox.push_back(Event::Removed { seq }),
            Some(instance) => {
                instance.remove = true;
                self.clean_up_if_ready(seq);
            }
        }
    }

    /// Notes the instance at once, so that a kill from now on finds it; the runtime is called when there is a place.
    fn queue_start(&mut self, seq: Seq, container: ContainerRef, attempt: u32, mode: StartMode) {
        let Some(pod) = self.node.pod(&container.pod) else {
            return self.start_failed(seq, "CreateContainerError", "its pod is not known".to_owned());
        };
        let Some(spec) = container_of(&pod, &container.name) else {
            return self.start_failed(seq, "CreateContainerError", "its pod has no such container".to_owned());
        };
        let uid8 = container.pod.get(..8).unwrap_or(&container.pod);
        let id = format!("{}-{uid8}-{}", container.name, seq.0);
        let record = Record {
            seq,
            namespace: pod.metadata.namespace.clone(),
            pod_name: pod.metadata.name.clone(),
            attempt,
            mode,
            tty: spec.tty,
            cgroup: format!("{}/{id}", sandbox::pod_cgroup(&self.config.cgroup_root, &pod)),
            termination_message: sandbox::termination_log(&self.config.layout, &container.pod, &id),
            pid: None,
            start_time: None,
            slots: [None, None],
            stored: false,
            id,
            container,
        };
        self.instances.insert(seq, Instance::new(record, Phase::Launching));
        self.starts.first.push_back(Task::Launch(seq));
    }

    /// Fills the free places at the runtime.
    pub(super) fn start_waiting(&mut self) {
        while !self.starts.is_empty() {
            let running = self.helpers.tasks().filter(|t| t.is_runtime_call()).count();
            if running >= self.starts.most || (running > 0 && !memory_allows()) {
                return;
            }
            let Self { starts, node, helpers, .. } = self;
            // Network plugins are other people's programs, which may wait for anything: they never take the last place.
            let runs_plugins = |task: &Task| match task {
                Task::Prepare(pod) | Task::Teardown(pod) => node.pod(pod).is_some_and(|pod| !pod.spec.host_network),
                _ => false,
            };
            let full = starts.most > 1
                && helpers.tasks().filter(|task| runs_plugins(task)).count() >= starts.most.saturating_sub(1);
            // What the runtime can do is asked when nobody waits for an answer, nor for the processor.
            let idle = helpers.tasks().next().is_none() && starts.first.is_empty();
            match starts.next(|task| !(full && runs_plugins(task)) && (idle || *task != Task::FindFeatures)) {
                Some(Task::Prepare(pod)) => self.prepare(pod),
                Some(Task::Teardown(pod)) => {
                    let discard_volumes = self.discard.get(&pod).copied().unwrap_or(false);
                    self.teardown(Task::Teardown(pod.clone()), &pod, discard_volumes);
                }
                // It may have come back meanwhile.
                Some(Task::Sweep(pod)) if self.knows(&pod) => {}
                Some(Task::Sweep(pod)) => self.teardown(Task::Sweep(pod.clone()), &pod, true),
                Some(Task::Launch(seq)) => self.launch(seq),
                Some(Task::StartCreated(seq)) => self.start_created(seq),
                Some(Task::CleanUp(seq)) => self.clean_up(seq),
                Some(Task::FindFeatures) => self.find_features(),
                Some(_) => {}
                None => return,
            }
            // A task that could not be begun has an outcome already.
            while let Some(event) = self.inbox.pop_front() {
                self.handle(event);
            }
        }
    }

    fn prepare(&mut self, uid: Uid) {
        let Some(pod) = self.node.pod_as_seen(&uid) else { return };
        let sweep = Task::Sweep(uid.clone());
        if self.helpers.tasks().any(|task| *task == sweep) {
            let message = "what it left when it was here before is still being removed".to_owned();
            let failure = Failure { reason: "FailedCreatePodSandBox".to_owned(), message };
            return self.inbox.push_back(Event::SandboxFailed { pod: uid, failure });
        }
        let verb = Verb::Prepare(Box::new(PrepareRequest {
            layout: self.config.layout.clone(),
            pod: Rc::clone(&pod),
            objects: self.manifests.objects_of(&pod),
            node: self.node_facts.clone(),
            cgroup_root: self.config.cgroup_root.clone(),
            caps: Caps {
                memory_bytes: self.pods_memory,
                pids: self.config.pods_pids_limit,
                cpu_shares: self.pods_cpu_shares(),
                burstable_shares: self.burstable_shares(),
            },
            pod_pids_limit: self.config.pod_pids_limit,
            host_name: self.node_facts.host_name.clone(),
            resolv_conf: self.config.resolv_conf.clone(),
            network: network::Setting {
                conf_dir: self.config.cni_conf_dir.clone(),
                bin_dirs: self.config.cni_bin_dir.clone(),
                pod_subnet: self.config.pod_subnet.clone(),
            },
            allowed_sysctls: self.config.allowed_unsafe_sysctls.clone(),
            cgroups: self.known_cgroups(),
        }));
        let request = SandboxRequest { version: VERSION, verb };
        self.call_role("sandbox", Task::Prepare(uid), &request);
    }

    fn teardown(&mut self, task: Task, uid: &Uid, discard_volumes: bool) {
        let verb = Verb::Teardown(TeardownRequest {
            layout: self.config.layout.clone(),
            uid: uid.to_string(),
            cgroup_root: self.config.cgroup_root.clone(),
            discard_volumes,
            cgroups: self.known_cgroups(),
        });
        let request = SandboxRequest { version: VERSION, verb };
        self.call_role("sandbox", task, &request);
    }

    /// Without any a helper looks itself, and says what is missing.
    fn known_cgroups(&self) -> Option<Cgroups> {
        Some(&self.cgroups).filter(|cgroups| !cgroups.is_none()).cloned()
    }

    /// CPU shares of all Burstable pods together (kubelet: the sum of their requests).
    fn burstable_shares(&self) -> u64 {
        let pods = self.node.uids().filter_map(|uid| self.node.pod(uid));
        pods.filter(|pod| qos_class(pod) == QosClass::Burstable)
            .map(|pod| oci::pod_resources(&pod, 0, &[]).cpu_shares)
            .fold(0, u64::saturating_add)
            .max(2)
    }

    /// CPU shares of all pods together, beside what else the node does (kubelet: those of the CPUs that are not reserved).
    fn pods_cpu_shares(&self) -> u64 {
        let all = u64::from(self.node_facts.cpus).saturating_mul(1000);
        (all.saturating_sub(self.config.reserved.cpu_milli).saturating_mul(1024) / 1000).clamp(2, 262_144)
    }

    pub(super) fn call_role<T: json::Serialize>(&mut self, role: &str, task: Task, body: &T) {
        let request = encode(body);
        self.start_helper(Job {
            task,
            command: Command::Role(role),
            request,
            output: None,
            passed: None,
            bound_ms: RUNTIME_BOUND_MS,
        });
    }

    fn launch(&mut self, seq: Seq) {
        if let Err(failure) = self.try_launch(seq) {
            self.start_failed(seq, "CreateContainerError", failure);
        }
    }

    fn try_launch(&mut self, seq: Seq) -> Result<(), String> {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return Ok(()) };
        let directory = self.config.layout.container(&record.id);
        let pod = self.node.pod_as_seen(&record.container.pod).ok_or("its pod is not known")?;
        let image = container_of(&pod, &record.container.name).map(|c| c.image.clone()).unwrap_or_default();
        instance::lay_out(&directory, &record).map_err(|e| e.to_string())?;
        let outputs = self.open_streams(seq).map_err(|e| format!("its output cannot be taken: {e}"))?;
        if let Some(record) = self.instances.get(&seq).map(|i| &i.record) {
            instance::save(&directory, record).map_err(|e| e.to_string())?;
        }
        let (config_maps, secrets) = self.manifests.objects_for(&record.namespace);
        let request = LaunchRequest {
            version: VERSION,
            layout: self.config.layout.clone(),
            id: record.id.clone(),
            container: record.container.name.to_string(),
            mode: if record.mode == StartMode::Run { Mode::Run } else { Mode::Create },
            root: RootSource::Stored(image),
            console_socket: record.tty.then(|| directory.join("console.sock")),
            pod: Rc::clone(&pod),
            config_maps,
            secrets,
            pod_ips: self.node.pod_ips(&record.container.pod),
            service_links: self.service_links(&record.container.pod, &pod),
            cgroup_root: self.config.cgroup_root.clone(),
            runtime: self.runtime.clone(),
            writable_layer: self.config.writable_layer,
            node: self.node_facts.clone(),
            seccomp_root: self.config.seccomp_profiles(),
            devices: self.devices_of(seq),
            time_runtime: self.chart.is_open(),
        };
        if record.mode == StartMode::Run {
            // It may end before it can be registered: then init keeps the zombie until it is.
            self.link.keep_unknown(true).map_err(|e| format!("init does not answer: {e}"))?;
            self.runs_in_flight = self.runs_in_flight.saturating_add(1);
        }
        let output = outputs.as_ref().map(|(stdout, stderr)| (stdout.as_fd(), stderr.as_fd()));
        let command = Command::Role("launch");
        let job = Job {
            task: Task::Launch(seq),
            command,
            request: encode(&request),
            output,
            passed: None,
            bound_ms: RUNTIME_BOUND_MS,
        };
        self.start_helper(job);
        Ok(())
    }

    /// Makes the log streams of an instance: init keeps them, the log writer reads them, the container gets its own ends.
    fn open_streams(&mut self, seq: Seq) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return Ok(None) };
        let directory = self.config.layout.container(&record.id);
        if record.tty {
            self.await_terminal(seq, &directory)?;
            return Ok(None);
        }
        let mut ends = Vec::new();
        for (stream, name) in [(1, "stdout"), (2, "stderr")] {
            let path = directory.join(name);
            let keeper = instance::open_fifo(&path, End::Keeper)?;
            let slot = self.link.hold(wire::hold_key(seq.0, stream), keeper.as_fd()).map_err(io::Error::other)?;
            self.set_slot(seq, stream, slot);
            ends.push(instance::open_fifo(&path, End::Container)?);
        }
        self.copy_streams(seq);
        let stderr = ends.pop();
        Ok(ends.pop().zip(stderr))
    }

    pub(super) fn set_slot(&mut self, seq: Seq, stream: u8, slot: usize) {
        if let Some(instance) = self.instances.get_mut(&seq)
            && let Some(place) = instance.record.slots.get_mut(usize::from(stream.max(1)).saturating_sub(1))
        {
            *place = u32::try_from(slot).ok();
        }
    }

    /// Tells the log writer of an instance's FIFOs.
    pub(super) fn copy_streams(&mut self, seq: Seq) {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        let directory = self.config.layout.container(&record.id);
        let kinds = [(1, "stdout", StreamKind::Stdout), (2, "stderr", StreamKind::Stderr)];
        for ((stream, name, kind), slot) in kinds.into_iter().zip(record.slots) {
            if let Some(slot) = slot {
                let open = self.log_stream(&record, stream, kind, slot);
                self.logs.open(open, Source::Fifo(directory.join(name)));
            }
        }
        self.renew_log_watch();
    }

    fn log_stream(&self, record: &Record, stream: u8, kind: StreamKind, slot: u32) -> Open {
        let layout = &self.config.layout;
        let (ns, pod, uid) = (&record.namespace, &record.pod_name, &record.container.pod);
        Open {
            stream_id: wire::hold_key(record.seq.0, stream),
            slot,
            path: layout.container_log(ns, pod, uid, &record.container.name, record.attempt),
            stream: kind,
            tty: record.tty,
            max_size: self.config.logs.max_size,
            max_files: self.config.logs.max_files,
        }
    }

    /// The runtime hands a terminal's master over at a socket in the bundle.
    fn await_terminal(&mut self, seq: Seq, directory: &std::path::Path) -> io::Result<()> {
        let path = directory.join("console.sock");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        self.watch(listener.as_fd(), Token::Terminal(seq), EventFlags::IN);
        self.terminals.insert(seq, Terminal::Awaited(listener));
        Ok(())
    }

    /// The runtime connects, and then sends the master (runc: docs/terminals.md): init keeps it, the log writer reads it.
    pub(super) fn terminal_offered(&mut self, seq: Seq) {
        match self.terminals.remove(&seq) {
            Some(Terminal::Awaited(listener)) => match listener.accept() {
                Ok((stream, _)) => {
                    let _ = self.epoll.remove(&listener);
                    self.watch(stream.as_fd(), Token::Terminal(seq), EventFlags::IN);
                    self.terminals.insert(seq, Terminal::Offered(stream));
                }
                Err(_) => drop(self.terminals.insert(seq, Terminal::Awaited(listener))),
            },
            Some(Terminal::Offered(stream)) => {
                let _ = self.epoll.remove(&stream);
                let mut name = [0; 4096];
                match socket::receive(&stream, &mut name).map(|received| received.descriptor) {
                    Ok(Some(master)) => self.copy_terminal(seq, master),
                    Ok(None) => log::error!("container instance {}: the runtime offers no terminal", seq.0),
                    Err(error) => log::error!("container instance {}: its terminal does not come: {error}", seq.0),
                }
            }
            None => {}
        }
    }

    fn copy_terminal(&mut self, seq: Seq, master: OwnedFd) {
        // Init takes no terminal that could make a reader wait.
        if let Err(error) = rustix::io::ioctl_fionbio(&master, true) {
            log::error!("container instance {}: its terminal cannot be read without waiting: {error}", seq.0);
        }
        match self.link.hold(wire::hold_key(seq.0, 0), master.as_fd()) {
            Ok(slot) => {
                self.set_slot(seq, 0, slot);
                self.read_terminal(seq, master);
                if let Some(record) = self.instances.get(&seq).map(|i| &i.record)
                    && let Err(error) = instance::save(&self.config.layout.container(&record.id), record)
                {
                    log::error!("{error}");
                }
            }
            Err(error) => log::error!("container instance {}: init does not keep its terminal: {error}", seq.0),
        }
    }

    /// Tells the log writer of an instance's terminal.
    pub(super) fn read_terminal(&mut self, seq: Seq, master: OwnedFd) {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        if let [Some(slot), _] = record.slots {
            let open = self.log_stream(&record, 0, StreamKind::Stdout, slot);
            self.logs.open(open, Source::Terminal(master));
            self.renew_log_watch();
        }
    }

    fn start_created(&mut self, seq: Seq) {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        let log = self.config.layout.container(&record.id).join("runtime.log");
        let command = self.runtime.start(&self.config.layout.runtime_root(), &log, &record.id);
        let path = self.runtime.path.display().to_string();
        let args =
            std::iter::once(path.clone()).chain(command.get_args().map(|a| a.to_string_lossy().into_owned())).collect();
        let command = Command::Program(&path, args);
        let job = Job {
            task: Task::StartCreated(seq),
            command,
            request: Vec::new(),
            output: None,
            passed: None,
            bound_ms: RUNTIME_BOUND_MS,
        };
        self.start_helper(job);
    }

    fn clean_up(&mut self, seq: Seq) {
        log::debug!("instance {} is being removed", seq.0);
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        let request = CleanupRequest {
            version: VERSION,
            id: record.id,
            uid: record.container.pod.to_string(),
            layout: self.config.layout.clone(),
            runtime: self.runtime.clone(),
            cgroup: record.cgroup,
            cgroups: self.known_cgroups(),
        };
        self.call_role("cleanup", Task::CleanUp(seq), &request);
    }

    /// Its first process has not come to run, or not to be known. What may be left of it is ended, and then the core told, so
    /// that the next start need not wait for its log to be stored, or for its removal.
    pub(super) fn start_failed(&mut self, seq: Seq, reason: &str, message: String) {
        let failure = Failure { reason: reason.to_owned(), message };
        let now = self.now().boot;
        if let Some(instance) = self.instances.get_mut(&seq) {
            instance.phase = Phase::Ended;
            instance.look_again = Some((now, FIRST_LOOK_MS));
            self.close_streams(seq);
        }
        self.inbox.push_back(Event::StartFailed { seq, failure });
    }
}

/// A container of a pod by its name; init and app containers share one name space.
pub(super) fn container_of<'a>(pod: &'a v1::Pod, name: &str) -> Option<&'a v1::Container> {
    pod.spec.init_containers.iter().chain(&pod.spec.containers).find(|c| c.name == name)
}

/// A request as the helper reads it. It cannot fail for our types; an empty request is refused by the helper.
fn encode<T: json::Serialize>(body: &T) -> Vec<u8> {
    json::to_vec(body).inspect_err(|error| log::error!("cannot encode a request: {error}")).unwrap_or_default()
}

pub(super) fn memory_allows() -> bool {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    available.is_none_or(|kib| kib.saturating_mul(1024) > MEMORY_A_CALL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_container_whose_pod_is_prepared_waits_for_no_other_pods_sandbox() {
        let mut starts = Starts::new(1);
        let [a, b] = ["a", "b"].map(|uid| Task::Prepare(Uid::from(uid)));
        let later = [Task::Launch(Seq(1)), Task::Teardown(Uid::from("c"))];
        starts.first.extend([a.clone(), b.clone()]);
        starts.queue_clean_up(Seq(9));
        assert_eq!(starts.next(|_| true), Some(a));
        starts.first.extend(later.clone());
        let order: Vec<Task> = std::iter::from_fn(|| starts.next(|_| true)).collect();
        assert_eq!(order, [later[0].clone(), later[1].clone(), b, Task::CleanUp(Seq(9))]);
    }

    #[test]
    fn what_may_not_begin_is_passed_over_and_stays() {
        let mut starts = Starts::new(2);
        let [slow, other] = ["a", "b"].map(|uid| Task::Prepare(Uid::from(uid)));
        starts.first.extend([slow.clone(), other.clone()]);
        starts.queue_clean_up(Seq(9));
        let allowed = |task: &Task| *task != slow;
        let order: Vec<Task> = std::iter::from_fn(|| starts.next(allowed)).collect();
        assert_eq!(order, [other, Task::CleanUp(Seq(9))]);
        assert_eq!(starts.next(|_| true), Some(slow.clone()));
    }
}
