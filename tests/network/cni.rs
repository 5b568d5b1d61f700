//! CNI: addresses, ports, failures, and what is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::gateway::manifest::{WAIT, container, pod, run_once};
use crate::gateway::pods::text;
use crate::{Node, server};
use serde_json::json;

const BRIDGE: &str = "podSubnet: 10.85.7.0/24\n";

/// A configuration of a bridge whose addresses are kept below the test's directory.
fn conflist(node: &Node, range: &str) -> String {
    let store = node.gateway.path("store");
    format!(
        r#"{{"cniVersion":"1.0.0","name":"lab","plugins":[
            {{"type":"bridge","bridge":"lab0","isGateway":true,"ipMasq":true,
              "ipam":{{"type":"host-local","dataDir":"{}","ranges":[[{range}]]}}}},
            {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}"#,
        store.display()
    )
}

/// A plugin that is a shell script.
fn plugin(node: &Node, name: &str, script: &str) {
    let path = node.gateway.path("plugins");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn pods_on_the_nodes_bridge_have_addresses_and_reach_each_other_and_the_node_reaches_them() {
    let node = Node::start(BRIDGE);
    let gateway = &node.gateway;
    gateway.apply(&server("web"));
    let ip = node.address("web");
    assert!(ip.starts_with("10.85.7."), "{ip}");
    let web = gateway.ready("web");
    assert_eq!(web["status"]["podIPs"], json!([{"ip": ip}]));
    assert_eq!(
        (text(&web, "/status/hostIP"), &web["status"]["hostIPs"]),
        ("198.51.100.1", &json!([{"ip": "198.51.100.1"}]))
    );
    assert!(gateway.ok(&["get", "pods", "-o", "wide"]).contains(&ip));
    let mut client = run_once("client", &format!("echo $IP $IPS $HOST; hostname -i; wget -qO- http://{ip}:8080"));
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    client["spec"]["containers"][0]["env"] =
        json!([field("IP", "status.podIP"), field("IPS", "status.podIPs"), field("HOST", "status.hostIP")]);
    gateway.apply(&client);
    let done = gateway.finished("client");
    assert_eq!(text(&done, "/status/phase"), "Succeeded");
    let said = gateway.logs("client");
    let lines: Vec<&str> = said.lines().collect();
    let own = lines[1];
    assert!(own.starts_with("10.85.7.") && own != ip, "{said}");
    assert_eq!(lines, [format!("{own} {own} 198.51.100.1").as_str(), own, "web"]);
    let seen = node.run(&["busybox", "wget", "-qO-", &format!("http://{ip}:8080")]);
    assert_eq!(seen, "web\n");
}

#[test]
fn a_host_port_is_published_by_portmap_and_goes_with_its_pod() {
    let node = Node::start(BRIDGE);
    let mut web = server("web");
    web["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080, "hostPort": 8888}]);
    node.gateway.apply(&web);
    node.gateway.ready("web");
    assert_eq!(node.run(&["busybox", "wget", "-qO-", "http://198.51.100.1:8888"]), "web\n");
    assert!(node.run(&["iptables", "-t", "nat", "-S"]).contains("8888"));
    node.gateway.remove("web.yaml");
    node.gateway.gone("web");
    let rules = node.run(&["iptables", "-t", "nat", "-S"]);
    assert!(!rules.contains("8888"), "{rules}");
    let links = node.run(&["ip", "-o", "link"]);
    assert!(!links.contains("veth"), "{links}");
}

#[test]
fn the_first_configuration_by_file_name_counts_and_a_broken_one_is_told() {
    let node = Node::prepare("");
    let conf = node.gateway.path("cni");
    fs::write(conf.join("00-broken.conflist"), "{").unwrap();
    fs::write(conf.join("10-lab.conflist"), conflist(&node, r#"{"subnet":"10.86.1.0/24"}"#)).unwrap();
    fs::write(conf.join("20-other.conf"), r#"{"cniVersion":"1.0.0","name":"other","type":"nothing"}"#).unwrap();
    let mut node = node;
    node.gateway.run(true);
    node.gateway.apply(&pod("web", WAIT));
    assert!(node.address("web").starts_with("10.86.1."));
    let event = node.gateway.event("web", "InvalidNetworkConfiguration");
    assert!(text(&event, "/message").contains("00-broken.conflist"), "{event}");
}

#[test]
fn a_plugin_gets_what_the_specification_says() {
    let node = Node::prepare("cniBinDir: BASE/plugins\n");
    let log = node.gateway.path("calls");
    let script = |answer: &str| {
        format!(
            "{{ echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS $CNI_PATH\"; cat; echo; }} >>{}; [ $CNI_COMMAND = DEL ] || echo '{answer}'",
            log.display()
        )
    };
    plugin(&node, "first", &script(r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.9.9.9/24"}]}"#));
    plugin(
        &node,
        "second",
        &script(r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.9.9.8/24"}],"dns":{}}"#),
    );
    let list = r#"{"cniVersion":"0.4.0","name":"own","plugins":[{"type":"first"},{"type":"second","capabilities":{"portMappings":true,"ips":true}}]}"#;
    fs::write(node.gateway.path("cni").join("a.conflist"), list).unwrap();
    let mut node = node;
    node.gateway.run(true);
    let mut web = pod("web", WAIT);
    web["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]);
    node.gateway.apply(&web);
    assert_eq!(node.address("web"), "10.9.9.8");
    let uid = text(&node.gateway.ready("web"), "/metadata/uid").to_owned();
    node.gateway.remove("web.yaml");
    node.gateway.gone("web");
    let calls = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = calls.lines().collect();
    assert_eq!(lines.len(), 8, "{calls}");
    let requests: Vec<serde_json::Value> =
        lines.iter().skip(1).step_by(2).map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = requests.iter().map(|request| text(request, "/type")).collect();
    assert_eq!(kinds, ["first", "second", "second", "first"], "DEL goes the other way");
    assert!(lines[0].starts_with(&format!("ADD gatepost-{uid} eth0 /")) && lines[4].starts_with("DEL "), "{calls}");
    assert!(lines[0].contains("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-"), "{calls}");
    assert!(lines[0].ends_with(node.gateway.path("plugins").to_str().unwrap()), "{calls}");
    assert!(requests[0].get("prevResult").is_none() && requests[0].get("runtimeConfig").is_none());
    assert_eq!(requests[1]["prevResult"]["ips"][0]["address"], "10.9.9.9/24");
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": ""}]);
    assert_eq!(requests[1]["runtimeConfig"], json!({"portMappings": mappings}));
    assert_eq!(requests[3]["prevResult"]["ips"][0]["address"], "10.9.9.8/24", "DEL is given the result of the whole");
}

#[test]
fn a_plugins_failure_is_told_in_its_own_words_undone_and_tried_again_and_delays_nobody() {
    let node = Node::prepare("cniBinDir: [BASE/plugins, /usr/lib/cni]\n");
    let log = node.gateway.path("calls");
    let flag = node.gateway.path("works");
    plugin(
        &node,
        "flaky",
        &format!(
            "echo $CNI_COMMAND >>{}; [ $CNI_COMMAND = DEL ] && exit; [ -e {} ] || {{ echo '{{\"code\":11,\"msg\":\"no cable\",\"details\":\"plug it in\"}}'; exit 1; }}; echo '{{\"ips\":[{{\"address\":\"10.9.9.9/24\"}}]}}'",
            log.display(),
            flag.display()
        ),
    );
    fs::write(node.gateway.path("cni").join("a.conf"), r#"{"cniVersion":"1.0.0","name":"n","type":"flaky"}"#).unwrap();
    let mut node = node;
    node.gateway.run(true);
    node.gateway.apply(&pod("web", WAIT));
    let event = node.gateway.event("web", "FailedCreatePodSandBox");
    let message = text(&event, "/message");
    assert!(message.contains("plugin type=\"flaky\" failed (add): no cable; plug it in"), "{message}");
    let mut other = pod("other", WAIT);
    other["spec"]["hostNetwork"] = json!(true);
    node.gateway.apply(&other);
    node.gateway.ready("other");
    assert!(node.gateway.pods().ready("web").is_none());
    fs::write(&flag, "").unwrap();
    assert_eq!(node.address("web"), "10.9.9.9");
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.starts_with("ADD\nDEL\nADD\n"), "{calls}");
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_the_place() {
    let node = Node::prepare("cniBinDir: /nonexistent\n");
    fs::write(node.gateway.path("cni").join("a.conf"), r#"{"cniVersion":"1.0.0","name":"n","type":"magic"}"#).unwrap();
    let mut node = node;
    node.gateway.run(true);
    node.gateway.apply(&pod("web", WAIT));
    let event = node.gateway.event("web", "FailedCreatePodSandBox");
    assert!(text(&event, "/message").contains("failed to find plugin \"magic\" in path [/nonexistent]"), "{event}");
}

#[test]
fn without_a_configuration_a_pod_has_loopback_and_an_event_says_where_to_read_on() {
    let node = Node::start("");
    node.gateway.apply(&pod("web", WAIT));
    let web = node.gateway.ready("web");
    assert!(web["status"].get("podIP").is_none());
    let event = node.gateway.event("web", "NetworkNotConfigured");
    assert!(text(&event, "/message").contains("docs/network.md") && event["type"] == "Warning", "{event}");
    assert_eq!(node.gateway.exec("web", "ls /sys/class/net"), "lo\n");
}

#[test]
fn addresses_survive_the_supervisor_and_are_given_back_after_it() {
    let mut node = Node::prepare("");
    fs::write(node.gateway.path("cni").join("a.conflist"), conflist(&node, r#"{"subnet":"10.86.2.0/24"}"#)).unwrap();
    node.gateway.run(false);
    node.gateway.apply(&server("web"));
    let ip = node.address("web");
    let reservation = node.gateway.path("store/lab").join(&ip);
    assert!(reservation.exists());
    let before = node.gateway.supervisor_pid();
    let pid = rustix::process::Pid::from_raw(before.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    node.gateway.until("another supervisor", |pods| pods.ready("web").is_some());
    assert_ne!(node.gateway.supervisor_pid(), before);
    assert_eq!(node.address("web"), ip);
    // With the configuration gone it is undone as it was done.
    fs::remove_file(node.gateway.path("cni/a.conflist")).unwrap();
    node.gateway.remove("web.yaml");
    node.gateway.gone("web");
    assert!(!reservation.exists());
}

#[test]
fn after_a_power_cut_the_addresses_of_former_pods_are_free_again() {
    let mut node = Node::prepare("");
    let range = r#"{"subnet":"10.86.3.0/24","rangeStart":"10.86.3.10","rangeEnd":"10.86.3.11"}"#;
    fs::write(node.gateway.path("cni").join("a.conflist"), conflist(&node, range)).unwrap();
    node.gateway.run(true);
    node.gateway.apply(&pod("a", WAIT));
    node.gateway.apply(&pod("b", WAIT));
    let (a, b) = (node.address("a"), node.address("b"));
    assert_ne!(a, b);
    let pid = rustix::process::Pid::from_raw(node.gateway.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    node.gateway.lose_everything_but_its_disk();
    assert_eq!(
        fs::read_dir(node.gateway.path("store/lab")).unwrap().count(),
        4,
        "two addresses, the last one, and a lock"
    );
    node.gateway.remove("b.yaml");
    node.gateway.apply(&pod("c", WAIT));
    node.gateway.run(true);
    // Only two can be had.
    let (a, c) = (node.address("a"), node.address("c"));
    assert!(a != c && [&a, &c].iter().all(|ip| ip.starts_with("10.86.3.1")), "{a} {c}");
}

#[test]
fn a_port_of_the_node_that_another_pod_has_refuses_a_pod_until_it_is_free() {
    let node = Node::start(BRIDGE);
    let with_port = |name: &str, host_network: bool| {
        let mut pod = pod(name, WAIT);
        pod["spec"]["hostNetwork"] = json!(host_network);
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 7777, "hostPort": 7777}]);
        pod
    };
    node.gateway.apply(&with_port("first", true));
    node.gateway.ready("first");
    node.gateway.apply(&with_port("second", false));
    let event = node.gateway.event("second", "NodePorts");
    let message = text(&event, "/message");
    assert!(message.contains("node(s) didn't have free ports for the requested pod ports"), "{message}");
    assert!(message.contains("TCP port 7777 is taken by pod default/first-"), "{message}");
    let second = node.gateway.wait_for("second to be refused", |pods| {
        pods.get("second").filter(|pod| text(pod, "/status/reason") == "NodePorts").cloned()
    });
    assert_eq!(text(&second, "/status/phase"), "Failed");
    assert!(text(&second, "/status/message").starts_with("Pod was rejected: Predicate NodePorts failed"));
    node.gateway.remove("first.yaml");
    node.gateway.ready("second");
}

#[test]
fn a_subnet_that_overlaps_with_a_route_of_the_node_is_told_with_both() {
    let node = Node::start(BRIDGE);
    node.gateway.apply(&pod("web", WAIT));
    node.gateway.ready("web");
    node.ip(&["route", "add", "10.85.0.0/16", "dev", "up0"]);
    let event = node.gateway.event("", "SubnetOverlap");
    let message = text(&event, "/message");
    assert!(message.contains("10.85.7.0/24") && message.contains("10.85.0.0/16 by up0"), "{message}");
    assert_eq!(text(&event, "/involvedObject/kind"), "Node");
}

#[test]
fn a_pod_with_users_of_its_own_and_one_with_shared_processes_have_addresses_too() {
    let node = Node::start(BRIDGE);
    let mut users = pod("users", WAIT);
    users["spec"]["hostUsers"] = json!(false);
    node.gateway.apply(&users);
    let mut shared = pod("shared", WAIT);
    shared["spec"]["shareProcessNamespace"] = json!(true);
    shared["spec"]["containers"] = json!([container("app", WAIT), container("other", WAIT)]);
    node.gateway.apply(&shared);
    for name in ["users", "shared"] {
        let ip = node.address(name);
        assert!(node.gateway.exec(name, "ip -4 addr show dev eth0").contains(&format!("inet {ip}/24")));
    }
}
