//! Validation of containers: names, image, ports, mounts, and what they refer to.

use super::super::error::Errors;
use super::super::names;
use super::super::v1::{Container, Pod};
use super::volumes::KnownVolumes;
use super::{env, resources, security};
use crate::sorted::BTreeSet;

/// Checks app and init containers.
pub(super) fn validate_containers(
    pod: &Pod,
    volumes: &KnownVolumes<'_>,
    errors: &mut Errors,
    warnings: &mut Vec<(String, String)>,
) {
    if pod.spec.containers.is_empty() {
        errors.required("spec.containers", "");
    }
    let mut seen = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    let all = pod.spec.containers.iter().map(|container| ("containers", container));
    let all = all.chain(pod.spec.init_containers.iter().map(|container| ("initContainers", container)));
    let mut index = (0_usize, 0_usize);
    for (list, container) in all {
        let at = if list == "containers" { &mut index.0 } else { &mut index.1 };
        let path = format!("spec.{list}[{at}]");
        *at += 1;
        validate_name(container, &path, &mut seen, errors);
        validate_container(pod, container, &path, volumes, errors);
        validate_ports(pod, container, &path, list == "containers", &mut host_ports, errors);
        resources::validate_resources(container, &path, errors, warnings);
    }
}

fn validate_name<'a>(container: &'a Container, path: &str, seen: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let field = format!("{path}.name");
    if container.name.is_empty() {
        errors.required(&field, "");
    } else {
        errors.invalid_all(&field, &container.name, names::label(&container.name));
        if !seen.insert(&container.name) {
            errors.duplicate(&field, &container.name);
        }
    }
}

fn validate_container(pod: &Pod, container: &Container, path: &str, volumes: &KnownVolumes<'_>, errors: &mut Errors) {
    if container.image.is_empty() {
        errors.required(&format!("{path}.image"), "");
    } else if container.image.trim() != container.image {
        let detail = "must not have leading or trailing whitespace";
        errors.invalid(&format!("{path}.image"), container.image.as_str(), detail);
    }
    let known = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&format!("{path}.imagePullPolicy"), &container.image_pull_policy, &known);
    let known = ["File", "FallbackToLogsOnError"];
    errors.one_of(&format!("{path}.terminationMessagePolicy"), &container.termination_message_policy, &known);
    env::validate_env(pod, container, path, errors);
    let mut mounted = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if mount.name.is_empty() {
            errors.required(&format!("{path}.name"), "");
        }
        if !volumes.contains(mount.name.as_str()) {
            errors.not_found(&format!("{path}.name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            errors.required(&format!("{path}.mountPath"), "");
        }
        if !mounted.insert(mount.mount_path.as_str()) {
            errors.invalid(&format!("{path}.mountPath"), mount.mount_path.as_str(), "must be unique");
        }
    }
    security::validate_container_security(container, path, errors);
}

fn validate_ports<'a>(
    pod: &Pod,
    container: &'a Container,
    path: &str,
    published: bool,
    host_ports: &mut BTreeSet<(&'a str, &'a str, i32)>,
    errors: &mut Errors,
) {
    const RANGE: &str = "must be between 1 and 65535, inclusive";
    let mut port_names = BTreeSet::new();
    for (index, port) in container.ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        if !port.name.is_empty() {
            let wrong = names::port(&port.name);
            if wrong.is_empty() && !port_names.insert(port.name.as_str()) {
                errors.duplicate(&format!("{path}.name"), &port.name);
            }
            errors.invalid_all(&format!("{path}.name"), &port.name, wrong);
        }
        if port.container_port == 0 {
            errors.required(&format!("{path}.containerPort"), "");
        } else if !(1..=65535).contains(&port.container_port) {
            errors.invalid(&format!("{path}.containerPort"), port.container_port, RANGE);
        }
        if port.host_port != 0 {
            let field = format!("{path}.hostPort");
            if !(1..=65535).contains(&port.host_port) {
                errors.invalid(&field, port.host_port, RANGE);
            } else if pod.spec.host_network && port.host_port != port.container_port {
                errors.invalid(&field, port.host_port, "must match `containerPort` when `hostNetwork` is true");
            } else if !pod.spec.host_network {
                errors
                    .later(&field, "publishing a port without hostNetwork; set hostNetwork: true, or remove hostPort");
            }
            if published && !host_ports.insert((port.protocol.as_str(), port.host_ip.as_str(), port.host_port)) {
                errors.duplicate(&field, &format!("{}/{}/{}", port.protocol, port.host_ip, port.host_port));
            }
        }
        if !port.host_ip.is_empty() {
            errors.invalid_all(&format!("{path}.hostIP"), &port.host_ip, names::ip(&port.host_ip));
        }
        errors.one_of(&format!("{path}.protocol"), &port.protocol, &["SCTP", "TCP", "UDP"]);
    }
}
