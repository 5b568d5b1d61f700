//! Validation of the environment: `env` and `envFrom`.

use super::super::error::Errors;
use super::super::names;
use super::super::quantity::Quantity;
use super::super::v1::{Container, EnvVarSource, KeySelector, Pod, ResourceFieldSelector};

const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Field paths that exist in a Pod but not in its environment.
const OTHER_FIELD_PATHS: [&str; 6] = [
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
    "status.nominatedNodeName",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks a container's variables.
pub(super) fn validate_env(pod: &Pod, container: &Container, path: &str, errors: &mut Errors) {
    for (index, variable) in container.env.iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if variable.name.is_empty() {
            errors.required(&format!("{path}.name"), "");
        } else {
            errors.invalid_all(&format!("{path}.name"), &variable.name, names::env_var(&variable.name));
        }
        if let Some(source) = &variable.value_from {
            validate_source(pod, source, &variable.value, &format!("{path}.valueFrom"), errors);
        }
    }
    for (index, source) in container.env_from.iter().enumerate() {
        let path = format!("{path}.envFrom[{index}]");
        if !source.prefix.is_empty() {
            errors.invalid_all(&format!("{path}.prefix"), &source.prefix, names::env_var(&source.prefix));
        }
        let references = [("configMapRef", &source.config_map_ref), ("secretRef", &source.secret_ref)];
        for (name, reference) in references {
            let Some(reference) = reference else { continue };
            object_name(&reference.name, &format!("{path}.{name}.name"), errors);
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => {
                errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`");
            }
            (Some(_), Some(_)) => errors.invalid(&path, "", "may not have more than one field specified at a time"),
            _ => {}
        }
    }
}

fn validate_source(pod: &Pod, source: &EnvVarSource, value: &str, path: &str, errors: &mut Errors) {
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        let at = format!("{path}.fieldRef.fieldPath");
        let subscripted = |map: &str| {
            let inner = field.field_path.strip_prefix(map).and_then(|rest| rest.strip_prefix("['"));
            inner.and_then(|rest| rest.strip_suffix("']"))
        };
        if field.field_path.is_empty() {
            errors.required(&at, "");
        } else if let Some(key) = subscripted("metadata.labels").or_else(|| subscripted("metadata.annotations")) {
            errors.invalid_all(&at, key, names::qualified(key));
        } else if OTHER_FIELD_PATHS.contains(&field.field_path.as_str()) {
            errors.unsupported(&at, &field.field_path, &FIELD_PATHS);
        } else if !FIELD_PATHS.contains(&field.field_path.as_str()) {
            let detail = format!("error converting fieldPath: field label not supported: {}", field.field_path);
            errors.invalid(&at, field.field_path.as_str(), detail);
        }
        if field.api_version != "v1" {
            errors.one_of(&format!("{path}.fieldRef.apiVersion"), &field.api_version, &["v1"]);
        }
    }
    if let Some(field) = &source.resource_field_ref {
        sources += 1;
        validate_resource_field(pod, field, &format!("{path}.resourceFieldRef"), errors);
    }
    let keys = [("configMapKeyRef", &source.config_map_key_ref), ("secretKeyRef", &source.secret_key_ref)];
    for (name, reference) in keys {
        let Some(reference) = reference else { continue };
        sources += 1;
        validate_key(reference, &format!("{path}.{name}"), errors);
    }
    if sources == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(path, "", detail);
    } else if !value.is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

fn validate_key(reference: &KeySelector, path: &str, errors: &mut Errors) {
    object_name(&reference.name, &format!("{path}.name"), errors);
    let at = format!("{path}.key");
    if reference.key.is_empty() {
        errors.required(&at, "");
    } else {
        errors.invalid_all(&at, &reference.key, names::config_key(&reference.key));
    }
}

/// The name of a ConfigMap or Secret that is referred to.
pub(super) fn object_name(name: &str, field: &str, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(field, "");
    } else {
        errors.invalid_all(field, name, names::subdomain(name));
    }
}

fn validate_resource_field(pod: &Pod, field: &ResourceFieldSelector, path: &str, errors: &mut Errors) {
    const BINARY: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let at = format!("{path}.resource");
    let hugepages =
        field.resource.starts_with("limits.hugepages-") || field.resource.starts_with("requests.hugepages-");
    if field.resource.is_empty() {
        errors.required(&at, "");
        return;
    }
    if !hugepages && !RESOURCES.contains(&field.resource.as_str()) {
        errors.unsupported(&at, &field.resource, &RESOURCES);
        return;
    }
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    if !field.container_name.is_empty() && !containers.into_iter().any(|c| c.name == field.container_name) {
        errors.not_found(&format!("{path}.containerName"), &field.container_name);
    }
    if field.divisor.is_empty() {
        return;
    }
    let written = Quantity::parse(&field.divisor).map(|quantity| quantity.to_string()).unwrap_or_default();
    if written == "0" {
        return;
    }
    let cpu = field.resource.ends_with(".cpu");
    let known: &[&str] = if cpu { &["1m", "1"] } else { &BINARY };
    if !known.contains(&written.as_str()) {
        let resource = match field.resource.split_once('.').map(|(_, name)| name) {
            Some(name) if name.starts_with("hugepages-") => "hugepages",
            Some("ephemeral-storage") => "local ephemeral storage",
            Some(name) => name,
            None => "",
        };
        let values = if cpu { "1m and 1".to_owned() } else { BINARY.join(", ") };
        let detail = format!("only divisor's values {values} are supported with the {resource} resource");
        errors.invalid(&format!("{path}.divisor"), written, detail);
    }
}
