//! `gatepost get nodes` and `describe node`: this node as a v1 object, with what its runtime really does.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output::{self, Format};
use super::view::text;
use super::{age, session, tabs};
use crate::control::Info;
use crate::runtime::usage;

/// What `get`, `describe` and `top` take for the node.
pub(super) const NODE_WORDS: &[&str] = &["nodes", "node", "no"];

/// Annotations with the result of the probe begin with this.
const FEATURE: &str = "feature.gatepost.io/";

/// `gatepost get nodes`.
pub(super) fn get(invocation: &Invocation, names: &[&str]) -> Outcome {
    if invocation.has("watch") {
        return Err(invocation.misuse("--watch is for pods only"));
    }
    let node = the_one(invocation, names)?;
    let format = output::format(invocation)?;
    if matches!(format, Format::Json | Format::Yaml | Format::Name) {
        output::print_objects(format, "node", vec![node], !names.is_empty())?;
        return Ok(ExitCode::SUCCESS);
    }
    let wide = format == Format::Wide;
    let mut lines = String::new();
    if !invocation.has("no-headers") {
        lines.push_str("NAME\tSTATUS\tROLES\tAGE\tVERSION");
        lines.push_str(if wide { "\tOS-IMAGE\tKERNEL-VERSION\tCONTAINER-RUNTIME\n" } else { "\n" });
    }
    let info = |field: &str| text(&node, &format!("/status/nodeInfo/{field}")).to_owned();
    let since = age::ago(text(&node, "/metadata/creationTimestamp"), age::now());
    write!(lines, "{}\tReady\t<none>\t{since}\t{}", text(&node, "/metadata/name"), info("kubeletVersion")).ok();
    if wide {
        write!(lines, "\t{}\t{}\t{}", info("osImage"), info("kernelVersion"), info("containerRuntimeVersion")).ok();
    }
    lines.push('\n');
    output::print(&tabs::align(&lines, tabs::TABLE))?;
    Ok(ExitCode::SUCCESS)
}

/// `gatepost describe node`.
pub(super) fn describe(invocation: &Invocation, names: &[&str]) -> Outcome {
    let node = the_one(invocation, names)?;
    let mut out = format!("Name:\t{}\nRoles:\t<none>\n", text(&node, "/metadata/name"));
    writeln!(out, "CreationTimestamp:\t{}", text(&node, "/metadata/creationTimestamp")).ok();
    for (title, pointer) in
        [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable"), ("System Info", "/status/nodeInfo")]
    {
        writeln!(out, "{title}:").ok();
        for (key, value) in node.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
            writeln!(out, "  {key}:\t{}", value.as_str().unwrap_or_default()).ok();
        }
    }
    out.push_str("Runtime features:\n");
    let annotations = node.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut known = false;
    for (key, value) in annotations.into_iter().flatten() {
        if let Some(feature) = key.strip_prefix(FEATURE) {
            known = true;
            writeln!(out, "  {feature}:\t{}", value.as_str().unwrap_or_default()).ok();
        }
    }
    if !known {
        out.push_str("  not known yet\n");
    }
    output::print(&tabs::align(&out, tabs::DESCRIPTION))?;
    Ok(ExitCode::SUCCESS)
}

fn the_one(invocation: &Invocation, names: &[&str]) -> Outcome<Value> {
    let info = session::info(invocation)?;
    match names.iter().find(|name| **name != info.node) {
        Some(other) => Err(Failure::failed(format!("nodes {other:?} not found; this node is {:?}", info.node))),
        None => Ok(object(&info)),
    }
}

/// The v1 Node.
fn object(info: &Info) -> Value {
    let kernel = rustix::system::uname();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let image = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    let (memory, cpus) = usage::capacity();
    let for_pods = if info.pods_memory == 0 { memory } else { info.pods_memory.min(memory) };
    let amounts = |memory: u64, milli: u64| {
        let cpu = if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") };
        json!({ "cpu": cpu, "memory": format!("{}Ki", memory / 1024) })
    };
    let milli = cpus.saturating_mul(1000);
    let annotations: Map<String, Value> = info
        .features
        .iter()
        .map(|(name, works)| (format!("{FEATURE}{name}"), if *works { "works" } else { "missing" }.into()))
        .collect();
    let works = |name: &str| info.features.get(name).copied().unwrap_or(false);
    let runtime = info.runtime.rsplit('/').next().unwrap_or_default();
    let version = info.runtime_version.split_whitespace().last().unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": info.node,
            "creationTimestamp": info.started_at,
            "labels": {
                "kubernetes.io/arch": architecture(),
                "kubernetes.io/hostname": kernel.nodename().to_string_lossy(),
                "kubernetes.io/os": "linux",
            },
            "annotations": annotations,
        },
        "spec": {},
        "status": {
            "capacity": amounts(memory, milli),
            "allocatable": amounts(for_pods, milli.saturating_sub(info.reserved_cpu)),
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "SupervisorReady", "message": "the supervisor answers",
            }],
            "nodeInfo": {
                "architecture": architecture(),
                "containerRuntimeVersion": format!("{runtime}://{version}"),
                "kernelVersion": kernel.release().to_string_lossy(),
                "kubeletVersion": format!("gatepost {}", info.version),
                "operatingSystem": "linux",
                "osImage": image,
            },
            "features": { "supplementalGroupsPolicy": true },
            "runtimeHandlers": [{
                "name": "",
                "features": {
                    "recursiveReadOnlyMounts": works("recursiveReadOnlyMounts"),
                    "userNamespaces": works("hostUsers"),
                },
            }],
        },
    })
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
