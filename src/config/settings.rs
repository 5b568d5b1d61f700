//! [`Config`]: every setting of the node with its default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Device, Gateway, Layout};
use crate::json::{Deserialize, Serialize};
use crate::policy::{ImageRule, Level};
use crate::sorted::BTreeMap;

/// The node's settings, complete: what the file leaves out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Name of this node; suffix of every pod's name. Default: the host name at first start, then kept.
    pub node_name: String,
    /// Manifest directories in order; a later one replaces an object of the same kind, namespace and name.
    pub static_pod_path: Vec<PathBuf>,
    /// Public keys; if there are any, manifests count only when one of them has signed them.
    #[serde(default)]
    pub manifest_keys: Vec<PathBuf>,
    /// What was last good is not kept for a boot without the manifests.
    #[serde(default)]
    pub forgetful: bool,
    /// Where the key is that seals it: a file, or `keyring:` and a name; empty: it is kept in clear.
    #[serde(default)]
    pub state_key: String,
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
    /// Where images of a registry are asked for, by its host; `*` stands for all others.
    #[serde(default)]
    pub registries: BTreeMap<String, Registry>,
    /// What must vouch for images; the first rule that covers a name counts.
    #[serde(default)]
    pub image_policy: Vec<ImageRule>,
    /// So long a server may bring next to nothing until it is given up.
    #[serde(default)]
    pub pull_stall: Duration,
    /// Most bytes that pulls take in a second; 0: as many as come.
    #[serde(default)]
    pub pull_bandwidth: u64,
    /// With the pull policy `Always` the image that is here will not do when no registry can be reached.
    #[serde(default)]
    pub pull_strictly: bool,
    /// What is kept of images.
    #[serde(default)]
    pub image_upkeep: ImageUpkeep,
    /// The binary with TLS; empty: `gatepost-fetch` beside this one.
    #[serde(default)]
    pub fetch_binary: PathBuf,
    /// The binary that reads manifests and images; empty: this one if it can, else `gatepost-worker` beside it.
    #[serde(default)]
    pub worker_binary: PathBuf,
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
    /// The domain that full names of pods end in; empty for none.
    #[serde(default)]
    pub cluster_domain: String,
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

/// What is kept of images. The names of the settings are kubelet's, and containerd's for [`Self::discard_layers`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageUpkeep {
    /// From this use of their file system on, in percent, images that nobody wants are removed.
    pub high: u8,
    /// … until no more than this is used.
    pub low: u8,
    /// An image younger than this is not removed, in seconds.
    pub min_age: u64,
    /// Layers are kept unpacked only.
    pub discard_layers: bool,
}

impl Default for ImageUpkeep {
    fn default() -> Self {
        Self { high: 85, low: 80, min_age: 120, discard_layers: false }
    }
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
    /// Manifests may be pasted.
    #[serde(default)]
    pub apply: bool,
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
        Self { shell: ConsoleShell::None, timeout: Duration::from_mins(10), apply: false }
    }
}

/// Where images of one registry are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Before the registry itself, in order.
    pub mirrors: Vec<Endpoint>,
    /// The registry itself is not asked.
    pub mirrors_only: bool,
    /// It is asked without TLS.
    pub plain_http: bool,
    /// As [`Endpoint`] has them.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca: PathBuf,
    /// A docker `config.json` with credentials.
    pub auth: PathBuf,
}

/// One place that may have images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// `http://…` or `https://…`.
    pub url: String,
    /// Its certificate is not looked at.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca: PathBuf,
    /// A docker `config.json` with credentials.
    pub auth: PathBuf,
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

/// What to do about a `gatepost-worker` that cannot be started.
pub const WORKER_REMEDY: &str = "it comes with gatepost, and reads manifests and images; put it there, or name its place with the \
                                 setting workerBinary";

/// This binary, wherever it lies.
pub const OWN_BINARY: &str = "/proc/self/exe";

impl Config {
    /// Where `gatepost-fetch` should be.
    pub fn fetch_program(&self) -> PathBuf {
        named_or_beside(&self.fetch_binary, std::env::current_exe().ok(), "gatepost-fetch")
    }

    /// Where `gatepost-worker` should be, or [`OWN_BINARY`], if that does the same and nothing else is set.
    pub fn worker_program(&self) -> PathBuf {
        if cfg!(feature = "complete") && self.worker_binary.as_os_str().is_empty() {
            return PathBuf::from(OWN_BINARY);
        }
        named_or_beside(&self.worker_binary, std::env::current_exe().ok(), "gatepost-worker")
    }

    /// Where `localhostProfile` of seccomp is looked for.
    pub fn seccomp_profiles(&self) -> PathBuf {
        let root = &self.seccomp_profile_root;
        if root.as_os_str().is_empty() { self.layout.data.join("seccomp") } else { root.clone() }
    }
}

/// A program of gatepost's: where the setting says, else beside `own`, this one; on a gateway, whose gatepost runs from memory, in
/// `/usr/bin`.
fn named_or_beside(named: &Path, own: Option<PathBuf>, name: &str) -> PathBuf {
    if !named.as_os_str().is_empty() {
        return named.to_owned();
    }
    let own = own.filter(|own| !own.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
    // Replaced by a newer one, its path has words behind it: only the directory counts.
    own.unwrap_or_else(|| PathBuf::from("/usr/bin/gatepost")).with_file_name(name)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            static_pod_path: vec![PathBuf::from("/etc/kubernetes/manifests")],
            manifest_keys: Vec::new(),
            forgetful: false,
            state_key: String::new(),
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
            cluster_domain: String::new(),
            registries: BTreeMap::default(),
            image_policy: Vec::new(),
            pull_stall: Duration::from_mins(1),
            pull_bandwidth: 0,
            pull_strictly: false,
            image_upkeep: ImageUpkeep::default(),
            cni_conf_dir: PathBuf::from("/etc/cni/net.d"),
            cni_bin_dir: ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from).to_vec(),
            pod_subnet: String::new(),
            fetch_binary: PathBuf::new(),
            worker_binary: PathBuf::new(),
            cgroup_root: "kubepods".to_owned(),
            max_parallel_starts: 0,
            console: Console::default(),
            gateway: Gateway::default(),
            modified: 0,
            stands_in: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_binaries_lie_beside_this_one_and_in_usr_bin_when_it_is_in_memory() {
        let named = Path::new("/opt/w");
        let found = |named: &Path, own: &str| named_or_beside(named, Some(own.into()), "gatepost-worker");
        assert_eq!(found(named, "/memfd:gatepost (deleted)"), named);
        let nowhere = Path::new("");
        assert_eq!(found(nowhere, "/memfd:gatepost (deleted)"), Path::new("/usr/bin/gatepost-worker"));
        assert_eq!(found(nowhere, "/opt/gatepost (deleted)"), Path::new("/opt/gatepost-worker"));
        assert_eq!(named_or_beside(nowhere, None, "gatepost-worker"), Path::new("/usr/bin/gatepost-worker"));
    }
}
