//! Ports of the node that pods take: [`conflict`] (Kubernetes: the predicate `NodePorts`).

use super::event::Failure;
use super::lifecycle::{self, Around, SYSCTL_FORBIDDEN, Stage};
use super::turn::Turn;
use crate::manifest::v1::{ContainerPort, Pod, RestartPolicy};

/// The reason of a pod that wants a port that another one has (kubelet).
const NODE_PORTS: &str = "NodePorts";

/// Ports of the node that the pod takes; those of ordinary init containers are not held.
fn taken(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy == Some(RestartPolicy::Always));
    sidecars.chain(&pod.spec.containers).flat_map(|container| &container.ports).filter(|port| port.host_port > 0)
}

/// Whether the pod takes any.
pub(crate) fn takes_any(pod: &Pod) -> bool {
    taken(pod).next().is_some()
}

/// A port that both take, as people name it.
pub(crate) fn conflict(pod: &Pod, other: &Pod) -> Option<String> {
    let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    let same = |a: &ContainerPort, b: &ContainerPort| {
        a.host_port == b.host_port
            && a.protocol == b.protocol
            && (a.host_ip == b.host_ip || everywhere(&a.host_ip) || everywhere(&b.host_ip))
    };
    let port = taken(pod).find(|port| taken(other).any(|others| same(port, others)))?;
    Some(format!("{} port {}", port.protocol, port.host_port))
}

impl lifecycle::Pod {
    /// Refused as kubelet does, but not for good: it starts when the port is free.
    pub(super) fn refuse_port(&mut self, around: &Around, turn: &mut Turn<'_>) {
        let Some((who, true)) = &around.taken else { return };
        let message =
            format!("Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: {who}");
        if self.trouble.as_ref().is_none_or(|trouble| trouble.message != message) {
            self.scope().record(turn, true, NODE_PORTS, message.clone());
        }
        self.trouble = Some(Failure { reason: NODE_PORTS.to_owned(), message });
    }

    /// Whether the node refuses to run it now.
    pub(super) fn is_rejected(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| match self.stage {
            Stage::Sandbox { .. } => trouble.reason == SYSCTL_FORBIDDEN,
            Stage::Blocked => trouble.reason == NODE_PORTS,
            _ => false,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::json;
    use serde_json::{Value, json};

    fn pod(port: &Value) -> Pod {
        let mut pod: Pod = json::from_value(json!({"spec": {"containers": [{"name": "a", "ports": [port]}]}})).unwrap();
        for port in pod.spec.containers.iter_mut().flat_map(|container| &mut container.ports) {
            if port.protocol.is_empty() {
                port.protocol.push_str("TCP");
            }
        }
        pod
    }

    #[test]
    fn a_port_is_taken_by_protocol_and_address() {
        let taken = pod(&json!({"hostPort": 80}));
        for (port, conflicts) in [
            (json!({"hostPort": 80}), true),
            (json!({"hostPort": 80, "hostIP": "192.0.2.1"}), true),
            (json!({"hostPort": 81}), false),
            (json!({"hostPort": 80, "protocol": "UDP"}), false),
            (json!({"containerPort": 80}), false),
        ] {
            assert_eq!(conflict(&pod(&port), &taken).is_some(), conflicts, "{port}");
        }
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|ip| pod(&json!({"hostPort": 80, "hostIP": ip})));
        assert_eq!(conflict(&a, &b), None);
        assert_eq!(conflict(&a, &a).unwrap(), "TCP port 80");
        assert!(takes_any(&a) && !takes_any(&pod(&json!({"containerPort": 80}))));
    }
}
