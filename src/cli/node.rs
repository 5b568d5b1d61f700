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
use crate::manifest::{Amounts, Quantity, pod_amounts};
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
    out.push_str(&allocated(&session::pods(invocation)?.pods, &node));
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

/// kubectl's table: what pods that have not ended ask for, of what there is.
fn allocated(pods: &[Value], node: &Value) -> String {
    let mut sums = [Amounts::new(), Amounts::new()];
    let present = pods.iter().filter(|pod| !["Succeeded", "Failed"].contains(&text(pod, "/status/phase")));
    for pod in present.filter(|pod| pod.pointer("/metadata/uid").is_some()) {
        for (sum, amounts) in sums.iter_mut().zip(pod_amounts(pod)) {
            for (name, amount) in amounts {
                let known = sum.get(&name).map_or(amount, |known| known.plus(amount));
                sum.insert(name, known);
            }
        }
    }
    let nothing = Quantity::parse("0").ok();
    let mut out = "Allocated resources:\n  Resource\tRequests\tLimits\n  --------\t--------\t------\n".to_owned();
    for (name, there) in node.pointer("/status/allocatable").and_then(Value::as_object).into_iter().flatten() {
        write!(out, "  {name}").ok();
        for sum in &sums {
            let Some(amount) = sum.get(name).copied().or(nothing) else { continue };
            write!(out, "\t{amount}").ok();
            let all = there.as_str().and_then(|text| Quantity::parse(text).ok()).filter(|all| all.milli() > 0);
            if let Some(all) = all.filter(|_| !name.contains('/')) {
                write!(out, " ({}%)", amount.nanos().saturating_mul(100) / all.nanos().max(1)).ok();
            }
        }
        out.push('\n');
    }
    out
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
    let amounts = |memory: u64, milli: u64, only_there: bool| {
        let cpu = if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") };
        let mut amounts = json!({ "cpu": cpu, "memory": format!("{}Ki", memory / 1024) });
        for (name, there) in &info.devices {
            amounts[name.as_str()] = if *there || !only_there { "1" } else { "0" }.into();
        }
        amounts
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
            "capacity": amounts(memory, milli, false),
            "allocatable": amounts(for_pods, milli.saturating_sub(info.reserved_cpu), true),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_the_setting_are_resources_of_the_node() {
        let devices = [("gatepost.io/there".to_owned(), true), ("gatepost.io/away".to_owned(), false)];
        let node = object(&Info { devices: devices.into_iter().collect(), ..Info::default() });
        for (list, there, away) in [("capacity", "1", "1"), ("allocatable", "1", "0")] {
            assert_eq!(node["status"][list]["gatepost.io/there"], there, "{list}");
            assert_eq!(node["status"][list]["gatepost.io/away"], away, "{list}");
        }
    }

    #[test]
    fn what_pods_ask_for_is_summed_up_as_kubectl_does() {
        let node = json!({"status": {"allocatable": {"cpu": "2", "memory": "1000Mi", "x.io/y": "1"}}});
        let pod =
            |phase: &str, spec: Value| json!({"metadata": {"uid": "u"}, "spec": spec, "status": {"phase": phase}});
        let container = |requests: Value, limits: Value| json!({"resources": {"requests": requests, "limits": limits}});
        let pods = [
            pod(
                "Running",
                json!({"overhead": {"cpu": "10m"}, "containers": [
                container(json!({"cpu": "100m", "memory": "50Mi", "x.io/y": "1"}), json!({"memory": "100Mi", "x.io/y": "1"}))],
                "initContainers": [container(json!({"cpu": "300m"}), json!({}))]}),
            ),
            pod(
                "Running",
                json!({"resources": {"requests": {"cpu": "90m"}}, "containers": [container(json!({"cpu": "1m"}), json!({}))]}),
            ),
            pod("Failed", json!({"containers": [container(json!({"cpu": "1"}), json!({}))]})),
        ];
        assert_eq!(
            allocated(&pods, &node),
            "Allocated resources:\n  Resource\tRequests\tLimits\n  --------\t--------\t------\n  \
             cpu\t400m (20%)\t0 (0%)\n  memory\t50Mi (5%)\t100Mi (10%)\n  x.io/y\t1\t1\n"
        );
    }
}
