//! `/etc/hosts` and `/etc/hostname` of a pod: [`etc_hosts`], [`hostname`] (kubelet `pkg/kubelet/kubelet_pods.go`).

use crate::manifest::v1;

/// The limit of a DNS label.
const MAX_LABEL: usize = 63;

/// Longest host name that the kernel takes.
pub const MAX_HOSTNAME: usize = 64;

/// The pod's host name as its kernel says it; with `hostNetwork` the node's own (`node`). `cluster_domain`: empty for none.
pub fn hostname(pod: &v1::Pod, node: &str, cluster_domain: &str) -> String {
    if pod.spec.host_network {
        return node.to_owned();
    }
    match domain(pod, cluster_domain) {
        Some(domain) if pod.spec.set_hostname_as_fqdn => format!("{}.{domain}", short(pod)),
        _ => short(pod),
    }
}

/// The host name without a domain: that of the manifest, else the pod's name cut to a label.
fn short(pod: &v1::Pod) -> String {
    if let Some(name) = &pod.spec.hostname_override {
        return name.clone();
    }
    let name = pod.spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(&pod.metadata.name);
    name.chars().take(MAX_LABEL).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// The domain of the pod's name: it has one if it has a `subdomain` and the node a cluster domain.
fn domain(pod: &v1::Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let named = !cluster_domain.is_empty() && pod.spec.hostname_override.is_none();
    named.then(|| format!("{subdomain}.{}.svc.{cluster_domain}", pod.metadata.namespace))
}

/// Text of `/etc/hostname`.
pub fn etc_hostname(pod: &v1::Pod, node: &str, cluster_domain: &str) -> String {
    format!("{}\n", hostname(pod, node, cluster_domain))
}

/// Text of `/etc/hosts`. `node_hosts`: the node's file, which a pod with `hostNetwork` gets. A pod without an address
/// finds its own name at 127.0.0.1, since many servers do not start when their name does not resolve.
pub fn etc_hosts(pod: &v1::Pod, pod_ips: &[String], node_hosts: &str, cluster_domain: &str) -> String {
    let mut text = if pod.spec.host_network {
        let mut text = format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}");
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    } else {
        let mut text = "# Kubernetes-managed hosts file.\n\
             127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\n\
             fe00::1\tip6-allnodes\n\
             fe00::2\tip6-allrouters\n"
            .to_owned();
        let short = short(pod);
        let names =
            domain(pod, cluster_domain).map_or_else(|| short.clone(), |domain| format!("{short}.{domain}\t{short}"));
        let loopback = ["127.0.0.1".to_owned()];
        for ip in if pod_ips.is_empty() { &loopback } else { pod_ips } {
            text.extend([ip, "\t", &names, "\n"]);
        }
        text
    };
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in &pod.spec.host_aliases {
            text.extend([&alias.ip, "\t", &alias.hostnames.join("\t"), "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> v1::Pod {
        let mut pod = v1::Pod::default();
        pod.metadata.name = "web-gw1".to_owned();
        pod
    }

    #[test]
    fn the_hostname_is_the_pods_name_unless_the_spec_has_one() {
        let mut pod = pod();
        assert_eq!(hostname(&pod, "gw1", ""), "web-gw1");
        pod.spec.hostname = Some("www".to_owned());
        assert_eq!(etc_hostname(&pod, "gw1", ""), "www\n");
        pod.spec.host_network = true;
        assert_eq!(hostname(&pod, "gw1", ""), "gw1");
    }

    #[test]
    fn a_long_hostname_is_cut_at_63_without_a_dash_or_dot_at_its_end() {
        let mut pod = pod();
        pod.metadata.name = format!("{}-.x{}", "a".repeat(61), "b".repeat(20));
        assert_eq!(hostname(&pod, "", ""), "a".repeat(61));
    }

    #[test]
    fn a_subdomain_gives_a_full_name_where_the_node_has_a_cluster_domain() {
        let mut pod = pod();
        pod.metadata.namespace = "edge".to_owned();
        pod.spec.subdomain = Some("bus".to_owned());
        let ips = ["10.0.0.2".to_owned()];
        assert!(etc_hosts(&pod, &ips, "", "").ends_with("\n10.0.0.2\tweb-gw1\n"));
        assert!(
            etc_hosts(&pod, &ips, "", "site.local").ends_with("\n10.0.0.2\tweb-gw1.bus.edge.svc.site.local\tweb-gw1\n")
        );
        assert_eq!(hostname(&pod, "gw1", "site.local"), "web-gw1");
        pod.spec.set_hostname_as_fqdn = true;
        assert_eq!(hostname(&pod, "gw1", ""), "web-gw1");
        assert_eq!(etc_hostname(&pod, "gw1", "site.local"), "web-gw1.bus.edge.svc.site.local\n");
        pod.spec.hostname_override = Some("press.plant-7".to_owned());
        assert_eq!(hostname(&pod, "gw1", "site.local"), "press.plant-7");
        assert!(etc_hosts(&pod, &ips, "", "site.local").ends_with("\n10.0.0.2\tpress.plant-7\n"));
    }

    #[test]
    fn a_pod_network_hosts_file_lists_the_pods_addresses() {
        let text = etc_hosts(&pod(), &["10.0.0.2".to_owned(), "fd00::2".to_owned()], "ignored", "");
        assert!(
            text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost")
        );
        assert!(text.ends_with("fe00::2\tip6-allrouters\n10.0.0.2\tweb-gw1\nfd00::2\tweb-gw1\n"));
    }

    #[test]
    fn a_pod_with_loopback_only_resolves_its_own_name() {
        assert!(etc_hosts(&pod(), &[], "", "").ends_with("\n127.0.0.1\tweb-gw1\n"));
    }

    #[test]
    fn a_host_network_hosts_file_is_the_nodes_with_a_heading_and_aliases() {
        let mut pod = pod();
        pod.spec.host_network = true;
        pod.spec.host_aliases =
            vec![v1::HostAlias { ip: "192.0.2.1".to_owned(), hostnames: vec!["a".to_owned(), "b".to_owned()] }];
        assert_eq!(
            etc_hosts(&pod, &[], "127.0.0.1 localhost gw1", "site.local"),
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost gw1\n\n\
             # Entries added by HostAliases.\n192.0.2.1\ta\tb\n"
        );
    }
}
