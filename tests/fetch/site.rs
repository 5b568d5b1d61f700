//! A site with its own distribution server: several network namespaces as nodes, joined by a bridge.

use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::pods::text;
use crate::gateway::{Gateway, fetching, sample_images};
use crate::registry::{Kind, Registry, answers, busybox, copy, of_image, source};

/// Network namespaces; the first one holds the bridge.
struct Site(Vec<String>);

impl Site {
    /// With as many nodes: `198.51.100.1`, `.2` and so on.
    fn of(nodes: usize) -> Self {
        let name = |number| format!("gp-site-{}-{number}", std::process::id());
        let site = Self((0..=nodes).map(name).collect());
        for name in &site.0 {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let switch = site.0[0].as_str();
        ip(&["-n", switch, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", switch, "link", "set", "bridge", "up"]);
        for (number, name) in site.0.iter().enumerate().skip(1) {
            let port = format!("port{number}");
            ip(&["link", "add", "name", "eth0", "netns", name, "type", "veth", "peer", "name", &port, "netns", switch]);
            ip(&["-n", switch, "link", "set", &port, "master", "bridge", "up"]);
            ip(&["-n", name, "addr", "add", &format!("198.51.100.{number}/24"), "dev", "eth0"]);
            ip(&["-n", name, "link", "set", "eth0", "up"]);
        }
        site
    }

    /// A gatepost at a node, without any image, which asks the first node and then the third.
    fn gateway(&self, number: usize, settings: &str) -> Gateway {
        let mirrors = "[{url: 'http://198.51.100.1:5000'}, {url: 'http://198.51.100.3:5000'}]";
        let registries = format!("registries: {{site.example: {{mirrors: {mirrors}}}}}\n{settings}");
        let mut gateway = Gateway::without_images(&fetching(&registries));
        gateway.through = vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.0[number])];
        gateway
    }

    /// The node is off, as far as others can see.
    fn lose(&self, number: usize) {
        ip(&["-n", &self.0[number], "link", "set", "eth0", "down"]);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("iproute2 is installed: tests/setup.sh test");
    assert!(status.success(), "ip {arguments:?}: {status}");
}

/// docker-registry at port 5000 of its node; its storage is a directory of the host.
fn registry_pod(gateway: &Gateway) -> Value {
    let config =
        "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /registry}}\nhttp: {addr: ':5000'}\n";
    gateway.write(
        "registry-config.yaml",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "registry"}, "data": {"config.yml": config}}).to_string(),
    );
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "registry"},
        "spec": {
            "hostNetwork": true,
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "app", "image": "sample/docker-registry:2", "args": ["serve", "/config/config.yml"],
                "readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": 5000}, "periodSeconds": 1},
                "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/registry"}],
            }],
            "volumes": [
                {"name": "config", "configMap": {"name": "registry"}},
                {"name": "data", "hostPath": {"path": gateway.path("host"), "type": "Directory"}},
            ],
        },
    })
}

#[test]
fn a_registry_in_a_pod_serves_its_own_node_and_others_and_when_it_is_lost_a_host_service_takes_over() {
    let site = Site::of(3);
    let mut first = site.gateway(1, "imagePreloadPath: BASE/preload");
    std::fs::create_dir(first.path("preload")).unwrap();
    let tarball = format!("docker-archive:{}:sample/docker-registry:2", first.path("preload/registry.tar").display());
    let layout = format!("oci:{}:sample/docker-registry:2", sample_images().join("docker-registry").display());
    assert!(Command::new("skopeo").args(["copy", "--quiet", &layout, &tarball]).status().unwrap().success());
    // Both at once: the registry needs nothing but its tarball, the other pod waits for it.
    first.apply(&of_image("web", "site.example/sample/busybox:1"));
    first.apply(&registry_pod(&first));
    first.run(true);
    first.ready("registry");
    copy(Some(&site.0[1]), &busybox(), "198.51.100.1:5000/sample/busybox:1", &["--dest-tls-verify=false"]);
    first.ready("web");
    assert_eq!(source(&first, "web"), "http://198.51.100.1:5000");
    let mut second = site.gateway(2, "");
    second.run(true);
    second.apply(&of_image("web", "site.example/sample/busybox:1"));
    let web = second.ready("web");
    assert_eq!(source(&second, "web"), "http://198.51.100.1:5000");
    // The replica, a service of its host.
    let replica = Registry::of(&Kind { network: Some((&site.0[3], "198.51.100.3")), ..Kind::default() });
    replica.push("sample/busybox:2", &["--format", "v2s2"]);
    site.lose(1);
    second.apply(&of_image("later", "site.example/sample/busybox:2"));
    second.ready("later");
    assert_eq!(source(&second, "later"), "http://198.51.100.3:5000");
    // What ran has not noticed.
    let id = |pod: &Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    assert_eq!(id(&second.ready("web")), id(&web));
    // The first node runs what it has, though it is alone.
    first.ready("registry");
    first.ready("web");
    assert!(!answers(Some(&site.0[2]), "198.51.100.1:5000"));
}
