//! From a Pod and an image to an OCI runtime bundle: [`bundle`].
//!
//! Pure: no system call, no file is read. Whatever has to be looked up comes in with [`BundleInput`]; what the sandbox needs
//! beside the containers' bundles is computed here too (generated files, sysctls, the pod's cgroup).
//!
//! `crate::spec::runtime::Spec` and `Process` are written, never read, outside tests: their `Deserialize` checks CPU lists with
//! the crate `regex`, which makes the release binary 1.6 MB larger. A `LinuxSeccomp` may be read.

mod capabilities;
mod env_file;
mod environment;
mod expansion;
mod field_ref;
mod hosts;
mod mounts;
mod resolv_conf;
mod resources;
mod seccomp;
mod security_modules;
mod sub_path;
mod sysctls;
mod user;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::json::{Deserialize, Serialize};
use crate::manifest::{qos_class, v1};
use crate::sorted::BTreeMap;
use crate::spec::image::{Config as ImageConfig, ImageConfiguration};
use crate::spec::runtime::{
    Linux, LinuxCapabilities, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root, Spec,
};

pub use field_ref::downward_item;
pub use hosts::{etc_hostname, etc_hosts, hostname};
pub use resolv_conf::resolv_conf;
pub use resources::{PodResources, cgroup_parent, pod_resources};
pub use sub_path::sub_paths;
pub use sysctls::{SysctlForbidden, sandbox_sysctls};

/// The specification that every runtime in use reads (runc 1.1, crun 1.8).
const OCI_VERSION: &str = "1.0.2";

/// Hidden from containers that are not privileged (containerd).
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Read-only in containers that are not privileged (containerd).
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// All that a bundle is made of.
#[derive(Debug, Clone)]
pub struct BundleInput<'a> {
    /// The pod, defaulted.
    pub pod: &'a v1::Pod,
    /// Which of its init or app containers.
    pub container_name: &'a str,
    /// Id of this instance; the last part of its cgroup's path.
    pub container_id: &'a str,
    /// The root file system: absolute, or relative to the bundle.
    pub rootfs: &'a Path,
    /// Configuration of the image.
    pub image: &'a ImageConfiguration,
    /// Text of the image's `/etc/passwd`, if it has one.
    pub image_passwd: Option<&'a str>,
    /// Text of the image's `/etc/group`, if it has one.
    pub image_group: Option<&'a str>,
    /// ConfigMaps of the pod's namespace by name.
    pub config_maps: &'a BTreeMap<String, Rc<v1::ConfigMap>>,
    /// Secrets of the pod's namespace by name.
    pub secrets: &'a BTreeMap<String, Rc<v1::Secret>>,
    /// The pod's namespaces.
    pub namespaces: &'a PodNamespaces,
    /// The pod's addresses, the first is the primary one; not used with `hostNetwork`.
    pub pod_ips: &'a [String],
    /// Variables of the Services of the pod's namespace; used unless `enableServiceLinks` is false.
    pub service_links: &'a [(String, String)],
    /// Volumes of the pod by name, ready on the host.
    pub volumes: &'a BTreeMap<String, HostVolume>,
    /// What to mount instead of the volume itself, by place in `volumeMounts`.
    pub sources: &'a BTreeMap<usize, PathBuf>,
    /// Files that `fileKeyRef` names, by volume and path; a missing one is not here.
    pub env_files: &'a BTreeMap<(String, String), String>,
    /// Generated files.
    pub files: &'a GeneratedFiles,
    /// The node's devices; used by privileged containers only.
    pub host_devices: &'a [HostDevice],
    /// The profile that `localhostProfile` names, or why it could not be read; used when the manifest names one.
    pub localhost_seccomp: Option<&'a Result<LinuxSeccomp, String>>,
    /// Facts of the node.
    pub node: &'a NodeFacts,
}

/// Files that hold the pod's namespaces. `None`: the container makes one of its own, unless the pod uses the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodNamespaces {
    /// Network.
    pub net: Option<PathBuf>,
    /// System V IPC and message queues.
    pub ipc: Option<PathBuf>,
    /// Host name.
    pub uts: Option<PathBuf>,
    /// Processes, where the pod's containers share them.
    pub pid: Option<PathBuf>,
    /// Users, where the pod has its own; the others then belong to it.
    pub user: Option<UserNamespace>,
}

/// A user namespace that is made already, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    /// File that holds it.
    pub path: PathBuf,
    /// The host's id of root inside.
    pub first_id: u32,
    /// How many ids there are.
    pub ids: u32,
}

/// A volume on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVolume {
    /// Its path.
    pub path: PathBuf,
    /// Set when the path is a device.
    pub device: Option<Device>,
}

/// A device by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
}

/// Kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character.
    Char,
    /// Block.
    Block,
}

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Path below `/dev`.
    pub path: PathBuf,
    /// Its number.
    pub device: Device,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Host paths of generated files; a missing one is not mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneratedFiles {
    /// `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// The container's `terminationMessagePath`.
    pub termination_log: Option<PathBuf>,
    /// The pod's `/dev/shm`; without it the container gets a tmpfs of its own.
    pub shm: Option<PathBuf>,
}

/// Version of the cgroup hierarchy that the resource controllers are in (hybrid is v1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupVersion {
    /// One hierarchy a controller.
    V1,
    /// One for all.
    V2,
}

/// Facts of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Name of the node, `spec.nodeName`.
    pub node_name: String,
    /// The kernel's host name, which `hostNetwork` pods have.
    pub host_name: String,
    /// The node's addresses, the first is `status.hostIP`.
    pub host_ips: Vec<String>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Number of CPUs.
    pub cpus: u32,
    /// Size of the data file system in bytes.
    pub ephemeral_storage_bytes: u64,
    /// CAP_SYS_RESOURCE is held: `oom_score_adj` may go below the own value.
    pub may_lower_oom_score: bool,
    /// The own `oom_score_adj`.
    pub oom_score_adj: i32,
    /// The bounding set, as `CapBnd` of `/proc/self/status` has it.
    pub available_capabilities: u64,
    /// The kernel has seccomp filters.
    pub seccomp: bool,
    /// Where the resource controllers are.
    pub cgroups: CgroupVersion,
    /// Swap is accounted (`memory.swap.max`, `memory.memsw.limit_in_bytes`).
    pub swap_accounting: bool,
    /// Sizes of the kernel's huge pages in KiB.
    pub page_sizes: Vec<u64>,
    /// The cgroups can limit huge pages.
    pub limits_huge_pages: bool,
    /// A process that the kernel kills for memory takes no other of its container with it (kubelet's setting).
    pub single_process_oom_kill: bool,
    /// The profiles that are loaded where AppArmor is in force.
    pub app_armor: Option<Vec<String>>,
    /// SELinux is in force.
    pub se_linux: bool,
}

/// A runtime bundle's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What `config.json` says.
    pub spec: Spec,
    /// What was asked for and cannot be had here; for the log, events and `describe`.
    pub warnings: Vec<String>,
}

/// Why a bundle cannot be made: reason and message of the container's waiting state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Which of the two reasons.
    pub reason: Reason,
    /// What and why, in Kubernetes' words.
    pub message: String,
}

/// Reason of a [`ConfigError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Configuration that the manifest names is missing or breaks a rule.
    CreateContainerConfigError,
    /// The container cannot be made from it.
    CreateContainerError,
}

impl Reason {
    /// As in a waiting state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
        }
    }
}

impl ConfigError {
    fn config(message: String) -> Self {
        Self { reason: Reason::CreateContainerConfigError, message }
    }

    fn create(message: String) -> Self {
        Self { reason: Reason::CreateContainerError, message }
    }
}

impl<'a> BundleInput<'a> {
    fn container(&self) -> Result<&'a v1::Container, ConfigError> {
        find_container(self.pod, self.container_name)
            .ok_or_else(|| ConfigError::config(format!("the pod has no container {}", self.container_name)))
    }

    fn image_config(&self) -> Option<&'a ImageConfig> {
        self.image.config().as_ref()
    }
}

/// The runtime configuration of one container.
pub fn bundle(input: &BundleInput) -> Result<Bundle, ConfigError> {
    let container = input.container()?;
    let context = container.security_context.as_ref();
    let mut warnings = Vec::new();

    let mut root = Root::default();
    root.set_path(input.rootfs.to_owned())
        .set_readonly(Some(context.and_then(|c| c.read_only_root_filesystem) == Some(true)));

    let process = process(input, container, &mut warnings)?;
    let linux = linux(input, container, &process, &mut warnings)?;
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts::mounts(input, &mut warnings)?))
        .set_hostname(own_hostname(input))
        .set_annotations(Some(annotations(input)))
        .set_process(Some(process))
        .set_linux(Some(linux));
    Ok(Bundle { spec, warnings })
}

fn find_container<'a>(pod: &'a v1::Pod, name: &str) -> Option<&'a v1::Container> {
    pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|container| container.name == name)
}

fn process(input: &BundleInput, container: &v1::Container, warnings: &mut Vec<String>) -> Result<Process, ConfigError> {
    let context = container.security_context.as_ref();
    let user = user::user(input)?;
    let environment = environment::of_manifest(input)?;
    let args = command_line(input, container, &environment)?;
    let cwd = [Some(&container.working_dir), input.image_config().and_then(|config| config.working_dir().as_ref())]
        .into_iter()
        .flatten()
        .find(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from("/"), |dir| Path::new("/").join(dir));
    let env = environment.over_image(input)?;

    let mut process = Process::default();
    process
        .set_terminal(Some(container.tty))
        .set_user(user)
        .set_args(Some(args))
        .set_env(Some(env))
        .set_cwd(cwd)
        .set_capabilities(Some(capabilities::capabilities(input, warnings)?))
        .set_no_new_privileges(Some(context.and_then(|c| c.allow_privilege_escalation) == Some(false)))
        .set_apparmor_profile(security_modules::app_armor(input, container, warnings)?)
        .set_selinux_label(security_modules::se_linux(input, container, warnings).map(|(process, _)| process))
        // Limits are those of gatepost itself (`runtime::launch`), as with containerd; the Pod API has no field for them.
        .set_oom_score_adj(Some(resources::oom_score_adj(input.pod, container, input.node, warnings)));
    Ok(process)
}

fn command_line(
    input: &BundleInput,
    container: &v1::Container,
    environment: &environment::Environment,
) -> Result<Vec<String>, ConfigError> {
    let expand = |words: &[String]| -> Result<Vec<String>, ConfigError> {
        let mut size = 0_usize;
        let mut line = Vec::with_capacity(words.len());
        for word in words {
            let word = expansion::expand(word, |name| environment.get(name))
                .map_err(|problem| ConfigError::create(format!("an argument of the command is {problem}")))?;
            size = size.saturating_add(word.len());
            if size > environment::MAX_TOTAL {
                let limit = environment::MAX_TOTAL;
                return Err(ConfigError::create(format!(
                    "the command is longer than the {limit} bytes the kernel takes"
                )));
            }
            line.push(word);
        }
        Ok(line)
    };
    let of_image = |part: fn(&ImageConfig) -> &Option<Vec<String>>| {
        input.image_config().and_then(|config| part(config).clone()).unwrap_or_default()
    };
    // A command drops the image's CMD as well as its ENTRYPOINT.
    let (mut line, args) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => (of_image(ImageConfig::entrypoint), of_image(ImageConfig::cmd)),
        (true, false) => (of_image(ImageConfig::entrypoint), expand(&container.args)?),
        (false, _) => (expand(&container.command)?, expand(&container.args)?),
    };
    line.extend(args);
    if line.is_empty() {
        return Err(ConfigError::create("no command specified".to_owned()));
    }
    Ok(line)
}

/// The command of a probe, in which the container's own literal variables are known and no others (kubelet).
///
/// # Errors
/// It becomes longer than the kernel takes.
pub fn probe_command(container: &v1::Container, command: &[String]) -> Result<Vec<String>, String> {
    // The last one of a name counts; one whose value comes from elsewhere is empty here.
    let value = |name: &str| container.env.iter().rev().find(|env| env.name == name).map(|env| env.value.clone());
    let expand = |word: &String| expansion::expand(word, value);
    command.iter().map(expand).collect::<Result<_, _>>().map_err(|problem| format!("the command is {problem}"))
}

fn linux(
    input: &BundleInput,
    container: &v1::Container,
    process: &Process,
    warnings: &mut Vec<String>,
) -> Result<Linux, ConfigError> {
    let context = container.security_context.as_ref();
    let privileged = context.and_then(|c| c.privileged) == Some(true);
    let masks = !privileged && context.and_then(|c| c.proc_mount.as_deref()) != Some("Unmasked");
    let bounding = process.capabilities().as_ref().map(LinuxCapabilities::bounding).unwrap_or_default();
    let mut resources = resources::container_resources(input.pod, container, input.node, warnings)?;
    resources.set_devices(Some(mounts::device_rules(input, warnings)?));
    let parent = cgroup_parent(qos_class(input.pod), &input.pod.metadata.uid);

    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input, privileged)))
        .set_rootfs_propagation(mounts::root_propagation(container))
        .set_cgroups_path(Some(PathBuf::from(format!("{parent}/{}", input.container_id))))
        .set_resources(Some(resources))
        .set_seccomp(seccomp::filter(input, bounding, warnings)?)
        .set_devices(privileged.then(|| mounts::host_devices(input)))
        .set_masked_paths(masks.then(|| masked_paths(input.node.cpus)))
        .set_readonly_paths(masks.then(|| READONLY_PATHS.map(str::to_owned).to_vec()));
    // What there is to be warned of was said of the process.
    linux.set_mount_label(security_modules::se_linux(input, container, &mut Vec::new()).map(|(_, mount)| mount));
    if let Some(user) = &input.namespaces.user {
        // runc refuses a user namespace by path without its mappings.
        let mut mapping = LinuxIdMapping::default();
        mapping.set_container_id(0).set_host_id(user.first_id).set_size(user.ids);
        let mapping = Some(vec![mapping]);
        linux.set_uid_mappings(mapping.clone()).set_gid_mappings(mapping);
    }
    Ok(linux)
}

/// Paths that do not exist are skipped by the runtime.
fn masked_paths(cpus: u32) -> Vec<String> {
    let mut paths = MASKED_PATHS.map(str::to_owned).to_vec();
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        paths.extend((0..cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")));
    }
    paths
}

fn namespaces(input: &BundleInput, privileged: bool) -> Vec<LinuxNamespace> {
    let spec = &input.pod.spec;
    let mut namespaces = Vec::new();
    let mut add = |kind: LinuxNamespaceType, path: &Option<PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path.clone());
        namespaces.push(namespace);
    };
    add(LinuxNamespaceType::Mount, &None);
    if !spec.host_pid {
        add(LinuxNamespaceType::Pid, &input.namespaces.pid);
    }
    if let Some(user) = &input.namespaces.user {
        add(LinuxNamespaceType::User, &Some(user.path.clone()));
    }
    if !spec.host_ipc {
        add(LinuxNamespaceType::Ipc, &input.namespaces.ipc);
    }
    if !spec.host_network {
        add(LinuxNamespaceType::Network, &input.namespaces.net);
        add(LinuxNamespaceType::Uts, &input.namespaces.uts);
    }
    if input.node.cgroups == CgroupVersion::V2 && !privileged {
        add(LinuxNamespaceType::Cgroup, &None);
    }
    namespaces
}

/// The pod's UTS namespace has its name already, and a runtime refuses a name for the host's.
fn own_hostname(input: &BundleInput) -> Option<String> {
    (!input.pod.spec.host_network && input.namespaces.uts.is_none()).then(|| hostname(input.pod, &input.node.host_name))
}

/// The CRI's names, so that `runc list` and other tools can tell whose container it is.
fn annotations(input: &BundleInput) -> BTreeMap<String, String> {
    let metadata = &input.pod.metadata;
    [
        ("io.kubernetes.pod.name", metadata.name.as_str()),
        ("io.kubernetes.pod.namespace", metadata.namespace.as_str()),
        ("io.kubernetes.pod.uid", metadata.uid.as_str()),
        ("io.kubernetes.container.name", input.container_name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
