//! Kernel parameters of a pod's namespaces: [`sandbox_sysctls`] (kubelet `pkg/kubelet/sysctl`).

use crate::manifest::v1;
use crate::sorted::BTreeMap;

/// Allowed to every pod: each is of a namespace and harms nobody outside it.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// A parameter that the pod may not set; the pod is `Failed` with reason `SysctlForbidden` and this message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("forbidden sysctl: \"{name}\" {why}")]
pub struct SysctlForbidden {
    /// Its name with dots.
    pub name: String,
    why: &'static str,
}

/// What to write into the pod's own namespaces, by name with dots: containerd's two defaults, which make low ports and
/// ping work without capabilities, then what the pod asks for. `allowed`: names beyond the safe ones that this node
/// permits; a trailing `*` matches any rest.
pub fn sandbox_sysctls(pod: &v1::Pod, allowed: &[String]) -> Result<BTreeMap<String, String>, SysctlForbidden> {
    let spec = &pod.spec;
    let mut sysctls = BTreeMap::new();
    if !spec.host_network {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        // In a user namespace only the ids that it has.
        let groups = if spec.host_users == Some(false) { "0 65535" } else { "0 2147483647" };
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), groups.to_owned());
    }
    for sysctl in &spec.security_context.sysctls {
        let name = sysctl.name.replace('/', ".");
        let permitted = SAFE.contains(&name.as_str())
            || allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => *pattern == name,
            });
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
            || name == "kernel.sem";
        let why = if !permitted || !(ipc || name.starts_with("net.")) {
            "not allowlisted"
        } else if name.starts_with("net.") && spec.host_network {
            "not allowed with host net enabled"
        } else if ipc && spec.host_ipc {
            "not allowed with host ipc enabled"
        } else {
            sysctls.insert(name, sysctl.value.clone());
            continue;
        };
        return Err(SysctlForbidden { name, why });
    }
    Ok(sysctls)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(sysctls: &[(&str, &str)]) -> v1::Pod {
        let mut pod = v1::Pod::default();
        pod.spec.security_context.sysctls = sysctls
            .iter()
            .map(|(name, value)| v1::Sysctl { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect();
        pod
    }

    #[test]
    fn a_pod_network_lets_everybody_ping_and_use_low_ports() {
        let sysctls = sandbox_sysctls(&pod(&[]), &[]).unwrap();
        assert_eq!(sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
        assert_eq!(sysctls["net.ipv4.ping_group_range"], "0 2147483647");
        let mut host = pod(&[]);
        host.spec.host_network = true;
        assert!(sandbox_sysctls(&host, &[]).unwrap().is_empty());
    }

    #[test]
    fn the_pod_wins_over_the_defaults_and_slashes_are_dots() {
        let sysctls = sandbox_sysctls(&pod(&[("net/ipv4/ip_unprivileged_port_start", "1024")]), &[]).unwrap();
        assert_eq!(sysctls["net.ipv4.ip_unprivileged_port_start"], "1024");
    }

    #[test]
    fn unsafe_names_need_the_nodes_leave() {
        let pod = pod(&[("net.core.somaxconn", "1024")]);
        assert_eq!(
            sandbox_sysctls(&pod, &[]).unwrap_err().to_string(),
            "forbidden sysctl: \"net.core.somaxconn\" not allowlisted"
        );
        assert!(sandbox_sysctls(&pod, &["net.core.*".to_owned()]).is_ok());
        assert!(sandbox_sysctls(&pod, &["net.core.somaxconn".to_owned()]).is_ok());
    }

    #[test]
    fn what_no_namespace_holds_is_never_set() {
        assert!(sandbox_sysctls(&pod(&[("kernel.panic", "1")]), &["kernel.*".to_owned()]).is_err());
    }

    #[test]
    fn shared_namespaces_are_left_alone() {
        let mut net = pod(&[("net.ipv4.tcp_rmem", "4096 4096 4096")]);
        net.spec.host_network = true;
        assert_eq!(
            sandbox_sysctls(&net, &[]).unwrap_err().to_string(),
            "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled"
        );
        let mut ipc = pod(&[("kernel.shm_rmid_forced", "1")]);
        ipc.spec.host_ipc = true;
        assert!(sandbox_sysctls(&ipc, &[]).is_err());
    }
}
