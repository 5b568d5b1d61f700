//! The containers' part of `describe`.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::age;
use super::super::view::{entries, flag, int, list, named, or_none, part, plain, text};
use super::seccomp;

/// All containers of one list of the spec, with their statuses; nothing when there are none.
pub(super) fn write(out: &mut String, title: &str, pod: &Value, specs: &str, statuses: &str) {
    let specs = list(pod, &format!("/spec/{specs}"));
    let statuses = list(pod, &format!("/status/{statuses}"));
    if specs.is_empty() {
        return;
    }
    writeln!(out, "{title}:").ok();
    for container in specs {
        let status = named(statuses, text(container, "/name"));
        describe(out, pod, container, status);
    }
}

fn describe(out: &mut String, pod: &Value, container: &Value, status: Option<&Value>) {
    writeln!(out, "  {}:", text(container, "/name")).ok();
    if let Some(status) = status {
        line(out, "Container ID", text(status, "/containerID"));
    }
    line(out, "Image", text(container, "/image"));
    if let Some(status) = status {
        line(out, "Image ID", text(status, "/imageID"));
    }
    ports(out, list(container, "/ports"));
    seccomp(out, "    ", container.pointer("/securityContext").unwrap_or(&Value::Null));
    words(out, "Command", list(container, "/command"));
    words(out, "Args", list(container, "/args"));
    if let Some(status) = status {
        state(out, "State", status.pointer("/state").unwrap_or(&Value::Null));
        if part(status, "/lastState/terminated").is_some() {
            state(out, "Last State", status.pointer("/lastState").unwrap_or(&Value::Null));
        }
        line(out, "Ready", if flag(status, "/ready") { "True" } else { "False" });
        line(out, "Restart Count", &int(status, "/restartCount").to_string());
    }
    resources(out, "    ", container.pointer("/resources").unwrap_or(&Value::Null));
    for (field, label) in [("livenessProbe", "Liveness"), ("readinessProbe", "Readiness"), ("startupProbe", "Startup")]
    {
        if let Some(probe) = container.get(field) {
            line(out, label, &probe_text(probe));
        }
    }
    environment_sources(out, list(container, "/envFrom"));
    environment(out, pod, container);
    mounts(out, list(container, "/volumeMounts"));
}

fn line(out: &mut String, label: &str, value: &str) {
    writeln!(out, "    {label}:\t{value}").ok();
}

fn deeper(out: &mut String, label: &str, value: &str) {
    writeln!(out, "      {label}:\t{value}").ok();
}

fn ports(out: &mut String, ports: &[Value]) {
    let of = |field: &str| {
        let shown = ports.iter().map(|port| {
            let name = text(port, "/name");
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            let protocol = text(port, "/protocol");
            format!("{}/{}{name}", int(port, field), if protocol.is_empty() { "TCP" } else { protocol })
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let plural = if ports.len() > 1 { "s" } else { "" };
    line(out, &format!("Port{plural}"), or_none(&of("/containerPort")));
    line(out, &format!("Host Port{plural}"), or_none(&of("/hostPort")));
}

/// One element a line; an element of several lines as several.
fn words(out: &mut String, label: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    writeln!(out, "    {label}:").ok();
    for word in words {
        for line in plain(word).replace('\t', " ").split('\n') {
            writeln!(out, "      {line}").ok();
        }
    }
}

fn state(out: &mut String, label: &str, state: &Value) {
    if let Some(running) = part(state, "/running") {
        line(out, label, "Running");
        deeper(out, "Started", &age::rfc1123(text(running, "/startedAt")));
    } else if let Some(end) = part(state, "/terminated") {
        line(out, label, "Terminated");
        for (label, value) in [("Reason", text(end, "/reason")), ("Message", text(end, "/message"))] {
            if !value.is_empty() {
                deeper(out, label, value);
            }
        }
        deeper(out, "Exit Code", &int(end, "/exitCode").to_string());
        if int(end, "/signal") > 0 {
            deeper(out, "Signal", &int(end, "/signal").to_string());
        }
        deeper(out, "Started", &age::rfc1123(text(end, "/startedAt")));
        deeper(out, "Finished", &age::rfc1123(text(end, "/finishedAt")));
    } else {
        line(out, label, "Waiting");
        let reason = text(state, "/waiting/reason");
        if !reason.is_empty() {
            deeper(out, "Reason", reason);
        }
        // kubectl leaves it out; here it tells when the next try is.
        let message = text(state, "/waiting/message");
        if !message.is_empty() {
            deeper(out, "Message", message);
        }
    }
}

/// Limits and requests, each below its heading at `indent`.
pub(super) fn resources(out: &mut String, indent: &str, resources: &Value) {
    for (field, label) in [("limits", "Limits"), ("requests", "Requests")] {
        let Some(amounts) = resources.get(field).and_then(Value::as_object).filter(|map| !map.is_empty()) else {
            continue;
        };
        writeln!(out, "{indent}{label}:").ok();
        for (name, quantity) in amounts {
            writeln!(out, "{indent}  {name}:\t{}", plain(quantity)).ok();
        }
    }
}

fn probe_text(probe: &Value) -> String {
    let action = if let Some(exec) = part(probe, "/exec") {
        let words: Vec<String> = list(exec, "/command").iter().map(plain).collect();
        format!("exec [{}]", words.join(" "))
    } else if let Some(http) = part(probe, "/httpGet") {
        let scheme = text(http, "/scheme").to_ascii_lowercase();
        let scheme = if scheme.is_empty() { "http" } else { &scheme };
        let port = http.get("port").map(plain).unwrap_or_default();
        let path = text(http, "/path").trim_start_matches('/');
        format!("http-get {scheme}://{}:{port}/{path}", text(http, "/host"))
    } else if let Some(tcp) = part(probe, "/tcpSocket") {
        format!("tcp-socket {}:{}", text(tcp, "/host"), tcp.get("port").map(plain).unwrap_or_default())
    } else if let Some(grpc) = part(probe, "/grpc") {
        format!("grpc <pod>:{} {}", int(grpc, "/port"), text(grpc, "/service"))
    } else {
        "unknown".to_owned()
    };
    format!(
        "{action} delay={}s timeout={}s period={}s #success={} #failure={}",
        int(probe, "/initialDelaySeconds"),
        int(probe, "/timeoutSeconds"),
        int(probe, "/periodSeconds"),
        int(probe, "/successThreshold"),
        int(probe, "/failureThreshold")
    )
}

fn environment_sources(out: &mut String, sources: &[Value]) {
    if sources.is_empty() {
        return;
    }
    out.push_str("    Environment Variables from:\n");
    for source in sources {
        let (kind, reference) = match part(source, "/configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", source.pointer("/secretRef").unwrap_or(&Value::Null)),
        };
        let prefix = text(source, "/prefix");
        let prefix = if prefix.is_empty() { String::new() } else { format!(" with prefix '{prefix}'") };
        writeln!(out, "      {}\t{kind}{prefix}\tOptional: {}", text(reference, "/name"), flag(reference, "/optional"))
            .ok();
    }
}

fn environment(out: &mut String, pod: &Value, container: &Value) {
    let variables = list(container, "/env");
    let none = if variables.is_empty() { "\t<none>" } else { "" };
    writeln!(out, "    Environment:{none}").ok();
    for variable in variables {
        let name = text(variable, "/name");
        let Some(source) = part(variable, "/valueFrom") else {
            for (index, line) in text(variable, "/value").split('\n').enumerate() {
                let label = if index == 0 { format!("{name}:") } else { String::new() };
                writeln!(out, "      {label}\t{}", line.replace('\t', " ")).ok();
            }
            continue;
        };
        let value = if let Some(key) = part(source, "/secretKeyRef") {
            let (key, name) = (text(key, "/key"), text(key, "/name"));
            format!("<set to the key '{key}' in secret '{name}'>\tOptional: {}", flag(source, "/secretKeyRef/optional"))
        } else if let Some(key) = part(source, "/configMapKeyRef") {
            let (key, name) = (text(key, "/key"), text(key, "/name"));
            format!(
                "<set to the key '{key}' of config map '{name}'>\tOptional: {}",
                flag(source, "/configMapKeyRef/optional")
            )
        } else if let Some(field) = part(source, "/fieldRef") {
            let version = text(field, "/apiVersion");
            let version = if version.is_empty() { "v1" } else { version };
            let path = text(field, "/fieldPath");
            format!("{} ({version}:{path})", field_value(pod, path))
        } else {
            let resource = text(source, "/resourceFieldRef/resource");
            let other = text(source, "/resourceFieldRef/containerName");
            let holder = if other.is_empty() { Some(container) } else { named(list(pod, "/spec/containers"), other) };
            let value =
                resource.split_once('.').and_then(|(field, name)| holder?.get("resources")?.get(field)?.get(name));
            format!("{} ({resource})", value.map(plain).unwrap_or_default())
        };
        writeln!(out, "      {name}:\t{}", value.trim_start()).ok();
    }
}

/// The value of a field path, where it can be read off the object.
fn field_value(pod: &Value, path: &str) -> String {
    let of_map = |map: &str| {
        let key = path.split_once("['").and_then(|(_, rest)| rest.strip_suffix("']")).unwrap_or_default();
        let entries = entries(pod, &format!("/metadata/{map}"));
        entries.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    if path.starts_with("metadata.labels['") {
        of_map("labels")
    } else if path.starts_with("metadata.annotations['") {
        of_map("annotations")
    } else {
        text(pod, &format!("/{}", path.replace('.', "/"))).to_owned()
    }
}

fn mounts(out: &mut String, mounts: &[Value]) {
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    writeln!(out, "    Mounts:{none}").ok();
    let mut mounts: Vec<&Value> = mounts.iter().collect();
    mounts.sort_by_key(|mount| text(mount, "/mountPath"));
    for mount in mounts {
        let mut flags = if flag(mount, "/readOnly") { "ro" } else { "rw" }.to_owned();
        let sub_path = text(mount, "/subPath");
        if !sub_path.is_empty() {
            write!(flags, ",path={sub_path:?}").ok();
        }
        writeln!(out, "      {} from {} ({flags})", text(mount, "/mountPath"), text(mount, "/name")).ok();
    }
}
