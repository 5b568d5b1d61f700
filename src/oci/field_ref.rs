//! `fieldRef` in environment variables: [`value`].

use super::{BundleInput, ConfigError};

/// The field's value; a missing label or annotation is empty.
pub(crate) fn value(input: &BundleInput, path: &str) -> Result<String, ConfigError> {
    let metadata = &input.pod.metadata;
    let spec = &input.pod.spec;
    // hostNetwork: the pod's address is the node's.
    let pod_ips = if spec.host_network { &input.node.host_ips } else { input.pod_ips };
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => input.node.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.hostIP" => first(&input.node.host_ips),
        "status.hostIPs" => input.node.host_ips.join(","),
        "status.podIP" => first(pod_ips),
        "status.podIPs" => pod_ips.join(","),
        _ => {
            let of_map = |map: &str| {
                let key = path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")?;
                Some(key.to_owned())
            };
            if let Some(key) = of_map("metadata.labels") {
                metadata.labels.get(&key).cloned().unwrap_or_default()
            } else if let Some(key) = of_map("metadata.annotations") {
                metadata.annotations.get(&key).cloned().unwrap_or_default()
            } else {
                return Err(ConfigError::config(format!("unsupported fieldPath: {path}")));
            }
        }
    })
}
