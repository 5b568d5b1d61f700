//! `gatepost describe pod`: the layout of kubectl (kubectl pkg/describe/describe.go), from the v1 object and its events.

mod containers;
mod volumes;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::node::{self, NODE_WORDS};
use super::view::{entries, flag, int, list, or_none, part, text};
use super::{age, events, get, output, session, tabs, target};

/// Annotations longer than this go on lines of their own (kubectl: 140).
const LONG_ANNOTATION: usize = 140;

/// `gatepost describe`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    let words = invocation.texts()?;
    if let Some((kind, names)) = words.split_first()
        && NODE_WORDS.contains(kind)
    {
        return node::describe(invocation, names);
    }
    let names = names(invocation, &words)?;
    let snapshot = session::pods(invocation)?;
    let namespace = invocation.namespace()?;
    let found: Vec<_> = names.iter().map(|name| target::find(&snapshot.pods, namespace, name)).collect();
    let events = session::events(invocation)?;
    let now = age::now();
    let mut status = ExitCode::SUCCESS;
    let mut printed = false;
    for pod in found {
        match pod {
            Ok(pod) => {
                let gap = if printed { "\n\n" } else { "" };
                output::print(&format!("{gap}{}", pod_text(pod, &events, now)))?;
                printed = true;
            }
            Err(failure) => {
                output::note(&format!("error: {failure}"));
                status = ExitCode::FAILURE;
            }
        }
    }
    output::warn(&snapshot.warnings);
    Ok(status)
}

/// The pods named by `pod NAME…` or `pod/NAME…`.
pub(super) fn names<'a>(invocation: &Invocation, words: &[&'a str]) -> Outcome<Vec<&'a str>> {
    let names = match words.split_first() {
        Some((kind, names)) if get::POD_WORDS.contains(kind) => names.to_vec(),
        Some((first, _)) if target::bare(first) != *first => words.to_vec(),
        Some((kind, _)) => {
            return Err(Failure::unknown("resource", kind, ["pod"], &format!("Usage: {}", invocation.command.usage())));
        }
        None => Vec::new(),
    };
    if names.is_empty() { Err(invocation.misuse("name a pod")) } else { Ok(names) }
}

/// Everything about one pod.
fn pod_text(pod: &Value, events: &[Value], now: i64) -> String {
    let mut out = String::new();
    head(&mut out, pod, now);
    containers::write(&mut out, "Init Containers", pod, "initContainers", "initContainerStatuses");
    containers::write(&mut out, "Containers", pod, "containers", "containerStatuses");
    conditions(&mut out, pod);
    volumes::write(&mut out, pod);
    line(&mut out, "QoS Class", text(pod, "/status/qosClass"));
    pairs(&mut out, "Node-Selectors", &entries(pod, "/spec/nodeSelector"));
    tolerations(&mut out, pod);
    let body = tabs::align(&out, tabs::DESCRIPTION);
    // The events' columns are their own.
    body + &tabs::align(&events::describe(events, pod, now), tabs::DESCRIPTION)
}

fn line(out: &mut String, label: &str, value: &str) {
    writeln!(out, "{label}:\t{value}").ok();
}

fn line_if_set(out: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        line(out, label, value);
    }
}

/// From the name to the addresses.
fn head(out: &mut String, pod: &Value, now: i64) {
    line(out, "Name", text(pod, "/metadata/name"));
    line(out, "Namespace", text(pod, "/metadata/namespace"));
    if part(pod, "/spec/priority").is_some() {
        line(out, "Priority", &int(pod, "/spec/priority").to_string());
    }
    line_if_set(out, "Priority Class Name", text(pod, "/spec/priorityClassName"));
    line_if_set(out, "Runtime Class Name", text(pod, "/spec/runtimeClassName"));
    line_if_set(out, "Service Account", text(pod, "/spec/serviceAccountName"));
    match text(pod, "/spec/nodeName") {
        "" => line(out, "Node", "<none>"),
        node => line(out, "Node", &format!("{node}/{}", text(pod, "/status/hostIP"))),
    }
    if part(pod, "/status/startTime").is_some() {
        line(out, "Start Time", &age::rfc1123(text(pod, "/status/startTime")));
    }
    pairs(out, "Labels", &entries(pod, "/metadata/labels"));
    annotations(out, &entries(pod, "/metadata/annotations"));
    let phase = text(pod, "/status/phase");
    let deletion = text(pod, "/metadata/deletionTimestamp");
    if !deletion.is_empty() && !matches!(phase, "Failed" | "Succeeded") {
        line(out, "Status", &format!("Terminating (lasts {})", age::ago(deletion, now)));
        line(out, "Termination Grace Period", &format!("{}s", int(pod, "/metadata/deletionGracePeriodSeconds")));
    } else {
        line(out, "Status", phase);
    }
    line_if_set(out, "Reason", text(pod, "/status/reason"));
    line_if_set(out, "Message", text(pod, "/status/message"));
    seccomp(out, "", pod.pointer("/spec/securityContext").unwrap_or(&Value::Null));
    line(out, "IP", text(pod, "/status/podIP"));
    match list(pod, "/status/podIPs") {
        [] => line(out, "IPs", "<none>"),
        ips => {
            out.push_str("IPs:\n");
            for ip in ips {
                line(out, "  IP", text(ip, "/ip"));
            }
        }
    }
    let owners = list(pod, "/metadata/ownerReferences");
    if let Some(owner) = owners.iter().find(|owner| flag(owner, "/controller")) {
        line(out, "Controlled By", &format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    }
    if let Some(resources) = part(pod, "/spec/resources") {
        out.push_str("Resources:\n");
        containers::resources(out, "  ", resources);
    }
}

/// The seccomp profile of a security context, if it names one.
fn seccomp(out: &mut String, indent: &str, context: &Value) {
    let kind = text(context, "/seccompProfile/type");
    line_if_set(out, &format!("{indent}SeccompProfile"), kind);
    if kind == "Localhost" {
        line(out, &format!("{indent}LocalhostProfile"), text(context, "/seccompProfile/localhostProfile"));
    }
}

/// `key=value`, one a line.
fn pairs(out: &mut String, title: &str, pairs: &[(&str, &str)]) {
    let lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    column(out, title, &lines);
}

/// `key: value`, one a line; long values and those of several lines below their key.
fn annotations(out: &mut String, annotations: &[(&str, &str)]) {
    let mut lines = Vec::new();
    for (key, value) in annotations {
        let value = value.strip_suffix('\n').unwrap_or(value);
        if key.len().saturating_add(value.len()) < LONG_ANNOTATION.saturating_sub(2) && !value.contains('\n') {
            lines.push(format!("{key}: {value}"));
            continue;
        }
        lines.push(format!("{key}:"));
        for line in value.lines() {
            let room = LONG_ANNOTATION.saturating_sub(2);
            let short: String = line.chars().take(room).collect();
            let dots = if short.len() < line.len() { "..." } else { "" };
            lines.push(format!("  {short}{dots}"));
        }
    }
    column(out, "Annotations", &lines);
}

/// A title, and lines in the column behind it.
fn column(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        line(out, title, "<none>");
    }
    for (index, text) in lines.iter().enumerate() {
        if index == 0 {
            line(out, title, text);
        } else {
            writeln!(out, "\t{text}").ok();
        }
    }
}

fn conditions(out: &mut String, pod: &Value) {
    let conditions = list(pod, "/status/conditions");
    let gates = list(pod, "/spec/readinessGates");
    if !gates.is_empty() {
        out.push_str("Readiness Gates:\n  Type\tStatus\n");
        for gate in gates {
            let kind = text(gate, "/conditionType");
            let met = conditions.iter().find(|condition| text(condition, "/type") == kind);
            let status = met.map_or("", |condition| text(condition, "/status"));
            writeln!(out, "  {kind} \t{} ", or_none(status)).ok();
        }
    }
    if !conditions.is_empty() {
        out.push_str("Conditions:\n  Type\tStatus\n");
        for condition in conditions {
            writeln!(out, "  {} \t{} ", text(condition, "/type"), text(condition, "/status")).ok();
        }
    }
}

fn tolerations(out: &mut String, pod: &Value) {
    let lines: Vec<String> = list(pod, "/spec/tolerations").iter().map(toleration).collect();
    column(out, "Tolerations", &lines);
}

fn toleration(toleration: &Value) -> String {
    let (key, value, effect) = (text(toleration, "/key"), text(toleration, "/value"), text(toleration, "/effect"));
    let mut line = key.to_owned();
    if !value.is_empty() {
        write!(line, "={value}").ok();
    }
    if !effect.is_empty() {
        write!(line, ":{effect}").ok();
    }
    if text(toleration, "/operator") == "Exists" && value.is_empty() {
        line.push_str(if line.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if part(toleration, "/tolerationSeconds").is_some() {
        write!(line, " for {}s", int(toleration, "/tolerationSeconds")).ok();
    }
    line
}

#[cfg(test)]
mod tests;
