//! [`validate_pod`], [`validate_config_map`], [`validate_secret`]: Kubernetes' validation of what is carried out.
//! kubernetes: pkg/apis/core/v1/validation. One file a room.

mod containers;
mod env;
mod metadata;
mod network;
mod resources;
mod security;
mod volumes;

use super::error::Errors;
use super::names;
use super::v1::{ConfigMap, Pod, Secret};

pub(super) use metadata::validate_metadata;

/// Largest ConfigMap or Secret. Kubernetes: 1 MiB.
const MAX_OBJECT_BYTES: usize = 1 << 20;

/// Checks a defaulted pod. Warnings are pairs of field and message.
pub(super) fn validate_pod(pod: &Pod, node_name: &str, errors: &mut Errors) -> Vec<(String, String)> {
    let mut warnings = super::annotations::check(pod, errors);
    let volumes = volumes::validate_volumes(pod, errors, &mut warnings);
    containers::validate_containers(pod, &volumes, errors, &mut warnings);
    network::validate_network(pod, errors, &mut warnings);
    security::validate_pod_security(pod, errors);
    let spec = &pod.spec;
    if spec.termination_grace_period_seconds < 0 {
        warnings.push(("spec.terminationGracePeriodSeconds".to_owned(), "below zero; it counts as 1".to_owned()));
    }
    if !spec.node_name.is_empty() && !node_name.is_empty() && spec.node_name != node_name {
        errors.invalid(
            "spec.nodeName",
            spec.node_name.as_str(),
            format!("this node is {node_name:?}; remove the field, or take the manifest to the node it names"),
        );
    }
    if !spec.service_account_name.is_empty() {
        errors.invalid_all(
            "spec.serviceAccountName",
            &spec.service_account_name,
            names::subdomain(&spec.service_account_name),
        );
    }
    if !spec.priority_class_name.is_empty() {
        let wrong = names::subdomain(&spec.priority_class_name);
        if wrong.is_empty()
            && !["system-node-critical", "system-cluster-critical"].contains(&spec.priority_class_name.as_str())
        {
            let message = "there are no PriorityClass objects; set priority to a number".to_owned();
            warnings.push(("spec.priorityClassName".to_owned(), message));
        }
        errors.invalid_all("spec.priorityClassName", &spec.priority_class_name, wrong);
    }
    warnings
}

/// Checks a ConfigMap.
pub(super) fn validate_config_map(object: &ConfigMap, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in &object.data {
        errors.invalid_all(&format!("data[{key}]"), key, names::config_key(key));
        if object.binary_data.contains_key(key) {
            errors.invalid(&format!("data[{key}]"), key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in &object.binary_data {
        errors.invalid_all(&format!("binaryData[{key}]"), key, names::config_key(key));
        size += value.len() / 4 * 3;
    }
    check_size(size, "", errors);
}

/// Checks a Secret whose `stringData` is merged.
pub(super) fn validate_secret(object: &Secret, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in &object.data {
        errors.invalid_all(&format!("data[{key}]"), key, names::config_key(key));
        size += value.len() / 4 * 3;
    }
    check_size(size, "data", errors);
}

fn check_size(size: usize, field: &str, errors: &mut Errors) {
    if size > MAX_OBJECT_BYTES {
        errors.add(super::ErrorKind::TooLong, field, None, format!("may not be more than {MAX_OBJECT_BYTES} bytes"));
    }
}
