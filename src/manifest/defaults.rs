//! Defaults of the v1 API, applied before validation. Kubernetes: pkg/apis/core/v1/defaults.go.

use serde_json::Value as Json;

use super::v1::{Container, Pod};

/// Defaults that must tell "absent" from "zero", put into the decoded JSON.
pub(super) fn apply_to_json(pod: &mut Json) {
    let Some(Json::Object(spec)) = pod.get_mut("spec") else { return };
    spec.entry("terminationGracePeriodSeconds").or_insert_with(|| Json::from(30));
    if let Some(old) = spec.remove("serviceAccount") {
        // The older name of the field counts where the newer is not set.
        spec.entry("serviceAccountName").or_insert(old);
    }
    let Some(Json::Array(volumes)) = spec.get_mut("volumes") else { return };
    for volume in volumes {
        let Json::Object(fields) = volume else { continue };
        if fields.keys().all(|key| key == "name") {
            fields.insert("emptyDir".to_owned(), Json::Object(serde_json::Map::new()));
        }
    }
}

/// Defaults of a typed pod, where an empty text means "absent".
pub(super) fn apply(pod: &mut Pod) {
    let spec = &mut pod.spec;
    set(&mut spec.dns_policy, "ClusterFirst");
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        apply_to_container(container, spec.host_network);
    }
    for volume in &mut spec.volumes {
        if let Some(source) = &mut volume.config_map {
            source.default_mode.get_or_insert(0o644);
        }
        if let Some(source) = &mut volume.secret {
            source.default_mode.get_or_insert(0o644);
        }
    }
}

fn apply_to_container(container: &mut Container, host_network: bool) {
    if container.image_pull_policy.is_empty() {
        container.image_pull_policy = default_pull_policy(&container.image).to_owned();
    }
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    for port in &mut container.ports {
        set(&mut port.protocol, "TCP");
        if host_network && port.host_port == 0 {
            port.host_port = port.container_port;
        }
    }
    for (name, limit) in &container.resources.limits {
        container.resources.requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    for variable in &mut container.env {
        if let Some(field) = variable.value_from.as_mut().and_then(|from| from.field_ref.as_mut()) {
            set(&mut field.api_version, "v1");
        }
    }
}

fn set(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

/// `Always` for the tag `latest` and for no tag, `IfNotPresent` otherwise and with any digest.
fn default_pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}
