//! A pod's namespaces, each set up completely before it is pinned below `<pod>/ns`, so that a pinned one is a finished one:
//! [`make`], [`pod_namespaces`].
//!
//! A pod with users of its own (`hostUsers: false`) has a user namespace, and its others belong to that: only so may the
//! container's root mount `/proc` and `/sys`, and be an administrator of nothing but them. They are made by a copy of this process
//! that moves in there; what it has given up, the right to pin, this process still has.

use crate::sorted::BTreeMap;
use std::fs;
use std::path::Path;

use super::failure::{Failure, context};
use super::id_ranges;
use super::sandbox::REASON;
use crate::config::Layout;
use crate::manifest::v1::Pod;
use crate::oci::{self, PodNamespaces, UserNamespace};
use crate::sys::held::Held;
use crate::sys::id_map::{self, IdRange};
use crate::sys::namespace::{self, Kind};

/// The namespaces that a pod has of its own, and where they are pinned.
pub(super) fn pod_namespaces(layout: &Layout, pod: &Pod) -> PodNamespaces {
    let uid = &pod.metadata.uid;
    let at = |kind: Kind| layout.pod_namespace(uid, kind.name());
    let own = |kind: Kind| kinds(pod).contains(&kind).then(|| at(kind));
    let range = if has_own_users(pod) { id_ranges::of(layout, uid) } else { None };
    PodNamespaces {
        net: own(Kind::Net),
        ipc: own(Kind::Ipc),
        uts: own(Kind::Uts),
        pid: pod.spec.share_process_namespace.then(|| at(Kind::Pid)),
        user: range.map(|range| UserNamespace { path: at(Kind::User), first_id: range.start, ids: range.size }),
    }
}

/// Whether root of the pod's containers is another user on the host.
pub(super) fn has_own_users(pod: &Pod) -> bool {
    pod.spec.host_users == Some(false)
}

/// Those that are made here; hostNetwork shares the host's name, too (Kubernetes).
fn kinds(pod: &Pod) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if !pod.spec.host_network {
        kinds.extend([Kind::Net, Kind::Uts]);
    }
    if !pod.spec.host_ipc {
        kinds.push(Kind::Ipc);
    }
    kinds
}

/// What a namespace of a pod is set up with.
pub(super) struct Wanted<'a> {
    pub(super) pod: &'a Pod,
    pub(super) layout: &'a Layout,
    /// The node's.
    pub(super) host_name: &'a str,
    /// What full names end in.
    pub(super) cluster_domain: &'a str,
    /// By name with dots.
    pub(super) sysctls: &'a BTreeMap<String, String>,
}

/// Makes and pins what is not there yet. Without users of its own the calling thread is left in the pod's namespaces.
pub(super) fn make(wanted: &Wanted, users: Option<IdRange>) -> Result<(), Failure> {
    let uid = &wanted.pod.metadata.uid;
    let path = |kind: Kind| wanted.layout.pod_namespace(uid, kind.name());
    let mut missing = Vec::new();
    for kind in kinds(wanted.pod) {
        let path = path(kind);
        if !namespace::is_pinned(&path).map_err(context(REASON, "looking for a namespace at", &path))? {
            missing.push(kind);
        }
    }
    let Some(range) = users else {
        for kind in missing {
            make_one(wanted, kind).map_err(|message| Failure::new(REASON, message))?;
            let path = path(kind);
            namespace::pin(kind, &path).map_err(context(REASON, "pinning the namespace at", &path))?;
        }
        return Ok(());
    };
    let user = path(Kind::User);
    make_users(&user, range).map_err(context(REASON, "making the user namespace", &user))?;
    if missing.is_empty() {
        return Ok(());
    }
    let inside = || -> Result<String, String> {
        namespace::enter(&user).and_then(|()| id_map::become_root()).map_err(|e| format!("{}: {e}", user.display()))?;
        missing.iter().try_for_each(|kind| make_one(wanted, *kind))?;
        Ok(String::new())
    };
    let held = Held::start(inside).map_err(context(REASON, "making namespaces in", &user))?;
    for kind in &missing {
        let path = path(*kind);
        namespace::pin_of(held.pid(), *kind, &path).map_err(context(REASON, "pinning the namespace at", &path))?;
    }
    Ok(())
}

fn make_users(path: &Path, range: IdRange) -> std::io::Result<()> {
    if namespace::is_pinned(path)? {
        return Ok(());
    }
    let held = Held::start(|| {
        namespace::unshare(Kind::User).map_err(|error| {
            format!("{error}; hostUsers: false needs a kernel with user namespaces (user.max_user_namespaces above 0)")
        })?;
        Ok(String::new())
    })?;
    range.apply(held.pid())?;
    namespace::pin_of(held.pid(), Kind::User, path)
}

/// A new namespace of this kind for the calling thread, set up.
fn make_one(wanted: &Wanted, kind: Kind) -> Result<(), String> {
    namespace::unshare(kind).map_err(|error| format!("making a {} namespace: {error}", kind.name()))?;
    match kind {
        Kind::Net => namespace::loopback_up().map_err(|error| format!("bringing lo up: {error}"))?,
        Kind::Uts => {
            let name = oci::hostname(wanted.pod, wanted.host_name, wanted.cluster_domain);
            if name.len() > oci::MAX_HOSTNAME {
                let (most, length) = (oci::MAX_HOSTNAME, name.len());
                return Err(format!(
                    "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({most} \
                     characters is the max, {length} characters requested)"
                ));
            }
            rustix::system::sethostname(name.as_bytes())
                .map_err(|error| format!("setting the host name {name}: {error}"))?;
        }
        Kind::Ipc | Kind::User | Kind::Pid => {}
    }
    for (name, value) in wanted.sysctls.iter().filter(|(name, _)| namespace_of(name) == Some(kind)) {
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&file, value)
            .map_err(|error| format!("setting sysctl {name} to {value:?}: {error}; does this kernel have it?"))?;
    }
    Ok(())
}

/// The namespace a kernel parameter belongs to (sysctl documentation of the kernel; kubelet `pkg/kubelet/sysctl`).
fn namespace_of(sysctl: &str) -> Option<Kind> {
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    if sysctl.starts_with("net.") {
        Some(Kind::Net)
    } else if sysctl == "kernel.sem" || ipc.iter().any(|prefix| sysctl.starts_with(prefix)) {
        Some(Kind::Ipc)
    } else {
        matches!(sysctl, "kernel.domainname" | "kernel.hostname").then_some(Kind::Uts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kernel_parameters_are_set_in_the_namespace_they_belong_to() {
        assert_eq!(namespace_of("net.ipv4.ip_unprivileged_port_start"), Some(Kind::Net));
        assert_eq!(namespace_of("kernel.shm_rmid_forced"), Some(Kind::Ipc));
        assert_eq!(namespace_of("fs.mqueue.msg_max"), Some(Kind::Ipc));
        assert_eq!(namespace_of("kernel.domainname"), Some(Kind::Uts));
        assert_eq!(namespace_of("vm.swappiness"), None);
    }

    #[test]
    fn host_namespaces_are_left_out() {
        let layout = Layout::default();
        let mut pod = Pod::default();
        pod.metadata.uid = "u".into();
        let own = pod_namespaces(&layout, &pod);
        assert!(own.net.is_some() && own.uts.is_some() && own.ipc.is_some());
        assert!(own.pid.is_none() && own.user.is_none());
        pod.spec.host_network = true;
        pod.spec.host_ipc = true;
        assert_eq!(pod_namespaces(&layout, &pod), PodNamespaces::default());
        pod.spec.share_process_namespace = true;
        assert_eq!(pod_namespaces(&layout, &pod).pid.unwrap(), Path::new("/run/gatepost/pods/u/ns/pid"));
    }
}
