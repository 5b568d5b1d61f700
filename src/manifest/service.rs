//! What a Service asks for and does not get here: [`warnings`], and [`wrong_names`] of ports. Its name stands for the address of one pod,
//! with nothing in between that could change a port or listen on the node.

use serde_json::Value as Json;

use super::desired::Desired;
use super::loaded::Object;
use super::v1::{Pod, Port, Service};

/// Field and message of each.
pub(super) fn warnings(service: &Json) -> Vec<(String, String)> {
    let spec = &service["spec"];
    let text = |key: &str| spec[key].as_str().unwrap_or_default();
    let mut found = Vec::new();
    let mut warn = |field: &str, message: String| found.push((format!("spec.{field}"), message));
    let kind = text("type");
    if kind == "ExternalName" {
        let message =
            "there is no DNS server that could answer with another name; use hostAliases, or that name itself";
        warn("externalName", message.to_owned());
        return found;
    }
    if ["NodePort", "LoadBalancer"].contains(&kind) {
        warn(
            "type",
            format!("{kind}: nothing listens on the node for a Service; give the pod a hostPort, or hostNetwork"),
        );
    }
    if !["", "None"].contains(&text("clusterIP")) {
        warn("clusterIP", "a Service has no address of its own: its name leads to a pod's".to_owned());
    }
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        warn("selector", "nothing is selected, so the name leads nowhere; Endpoints are not carried out".to_owned());
    }
    for (at, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        if port["nodePort"].as_i64().is_some_and(|number| number != 0) {
            warn(
                &format!("ports[{at}].nodePort"),
                "nothing listens on the node for a Service; give the pod a hostPort".to_owned(),
            );
        }
        if let (Some(number), Some(target)) = (port["port"].as_i64(), port["targetPort"].as_i64())
            && target != number
        {
            warn(&format!("ports[{at}].targetPort"), other_port(number, target));
        }
    }
    found
}

fn other_port(port: i64, target: i64) -> String {
    format!(
        "there is no proxy: where the name leads the pods answer at {target}, and nobody at {port}; use {target} as port, too"
    )
}

/// Ports that have a name as target, which means another number in a pod that is selected: file of the Service, its place in the list,
/// and what to tell.
pub(super) fn wrong_names(desired: &[Desired]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, service) in desired.iter().enumerate() {
        let Object::Service(service) = &service.object else { continue };
        for (index, port) in service.spec.ports.iter().enumerate() {
            let Port::Name(name) = &port.target_port else { continue };
            let pods = desired.iter().filter_map(|desired| match &desired.object {
                Object::Pod { pod, .. } if selects(service, pod) => Some(pod),
                _ => None,
            });
            let numbers = pods.flat_map(|pod| &pod.spec.containers).flat_map(|container| &container.ports);
            let mut targets = numbers.filter(|port| port.name == *name).map(|port| port.container_port);
            if let Some(target) = targets.find(|target| *target != port.port) {
                let message = other_port(i64::from(port.port), i64::from(target));
                found.push((at, format!("spec.ports[{index}].targetPort: {name}: {message}")));
            }
        }
    }
    found
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty()
        && service.metadata.namespace == pod.metadata.namespace
        && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_name_alone_can_do_is_not_warned_of() {
        let plain = json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"},
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}, {"port": 443, "targetPort": "https"}]}});
        assert_eq!(warnings(&plain), []);
    }

    #[test]
    fn each_thing_that_needs_more_is_named_with_its_field() {
        let fields = |spec: Json| -> Vec<String> {
            warnings(&json!({"spec": spec})).into_iter().map(|(field, _)| field).collect()
        };
        let port = json!({"port": 80, "targetPort": 8080, "nodePort": 30080});
        assert_eq!(
            fields(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [port]})),
            ["spec.type", "spec.clusterIP", "spec.selector", "spec.ports[0].nodePort", "spec.ports[0].targetPort"]
        );
        assert_eq!(fields(json!({"type": "ExternalName", "externalName": "e.org"})), ["spec.externalName"]);
    }
}
