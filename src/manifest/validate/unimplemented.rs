//! What Kubernetes accepts and this version refuses, beyond whole fields (those are in the field table), and what it accepts
//! with a warning. Each rule goes when its matter is carried out.

use super::super::error::Errors;
use super::super::load::Rules;
use super::super::names;
use super::at::At;

/// Most containers of one pod, init containers included.
const MAX_CONTAINERS: usize = 256;

/// A field and what is odd about it.
pub(super) type Warnings = Vec<(String, String)>;

/// Checks a valid, defaulted pod.
pub(super) fn refuse_unimplemented(spec: &At<'_>, rules: Rules<'_>, errors: &mut Errors, warnings: &mut Warnings) {
    let node_name = rules.node_name;
    let count: usize = ["containers", "initContainers"].iter().map(|list| spec.child(list).items().len()).sum();
    if count > MAX_CONTAINERS {
        let detail = format!("at most {MAX_CONTAINERS} containers run in a pod here, init containers included");
        errors.later_at(&spec.child("containers"), &detail);
    }
    let name = spec.child("nodeName");
    if name.is_truthy() && !node_name.is_empty() && name.text() != node_name {
        let detail = format!("this node is {node_name:?}; remove the field, or take the manifest to the node it names");
        errors.later_at(&name, &detail);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.child(list).items() {
            check_ports(&container, errors);
            check_hosts(&container, errors);
            check_resources(&container, rules.devices, errors, warnings);
        }
    }
    for volume in spec.child("volumes").items() {
        check_empty_dir(&volume.child("emptyDir"), errors);
        let image = volume.child("image");
        if image.is_set() && !image.child("reference").is_truthy() {
            errors.later_at(&image.child("reference"), "no image is named, and nothing else names it here");
        }
    }
    warn(spec, warnings);
}

fn warn(spec: &At<'_>, warnings: &mut Warnings) {
    let mut add = |at: &At<'_>, message: &str| warnings.push((at.to_string(), message.to_owned()));
    let grace = spec.child("terminationGracePeriodSeconds");
    if grace.number() < 0 {
        add(&grace, "below zero; it counts as 1");
    }
    let class = spec.child("priorityClassName");
    if class.is_truthy() && !["system-node-critical", "system-cluster-critical"].contains(&class.text()) {
        add(&class, "there are no PriorityClass objects; set priority to a number");
    }
    let policy = spec.child("dnsPolicy");
    if policy.text() == "ClusterFirstWithHostNet" {
        add(&policy, "there is no cluster DNS; the node's resolver is used");
    }
    let hostname = spec.child("hostname");
    if hostname.is_truthy() && spec.flag_of("hostNetwork") == Some(true) {
        add(&hostname, "the host's name counts with hostNetwork: true");
    }
}

fn check_ports(container: &At<'_>, errors: &mut Errors) {
    for port in container.child("ports").items() {
        let address = port.child("hostIP");
        if address.is_truthy() && !names::ip(address.text()).is_empty() {
            errors.later_at(&address, "not an address of the host; write an IP address, or remove the field");
        }
    }
}

/// Whom a probe or hook asks, where that is not the pod itself.
fn check_hosts(container: &At<'_>, errors: &mut Errors) {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.child(probe));
    let lifecycle = container.child("lifecycle");
    let hooks = ["postStart", "preStop"].map(|hook| lifecycle.child(hook));
    for handler in probes.iter().chain(&hooks) {
        for action in ["httpGet", "tcpSocket"] {
            let action = handler.child(action);
            let host = action.child("host");
            let bare = host.text().trim_start_matches('[').trim_end_matches(']');
            if host.is_truthy() && bare != "localhost" && !names::ip(bare).is_empty() {
                errors.later_at(
                    &host,
                    "names are not looked up here; write an IP address, or remove the field to ask the pod",
                );
            }
        }
    }
}

fn check_resources(container: &At<'_>, devices: Option<&[String]>, errors: &mut Errors, warnings: &mut Warnings) {
    let resources = container.child("resources");
    let limits = resources.child("limits");
    for list in ["limits", "requests"] {
        for (name, amount) in resources.child(list).entries() {
            // Requests that only repeat a limit were put there by defaulting.
            let defaulted = list == "requests" && limits.json.get(name) == Some(amount.json);
            if name.contains('/') {
                if !defaulted {
                    check_device(&amount, name, devices, errors, warnings);
                }
            } else if name == "ephemeral-storage" && !defaulted {
                warnings.push((amount.to_string(), "use of the disk is not accounted for".to_owned()));
            } else if let Some(quantity) = amount.quantity().filter(|q| name == "memory" && !defaulted && !q.is_whole())
            {
                let message = format!(
                    "{} is a fraction of a byte and counts as {}; did you mean M or Mi?",
                    amount.text(),
                    quantity.whole()
                );
                warnings.push((amount.to_string(), message));
            }
        }
    }
}

/// An extended resource is a device that the node's setting `devices` names: one, and so never more of it.
fn check_device(amount: &At<'_>, name: &str, devices: Option<&[String]>, errors: &mut Errors, warnings: &mut Warnings) {
    if amount.quantity().is_some_and(|amount| amount.nanos() > 1_000_000_000) {
        return errors
            .later_at(amount, "a name stands for one device here; write 1, and name further devices one by one");
    }
    match devices {
        None => warnings.push((amount.to_string(), format!("needs the node's setting `devices` to name {name}"))),
        Some(devices) if devices.iter().any(|device| device == name) => {}
        Some(_) => {
            let detail = "no device of this node has that name; say in the node's setting `devices` which one it is";
            errors.later_at(amount, detail);
        }
    }
}

fn check_empty_dir(source: &At<'_>, errors: &mut Errors) {
    let medium = source.child("medium");
    if !matches!(medium.text(), "" | "Memory" | "HugePages") && !medium.text().starts_with("HugePages-") {
        errors.later_at(&medium, "no such medium; use Memory, or remove the field for the disk");
    }
}
