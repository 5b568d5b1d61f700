//! Names of pods and Services as containers see them.

use crate::gateway::Gateway;
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
fn a_pod_has_the_full_name_that_its_subdomain_gives_it() {
    let gateway = Gateway::start("clusterDomain: site.local\n");
    let named = |name: &str, spec: Value| {
        let mut pod = pod(name, WAIT);
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        gateway.apply(&pod);
    };
    let full = "fq.bus.default.svc.site.local";
    named("short", json!({"hostname": "fq", "subdomain": "bus"}));
    named("full", json!({"hostname": "fq", "subdomain": "bus", "setHostnameAsFQDN": true}));
    named("other", json!({"hostname": "fq", "subdomain": "bus", "hostnameOverride": "press.plant-7"}));
    named("long", json!({"hostname": "h".repeat(60), "subdomain": "bus", "setHostnameAsFQDN": true}));
    for (pod, kernel, line) in [
        ("short", "fq", &*format!("{full}\tfq")),
        ("full", full, &format!("{full}\tfq")),
        ("other", "press.plant-7", "press.plant-7"),
    ] {
        gateway.ready(pod);
        assert_eq!(gateway.exec(pod, "hostname; cat /etc/hostname; echo $HOSTNAME"), format!("{kernel}\n").repeat(3));
        let hosts = gateway.exec(pod, "cat /etc/hosts");
        assert!(hosts.contains(&format!("\n127.0.0.1\t{line}\n")), "{hosts}");
    }
    gateway.wait_for("the length told", |_| {
        gateway
            .told("long", "FailedCreatePodSandBox")
            .filter(|told| told.contains("is too long (64 characters is the max, 87"))
    });
}

#[test]
fn a_node_with_ipv6_says_both_of_its_addresses() {
    let mut node = Node::prepare("");
    node.ip(&["addr", "add", "2001:db8:7::1/64", "dev", "up0", "nodad"]);
    node.ip(&["-6", "route", "add", "default", "via", "2001:db8:7::fe"]);
    node.gateway.run(true);
    let mut shared = pod("shared", WAIT);
    shared["spec"]["hostNetwork"] = json!(true);
    node.gateway.apply(&shared);
    let shared = node.gateway.ready("shared");
    let both = json!([{"ip": "198.51.100.1"}, {"ip": "2001:db8:7::1"}]);
    assert_eq!((&shared["status"]["hostIPs"], &shared["status"]["podIPs"]), (&both, &both));
    // Nothing but IPv6 changes, and it is noticed all the same.
    node.ip(&["addr", "add", "2001:db8:7::2/64", "dev", "up0", "nodad"]);
    node.ip(&["addr", "del", "2001:db8:7::1/64", "dev", "up0"]);
    let other = json!([{"ip": "198.51.100.1"}, {"ip": "2001:db8:7::2"}]);
    node.gateway.wait_for("the other address", |pods| {
        pods.get("shared").filter(|pod| pod["status"]["hostIPs"] == other && pod["status"]["podIPs"] == other).map(drop)
    });
    node.ip(&["-6", "route", "del", "default"]);
    node.ip(&["addr", "del", "2001:db8:7::2/64", "dev", "up0"]);
    node.gateway.wait_for("no such address", |pods| {
        pods.get("shared").filter(|pod| pod["status"]["hostIPs"] == json!([{"ip": "198.51.100.1"}])).map(drop)
    });
}

#[test]
fn the_resolver_file_is_made_of_the_nodes_and_the_pods_and_what_is_too_much_is_told() {
    let mut node = Node::prepare("resolvConf: BASE/resolv.conf\n");
    let text =
        "# by hand\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan example.com.\noptions ndots:2 edns0\n";
    std::fs::write(node.gateway.path("resolv.conf"), text).unwrap();
    node.gateway.run(true);
    let mut pods: Vec<Value> = ["much", "fits", "own"].iter().map(|name| pod(name, WAIT)).collect();
    pods[0]["spec"]["dnsConfig"] = json!({"nameservers": ["192.0.2.3", "192.0.2.1", "192.0.2.4"]});
    pods[1]["spec"]["dnsConfig"] = json!({"nameservers": ["192.0.2.3"], "searches": ["lan", "plant"], "options": [{"name": "ndots", "value": "5"}]});
    pods[2]["spec"]["dnsPolicy"] = json!("None");
    pods[2]["spec"]["dnsConfig"] =
        json!({"nameservers": ["192.0.2.9"], "searches": ["a.b"], "options": [{"name": "rotate"}]});
    let of_node = "search lan example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\noptions ndots:2 edns0\n";
    let fits = of_node.replace("example.com", "example.com plant").replace("ndots:2", "ndots:5");
    let own = "search a.b\nnameserver 192.0.2.9\noptions rotate\n";
    for (pod, (name, expected)) in pods.iter().zip([("much", of_node), ("fits", &*fits), ("own", own)]) {
        node.gateway.apply(pod);
        node.gateway.ready(name);
        assert_eq!(node.gateway.exec(name, "cat /etc/resolv.conf"), expected, "{name}");
    }
    let told = node.gateway.told("much", "DNSConfigForming");
    let expected = "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: \
                    192.0.2.1 192.0.2.2 192.0.2.3";
    assert_eq!(told.as_deref(), Some(expected));
    assert_eq!(
        [node.gateway.told("fits", "DNSConfigForming"), node.gateway.told("own", "DNSConfigForming")],
        [None, None]
    );
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
    assert!(!table.contains("<unknown>"), "no age: {table}");
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
