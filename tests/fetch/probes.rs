//! Probes and hooks by https and gRPC, with real servers in the pods' own networks.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{restarts, text};
use crate::gateway::{Gateway, fetching};

/// A server of `servers.py`, which ends with it.
struct Server(Child);

impl Server {
    /// In the network of that pod.
    fn within(gateway: &Gateway, pod: &str, arguments: &[&str]) -> Self {
        let uid = gateway.wait_for("the pod's network", |pods| {
            let uid = text(pods.get(pod)?, "/metadata/uid").to_owned();
            gateway.run_dir().join("pods").join(&uid).join("ns/net").exists().then_some(uid)
        });
        let network = gateway.run_dir().join("pods").join(uid).join("ns/net");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch/servers.py");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network.display())).arg("/usr/bin/python3").arg(script).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no server");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_probe(name: &str, kind: &str, mut probe: Value) -> Value {
    probe["periodSeconds"] = json!(1);
    probe["timeoutSeconds"] = json!(5);
    let mut pod = pod(name, WAIT);
    pod["spec"]["containers"][0][kind] = probe;
    pod
}

fn https(path: &str) -> Value {
    json!({"httpGet": {"port": 8443, "path": path, "scheme": "HTTPS", "httpHeaders": [{"name": "X-Asked", "value": "yes"}]}})
}

#[test]
fn https_probes_take_any_certificate_and_judge_the_answer_as_kubelet() {
    let gateway = Gateway::start(&fetching(""));
    let directory = gateway.path("host");
    let directory = directory.to_str().unwrap();
    let mut servers = Vec::new();
    let mut start = |name: &str, path: &str| {
        gateway.apply(&with_probe(name, "readinessProbe", https(path)));
        servers.push(Server::within(&gateway, name, &["https", "8443", directory]));
    };
    for (name, path) in [("good", "/ok"), ("moved", "/moved"), ("header", "/header"), ("away", "/away")] {
        start(name, path);
        gateway.ready(name);
    }
    let warned = gateway.wait_for("a warning", |_| gateway.told("away", "ProbeWarning"));
    assert!(warned.contains("Probe terminated redirects"), "{warned}");
    for (name, path, why) in [
        ("bad", "/bad", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        ("again", "/again", "Readiness probe failed: Get \"https://127.0.0.1:8443/again\": stopped after 10 redirects"),
    ] {
        start(name, path);
        gateway.wait_for(why, |_| gateway.told(name, "Unhealthy").filter(|told| told == why));
        assert!(gateway.pods().ready(name).is_none());
    }
}

#[test]
fn a_probe_that_is_sent_on_from_http_to_https_of_the_same_host_goes_there() {
    let gateway = Gateway::start(&fetching(""));
    let directory = gateway.path("host");
    let directory = directory.to_str().unwrap();
    let plain = |path: &str| {
        let header = json!([{"name": "X-Asked", "value": "yes"}]);
        json!({"httpGet": {"port": 8080, "path": path, "httpHeaders": header}})
    };
    let mut servers = Vec::new();
    for (name, path) in [("on", "/header"), ("off", "/bad")] {
        gateway.apply(&with_probe(name, "readinessProbe", plain(path)));
        servers.push(Server::within(&gateway, name, &["https", "8443", directory]));
    }
    gateway.ready("on");
    assert!(gateway.told("on", "ProbeWarning").is_none());
    let why = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    gateway.wait_for(why, |_| gateway.told("off", "Unhealthy").filter(|told| told == why));
}

#[test]
fn a_server_that_speaks_no_tls_or_is_not_there_fails_https_probes_and_says_so() {
    let gateway = Gateway::start(&fetching(""));
    let plain = "printf '#!/bin/sh\\nwhile read -r l && [ ${#l} -gt 1 ]; do :; done; printf \"HTTP/1.1 200 OK\\r\\n\\r\\n\"\\n' \
                 > /tmp/a; chmod +x /tmp/a; nc -ll -p 8443 -e sh -c 'read -r l; printf \"HTTP/1.1 400 Bad\\r\\n\\r\\n\"' & trap 'exit 0' TERM; wait";
    let mut speaks_http = with_probe("plain", "readinessProbe", https("/"));
    speaks_http["spec"]["containers"][0]["command"][2] = json!(plain);
    gateway.apply(&speaks_http);
    gateway.apply(&with_probe("closed", "readinessProbe", https("/")));
    let why =
        "Readiness probe failed: Get \"https://127.0.0.1:8443/\": dial tcp 127.0.0.1:8443: connect: connection refused";
    gateway.wait_for(why, |_| gateway.told("closed", "Unhealthy").filter(|told| told == why));
    let why = "http: server gave HTTP response to HTTPS client";
    gateway.wait_for(why, |_| gateway.told("plain", "Unhealthy").filter(|told| told.ends_with(why)));
}

#[test]
fn an_https_hook_takes_any_answer() {
    let gateway = Gateway::start(&fetching(""));
    let directory = gateway.path("host");
    let mut hooked = pod("hooked", WAIT);
    hooked["spec"]["containers"][0]["lifecycle"] = json!({"preStop": https("/hook")});
    gateway.apply(&hooked);
    gateway.ready("hooked");
    let _server = Server::within(&gateway, "hooked", &["https", "8443", directory.to_str().unwrap()]);
    gateway.remove("hooked.yaml");
    gateway.wait_for("the hook", |_| directory.join("hook").exists().then_some(()));
}

#[test]
fn an_https_hook_is_repeated_in_clear_text_where_the_server_speaks_that() {
    let gateway = Gateway::start(&fetching(""));
    let directory = gateway.path("host");
    let mut hooked = pod("clear", WAIT);
    hooked["spec"]["containers"][0]["lifecycle"] = json!({"preStop": https("/hook")});
    gateway.apply(&hooked);
    gateway.ready("clear");
    let _server = Server::within(&gateway, "clear", &["http", "8443", directory.to_str().unwrap()]);
    gateway.remove("clear.yaml");
    gateway.wait_for("the hook", |_| directory.join("hook").exists().then_some(()));
    gateway.wait_for("the event", |_| gateway.told("clear", "LifecycleHTTPFallback"));
}

#[test]
fn grpc_probes_ask_the_health_service_and_say_what_it_answered() {
    let gateway = Gateway::start(&fetching(""));
    let grpc = |service: &str| json!({"grpc": {"port": 9000, "service": service}});
    gateway.apply(&with_probe("well", "livenessProbe", grpc("")));
    gateway.apply(&with_probe("well2", "readinessProbe", grpc("")));
    gateway.apply(&with_probe("sick", "readinessProbe", grpc("sick")));
    gateway.apply(&with_probe("unknown", "readinessProbe", grpc("nobody")));
    gateway.apply(&with_probe("without", "readinessProbe", grpc("")));
    let mut slow = with_probe("slow", "readinessProbe", grpc("slow"));
    slow["spec"]["containers"][0]["readinessProbe"]["timeoutSeconds"] = json!(1);
    gateway.apply(&slow);
    let mut servers = Vec::new();
    for name in ["well", "well2", "sick", "unknown", "slow"] {
        servers.push(Server::within(&gateway, name, &["grpc", "9000"]));
    }
    servers.push(Server::within(&gateway, "without", &["none", "9000"]));
    gateway.ready("well2");
    for (name, why) in [
        ("sick", "service unhealthy (responded with \"NOT_SERVING\")"),
        ("unknown", "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service é"),
        ("slow", "timeout: health rpc did not complete within 1s: context deadline exceeded"),
    ] {
        let why = format!("Readiness probe failed: {why}");
        gateway.wait_for(&why, |_| gateway.told(name, "Unhealthy").filter(|told| *told == why));
    }
    let why = "this server does not implement the grpc health protocol";
    gateway.wait_for(why, |_| gateway.told("without", "Unhealthy").filter(|told| told.contains(why)));
    assert!(restarts(gateway.pods().get("well").unwrap()) <= 1);
}
