//! Role `sandbox`: what the containers of a pod stand on, made ([`prepare`]) and undone ([`teardown`]).
//!
//! * `<pod>/ns/{net,ipc,uts}`: the pod's namespaces, kept by bind mounts. Each is set up completely before it is pinned, so
//!   a pinned one is a finished one.
//! * `<pod>/shm`: `/dev/shm` of the pod.
//! * `<pod>/files`: a tmpfs with the generated files and termination logs, small, since containers write to them.
//! * `<pod>/volumes`, and `<pod data>/volumes`: see `volume`.
//! * The pod's cgroup with its limits.
//!
//! Run again after a kill at any instant, either function goes on with what is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use super::cleanup::remove_tree;
use super::failure::context;
use super::protocol::{self, Outcome};
use super::{Failure, id_ranges, namespaces, pause};
use crate::config::Layout;
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::Pod;
use crate::manifest::{QosClass, qos_class};
use crate::network;
use crate::oci::{self, GeneratedFiles, NodeFacts};
use crate::sys::cgroup::{Cgroups, Limits};
use crate::sys::id_map::IdRange;
use crate::sys::replace::replace;
use crate::sys::{mount, namespace};
use crate::volume::{self, Objects, Site};

/// CRI: 64 MiB for `/dev/shm`.
const SHM_BYTES: u64 = 64 << 20;
/// Generated files and termination logs of all containers of a pod; each log is read to 4 KiB.
const FILES_BYTES: u64 = 256 << 10;
pub(super) const KILL_BOUND: Duration = Duration::from_secs(5);
pub(super) const REASON: &str = "FailedCreatePodSandBox";
const TEARDOWN_REASON: &str = "FailedKillPod";

/// What the role is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// Make or undo.
    pub verb: Verb,
}

/// Make or undo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// [`prepare`].
    Prepare(Box<PrepareRequest>),
    /// [`teardown`].
    Teardown(TeardownRequest),
}

/// What a sandbox is made of. The pod's UID is `pod.metadata.uid`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// The pod, defaulted.
    pub pod: Rc<Pod>,
    /// Documents that its volumes show or use.
    pub objects: Objects,
    /// Facts of the node, for the resources that its volumes show.
    pub node: NodeFacts,
    /// Where things lie.
    pub layout: Layout,
    /// The cgroup that holds all pods; `kubepods`.
    pub cgroup_root: String,
    /// Bounds of all pods together.
    pub caps: Caps,
    /// `pids.max` of the pod; 0 means no limit.
    pub pod_pids_limit: u64,
    /// The kernel's host name, for hostNetwork pods.
    pub host_name: String,
    /// The node's resolver file.
    pub resolv_conf: PathBuf,
    /// How pods get a network of their own.
    #[serde(default)]
    pub network: network::Setting,
    /// Kernel parameters beyond the safe ones that this node permits.
    pub allowed_sysctls: Vec<String>,
    /// The machine's cgroups, where they are known.
    #[serde(default)]
    pub cgroups: Option<Cgroups>,
}

/// Bounds of all pods together; 0 means none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes.
    pub pids: u64,
    /// CPU shares.
    pub cpu_shares: u64,
    /// CPU shares of the Burstable pods together; kubelet: those of the sum of their requests, at least 2.
    pub burstable_shares: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The pod's cgroup, for example `/kubepods/burstable/pod<uid>`; a container's is one level below, named by its id.
    pub cgroup: String,
    /// How it is attached; `None` with the node's network, and with loopback only.
    pub network: Option<network::Attached>,
    /// What people should know: reason and message of an event each.
    pub said: Vec<(String, String)>,
}

/// What is to be undone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TeardownRequest {
    /// The pod.
    pub uid: String,
    /// Where things lie.
    pub layout: Layout,
    /// The cgroup that holds all pods; `kubepods`.
    pub cgroup_root: String,
    /// Also remove what is on data: the pod is gone for good, not only stopped.
    pub discard_volumes: bool,
    /// The machine's cgroups, where they are known.
    #[serde(default)]
    pub cgroups: Option<Cgroups>,
}

/// The role's entry: request on descriptor 0, report on descriptor 3.
pub fn main() -> ExitCode {
    protocol::serve("sandbox", |request: SandboxRequest| match request.verb {
        Verb::Prepare(request) => prepare(&request).map(|(prepared, warnings)| (Some(prepared), warnings)),
        Verb::Teardown(request) => teardown(&request).map(|()| (None, Vec::new())),
    })
}

/// The pod's cgroup below `root`.
pub fn pod_cgroup(root: &str, pod: &Pod) -> String {
    let path = oci::cgroup_parent(qos_class(pod), &pod.metadata.uid);
    // The function knows kubelet's root only.
    path.strip_prefix("/kubepods").map_or(path.clone(), |rest| format!("/{}{rest}", root.trim_matches('/')))
}

/// Where the pod's generated files and termination logs lie.
fn files_dir(layout: &Layout, uid: &str) -> PathBuf {
    layout.pod(uid).join("files")
}

/// The pod's `/etc/hosts`.
pub fn hosts(layout: &Layout, uid: &str) -> PathBuf {
    files_dir(layout, uid).join("hosts")
}

/// The termination log of one container instance.
pub fn termination_log(layout: &Layout, uid: &str, id: &str) -> PathBuf {
    files_dir(layout, uid).join("termination").join(id)
}

/// Where the pod's `/dev/shm` is.
fn shm(layout: &Layout, uid: &str) -> PathBuf {
    layout.pod(uid).join("shm")
}

/// What is made for one pod, with its root as the owner.
pub(super) fn own_of(layout: &Layout, uid: &str) -> [PathBuf; 2] {
    [files_dir(layout, uid), shm(layout, uid)]
}

/// Generated files as a container's bundle mounts them.
pub fn generated_files(layout: &Layout, pod: &Pod, id: &str) -> GeneratedFiles {
    let uid = &pod.metadata.uid;
    let dir = files_dir(layout, uid);
    GeneratedFiles {
        hosts: Some(hosts(layout, uid)),
        hostname: Some(dir.join("hostname")),
        resolv_conf: Some(dir.join("resolv.conf")),
        termination_log: Some(termination_log(layout, uid, id)),
        shm: Some(if pod.spec.host_ipc { PathBuf::from("/dev/shm") } else { shm(layout, uid) }),
    }
}

/// Makes everything the pod's containers stand on, or completes it.
///
/// Leaves the calling thread in the namespaces it has made: for a process of its own.
pub fn prepare(request: &PrepareRequest) -> Outcome<Prepared> {
    let PrepareRequest { pod, layout, .. } = request;
    let uid = &pod.metadata.uid;
    check_uid(uid, REASON)?;
    let sysctls = oci::sandbox_sysctls(pod, &request.allowed_sysctls)
        .map_err(|error| Failure::new("SysctlForbidden", error.to_string()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    let cgroup = make_cgroups(request)?;
    let dir = layout.pod(uid).join("ns");
    fs::create_dir_all(&dir).map_err(context(REASON, "creating", &dir))?;
    let users = if namespaces::has_own_users(pod) { Some(id_ranges::allocate(layout, uid)?) } else { None };
    let mut said = make_files(request, users)?;
    if !pod.spec.host_ipc {
        let shm = shm(layout, uid);
        make_tmpfs(&shm, SHM_BYTES, 0o1777)?;
        give(&shm, users)?;
    }
    let field = |item: &_| oci::downward_item(pod, &request.node, item).map_err(|error| error.message);
    let memory_bytes = memory_bytes(pod, request.caps);
    let site = Site { layout, pod, objects: &request.objects, field: &field, memory_bytes };
    let made = volume::prepare(site).map_err(|failure| Failure::new(&failure.reason, failure.message))?;
    let home = fs::File::open("/proc/thread-self/ns/net").map_err(context(REASON, "opening", Path::new("ns/net")))?;
    // From here on this thread sees the pod's IPC objects and host name instead of the node's.
    let cluster_domain = &request.node.cluster_domain;
    let wanted = namespaces::Wanted { pod, layout, host_name: &request.host_name, cluster_domain, sysctls: &sysctls };
    namespaces::make(&wanted, users)?;
    namespace::enter_file(&home).map_err(context(REASON, "going back to", Path::new("the node's network")))?;
    let network = join_network(request, &mut said)?;
    make_hosts(request, network.as_ref().map(|network| network.ips.as_slice()).unwrap_or_default(), users)?;
    pause::ensure(layout, pod, &cgroup)?;
    said.extend(made.already_mounted.into_iter().map(|message| ("AlreadyMountedVolume".to_owned(), message)));
    Ok((Prepared { cgroup, network, said }, made.warnings))
}

/// The pod's own network, where it has one.
fn join_network(
    request: &PrepareRequest,
    said: &mut Vec<(String, String)>,
) -> Result<Option<network::Attached>, Failure> {
    let PrepareRequest { pod, layout, network, .. } = request;
    if pod.spec.host_network {
        return Ok(None);
    }
    let attached = network::attach(network, pod, layout, said)
        .map_err(|why| Failure::new(REASON, format!("failed to set up the pod's network: {why}")))?;
    if attached.is_none() {
        let message = format!(
            "the pod has loopback only: there is no CNI configuration in {}, and podSubnet is not set; docs/network.md says how to \
             add a network, and hostNetwork: true needs none",
            network.conf_dir.display()
        );
        said.push(("NetworkNotConfigured".to_owned(), message));
    }
    Ok(attached)
}

fn check_uid(uid: &str, reason: &str) -> Result<(), Failure> {
    if !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(Failure::new(reason, format!("{uid:?} is not a pod UID")))
}

fn make_cgroups(request: &PrepareRequest) -> Result<String, Failure> {
    let cgroups =
        Cgroups::known(request.cgroups.as_ref()).map_err(context(REASON, "detecting", Path::new("cgroups")))?;
    let create = |path: &str, limits: &Limits| {
        cgroups.create(path, limits, true).map_err(context(REASON, "creating the cgroup", Path::new(path)))
    };
    let given = |value: u64| (value > 0).then_some(value);
    let caps = request.caps;
    let root = request.cgroup_root.trim_matches('/');
    let of_all = Limits {
        cpu_shares: given(caps.cpu_shares),
        memory_max: given(caps.memory_bytes),
        pids_max: given(caps.pids),
        ..Limits::none()
    };
    create(root, &of_all)?;
    let path = pod_cgroup(root, &request.pod);
    match qos_class(&request.pod) {
        QosClass::Guaranteed => {}
        QosClass::Burstable => {
            let shares = caps.burstable_shares.clamp(2, 262_144);
            create(&format!("{root}/burstable"), &Limits { cpu_shares: Some(shares), ..Limits::none() })?;
        }
        QosClass::BestEffort => {
            create(&format!("{root}/besteffort"), &Limits { cpu_shares: Some(2), ..Limits::none() })?;
        }
    }
    let resources = oci::pod_resources(&request.pod, request.pod_pids_limit, request.node.limited_page_sizes());
    let limits = Limits {
        cpu_shares: Some(resources.cpu_shares),
        cpu_quota: resources.cpu_quota_us.and_then(|quota| u64::try_from(quota).ok()),
        cpu_period: resources.cpu_period_us,
        memory_max: resources.memory_max.and_then(|bytes| u64::try_from(bytes).ok()),
        pids_max: resources.pids_max,
        huge_pages: resources.huge_pages,
    };
    create(&path, &limits)?;
    Ok(path)
}

/// Generated once: later a container may have changed them, and a rename would hide the change from those that run.
fn make_files(request: &PrepareRequest, users: Option<IdRange>) -> Result<Vec<(String, String)>, Failure> {
    let PrepareRequest { pod, layout, .. } = request;
    let dir = files_dir(layout, &pod.metadata.uid);
    make_tmpfs(&dir, FILES_BYTES, 0o755)?;
    let termination = dir.join("termination");
    fs::create_dir_all(&termination).map_err(context(REASON, "creating", &termination))?;
    let mut said = Vec::new();
    if !dir.join("hostname").exists() {
        write_file(&dir.join("hostname"), &oci::etc_hostname(pod, &request.host_name, &request.node.cluster_domain))?;
    }
    if !dir.join("resolv.conf").exists() {
        let (text, left_out) = oci::resolv_conf(pod, &node_file(&request.resolv_conf));
        said.extend(left_out.into_iter().map(|message| ("DNSConfigForming".to_owned(), message)));
        write_file(&dir.join("resolv.conf"), &text)?;
    }
    ["hostname", "resolv.conf"].iter().try_for_each(|name| give(&dir.join(name), users))?;
    Ok(said)
}

/// As [`make_files`]; the supervisor keeps the names in it current, in place.
fn make_hosts(request: &PrepareRequest, ips: &[String], users: Option<IdRange>) -> Result<(), Failure> {
    let path = hosts(&request.layout, &request.pod.metadata.uid);
    if !path.exists() {
        let host_network = request.pod.spec.host_network;
        let of_node = if host_network { node_file(Path::new("/etc/hosts")) } else { String::new() };
        write_file(&path, &oci::etc_hosts(&request.pod, ips, &of_node, &request.node.cluster_domain))?;
    }
    give(&path, users)
}

fn node_file(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text.as_bytes(), 0o644).map_err(context(REASON, "writing", path))
}

/// What belongs to the pod alone has the pod's root as its owner.
fn give(path: &Path, users: Option<IdRange>) -> Result<(), Failure> {
    let Some(root) = users.map(|range| range.start) else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(root), Some(root)).map_err(context(REASON, "giving to the pod's root", path))
}

fn make_tmpfs(path: &Path, bytes: u64, mode: u32) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(context(REASON, "creating", path))?;
    if !mount::is_mount_point(path).map_err(context(REASON, "looking for a mount at", path))? {
        mount::tmpfs(path, Some(bytes), mode, false).map_err(context(REASON, "mounting a tmpfs on", path))?;
    }
    Ok(())
}

/// Kubernetes: a tmpfs volume is no larger than what the pod, or all pods together, may take.
fn memory_bytes(pod: &Pod, caps: Caps) -> Option<u64> {
    let of_pod = oci::pod_resources(pod, 0, &[]).memory_max.and_then(|bytes| u64::try_from(bytes).ok());
    of_pod.into_iter().chain((caps.memory_bytes > 0).then_some(caps.memory_bytes)).min()
}

/// Ends what still runs in the pod, undoes what [`prepare`] has made, and verifies it.
pub fn teardown(request: &TeardownRequest) -> Result<(), Failure> {
    let TeardownRequest { uid, layout, .. } = request;
    check_uid(uid, TEARDOWN_REASON)?;
    let cgroups = Cgroups::known(request.cgroups.as_ref()).map_err(context(
        TEARDOWN_REASON,
        "detecting",
        Path::new("cgroups"),
    ))?;
    let root = request.cgroup_root.trim_matches('/');
    // Its class is not known here, and a killed predecessor may have removed it from some hierarchies only.
    for path in ["", "/burstable", "/besteffort"].map(|class| format!("{root}{class}/pod{uid}")) {
        let failed = |what| context(TEARDOWN_REASON, what, Path::new(&path));
        if !cgroups.kill(&path, KILL_BOUND).map_err(failed("killing in the cgroup"))? {
            return Err(Failure::new(TEARDOWN_REASON, format!("processes in {path} are still there after SIGKILL")));
        }
        cgroups.remove(&path).map_err(failed("removing the cgroup"))?;
    }
    network::detach(layout, uid)
        .map_err(|why| Failure::new(TEARDOWN_REASON, format!("failed to undo the pod's network: {why}")))?;
    let dir = layout.pod(uid);
    unmount_below(&dir)?;
    remove_tree(&dir)?;
    if !request.discard_volumes {
        return Ok(());
    }
    let data = layout.pod_data(uid);
    // What a privileged container has mounted in an emptyDir with mountPropagation Bidirectional.
    unmount_below(&data)?;
    volume::forget_limits(&data);
    remove_tree(&data)
}

/// Nothing may be removed through a mount that is still there.
fn unmount_below(dir: &Path) -> Result<(), Failure> {
    // As the mount table names it.
    let dir = &fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    mount::detach_below(dir).map_err(context(TEARDOWN_REASON, "unmounting below", dir))?;
    let left = mount::mounts().map_err(context(TEARDOWN_REASON, "reading the mounts below", dir))?;
    if left.iter().any(|entry| entry.target.starts_with(dir)) {
        return Err(Failure::new(TEARDOWN_REASON, format!("mounts are left below {}", dir.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_pod_on_the_hosts_ipc_sees_the_hosts_shared_memory() {
        let mut pod = Pod::default();
        pod.spec.host_ipc = true;
        assert_eq!(generated_files(&Layout::default(), &pod, "c").shm.unwrap(), Path::new("/dev/shm"));
    }

    #[test]
    fn the_pods_cgroup_lies_below_the_root_of_the_setting() {
        let mut pod = Pod::default();
        pod.metadata.uid = "u".into();
        assert_eq!(pod_cgroup("kubepods", &pod), "/kubepods/besteffort/podu");
        assert_eq!(pod_cgroup("test/pods", &pod), "/test/pods/besteffort/podu");
    }

    #[test]
    fn a_uid_that_is_a_path_is_refused() {
        for uid in ["", "..", "a/b", "../../etc"] {
            assert!(check_uid(uid, REASON).is_err(), "{uid:?}");
        }
    }
}
