//! Validation of the environment: `env` and `envFrom`.

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::paths::without_backsteps;
use crate::document::Quantity;

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

/// Field paths that exist in a Pod, but not everywhere.
const OTHER_FIELD_PATHS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Sources of a variable.
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// Checks a container's variables.
pub(super) fn validate_env(container: &At<'_>, errors: &mut Errors) {
    for variable in container.child("env").items() {
        let name = variable.child("name");
        if errors.needs(&name) {
            errors.wrong(&name, names::env_var(name.text()));
        }
        if let Some(from) = variable.set("valueFrom") {
            validate_source(&from, variable.text_of("value"), errors);
        }
    }
    let sources = container.child("envFrom");
    for source in sources.items() {
        let prefix = source.child("prefix");
        if prefix.is_truthy() {
            errors.wrong(&prefix, names::env_var(prefix.text()));
        }
        let mut count = 0;
        for reference in ["configMapRef", "secretRef"] {
            let Some(reference) = source.set(reference) else { continue };
            count += 1;
            let name = reference.child("name");
            if errors.needs(&name) {
                errors.wrong(&name, names::subdomain_prefix(name.text()));
            }
        }
        // Kubernetes leaves the index out of these paths.
        if count == 0 {
            errors.invalid_as(&sources, "", "must specify one of: `configMapRef` or `secretRef`");
        } else if count > 1 {
            errors.invalid_as(&sources, "", "may not have more than one field specified at a time");
        }
    }
}

fn validate_source(from: &At<'_>, value: &str, errors: &mut Errors) {
    let mut count = 0;
    for source in SOURCES {
        let Some(at) = from.set(source) else { continue };
        count += 1;
        match source {
            "fieldRef" => validate_field_ref(&at, &at, &FIELD_PATHS, errors),
            "resourceFieldRef" => validate_resource_field(&at, &at, false, errors),
            "fileKeyRef" => validate_file_key(&at, errors),
            _ => validate_key(&at, errors),
        }
    }
    if count == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid_as(from, "", detail);
    } else if !value.is_empty() {
        errors.invalid_as(from, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        errors.invalid_as(from, "", "may not have more than one field specified at a time");
    }
}

fn validate_key(reference: &At<'_>, errors: &mut Errors) {
    let (name, key) = (reference.child("name"), reference.child("key"));
    errors.wrong_as(&name, name.text(), names::subdomain(name.text()));
    if errors.needs(&key) {
        errors.wrong(&key, names::config_key(key.text()));
    }
}

fn validate_file_key(reference: &At<'_>, errors: &mut Errors) {
    let (key, volume, path) = (reference.child("key"), reference.child("volumeName"), reference.child("path"));
    if errors.needs(&key) {
        errors.wrong(&key, names::env_var(key.text()));
    }
    if errors.needs(&volume) {
        errors.wrong(&volume, names::label(volume.text()));
    }
    if errors.needs(&path) {
        without_backsteps(&path, path.text(), errors);
    }
}

/// A field of the pod. `at`: the place that errors name, which is not always where the field is.
pub(super) fn validate_field_ref(field: &At<'_>, at: &At<'_>, known: &[&str], errors: &mut Errors) {
    let (version, path) = (field.text_of("apiVersion"), field.text_of("fieldPath"));
    let place = at.child("fieldPath");
    if version.is_empty() {
        errors.required_at(&at.child("apiVersion"), "");
        return;
    }
    if path.is_empty() {
        errors.required_at(&place, "");
        return;
    }
    let subscripted = path.strip_suffix("']").and_then(|path| path.split_once("['")).filter(|(map, _)| !map.is_empty());
    if version != "v1" {
        errors.invalid_as(&place, path, format!("error converting fieldPath: unsupported pod version: {version}"));
    } else if let Some((map, key)) = subscripted {
        match map {
            "metadata.annotations" => {
                let lower = key.to_ascii_lowercase();
                errors.wrong_as(at, &lower, names::qualified(&lower));
            }
            "metadata.labels" => errors.wrong_as(at, key, names::qualified(key)),
            _ => {
                let detail = format!("error converting fieldPath: field label does not support subscript: {path}");
                errors.invalid_as(&place, path, detail);
            }
        }
    } else if !known.contains(&path) {
        if OTHER_FIELD_PATHS.contains(&path) || FIELD_PATHS.contains(&path) {
            errors.unsupported(&place.to_string(), path, known);
        } else if path != "spec.host" {
            let detail = format!("error converting fieldPath: field label not supported: {path}");
            errors.invalid_as(&place, path, detail);
        }
    }
}

/// A resource of a container. `at`: the place that errors name; `in_volume`: it must name a container.
pub(super) fn validate_resource_field(field: &At<'_>, at: &At<'_>, in_volume: bool, errors: &mut Errors) {
    const BINARY: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let resource = field.text_of("resource");
    let huge_pages = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && field.text_of("containerName").is_empty() {
        errors.required_at(&at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required_at(&at.child("resource"), "");
    } else if !huge_pages && !RESOURCES.contains(&resource) {
        errors.unsupported(&at.child("resource").to_string(), resource, &RESOURCES);
    }
    let divisor = field.child("divisor").quantity().filter(|divisor| divisor.nanos() != 0);
    let Some(divisor) = divisor.as_ref().map(Quantity::to_string) else { return };
    let (of, known): (&str, &[&str]) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => ("cpu", &["1m", "1"]),
        Some("memory") => ("memory", &BINARY),
        Some("ephemeral-storage") => ("local ephemeral storage", &BINARY),
        _ if huge_pages => ("hugepages", &BINARY),
        _ => return,
    };
    if !known.contains(&divisor.as_str()) {
        let values = if of == "cpu" { "1m and 1".to_owned() } else { BINARY.join(", ") };
        let detail = format!("only divisor's values {values} are supported with the {of} resource");
        errors.invalid_as(&at.child("divisor"), resource, detail);
    }
}
