//! Probes with real sockets and commands, in pods that have only their own loopback network.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, mount_host, pod};
use crate::gateway::pods::{container, restarts};

/// A pod whose container serves on port 8080 what `answer` prints; `ASK` in it reads the request.
fn server(name: &str, answer: &str) -> Value {
    // What is not read when a connection is closed makes the kernel reset it.
    let answer = answer.replace("ASK", "while read -r l && [ ${#l} -gt 1 ]; do :; done");
    let serve = format!(
        "printf '#!/bin/sh\\n%s\\n' '{answer}' > /tmp/answer; chmod +x /tmp/answer; \
                         nc -ll -p 8080 -e /tmp/answer & trap 'exit 0' TERM; wait"
    );
    pod(name, &serve)
}

fn with_probe(mut pod: Value, kind: &str, probe: Value) -> Value {
    pod["spec"]["containers"][0][kind] = probe;
    pod
}

const QUICK: i64 = 1;

#[test]
fn http_and_tcp_probes_reach_a_pod_without_an_address_on_its_loopback() {
    let gateway = Gateway::start("");
    let http = json!({"httpGet": {"port": "web", "path": "/x"}, "periodSeconds": QUICK});
    let mut web = with_probe(server("web", "ASK; printf \"HTTP/1.1 200 OK\\r\\n\\r\\nhello\""), "readinessProbe", http);
    web["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
    gateway.apply(&web);
    let tcp = json!({"tcpSocket": {"port": 8080}, "periodSeconds": QUICK});
    gateway.apply(&with_probe(server("tcp", "true"), "livenessProbe", tcp.clone()));
    let closed = json!({"tcpSocket": {"port": 1}, "periodSeconds": QUICK});
    gateway.apply(&with_probe(pod("closed", WAIT), "readinessProbe", closed));
    gateway.ready("web");
    gateway.ready("tcp");
    gateway.wait_for("a refusal", |_| gateway.told("closed", "Unhealthy"));
    assert_eq!(
        gateway.told("closed", "Unhealthy").unwrap(),
        "Readiness probe failed: dial tcp 127.0.0.1:1: connect: connection refused"
    );
    let pods = gateway.pods();
    assert!(pods.ready("closed").is_none() && container(pods.get("closed").unwrap(), "app")["started"] == true);
    assert_eq!(restarts(pods.get("tcp").unwrap()), 0);
}

#[test]
fn slow_silent_endless_and_rude_servers_fail_their_own_probes_and_hold_nobody_up() {
    let gateway = Gateway::start("");
    let cases = [
        ("silent", "exec sleep 1000", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ("busy", "ASK; printf \"HTTP/1.1 503 No\\r\\n\\r\\n\"", "HTTP probe failed with statuscode: 503"),
        ("rude", "printf \"SSH-2.0-x\\r\\n\"; exec sleep 1000", "malformed HTTP response"),
        ("gone", "exit", "EOF"),
        ("endless", "yes", "malformed HTTP response"),
        (
            "dripping",
            "printf \"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nx\"; exec sleep 1000",
            "while reading body",
        ),
    ];
    let probe = json!({"httpGet": {"port": 8080}, "periodSeconds": QUICK});
    for (name, answer, _) in cases {
        gateway.apply(&with_probe(server(name, answer), "readinessProbe", probe.clone()));
    }
    let fine = "printf \"HTTP/1.1 200 OK\\r\\n\\r\\n\"; exec yes";
    gateway.apply(&with_probe(server("large", fine), "readinessProbe", probe));
    gateway.ready("large");
    for (name, _, wanted) in cases {
        gateway.wait_for(&format!("{name}: {wanted}"), |_| {
            gateway.told(name, "Unhealthy").filter(|message| message.contains(wanted))
        });
        assert!(gateway.pods().ready(name).is_none(), "{name}");
    }
}

#[test]
fn a_redirect_on_the_same_host_is_followed_and_one_to_another_is_a_warning() {
    let gateway = Gateway::start("");
    let probe = json!({"httpGet": {"port": 8080, "path": "/a"}, "periodSeconds": QUICK});
    let near = "read -r line; ASK; case $line in *\" /b \"*) printf \"HTTP/1.1 200 OK\\r\\n\\r\\n\";; \
                *) printf \"HTTP/1.1 302 Found\\r\\nLocation: /b\\r\\nContent-Length: 0\\r\\n\\r\\n\";; esac";
    gateway.apply(&with_probe(server("near", near), "readinessProbe", probe.clone()));
    let far = "ASK; printf \"HTTP/1.1 302 Found\\r\\nLocation: http://example.org/\\r\\n\\r\\nelsewhere\"";
    gateway.apply(&with_probe(server("far", far), "readinessProbe", probe.clone()));
    let round = "ASK; printf \"HTTP/1.1 302 Found\\r\\nLocation: /a\\r\\n\\r\\n\"";
    gateway.apply(&with_probe(server("round", round), "readinessProbe", probe));
    gateway.ready("near");
    gateway.ready("far");
    let warning = gateway.wait_for("the warning", |_| gateway.told("far", "ProbeWarning"));
    assert!(warning.contains("Probe terminated redirects, Response body: elsewhere"), "{warning}");
    assert_eq!(gateway.told("near", "ProbeWarning"), None);
    gateway.wait_for("the end of the circle", |_| {
        gateway.told("round", "Unhealthy").filter(|message| message.contains("stopped after 10 redirects"))
    });
}

#[test]
fn a_failing_liveness_command_restarts_the_container_and_says_why() {
    let gateway = Gateway::start("");
    let mut web = pod("web", &format!("echo up >> /host/diary; touch /tmp/ok; {WAIT}"));
    mount_host(&mut web, &gateway.path("host"));
    let command = json!(["sh", "-c", "[ -e /tmp/ok ] || { echo $REASON >&2; exit 3; }"]);
    let probe = json!({"exec": {"command": command}, "periodSeconds": QUICK, "failureThreshold": 1});
    web = with_probe(web, "livenessProbe", probe);
    web["spec"]["containers"][0]["env"] = json!([{"name": "REASON", "value": "no such thing"}]);
    gateway.apply(&web);
    gateway.ready("web");
    gateway.exec("web", "rm /tmp/ok");
    gateway.host_file_is("diary", "up\nup\n");
    gateway.event("web", "Liveness probe failed: no such thing");
    gateway.event("web", "Container app failed liveness probe, will be restarted");
    gateway.until("the new instance", |pods| pods.ready("web").is_some_and(|pod| restarts(pod) == 1));
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_what_it_started_and_counts_as_failure() {
    let gateway = Gateway::start("");
    let command = json!(["sh", "-c", "sleep 4711 & sleep 4711"]);
    let probe = json!({"exec": {"command": command}, "periodSeconds": QUICK, "failureThreshold": 100});
    gateway.apply(&with_probe(pod("slow", WAIT), "readinessProbe", probe));
    // Many that hang hold up nobody.
    let quick = json!({"exec": {"command": ["true"]}, "periodSeconds": QUICK});
    gateway.apply(&with_probe(pod("quick", WAIT), "readinessProbe", quick));
    let message = gateway.wait_for("the timeout", |_| gateway.told("slow", "Unhealthy"));
    assert_eq!(message, "Readiness probe failed: command \"sh -c sleep 4711 & sleep 4711\" timed out");
    gateway.ready("quick");
    gateway.wait_for("a second one", |_| {
        let events = gateway.events();
        events.into_iter().find(|e| e["reason"] == "Unhealthy" && e["count"].as_u64() >= Some(2))
    });
    // At most the ones of the attempt under way.
    let left = gateway.exec("slow", "pgrep -f \"^sleep 4711\" | wc -l");
    assert!(left.trim().parse::<u32>().unwrap() <= 2, "{left}");
}

#[test]
fn output_of_a_command_is_cut_and_an_endless_one_ends_with_its_time() {
    let gateway = Gateway::start("");
    let probe = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": QUICK, "failureThreshold": 100});
    gateway.apply(&with_probe(
        pod("loud", WAIT),
        "readinessProbe",
        probe("head -c 100000 /dev/zero | tr \"\\0\" x; exit 1"),
    ));
    gateway.apply(&with_probe(pod("endless", WAIT), "readinessProbe", probe("yes")));
    let message = gateway.wait_for("the output", |_| gateway.told("loud", "Unhealthy"));
    assert_eq!(message.len(), "Readiness probe failed: ".len() + 10 * 1024);
    let message = gateway.wait_for("the end", |_| gateway.told("endless", "Unhealthy"));
    assert!(message.contains("timed out"), "{message}");
}

#[test]
fn a_command_that_is_not_there_says_nothing_of_the_container() {
    let gateway = Gateway::start("");
    let probe = json!({"exec": {"command": ["/no/such"]}, "periodSeconds": QUICK, "failureThreshold": 1});
    gateway.apply(&with_probe(pod("web", WAIT), "livenessProbe", probe));
    let message = gateway.wait_for("the error", |_| gateway.told("web", "Unhealthy"));
    assert!(message.starts_with("Liveness probe errored and resulted in unknown state: "), "{message}");
    assert!(message.contains("/no/such"), "{message}");
    assert_eq!(restarts(gateway.pods().get("web").unwrap()), 0);
}

#[test]
fn a_startup_probe_gates_the_others_for_real() {
    let gateway = Gateway::start("");
    let mut web = pod("web", &format!("until [ -e /tmp/asked ]; do sleep 0.1; done; touch /tmp/started; {WAIT}"));
    let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": QUICK, "failureThreshold": 30});
    web = with_probe(web, "startupProbe", exec("[ -e /tmp/started ] || { touch /tmp/asked; false; }"));
    // Fatal before its time.
    let mut liveness = exec("[ -e /tmp/started ]");
    liveness["failureThreshold"] = json!(1);
    web = with_probe(web, "livenessProbe", liveness);
    gateway.apply(&web);
    gateway.ready("web");
    assert_eq!(restarts(gateway.pods().get("web").unwrap()), 0);
    assert!(gateway.told("web", "Unhealthy").unwrap().starts_with("Startup probe failed:"));
}

#[test]
fn pods_of_the_hosts_network_are_probed_at_the_nodes_address() {
    let gateway = Gateway::start("");
    // The test itself is the server, on every address of the node.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut web =
        with_probe(pod("web", WAIT), "readinessProbe", json!({"tcpSocket": {"port": port}, "periodSeconds": QUICK}));
    web["spec"]["hostNetwork"] = json!(true);
    gateway.apply(&web);
    gateway.ready("web");
}

#[test]
fn tls_and_grpc_are_refused_by_name_where_the_second_binary_is_missing() {
    let gateway = Gateway::start("fetchBinary: BASE/nothing");
    let https = json!({"httpGet": {"port": 1, "scheme": "HTTPS"}});
    gateway.apply(&with_probe(pod("tls", WAIT), "livenessProbe", https));
    gateway.apply(&with_probe(pod("grpc", WAIT), "livenessProbe", json!({"grpc": {"port": 1}})));
    let refused = |needle: &str| {
        gateway.until(needle, |pods| pods.warnings.iter().any(|warning| warning.contains(needle)));
    };
    refused("spec.containers[0].livenessProbe.httpGet.scheme");
    refused("spec.containers[0].livenessProbe.grpc");
    refused("name it with the setting fetchBinary");
}
