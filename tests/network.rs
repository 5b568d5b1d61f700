//! Networks of pods with the real CNI plugins, and names of pods and Services. Each gatepost here has a network namespace of its own,
//! so that nothing of the machine's bridges, routes and iptables is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;

#[path = "network/cni.rs"]
mod cni;
#[path = "network/names.rs"]
mod names;

use gateway::Gateway;
use gateway::manifest::{WAIT, pod};
use serde_json::{Value, json};
use std::process::Command;

/// A node of its own: gatepost in a network namespace with loopback and an uplink `up0` at 198.51.100.1.
struct Node {
    /// Goes first.
    gateway: Gateway,
    net: Namespace,
}

/// A network namespace by name; it lasts as long as a process is in it, too.
struct Namespace(String);

impl Node {
    /// Not started; `settings` are lines of the configuration file.
    fn prepare(settings: &str) -> Self {
        let mut gateway = Gateway::prepare(settings);
        let name = gateway.cgroup_root.clone();
        ip(&["netns", "add", &name]);
        gateway.through = vec!["nsenter".to_owned(), format!("--net=/run/netns/{name}")];
        let node = Self { gateway, net: Namespace(name) };
        node.ip(&["link", "set", "lo", "up"]);
        node.ip(&["link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
        node.ip(&["addr", "add", "198.51.100.1/24", "dev", "up0"]);
        node.ip(&["link", "set", "up0", "up"]);
        node.ip(&["link", "set", "up1", "up"]);
        node.ip(&["route", "add", "default", "via", "198.51.100.254"]);
        node
    }

    fn start(settings: &str) -> Self {
        let mut node = Self::prepare(settings);
        node.gateway.run(true);
        node
    }

    /// ip(8) in the node's network.
    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.net.0], arguments].concat());
    }

    /// The output of a command in the node's network.
    fn run(&self, arguments: &[&str]) -> String {
        let output =
            Command::new("nsenter").arg(format!("--net=/run/netns/{}", self.net.0)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The address of a pod that is Ready.
    fn address(&self, pod: &str) -> String {
        let pod = self.gateway.ready(pod);
        gateway::pods::text(&pod, "/status/podIP").to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("iproute2 is installed: tests/setup.sh test");
    assert!(status.success(), "ip {arguments:?}: {status}");
}

/// A pod that serves its own name by HTTP at port 8080, and is Ready when it does.
fn server(name: &str) -> Value {
    let script = format!("mkdir -p /www && echo {name} >/www/index.html && httpd -p 8080 -h /www && {WAIT}");
    let mut pod = pod(name, &script);
    pod["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    pod["metadata"]["labels"] = json!({"app": name});
    pod
}
