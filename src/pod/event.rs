//! What the core is told ([`Event`]) and what it asks for ([`Action`]): its whole contact with the world.

use std::rc::Rc;

use super::probe::{ProbeKind, ProbeOutcome};
use super::time::{Instant, Now, Wall};
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1;
use crate::sorted::BTreeMap;

/// A pod's UID: 32 hex digits.
pub type Uid = Rc<str>;

/// Number of one container instance: node-wide, never given twice within a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// One pod that should run.
#[derive(Debug, Clone)]
pub struct DesiredPod {
    /// The pod; its UID is `pod.metadata.uid`.
    pub pod: Rc<v1::Pod>,
    /// What the `gatepost.io/` annotations of the pod say.
    pub policy: PodPolicy,
    /// `Guaranteed`, `Burstable` or `BestEffort`, as the manifest's resources give it.
    pub qos_class: String,
    /// Why the newest version of its document is refused, if it is; the pod here is the last good one.
    pub manifest_error: Option<String>,
}

/// What the `gatepost.io/` annotations of a pod say, already read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPolicy {
    /// Backoff for all containers of the pod, before the node's.
    pub backoff: BackoffOverride,
    /// Backoff by container name, before the pod's.
    pub container_backoff: BTreeMap<String, BackoffOverride>,
    /// What must hold before the pod starts.
    pub start_after: Vec<Condition>,
    /// After this many milliseconds it starts nevertheless; 0 = it waits for ever.
    pub start_after_timeout_ms: u64,
}

/// Backoff values that replace those of the next wider scope where they are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffOverride {
    /// Milliseconds to wait after the second exit.
    pub initial_ms: Option<u64>,
    /// Longest wait in milliseconds.
    pub max_ms: Option<u64>,
}

/// Which container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerRef {
    /// The pod.
    pub pod: Uid,
    /// The container's name; init and app containers share one name space.
    pub name: Rc<str>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0-255; 128 + n for signal n.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// Reason when the code alone does not say it: `ContainerStatusUnknown`, `StartError`.
    pub reason: Option<String>,
    /// Termination message, cut as Kubernetes cuts it.
    pub message: String,
    /// When it ended.
    pub at: Instant,
    /// When it ended, for people.
    pub at_wall: Wall,
}

/// A failure that stands in a status: reason and message in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For example `CreateContainerConfigError`.
    pub reason: String,
    /// What, why, and what to do.
    pub message: String,
}

/// What an adopting supervisor found of a container instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its process lives.
    Running {
        /// Process id.
        pid: u32,
    },
    /// Created by the runtime, its own program not started.
    Created {
        /// Process id.
        pid: u32,
    },
    /// It ended, and how is known.
    Exited(Exit),
    /// Nothing of it is there: it never started, or its record is lost.
    Gone,
}

/// A device of the node that a container may be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where it is on the host: for people.
    pub path: String,
    /// A block device, else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A start condition (`gatepost.io/start-after`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// The wall clock is plausible.
    Clock,
    /// There is a default route.
    Route,
    /// The path exists.
    Path(String),
    /// The named pod (name as written, in the same namespace unless `ns/name`) is Ready. Judged by the core itself.
    Pod(String),
}

/// What the core is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The complete new set of desired pods.
    Desired(Vec<DesiredPod>),
    /// A deadline has come (also fine when none has).
    Tick,
    /// The pod's namespaces, cgroup and volumes stand.
    SandboxReady {
        /// The pod.
        pod: Uid,
        /// Its addresses, the first is the primary one.
        ips: Vec<String>,
    },
    /// They could not be made; the core tries again.
    SandboxFailed {
        /// The pod.
        pod: Uid,
        /// Why.
        failure: Failure,
    },
    /// Namespaces, cgroup and volumes are gone.
    SandboxGone {
        /// The pod.
        pod: Uid,
    },
    /// They could not be removed, or not wholly; the core asks again.
    TeardownFailed {
        /// The pod.
        pod: Uid,
        /// Why.
        failure: Failure,
    },
    /// The image is there and unpacked.
    ImageReady {
        /// For whom.
        container: ContainerRef,
        /// Manifest digest, `sha256:…`.
        image_id: String,
        /// The image's own stop signal, if it names one.
        stop_signal: Option<i32>,
        /// It was pulled for it, and that was told.
        pulled: bool,
    },
    /// The image cannot be had; the core tries again with pull backoff, and at once after [`Event::ImagesChanged`].
    ImageFailed {
        /// For whom.
        container: ContainerRef,
        /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`, `ImageInspectError`, `SignatureValidationFailed`.
        failure: Failure,
    },
    /// Images were imported or removed.
    ImagesChanged,
    /// `Create` succeeded: the runtime holds the container before its program.
    Created {
        /// Instance.
        seq: Seq,
        /// Process id.
        pid: u32,
    },
    /// The durable mark of a `Never` container is on disk.
    Marked {
        /// Instance.
        seq: Seq,
    },
    /// The durable mark could not be written; the core asks again, the program stays unstarted.
    MarkFailed {
        /// Instance.
        seq: Seq,
        /// Why.
        failure: Failure,
    },
    /// The container's program runs.
    Started {
        /// Instance.
        seq: Seq,
        /// Process id.
        pid: u32,
    },
    /// It could not be created or started; nothing of it runs.
    StartFailed {
        /// Instance.
        seq: Seq,
        /// `CreateContainerConfigError`, `CreateContainerError`, `RunContainerError`.
        failure: Failure,
    },
    /// The container has ended: its process is gone, its cgroup empty, its log drained.
    Exited {
        /// Instance.
        seq: Seq,
        /// How.
        exit: Exit,
    },
    /// Nothing runs, or can run, of an instance that could not be started; its traces may still be there.
    Emptied {
        /// Instance.
        seq: Seq,
    },
    /// Nothing of the instance is left on the machine.
    Removed {
        /// Instance.
        seq: Seq,
    },
    /// Something of it is left; the core asks again.
    RemoveFailed {
        /// Instance.
        seq: Seq,
        /// Why.
        failure: Failure,
    },
    /// Answer to [`Action::Probe`].
    Probed {
        /// The pod.
        pod: Uid,
        /// Instance.
        seq: Seq,
        /// Which probe.
        kind: ProbeKind,
        /// How the attempt ended.
        outcome: ProbeOutcome,
    },
    /// Answer to [`Action::Hook`].
    HookEnded {
        /// Instance.
        seq: Seq,
        /// Which hook.
        kind: HookKind,
        /// It succeeded. Why it did not is for the log only, since it may hold what is secret.
        ok: bool,
    },
    /// A start condition's state has changed.
    Condition {
        /// Which.
        condition: Condition,
        /// Whether it holds.
        met: bool,
    },
    /// The devices that containers may ask for and that are there, by name: all of them.
    Devices(BTreeMap<String, Device>),
    /// A person asks to restart a pod's containers (or one); clears backoff.
    Restart {
        /// The pod.
        pod: Uid,
        /// One container, else all.
        container: Option<Rc<str>>,
    },
    /// A person deletes a pod: stopped, discarded, made anew from its manifest.
    Delete {
        /// The pod.
        pod: Uid,
        /// Grace in seconds instead of the pod's own.
        grace: Option<i64>,
    },
    /// A pod takes more of the node than it may.
    Evict {
        /// The pod.
        pod: Uid,
        /// What it takes too much of, in Kubernetes' words.
        message: String,
    },
    /// The node has other addresses, the first is the primary one.
    HostIps(Vec<String>),
    /// Stop all pods for good, lowest priority first (`--stop-pods`, node shutdown).
    StopAll,
}

/// Whether the runtime may start the program in the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartMode {
    /// `run --detach`.
    Run,
    /// `create`; [`Action::StartCreated`] follows after the durable mark.
    Create,
}

/// Which hook of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookKind {
    /// Right after its start.
    PostStart,
    /// Before its stop signal.
    PreStop,
}

/// What the core asks for. The executor does each in order for one pod, and answers with an [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make namespaces, cgroup, volumes. Answer: `SandboxReady` or `SandboxFailed`.
    PrepareSandbox {
        /// The pod.
        pod: Uid,
    },
    /// Remove them. Answer: `SandboxGone` or `TeardownFailed`.
    TeardownSandbox {
        /// The pod.
        pod: Uid,
        /// Also the volumes that live as long as the pod, on disk too.
        discard_volumes: bool,
    },
    /// Find the image. Answer: `ImageReady` or `ImageFailed`.
    EnsureImage {
        /// For whom.
        container: ContainerRef,
    },
    /// Create, or create and start, an instance. Answer: `Created`, `Started` or `StartFailed`; then `Exited` some day.
    Start {
        /// Instance.
        seq: Seq,
        /// Which container.
        container: ContainerRef,
        /// Its restart count: number of the log file.
        attempt: u32,
        /// One call or two.
        mode: StartMode,
    },
    /// Write the durable mark "this container has had its run": it is in `Node::durable_snapshot` already, so this asks to
    /// have that on disk. Answer: `Marked` or `MarkFailed`.
    Mark {
        /// Instance.
        seq: Seq,
        /// Which container.
        container: ContainerRef,
    },
    /// Start a created instance. Answer: `Started` or `StartFailed`.
    StartCreated {
        /// Instance.
        seq: Seq,
    },
    /// Make one attempt of a probe. Answer: `Probed`, at most `timeout_ms` and a moment later.
    Probe {
        /// Instance.
        seq: Seq,
        /// Which container.
        container: ContainerRef,
        /// Which of its probes.
        kind: ProbeKind,
        /// Milliseconds after which it has failed.
        timeout_ms: u64,
    },
    /// Carry a hook out. Answer: `HookEnded`.
    Hook {
        /// Instance.
        seq: Seq,
        /// Which container.
        container: ContainerRef,
        /// Which of its hooks.
        kind: HookKind,
        /// Milliseconds it may take; `None`: as long as it likes.
        bound_ms: Option<u64>,
    },
    /// Send a signal to the instance's first process.
    Signal {
        /// Instance.
        seq: Seq,
        /// Signal number.
        signal: i32,
    },
    /// SIGKILL everything in the instance's cgroup.
    Kill {
        /// Instance.
        seq: Seq,
    },
    /// Remove what is left of an ended instance, or of one that could not be started. Answer: `Removed` or `RemoveFailed`.
    Remove {
        /// Instance.
        seq: Seq,
    },
    /// Record an event for people.
    Record(Recorded),
}

/// An event for people (`get events`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The pod.
    pub pod: Uid,
    /// Its namespace; empty when it is about the node itself.
    pub namespace: String,
    /// Its full name.
    pub name: String,
    /// For example `spec.containers{app}`; empty for the pod itself.
    pub field_path: String,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// For example `BackOff`.
    pub reason: String,
    /// Text.
    pub message: String,
}

impl Exit {
    /// An end that nobody saw. kubelet: code 137, reason `ContainerStatusUnknown`.
    pub(crate) fn unknown(now: Now) -> Self {
        Self {
            code: 137,
            oom_killed: false,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: "The container could not be located when the supervisor looked for it".to_owned(),
            at: now.boot,
            at_wall: now.wall,
        }
    }
}
