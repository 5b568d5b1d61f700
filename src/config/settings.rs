//! [`Config`]: every setting of the node with its default.

use std::path::PathBuf;
use std::time::Duration;

use super::{Device, Gateway, Layout};
use crate::json::{Deserialize, Serialize};
use crate::policy::Level;

/// The node's settings, complete: what the file leaves out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Name of this node; suffix of every pod's name. Default: the host name at first start, then kept.
    pub node_name: String,
    /// Manifest directories in order; a later one replaces an object of the same kind, namespace and name.
    pub static_pod_path: Vec<PathBuf>,
    /// Directories whose image archives are imported at start.
    pub image_preload_path: Vec<PathBuf>,
    /// The OCI runtime: a name looked up in `PATH`, or an absolute path.
    pub runtime: String,
    /// Where state, images, logs and sockets lie.
    pub layout: Layout,
    /// Crash-loop backoff of the node.
    pub backoff: Backoff,
    /// Bounds of the container logs.
    pub logs: LogLimits,
    /// Where a container's writable layer lives.
    pub writable_layer: WritableLayer,
    /// `pids.max` of each pod; 0 means no limit.
    pub pod_pids_limit: u64,
    /// Memory that all pods together may use, in bytes; 0 means no limit, `None` what [`Reserved`] leaves.
    #[serde(default)]
    pub pods_memory_limit: Option<u64>,
    /// What the pods leave to the rest of the node.
    #[serde(default)]
    pub reserved: Reserved,
    /// Kernel parameters beyond the safe ones that pods may set; a `*` at the end stands for any rest.
    #[serde(default)]
    pub allowed_unsafe_sysctls: Vec<String>,
    /// An OOM kill takes the one process, not its container.
    #[serde(default)]
    pub single_process_oom_kill: bool,
    /// Where `localhostProfile` of seccomp is looked for; empty: `seccomp` in the data directory.
    #[serde(default)]
    pub seccomp_profile_root: PathBuf,
    /// The second binary; empty: `gatepost-fetch` beside this one.
    #[serde(default)]
    pub fetch_binary: PathBuf,
    /// Processes that all pods together may have; 0 means no limit.
    pub pods_pids_limit: u64,
    /// The Pod Security Standard that pods must meet.
    #[serde(default)]
    pub pod_security: Level,
    /// Devices that pods may ask for by name.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// The resolver file handed to pods with `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// Where CNI configurations lie.
    #[serde(default)]
    pub cni_conf_dir: PathBuf,
    /// Where CNI plugins lie, in the order in which they are looked for.
    #[serde(default)]
    pub cni_bin_dir: Vec<PathBuf>,
    /// The subnet of the node's bridge, where there is no CNI configuration; empty for none.
    #[serde(default)]
    pub pod_subnet: String,
    /// The cgroup that holds all pods.
    pub cgroup_root: String,
    /// How many runtime calls may run at a time; 0 means one more than there are cores.
    pub max_parallel_starts: usize,
    /// The shell of the serial console.
    #[serde(default)]
    pub console: Console,
    /// What counts only where gatepost is PID 1.
    pub gateway: Gateway,
    /// When the file was last changed, in seconds since the epoch; 0 when there is none. A clock before that is wrong.
    #[serde(default)]
    pub modified: u64,
    /// Defaults stand in for something that is not known: the file or a key could not be used, or nothing was read.
    #[serde(default)]
    pub stands_in: bool,
}

/// What the pods leave to the rest of the node. kubelet: `systemReserved` and `kubeReserved` together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Bytes; 0 for nothing said.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
}

/// The shell of the serial console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Who gets one.
    pub shell: ConsoleShell,
    /// It ends when nothing was typed for so long; zero: never.
    pub timeout: Duration,
}

/// Who gets a shell at the serial console.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConsoleShell {
    /// Nobody.
    #[default]
    None,
    /// Who knows the password with this hash, `$5$…` or `$6$…` as crypt(3) writes it.
    Password(String),
    /// Who sits at it.
    Open,
}

impl Default for Console {
    fn default() -> Self {
        Self { shell: ConsoleShell::None, timeout: Duration::from_mins(10) }
    }
}

/// Crash-loop backoff. kubelet: 10 s, doubled, at most 300 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Wait after the second exit.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
}

/// Bounds of the container logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A log file is rotated when it reaches this size in bytes.
    pub max_size: u64,
    /// Files kept per container, the live one included; at least 2.
    pub max_files: u32,
    /// Bound in bytes for all container logs together; the largest logger loses its oldest file first.
    pub total: u64,
}

/// Where a container's writable layer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WritableLayer {
    /// On the data directory.
    Data,
    /// On a tmpfs of at most this many bytes per container.
    Memory(u64),
}

/// Where `gatepost-fetch` lies on a gateway, whose gatepost runs from memory.
const FETCH_PROGRAM: &str = "/usr/bin/gatepost-fetch";

impl Config {
    /// Where the second binary should be.
    pub fn fetch_program(&self) -> PathBuf {
        if !self.fetch_binary.as_os_str().is_empty() {
            return self.fetch_binary.clone();
        }
        let own = std::env::current_exe().ok().filter(|own| !own.starts_with("/memfd:"));
        // Replaced by a newer one, its path has words behind it: only the directory counts.
        own.map_or_else(|| PathBuf::from(FETCH_PROGRAM), |own| own.with_file_name("gatepost-fetch"))
    }

    /// Where `localhostProfile` of seccomp is looked for.
    pub fn seccomp_profiles(&self) -> PathBuf {
        let root = &self.seccomp_profile_root;
        if root.as_os_str().is_empty() { self.layout.data.join("seccomp") } else { root.clone() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            static_pod_path: vec![PathBuf::from("/etc/kubernetes/manifests")],
            image_preload_path: Vec::new(),
            pod_security: Level::Privileged,
            runtime: "runc".to_owned(),
            layout: Layout::default(),
            backoff: Backoff { initial: Duration::from_secs(10), max: Duration::from_mins(5) },
            logs: LogLimits { max_size: 10 << 20, max_files: 5, total: 256 << 20 },
            writable_layer: WritableLayer::Data,
            pod_pids_limit: 512,
            pods_memory_limit: None,
            reserved: Reserved::default(),
            allowed_unsafe_sysctls: Vec::new(),
            single_process_oom_kill: false,
            seccomp_profile_root: PathBuf::new(),
            pods_pids_limit: 0,
            devices: Vec::new(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            cni_conf_dir: PathBuf::from("/etc/cni/net.d"),
            cni_bin_dir: ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from).to_vec(),
            pod_subnet: String::new(),
            fetch_binary: PathBuf::new(),
            cgroup_root: "kubepods".to_owned(),
            max_parallel_starts: 0,
            console: Console::default(),
            gateway: Gateway::default(),
            modified: 0,
            stands_in: false,
        }
    }
}
