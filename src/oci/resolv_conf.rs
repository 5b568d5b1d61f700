//! `/etc/resolv.conf` of a pod: [`resolv_conf`] (kubelet `pkg/kubelet/network/dns`).

use crate::manifest::v1;

/// Limits of Kubernetes, which are those of glibc where it has any.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;

/// What a resolver file says.
#[derive(Default)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// Text of the pod's resolver file and what had to be left out of it. `node`: text of the node's resolver file.
///
/// There is no cluster DNS, so `ClusterFirst` and `ClusterFirstWithHostNet` are `Default`: the node's file. `None` starts
/// empty. `dnsConfig` is added to either.
pub fn resolv_conf(pod: &v1::Pod, node: &str) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let spec = &pod.spec;
    let mut resolver = if spec.dns_policy == "None" { Resolver::default() } else { parse(node) };
    if spec.dns_policy == "ClusterFirstWithHostNet" {
        warnings.push(
            "there is no cluster DNS: dnsPolicy ClusterFirstWithHostNet uses the node's resolver, as Default does"
                .to_owned(),
        );
    }
    if let Some(config) = &spec.dns_config {
        append_new(&mut resolver.nameservers, &config.nameservers);
        append_new(&mut resolver.searches, &config.searches);
        for option in &config.options {
            let text = match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{}:{value}", option.name),
                _ => option.name.clone(),
            };
            match resolver.options.iter_mut().find(|known| option_name(known) == option.name) {
                Some(known) => *known = text,
                None => resolver.options.push(text),
            }
        }
    }
    cut(&mut resolver, &mut warnings);
    if !spec.host_network
        && !resolver.nameservers.is_empty()
        && resolver.nameservers.iter().all(|ip| ip.starts_with("127.") || ip == "::1")
    {
        warnings.push(format!(
            "the only nameserver is {}, which is the pod itself in a network of its own; point the setting resolvConf at \
             a file with real servers, such as /run/systemd/resolve/resolv.conf",
            resolver.nameservers.join(", ")
        ));
    }

    let mut text = String::new();
    if !resolver.searches.is_empty() {
        text.extend(["search ", &resolver.searches.join(" "), "\n"]);
    }
    for nameserver in &resolver.nameservers {
        text.extend(["nameserver ", nameserver, "\n"]);
    }
    if !resolver.options.is_empty() {
        text.extend(["options ", &resolver.options.join(" "), "\n"]);
    }
    (text, warnings)
}

fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
            // The last line counts; `.` alone means no search list.
            Some("search" | "domain") => {
                resolver.searches = words.map(|domain| domain.strip_suffix('.').unwrap_or(domain).to_owned()).collect();
                resolver.searches.retain(|domain| !domain.is_empty());
            }
            Some("options") => resolver.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    resolver
}

fn cut(resolver: &mut Resolver, warnings: &mut Vec<String>) {
    if resolver.nameservers.len() > MAX_NAMESERVERS {
        resolver.nameservers.truncate(MAX_NAMESERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            resolver.nameservers.join(" ")
        ));
    }
    let before = resolver.searches.len();
    resolver.searches.truncate(MAX_SEARCHES);
    while resolver.searches.join(" ").len() > MAX_SEARCH_CHARACTERS {
        resolver.searches.pop();
    }
    if resolver.searches.len() < before {
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            resolver.searches.join(" ")
        ));
    }
}

fn append_new(list: &mut Vec<String>, additions: &[String]) {
    for addition in additions {
        if !list.contains(addition) {
            list.push(addition.clone());
        }
    }
}

fn option_name(option: &str) -> &str {
    option.split_once(':').map_or(option, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str =
        "# made by hand\ndomain old\nsearch lan. home.arpa\nnameserver 192.0.2.1\noptions ndots:2 edns0\n";

    fn pod(policy: &str, config: impl Into<Option<v1::PodDnsConfig>>) -> v1::Pod {
        let mut pod = v1::Pod::default();
        policy.clone_into(&mut pod.spec.dns_policy);
        pod.spec.dns_config = config.into();
        pod
    }

    fn config(nameservers: &[&str], searches: &[&str], options: &[(&str, Option<&str>)]) -> v1::PodDnsConfig {
        v1::PodDnsConfig {
            nameservers: nameservers.iter().map(|&text| text.to_owned()).collect(),
            searches: searches.iter().map(|&text| text.to_owned()).collect(),
            options: options
                .iter()
                .map(|(name, value)| v1::PodDnsConfigOption {
                    name: (*name).to_owned(),
                    value: value.map(str::to_owned),
                })
                .collect(),
        }
    }

    #[test]
    fn default_and_cluster_first_use_the_nodes_file() {
        let expected = "search lan home.arpa\nnameserver 192.0.2.1\noptions ndots:2 edns0\n";
        for policy in ["Default", "ClusterFirst"] {
            assert_eq!(resolv_conf(&pod(policy, None), NODE), (expected.to_owned(), Vec::new()));
        }
        let (text, warnings) = resolv_conf(&pod("ClusterFirstWithHostNet", None), NODE);
        assert_eq!((text.as_str(), warnings.len()), (expected, 1));
    }

    #[test]
    fn none_uses_only_what_the_pod_says() {
        let config = config(&["192.0.2.9"], &["x"], &[("ndots", Some("5")), ("rotate", None)]);
        assert_eq!(
            resolv_conf(&pod("None", config), NODE).0,
            "search x\nnameserver 192.0.2.9\noptions ndots:5 rotate\n"
        );
        assert_eq!(resolv_conf(&pod("None", None), NODE).0, "");
    }

    #[test]
    fn dns_config_is_appended_once_and_its_options_win() {
        let config = config(&["192.0.2.1", "192.0.2.2"], &["lan", "b"], &[("ndots", Some("5"))]);
        assert_eq!(
            resolv_conf(&pod("Default", config), NODE).0,
            "search lan home.arpa b\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:5 edns0\n"
        );
    }

    #[test]
    fn too_many_entries_are_cut_with_a_warning() {
        let many: Vec<String> = (0..40).map(|n| format!("domain-{n}")).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let (text, warnings) =
            resolv_conf(&pod("None", config(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"], &names, &[])), "");
        assert!(text.contains("domain-31") && !text.contains("domain-32") && !text.contains("4.4.4.4"));
        assert_eq!(warnings.len(), 2);
        let long = "x".repeat(1500);
        let (text, _) = resolv_conf(&pod("None", config(&["1.1.1.1"], &[&long, &format!("{long}y")], &[])), "");
        assert!(!text.contains('y'));
    }

    #[test]
    fn a_local_resolver_of_the_node_is_pointed_out_to_pods_with_their_own_network() {
        let mut pod = pod("Default", None);
        assert_eq!(resolv_conf(&pod, "nameserver 127.0.0.53\n").1.len(), 1);
        pod.spec.host_network = true;
        assert!(resolv_conf(&pod, "nameserver 127.0.0.53\n").1.is_empty());
    }
}
