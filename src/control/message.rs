//! [`Request`] and [`Reply`]: what goes over the control socket.

use crate::sorted::BTreeMap;
use std::path::PathBuf;

use crate::json::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the protocol. Both ends are the same binary but for the moment of an update.
pub const VERSION: u32 = 1;

/// One request: one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// What is asked for.
    #[serde(flatten)]
    pub call: Call,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "camelCase")]
pub enum Call {
    /// All pods. Answer: [`Reply::Pods`].
    Pods,
    /// All Services. Answer: [`Reply::Services`].
    Services,
    /// All manifests, and how this node reads them. Answer: [`Reply::Manifests`].
    Manifests,
    /// All recorded events. Answer: [`Reply::Events`].
    Events,
    /// All pods now and after each change, until the connection ends. Answers: [`Reply::Pods`], again and again.
    Watch,
    /// Each event from now on when it is recorded, until the connection ends. Answers: [`Reply::Events`], again and again, the
    /// first one empty.
    WatchEvents,
    /// Restart a pod's containers and clear their backoff. Answer: [`Reply::Done`].
    Restart {
        /// Namespace of the pod.
        namespace: String,
        /// Full name of the pod.
        name: String,
        /// Only this container.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<String>,
    },
    /// Stop a pod, discard what it holds, and make it anew from its manifest. Answer: [`Reply::Done`].
    Delete {
        /// Namespace of the pod.
        namespace: String,
        /// Full name of the pod.
        name: String,
        /// Seconds of grace instead of the pod's own; at least 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<i64>,
    },
    /// Images were imported or removed: pods that wait for one try again at once. Answer: [`Reply::Done`].
    ImagesChanged,
    /// Pull an image although it is here: blobs of it are damaged. Answer: [`Reply::Done`].
    PullAgain {
        /// Its name.
        image: String,
    },
    /// Read the manifests again now. Answer: [`Reply::Done`].
    Reload,
    /// Who is there. Answer: [`Reply::Info`].
    Info,
}

/// One reply: one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "camelCase")]
pub enum Reply {
    /// All pods.
    Pods {
        /// Complete v1 Pod objects.
        items: Vec<Value>,
        /// What people should know besides, one line each: for example refused manifests with file and line.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// All recorded events.
    Events {
        /// Complete v1 Event objects.
        items: Vec<Value>,
    },
    /// All Services.
    Services {
        /// v1 Service objects; `clusterIP` is the address that the name leads to now.
        items: Vec<Value>,
    },
    /// All manifests.
    Manifests {
        /// Each object of each file.
        items: Vec<Manifest>,
        /// How they are read.
        #[serde(flatten)]
        reading: Reading,
    },
    /// The request was taken.
    Done {
        /// For people; may be empty.
        message: String,
    },
    /// The request was refused.
    Error {
        /// What is wrong.
        message: String,
        /// What to do about it; may be empty.
        #[serde(default)]
        remedy: String,
    },
    /// Who is there.
    Info(Box<Info>),
}

/// An object of a manifest, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Kind; empty where the file as a whole is meant.
    pub kind: String,
    /// Namespace; empty for objects that are in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name; a pod's is its full one.
    pub name: String,
    /// The file that it is in.
    pub file: PathBuf,
    /// What became of it.
    pub state: ManifestState,
    /// Why; empty when it is in effect as it is written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What became of a manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestState {
    /// It is in effect.
    #[default]
    InEffect,
    /// An object of the same kind, namespace and name in a later file counts.
    Replaced,
    /// What is written is refused; its last good version is in effect.
    LastGood,
    /// What is written is refused.
    Refused,
}

/// How this node reads manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// The directories in order.
    pub directories: Vec<PathBuf>,
    /// Name of this node.
    pub node: String,
    /// The Pod Security Standard that pods must meet.
    pub pod_security: String,
    /// Extended resources that are devices of this node.
    pub devices: Vec<String>,
    /// The domain of full host names; empty for none.
    pub cluster_domain: String,
    /// Where `gatepost-fetch` should be.
    pub fetch_binary: PathBuf,
    /// Public keys of which one must have signed them; empty: none need be signed.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
}

/// The running supervisor, and where its things lie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Info {
    /// Version of the running binary. (In a reply line, `version` is the protocol's.)
    #[serde(rename = "binaryVersion")]
    pub version: String,
    /// Name of this node.
    pub node: String,
    /// The OCI runtime: a name to look up in `PATH`, or an absolute path.
    pub runtime: String,
    /// The runtime's `--root`.
    pub runtime_root: PathBuf,
    /// Root of the volatile state.
    pub run: PathBuf,
    /// Root of the durable state.
    pub data: PathBuf,
    /// Root of the container logs.
    pub logs: PathBuf,
    /// Directories with images that came with the node.
    pub preload: Vec<PathBuf>,
    /// The program that reads manifests and images.
    pub worker: PathBuf,
    /// RFC 3339; when this supervisor started.
    pub started_at: String,
    /// Process id of the supervisor.
    pub pid: u32,
    /// Process id of the init role.
    pub init_pid: u32,
    /// The runtime's own words about itself.
    pub runtime_version: String,
    /// The cgroup that holds all pods.
    pub cgroup_root: String,
    /// Memory that all pods together may use, in bytes; 0 for no limit.
    pub pods_memory: u64,
    /// Thousandths of a CPU that pods leave to the rest of the node.
    pub reserved_cpu: u64,
    /// Whether a feature of the runtime and the kernel works, by name; empty until that is found.
    pub features: BTreeMap<String, bool>,
    /// The devices of the setting `devices` by name, and whether each is there.
    #[serde(default)]
    pub devices: BTreeMap<String, bool>,
    /// Layers are kept unpacked only.
    #[serde(default)]
    pub discard_layers: bool,
}

/// What can be read of a request of any version.
#[derive(Deserialize)]
pub(super) struct AnyVersion {
    /// The sender's version.
    pub(super) version: u32,
}

/// A reply with the version of its sender.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<R> {
    /// [`VERSION`] of the sender.
    pub(super) version: u32,
    /// The reply.
    #[serde(flatten)]
    pub(super) reply: R,
}
