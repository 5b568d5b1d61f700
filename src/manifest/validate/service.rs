//! Validation of a Service: [`validate_service`]. What the API server would have filled in by then counts as filled in.

use std::net::IpAddr;

use serde_json::Value as Json;

use super::super::error::{ErrorKind, Errors};
use super::super::names;
use super::at::At;
use super::metadata::validate_labels;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
const LOCAL_OR_CLUSTER: [&str; 2] = ["Cluster", "Local"];
/// Kubernetes: a day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;
const NO_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks the spec.
pub(super) fn validate_service(spec: &At<'_>, errors: &mut Errors) {
    let (kind, ports, addresses) = (spec.child("type"), spec.child("ports"), spec.child("clusterIPs"));
    let (external, balanced) = (kind.text() == "ExternalName", kind.text() == "LoadBalancer");
    let headless = addresses.items().len() == 1 && addresses.texts().next() == Some("None");
    errors.one_of_at(&kind, &TYPES);
    if !ports.is_truthy() && !headless && !external {
        errors.required_at(&ports, "");
    }
    if headless && (balanced || kind.text() == "NodePort") {
        let detail = format!("may not be set to 'None' for {} services", kind.text());
        errors.invalid_at(&addresses.index(0), detail);
    }
    if external {
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let field = spec.child(field);
            if field.is_truthy() {
                errors.forbidden_at(&field, "may not be set for ExternalName services");
            }
        }
        let name = spec.child("externalName");
        let stem = name.text().strip_suffix('.').unwrap_or(name.text());
        if stem.is_empty() {
            errors.required_at(&name, "");
        } else {
            errors.wrong_as(&name, stem, names::subdomain(stem));
        }
    } else {
        validate_addresses(spec, headless, errors);
    }
    validate_ports(&ports, kind.text() == "ClusterIP", errors);
    validate_labels(&spec.child("selector"), errors);
    validate_affinity(spec, errors);
    validate_outside(spec, balanced, errors);
}

fn validate_affinity(spec: &At<'_>, errors: &mut Errors) {
    let affinity = spec.child("sessionAffinity");
    errors.one_of_at(&affinity, &["ClientIP", "None"]);
    let config = spec.child("sessionAffinityConfig");
    let client = config.child("clientIP");
    let timeout = client.child("timeoutSeconds");
    let allowed = 1..=MAX_AFFINITY_SECONDS;
    if affinity.text() == "ClientIP" && timeout.is_set() && !allowed.contains(&timeout.number()) {
        errors.invalid_at(&timeout, format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"));
    }
}

/// `clusterIPs`, `ipFamilies`, `ipFamilyPolicy`, each for itself and together.
fn validate_addresses(spec: &At<'_>, headless: bool, errors: &mut Errors) {
    let (address, addresses) = (spec.text_of("clusterIP"), spec.child("clusterIPs"));
    if address.is_empty() && addresses.is_truthy() {
        errors.invalid_at(&addresses, "must be empty when `clusterIP` is not specified");
    } else if !address.is_empty() && addresses.texts().next() != Some(address) {
        errors.invalid_at(&addresses, "first value must match `clusterIP`");
    }
    let families = spec.child("ipFamilies");
    let mut seen = Vec::new();
    for family in families.items() {
        errors.one_of_at(&family, &["IPv4", "IPv6"]);
        if seen.contains(&family.json) {
            errors.duplicate_at(&family, family.text());
        }
        seen.push(family.json);
    }
    errors.one_of_if_set(&spec.child("ipFamilyPolicy"), &FAMILY_POLICIES);
    let count = addresses.items().len();
    let mut parsed = Vec::new();
    for (at, address) in addresses.items().enumerate() {
        if at == 0 && address.text() == "None" {
            if count > 1 {
                errors.invalid_at(&addresses, "'None' must be the first and only value");
                parsed.push(None);
            }
            continue;
        }
        errors.wrong(&address, names::ip(address.text()));
        parsed.push(address.text().parse::<IpAddr>().ok().filter(|_| names::ip(address.text()).is_empty()));
    }
    if count > 2 {
        errors.invalid_at(&addresses, "may only hold up to 2 values");
    }
    let Some(parsed) = parsed.into_iter().collect::<Option<Vec<IpAddr>>>() else { return };
    if let [first, rest @ ..] = parsed.as_slice()
        && !rest.is_empty()
        && rest.iter().all(|other| other.is_ipv4() == first.is_ipv4())
    {
        errors.invalid_at(&addresses, "may specify no more than one IP for each IP family");
    }
    for ((at, address), family) in parsed.iter().enumerate().filter(|_| !headless).zip(families.texts()) {
        if let Some(wanted) = ["IPv4", "IPv6"].into_iter().find(|wanted| *wanted == family)
            && address.is_ipv4() != (wanted == "IPv4")
        {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{at}]`");
            errors.invalid_at(&addresses.index(at), detail);
        }
    }
}

fn validate_ports(ports: &At<'_>, only_cluster: bool, errors: &mut Errors) {
    let many = ports.items().len() > 1;
    let (mut names_seen, mut seen, mut on_node) = (Vec::new(), Vec::new(), Vec::new());
    for port in ports.items() {
        let name = port.child("name");
        if many && !name.is_truthy() {
            errors.required_at(&name, "");
        } else if name.is_truthy() {
            errors.wrong(&name, names::label(name.text()));
            if names_seen.contains(&name.text()) {
                errors.duplicate_at(&name, name.text());
            }
            names_seen.push(port.text_of("name"));
        }
        let (number, protocol) = (port.child("port"), port.child("protocol"));
        if !(1..=65535).contains(&number.number()) {
            errors.invalid_as(&number, number.number(), "must be between 1 and 65535, inclusive");
        }
        errors.one_of_at(&protocol, &["SCTP", "TCP", "UDP"]);
        let target = port.child("targetPort");
        if target.json.is_string() {
            errors.wrong(&target, names::port(target.text()));
        } else {
            errors.within(&target, 1, 65535);
        }
        let hint = port.child("appProtocol");
        if hint.is_set() {
            errors.wrong(&hint, names::qualified(hint.text()));
        }
        let node_port = port.child("nodePort");
        if node_port.is_truthy() {
            if only_cluster {
                errors.forbidden_at(&node_port, "may not be used when `type` is 'ClusterIP'");
            }
            let key = (port.text_of("protocol"), node_port.number());
            if on_node.contains(&key) {
                let shown = Some(node_port.number().to_string());
                errors.add(ErrorKind::Duplicate, &node_port.to_string(), shown, "");
            }
            on_node.push(key);
        }
        let key = (port.text_of("protocol"), number.number());
        if seen.contains(&key) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                Json::from(key.0),
                key.1
            );
            errors.add(ErrorKind::Duplicate, &port.to_string(), Some(shown), "");
        }
        seen.push(key);
    }
}

/// What concerns those who come from outside of a cluster.
fn validate_outside(spec: &At<'_>, balanced: bool, errors: &mut Errors) {
    let addresses = spec.child("externalIPs");
    for address in addresses.items() {
        let wrong = names::ip(address.text());
        if wrong.is_empty() {
            let special = address.text().parse().ok().and_then(special);
            errors.wrong(&address, special.map(str::to_owned).into_iter().collect());
        }
        errors.wrong(&address, wrong);
    }
    // The letter case is Kubernetes'.
    let ranges = spec.child("LoadBalancerSourceRanges");
    let ranges = ranges.showing(spec.child("loadBalancerSourceRanges").json);
    for range in ranges.items().filter(|range| !is_range(range.text().trim())) {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid_as(&range, range.text().trim(), detail);
    }
    if !balanced {
        if ranges.is_truthy() {
            errors.forbidden_at(&ranges, NO_BALANCER);
        }
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if let Some(field) = spec.set(field) {
                errors.forbidden_at(&field, NO_BALANCER);
            }
        }
    } else if let Some(class) = spec.set("loadBalancerClass") {
        errors.wrong(&class, names::qualified(class.text()));
    }
    let accessible = balanced || spec.text_of("type") == "NodePort" || addresses.is_truthy();
    let policy = spec.child("externalTrafficPolicy");
    if policy.is_truthy() && !accessible {
        errors.invalid_at(&policy, "may only be set for externally-accessible services");
    } else if policy.is_truthy() {
        errors.one_of_at(&policy, &LOCAL_OR_CLUSTER);
    }
    let check = spec.child("healthCheckNodePort");
    if check.is_truthy() && !(balanced && policy.text() == "Local") {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid_at(&check, detail);
    } else if check.is_truthy() {
        errors.within(&check, 1, 65535);
    }
    errors.one_of_if_set(&spec.child("internalTrafficPolicy"), &LOCAL_OR_CLUSTER);
    errors.one_of_if_set(&spec.child("trafficDistribution"), &DISTRIBUTIONS);
}

/// An address and how many of its bits count.
fn is_range(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let most = address.parse::<IpAddr>().map(|address| if address.is_ipv4() { 32 } else { 128 });
        most.is_ok_and(|most| {
            bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
        })
    })
}

/// An address that is nobody's of its own.
fn special(address: IpAddr) -> Option<&'static str> {
    let (link_local, group) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    [
        (address.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (group, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ]
    .into_iter()
    .find_map(|(is, detail)| is.then_some(detail))
}
