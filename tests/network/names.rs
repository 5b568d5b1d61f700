//! Names of pods and Services as containers see them.

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::text;
use crate::{Node, server};
use serde_json::{Value, json};

const BRIDGE: &str = "podSubnet: 10.85.8.0/24\n";

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// Waits until a container sees a line in its hosts file.
fn sees(node: &Node, pod: &str, line: &str) {
    let script = format!("until grep -qx '{line}' /etc/hosts; do sleep 0.1; done");
    node.gateway.exec(pod, &script);
}

#[test]
fn the_hosts_file_has_the_pods_own_address_aliases_and_names_of_others() {
    let node = Node::start(BRIDGE);
    let mut web = server("web");
    web["spec"]["hostAliases"] = json!([{"ip": "192.0.2.77", "hostnames": ["plc", "plc.lan"]}]);
    node.gateway.apply(&web);
    let ip = node.address("web");
    let full = format!("web-{}", node.gateway.node);
    let hosts = node.gateway.exec("web", "cat /etc/hosts");
    let head = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    let own = format!("{head}{ip}\t{full}\n\n# Entries added by HostAliases.\n192.0.2.77\tplc\tplc.lan\n");
    assert!(hosts.starts_with(&own), "{hosts}");
    assert!(hosts.contains(&format!("\n{ip}\tweb\tweb.default\t{full}\t{full}.default\n")), "{hosts}");
    assert_eq!(node.gateway.exec("web", "hostname; cat /etc/hostname"), format!("{full}\n{full}\n"));
}

#[test]
fn a_services_name_leads_to_a_ready_pod_and_moves_when_that_changes() {
    let node = Node::start(BRIDGE);
    let mut watcher = pod("watcher", WAIT);
    watcher["spec"]["containers"][0]["volumeMounts"] = json!([]);
    node.gateway.apply(&watcher);
    node.gateway.ready("watcher");
    node.gateway
        .write("db.yaml", service("db", &json!({"selector": {"tier": "db"}, "ports": [{"port": 8080}]})).to_string());
    let mut names = Vec::new();
    for name in ["db-a", "db-b"] {
        let mut db = server(name);
        db["metadata"]["labels"] = json!({"tier": "db"});
        node.gateway.apply(&db);
        names.push(node.address(name));
        sees(&node, "watcher", &format!("{}\tdb\tdb.default\tdb.default.svc", names[0]));
    }
    assert_eq!(node.gateway.exec("watcher", "wget -qO- http://db.default.svc:8080"), "db-a\n");
    let table = node.gateway.ok(&["get", "services", "-o", "wide"]);
    assert!(table.contains(&names[0]) && table.contains("8080/TCP") && table.contains("tier=db"), "{table}");
    let inode = node.gateway.exec("watcher", "stat -c %i /etc/hosts");
    // The first one is no longer Ready.
    node.gateway.exec("db-a", "killall httpd");
    sees(&node, "watcher", &format!("{}\tdb\tdb.default\tdb.default.svc", names[1]));
    assert_eq!(node.gateway.exec("watcher", "stat -c %i /etc/hosts"), inode, "it is the same file");
    assert_eq!(node.gateway.exec("watcher", "wget -qO- http://db:8080"), "db-b\n");
    node.gateway.remove("db-b.yaml");
    node.gateway.gone("db-b");
    node.gateway.exec("watcher", "while grep -q db.default.svc /etc/hosts; do sleep 0.1; done");
}

#[test]
fn variables_of_services_are_set_unless_the_pod_wants_none() {
    let node = Node::start(BRIDGE);
    node.gateway.apply(&server("web"));
    let ip = node.address("web");
    let ports = json!([{"name": "http", "port": 8080}]);
    node.gateway.write("s.yaml", service("my-web", &json!({"selector": {"app": "web"}, "ports": ports})).to_string());
    node.gateway
        .write("t.yaml", service("none", &json!({"selector": {"app": "nobody"}, "ports": [{"port": 1}]})).to_string());
    let mut client = pod("client", &format!("env; {WAIT}"));
    client["spec"]["containers"][0]["env"] =
        json!([{"name": "URL", "value": "http://$(MY_WEB_SERVICE_HOST):$(MY_WEB_SERVICE_PORT_HTTP)"}]);
    node.gateway.apply(&client);
    node.gateway.ready("client");
    node.gateway.wait_for_log(&["client"], &format!("URL=http://{ip}:8080"));
    let env = node.gateway.exec("client", "env");
    for line in [
        format!("MY_WEB_SERVICE_HOST={ip}"),
        "MY_WEB_SERVICE_PORT=8080".into(),
        format!("MY_WEB_PORT_8080_TCP=tcp://{ip}:8080"),
    ] {
        assert!(env.lines().any(|found| found == line), "{line}: {env}");
    }
    assert!(env.contains("NONE_SERVICE_HOST=none.default.svc\n"), "{env}");
    let mut without = pod("without", WAIT);
    without["spec"]["enableServiceLinks"] = json!(false);
    node.gateway.apply(&without);
    node.gateway.ready("without");
    assert!(!node.gateway.exec("without", "env").contains("SERVICE_HOST"));
}

#[test]
fn pods_on_the_nodes_network_are_found_at_the_node_and_find_others() {
    let node = Node::start(BRIDGE);
    let mut host = server("host");
    host["spec"]["hostNetwork"] = json!(true);
    node.gateway.apply(&host);
    node.gateway.apply(&server("web"));
    node.gateway
        .write("s.yaml", service("svc", &json!({"selector": {"app": "host"}, "ports": [{"port": 8080}]})).to_string());
    let ip = node.address("web");
    assert_eq!(node.address("host"), "198.51.100.1");
    sees(&node, "web", "198.51.100.1\tsvc\tsvc.default\tsvc.default.svc");
    assert_eq!(node.gateway.exec("web", "wget -qO- http://svc:8080"), "host\n");
    sees(&node, "host", &format!("{ip}\tweb\tweb.default\tweb-{n}\tweb-{n}.default", n = node.gateway.node));
    assert!(
        node.gateway.exec("host", "cat /etc/hosts").starts_with("# Kubernetes-managed hosts file (host network).\n")
    );
    // The node gets another address, and then none.
    node.ip(&["addr", "add", "198.51.100.9/24", "dev", "up0"]);
    node.ip(&["route", "replace", "default", "via", "198.51.100.254", "src", "198.51.100.9"]);
    sees(&node, "web", "198.51.100.9\tsvc\tsvc.default\tsvc.default.svc");
    node.gateway.until("the pod to have it, too", |pods| {
        pods.get("host").is_some_and(|pod| {
            text(pod, "/status/podIP") == "198.51.100.9" && text(pod, "/status/hostIP") == "198.51.100.9"
        })
    });
    node.ip(&["addr", "flush", "dev", "up0"]);
    node.ip(&["route", "flush", "table", "main", "dev", "up0"]);
    sees(&node, "web", "10.85.8.1\tsvc\tsvc.default\tsvc.default.svc");
    assert_eq!(node.gateway.exec("web", "wget -qO- http://svc:8080"), "host\n");
}

#[test]
fn what_a_service_cannot_do_here_is_a_warning_that_names_the_field() {
    let node = Node::start("");
    let spec = json!({
        "type": "NodePort",
        "clusterIP": "10.96.0.10",
        "selector": {"app": "web"},
        "ports": [{"name": "a", "port": 80, "targetPort": 8080, "nodePort": 30080}, {"name": "b", "port": 81, "targetPort": "http"}],
    });
    let mut web = pod("web", WAIT);
    web["metadata"]["labels"] = json!({"app": "web"});
    web["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 9090}]);
    node.gateway.apply(&web);
    node.gateway.write("s.yaml", service("web", &spec).to_string());
    node.gateway.until("the warnings", |pods| {
        ["spec.type", "spec.clusterIP", "spec.ports[0].targetPort", "spec.ports[0].nodePort"]
            .iter()
            .all(|field| pods.warnings.iter().any(|line| line.contains(&format!("s.yaml:1: {field}: "))))
            && pods.warnings.iter().any(|line| line.contains("s.yaml: spec.ports[1].targetPort: http: "))
    });
    node.gateway
        .write("e.yaml", service("else", &json!({"type": "ExternalName", "externalName": "example.org"})).to_string());
    node.gateway.until("the warning", |pods| pods.warnings.iter().any(|line| line.contains("spec.externalName: ")));
}
