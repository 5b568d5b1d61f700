//! [`NetworkList`]: a CNI configuration, and [`choose`], which one counts (CNI specification, section 1).

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::json::{self, Deserialize, Serialize};
use crate::manifest::v1::Pod;

/// Versions of the specification that are spoken, the newest last.
const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Plugins in the order in which they set a network up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NetworkList {
    /// Where it stands: a file, or the setting.
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) cni_version: String,
    pub(super) plugins: Vec<Value>,
}

/// Whether a file of this name is a configuration (libcni).
pub(super) fn is_configuration(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["conf", "conflist", "json"].contains(&e))
}

/// The first good one by file name, and what is wrong with those before it.
pub(super) fn choose(mut files: Vec<(PathBuf, io::Result<Vec<u8>>)>) -> (Option<NetworkList>, Vec<String>) {
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut wrong = Vec::new();
    for (file, text) in files {
        match text.map_err(|error| error.to_string()).and_then(|text| parse(&file, &text)) {
            Ok(list) => return (Some(list), wrong),
            Err(why) => wrong.push(format!("{}: {why}; the next CNI configuration is looked at", file.display())),
        }
    }
    (None, wrong)
}

fn parse(file: &Path, text: &[u8]) -> Result<NetworkList, String> {
    let whole: Map<String, Value> = json::from_slice(text).map_err(|error| error.to_string())?;
    let text_of = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = text_of(&whole, "name").ok_or("name is missing")?;
    // It is a directory's name for host-local.
    if name.starts_with('.') || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err(format!("{name:?} is no name of a network"));
    }
    let offered = whole.get("cniVersions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let written: Vec<&str> = offered.chain(whole.get("cniVersion").and_then(Value::as_str)).collect();
    let version = VERSIONS.into_iter().rfind(|version| written.contains(version));
    let cni_version =
        version.ok_or_else(|| format!("cniVersion {written:?} is none of {}", VERSIONS.join(", ")))?.to_owned();
    let plugins = match whole.get("plugins") {
        Some(Value::Array(plugins)) => plugins.clone(),
        Some(_) => return Err("plugins is no list".to_owned()),
        None => vec![Value::Object(whole)],
    };
    if plugins.is_empty() {
        return Err("plugins is empty".to_owned());
    }
    for plugin in &plugins {
        let kind = plugin["type"].as_str().unwrap_or_default();
        if kind.is_empty() || kind.contains('/') || kind.starts_with('.') {
            return Err(format!("{:?} is no type of a plugin", plugin["type"]));
        }
    }
    Ok(NetworkList { file: file.to_owned(), name, cni_version, plugins })
}

/// What the setting `podSubnet` stands for: a bridge of the node. `store`: where host-local keeps addresses that are given away.
pub(super) fn bridge(subnet: &str, store: &Path) -> NetworkList {
    let ipam = json!({
        "type": "host-local",
        "dataDir": store,
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    NetworkList {
        file: "podSubnet".into(),
        name: "gatepost".to_owned(),
        cni_version: "0.4.0".to_owned(),
        plugins: vec![
            json!({
                "type": "bridge",
                "bridge": "gatepost0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": ipam,
            }),
            json!({"type": "portmap", "capabilities": {"portMappings": true}}),
        ],
    }
}

impl NetworkList {
    /// What a plugin reads: its configuration, what of the pod it can use, and the result of the plugin before it.
    pub(super) fn request(&self, plugin: &Value, port_mappings: &[Value], previous: Option<&Value>) -> Value {
        let mut request = plugin.clone();
        request["name"] = self.name.as_str().into();
        request["cniVersion"] = self.cni_version.as_str().into();
        if plugin["capabilities"]["portMappings"] == true && !port_mappings.is_empty() {
            request["runtimeConfig"] = json!({"portMappings": port_mappings});
        }
        if let Some(previous) = previous {
            request["prevResult"] = previous.clone();
        }
        request
    }

    /// Whether a plugin publishes ports.
    pub(super) fn publishes_ports(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin["capabilities"]["portMappings"] == true)
    }
}

/// The ports of a pod's app containers that are published on the node; those of init containers are not (Kubernetes).
pub(super) fn port_mappings(pod: &Pod) -> Vec<Value> {
    let ports = pod.spec.containers.iter().flat_map(|container| &container.ports).filter(|port| port.host_port > 0);
    ports
        .map(|port| {
            json!({
                "hostPort": port.host_port,
                "containerPort": port.container_port,
                "protocol": port.protocol.to_ascii_lowercase(),
                "hostIP": port.host_ip,
            })
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (PathBuf, io::Result<Vec<u8>>) {
        (name.into(), Ok(text.as_bytes().to_vec()))
    }

    #[test]
    fn the_first_good_configuration_by_file_name_counts() {
        let good = r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"},{"type":"portmap"}]}"#;
        let (list, wrong) = choose(vec![file("c.conflist", good), file("b.conflist", "{"), file("a.conf", "[]")]);
        let list = list.unwrap();
        assert_eq!((list.file.to_str().unwrap(), list.plugins.len(), wrong.len()), ("c.conflist", 2, 2));
        assert!(wrong[0].starts_with("a.conf: "), "{wrong:?}");
        assert!(["a.conf", "b.conflist", "c.json"].iter().all(|name| is_configuration(Path::new(name))));
        assert!(["a.conf.bak", "README", "conf"].iter().all(|name| !is_configuration(Path::new(name))));
    }

    #[test]
    fn a_configuration_of_one_plugin_is_a_list_of_one() {
        let (list, _) = choose(vec![file("a.conf", r#"{"cniVersion":"0.3.1","name":"n","type":"ptp","mtu":9000}"#)]);
        let list = list.unwrap();
        let request = list.request(&list.plugins[0], &[], None);
        assert_eq!(request, json!({"cniVersion": "0.3.1", "name": "n", "type": "ptp", "mtu": 9000}));
    }

    #[test]
    fn the_newest_version_that_both_speak_is_spoken() {
        let text = r#"{"cniVersion":"0.4.0","cniVersions":["0.3.1","1.1.0","9.0.0"],"name":"n","type":"ptp"}"#;
        assert_eq!(parse(Path::new("f"), text.as_bytes()).unwrap().cni_version, "1.1.0");
    }

    #[test]
    fn what_is_no_configuration_is_told() {
        for (text, why) in [
            (r#"{"cniVersion":"1.0.0","type":"ptp"}"#, "name is missing"),
            (r#"{"cniVersion":"1.0.0","name":"../x","type":"ptp"}"#, "no name of a network"),
            (r#"{"cniVersion":"0.1.0","name":"n","type":"ptp"}"#, "none of 0.3.1"),
            (r#"{"name":"n","type":"ptp"}"#, "none of 0.3.1"),
            (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "plugins is empty"),
            (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"../../bin/sh"}]}"#, "no type of a plugin"),
        ] {
            let found = parse(Path::new("f"), text.as_bytes()).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_plugin_gets_the_ports_if_it_says_that_it_can_use_them() {
        let list = bridge("10.0.0.0/24", Path::new("/run/cni"));
        let ports = [json!({"hostPort": 80})];
        let previous = json!({"ips": []});
        let bridge = list.request(&list.plugins[0], &ports, None);
        assert!(bridge.get("runtimeConfig").is_none() && bridge.get("prevResult").is_none());
        let portmap = list.request(&list.plugins[1], &ports, Some(&previous));
        assert_eq!(portmap["runtimeConfig"], json!({"portMappings": [{"hostPort": 80}]}));
        assert_eq!(portmap["prevResult"], previous);
        assert!(list.publishes_ports());
    }

    #[test]
    fn only_ports_of_app_containers_are_published() {
        let pod: Pod = json::from_value(json!({"spec": {
            "initContainers": [{"name": "s", "ports": [{"containerPort": 1, "hostPort": 1, "protocol": "TCP"}]}],
            "containers": [{"name": "a", "ports": [
                {"containerPort": 80, "hostPort": 8080, "hostIP": "192.0.2.1", "protocol": "UDP"},
                {"containerPort": 81, "protocol": "TCP"},
            ]}],
        }}))
        .unwrap();
        let expected = json!({"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "192.0.2.1"});
        assert_eq!(port_mappings(&pod), [expected]);
    }
}
