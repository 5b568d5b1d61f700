//! `fieldRef` and `resourceFieldRef` of environment variables and downwardAPI volumes: [`value`], [`downward_item`].

use super::{BundleInput, ConfigError, NodeFacts, resources};
use crate::manifest::{quoted, v1};

/// The field's value in a variable; a missing label or annotation is empty.
pub(crate) fn value(input: &BundleInput, path: &str) -> Result<String, ConfigError> {
    let spec = &input.pod.spec;
    // hostNetwork: the pod's address is the node's.
    let pod_ips = if spec.host_network { &input.node.host_ips } else { input.pod_ips };
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    Ok(match path {
        "spec.nodeName" => input.node.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.hostIP" => first(&input.node.host_ips),
        "status.hostIPs" => input.node.host_ips.join(","),
        "status.podIP" => first(pod_ips),
        "status.podIPs" => pod_ips.join(","),
        _ => of_metadata(&input.pod.metadata, path).ok_or_else(|| unsupported(path))?,
    })
}

/// The text of a file of a downwardAPI volume.
pub fn downward_item(pod: &v1::Pod, node: &NodeFacts, item: &v1::DownwardApiVolumeFile) -> Result<String, ConfigError> {
    if let Some(selector) = &item.resource_field_ref {
        let of = &selector.container_name;
        let container =
            super::find_container(pod, of).ok_or_else(|| ConfigError::config(format!("container {of} not found")))?;
        return resources::field_value(container, &selector.resource, &selector.divisor, node);
    }
    let metadata = &pod.metadata;
    let lines = |map: &crate::sorted::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join("\n")
    };
    match item.field_ref.as_ref().map(|field| field.field_path.as_str()).unwrap_or_default() {
        "metadata.labels" => Ok(lines(&metadata.labels)),
        "metadata.annotations" => Ok(lines(&metadata.annotations)),
        path => of_metadata(metadata, path).ok_or_else(|| unsupported(path)),
    }
}

fn unsupported(path: &str) -> ConfigError {
    ConfigError::config(format!("unsupported fieldPath: {path}"))
}

fn of_metadata(metadata: &v1::ObjectMeta, path: &str) -> Option<String> {
    let of_map = |map: &str| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    Some(match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        _ => {
            if let Some(key) = of_map("metadata.labels") {
                metadata.labels.get(key).cloned().unwrap_or_default()
            } else {
                metadata.annotations.get(of_map("metadata.annotations")?).cloned().unwrap_or_default()
            }
        }
    })
}
