//! [`links`]: environment variables of Services (kubelet `pkg/kubelet/envvars`).

use crate::manifest::v1::Service;

/// The variables of a Service that is reached at `address`, in the form of Kubernetes and in that of Docker's links. A headless one
/// has none, and neither has one that is a name only.
pub fn links(service: &Service, address: &str) -> Vec<(String, String)> {
    let spec = &service.spec;
    let Some(first) = spec.ports.first() else { return Vec::new() };
    if spec.cluster_ip == "None" || spec.kind == "ExternalName" || spec.selector.is_empty() {
        return Vec::new();
    }
    let upper = |name: &str| name.to_ascii_uppercase().replace('-', "_");
    let name = upper(&service.metadata.name);
    let mut found = vec![
        (format!("{name}_SERVICE_HOST"), address.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    let named = spec.ports.iter().filter(|port| !port.name.is_empty());
    found.extend(named.map(|port| (format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string())));
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (at, port) in spec.ports.iter().enumerate() {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let url = format!("{}://{host}:{}", protocol.to_ascii_lowercase(), port.port);
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        if at == 0 {
            found.push((format!("{name}_PORT"), url.clone()));
        }
        found.push((format!("{prefix}_PROTO"), protocol.to_ascii_lowercase()));
        found.push((format!("{prefix}_PORT"), port.port.to_string()));
        found.push((format!("{prefix}_ADDR"), address.to_owned()));
        found.push((prefix, url));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::json;
    use serde_json::json;

    fn of(spec: &serde_json::Value, address: &str) -> Vec<String> {
        let service: Service =
            json::from_value(json!({"metadata": {"name": "my-db", "namespace": "d"}, "spec": spec})).unwrap();
        links(&service, address).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn the_variables_are_those_of_kubernetes() {
        let ports =
            json!([{"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "log", "port": 514, "protocol": "UDP"}]);
        assert_eq!(
            of(&json!({"selector": {"a": "b"}, "ports": ports}), "10.0.0.2"),
            [
                "MY_DB_SERVICE_HOST=10.0.0.2",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_SQL=5432",
                "MY_DB_SERVICE_PORT_LOG=514",
                "MY_DB_PORT=tcp://10.0.0.2:5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.0.0.2",
                "MY_DB_PORT_5432_TCP=tcp://10.0.0.2:5432",
                "MY_DB_PORT_514_UDP_PROTO=udp",
                "MY_DB_PORT_514_UDP_PORT=514",
                "MY_DB_PORT_514_UDP_ADDR=10.0.0.2",
                "MY_DB_PORT_514_UDP=udp://10.0.0.2:514",
            ]
        );
    }

    #[test]
    fn an_address_with_colons_stands_in_brackets_in_a_url() {
        let all = of(&json!({"selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}), "fd00::2");
        assert!(all.contains(&"MY_DB_PORT=tcp://[fd00::2]:80".to_owned()), "{all:?}");
        assert!(all.contains(&"MY_DB_SERVICE_HOST=fd00::2".to_owned()));
    }

    #[test]
    fn a_headless_service_has_none() {
        let ports = json!([{"port": 80}]);
        assert!(of(&json!({"clusterIP": "None", "selector": {"a": "b"}, "ports": ports}), "x").is_empty());
        assert!(of(&json!({"type": "ExternalName", "selector": {"a": "b"}, "ports": ports}), "x").is_empty());
        assert!(of(&json!({"ports": ports}), "x").is_empty());
    }
}
