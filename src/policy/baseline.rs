//! The baseline standard.

use serde_json::Value as Json;

use super::{Subject, Violation, add, containers, items, number_of, quoted, text};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
const SE_LINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// All checks in upstream's order. `alone`: those that a stricter level repeats in its own way count as well.
pub(super) fn check(pod: &Subject<'_>, alone: bool, found: &mut Vec<Violation>) {
    app_armor(pod, found);
    if alone {
        capabilities(pod, found);
    }
    let shared = [("hostNetwork", "hostNetwork=true"), ("hostPID", "hostPID=true"), ("hostIPC", "hostIPC=true")];
    let shared: Vec<_> = shared.iter().filter(|(key, _)| pod.spec[*key] == true).map(|(_, words)| *words).collect();
    if !shared.is_empty() {
        add(found, "host namespaces", shared.join(", "));
    }
    if alone {
        let names: Vec<_> =
            items(&pod.spec["volumes"]).filter(|v| v["hostPath"].is_object()).map(|v| text(&v["name"])).collect();
        if !names.is_empty() {
            let detail = format!("{} {}", number_of(names.len(), "volume", "volumes"), quoted(&names));
            add(found, "hostPath volumes", detail);
        }
    }
    host_ports(pod, found);
    hosts(pod, found);
    let names = pod.names(|container| container["securityContext"]["privileged"] == true);
    if !names.is_empty() {
        let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
        add(found, "privileged", detail);
    }
    proc_mount(pod, found);
    se_linux(pod, found);
    if alone {
        seccomp(pod, found);
    }
    let forbidden: Vec<_> = items(&pod.spec["securityContext"]["sysctls"])
        .map(|sysctl| text(&sysctl["name"]))
        .filter(|name| !SYSCTLS.contains(name))
        .collect();
    if !forbidden.is_empty() {
        add(found, "forbidden sysctls", forbidden.join(", "));
    }
    if let Some(setters) = pod.setters(|context| context["windowsOptions"]["hostProcess"] == true) {
        add(found, "hostProcess", format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"));
    }
}

fn app_armor(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let bad = |context: &Json| {
        let kind = &context["appArmorProfile"]["type"];
        kind.is_string() && !["RuntimeDefault", "Localhost"].contains(&text(kind))
    };
    let value = |context| Some(text(&Json::get(context, "appArmorProfile")?["type"])).filter(|_| bad(context));
    let mut values = pod.values(value);
    let annotations: Vec<String> = pod
        .annotations
        .iter()
        .filter(|(key, value)| {
            let allowed = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !allowed
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let noted = number_of(annotations.len(), "annotation", "annotations");
    let by_annotation = (!annotations.is_empty()).then(|| noted.to_owned());
    let setters: Vec<String> = pod.setters(bad).into_iter().chain(by_annotation).collect();
    values.extend(annotations.iter().map(String::as_str));
    if !setters.is_empty() {
        let reason = number_of(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles");
        let detail = format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values));
        add(found, reason, detail);
    }
}

fn capabilities(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let added = |container: &'_ Json| -> Vec<String> {
        let names = items(&container["securityContext"]["capabilities"]["add"]).map(text);
        names.filter(|name| !CAPABILITIES.contains(name)).map(str::to_owned).collect()
    };
    let names = pod.names(|container| !added(container).is_empty());
    if names.is_empty() {
        return;
    }
    let mut bad: Vec<String> = pod.containers.iter().flat_map(|(_, container)| added(container)).collect();
    bad.sort();
    bad.dedup();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    let detail =
        format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(&bad));
    add(found, "non-default capabilities", detail);
}

fn host_ports(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let used = |container: &Json| -> Vec<i64> {
        let ports = items(&container["ports"]).map(|port| port["hostPort"].as_i64().unwrap_or(0));
        ports.filter(|port| *port != 0).collect()
    };
    let names = pod.names(|container| !used(container).is_empty());
    if names.is_empty() {
        return;
    }
    let ports = pod.containers.iter().flat_map(|(_, container)| used(container)).map(|port| port.to_string());
    let ports: std::collections::BTreeSet<String> = ports.collect();
    let count = ports.len();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        number_of(names.len(), "uses", "use"),
        number_of(count, "hostPort", "hostPorts"),
        ports.into_iter().collect::<Vec<_>>().join(", ")
    );
    add(found, "hostPort", detail);
}

/// Probes and hooks that ask another host.
fn hosts(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let of = |container: &'_ Json| -> Vec<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|key| &container[key]);
        let hooks = ["postStart", "preStop"].map(|key| &container["lifecycle"][key]);
        let handlers = probes.into_iter().chain(hooks);
        let hosts = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|kind| text(&handler[kind]["host"])));
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let mut names = pod.names(|container| !of(container).is_empty());
    if names.is_empty() {
        return;
    }
    names.sort_unstable();
    let mut bad: Vec<String> = pod.containers.iter().flat_map(|(_, container)| of(container)).collect();
    bad.sort();
    bad.dedup();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        number_of(names.len(), "uses", "use"),
        number_of(bad.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
        quoted(&bad)
    );
    add(found, "probe or lifecycle host", detail);
}

fn proc_mount(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let bad = |context: &Json| context["procMount"].is_string() && context["procMount"] != "Default";
    let names = pod.names(|container| bad(&container["securityContext"]));
    if names.is_empty() || pod.has_own_users() {
        return;
    }
    let values = pod.values(|context| context.get("procMount").map(text).filter(|_| bad(context)));
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&values));
    add(found, "procMount", detail);
}

fn se_linux(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let options = |context: &Json, key: &str| text(&context["seLinuxOptions"][key]).to_owned();
    let bad_type = |context: &Json| !SE_LINUX_TYPES.contains(&options(context, "type").as_str());
    let set = |context: &Json, key: &str| !options(context, key).is_empty();
    let Some(setters) = pod.setters(|context| bad_type(context) || set(context, "user") || set(context, "role")) else {
        return;
    };
    let types = pod.values(|context| Some(text(&context.get("seLinuxOptions")?["type"])).filter(|_| bad_type(context)));
    let mut bad = Vec::new();
    if !types.is_empty() {
        bad.push(format!("{} {}", number_of(types.len(), "type", "types"), quoted(&types)));
    }
    for key in ["user", "role"] {
        if pod.setters(|context| set(context, key)).is_some() {
            bad.push(format!("{key} may not be set"));
        }
    }
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {}", bad.join("; "));
    add(found, "seLinuxOptions", detail);
}

/// A profile that is set to a forbidden type. Says whether there is one.
pub(super) fn seccomp(pod: &Subject<'_>, found: &mut Vec<Violation>) -> bool {
    let bad = |context: &Json| {
        let profile = &context["seccompProfile"];
        profile.is_object() && !["RuntimeDefault", "Localhost"].contains(&text(&profile["type"]))
    };
    let Some(setters) = pod.setters(bad) else { return false };
    let values = pod.values(|context| Some(text(&context.get("seccompProfile")?["type"])).filter(|_| bad(context)));
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(&values));
    add(found, "seccompProfile", detail);
    true
}
