//! When pods start: conditions of `gatepost.io/start-after`, and priority.

use std::fs;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::text;

fn after(mut pod: Value, conditions: &str, timeout: &str) -> Value {
    pod["metadata"]["annotations"] =
        json!({"gatepost.io/start-after": conditions, "gatepost.io/start-after-timeout": timeout});
    pod
}

/// Waits until the pod says what it waits for.
fn waits_for(gateway: &Gateway, name: &str, what: &str) {
    gateway.until(&format!("{name} to wait for {what}"), |pods| {
        pods.get(name).is_some_and(|pod| {
            text(pod, "/status/phase") == "Pending"
                && pod["status"].to_string().contains(&format!("WaitingFor: {what}"))
        })
    });
}

#[test]
fn a_pod_starts_when_the_path_it_waits_for_appears() {
    let gateway = Gateway::start("");
    let path = gateway.path("host/dev/ttyUSB0");
    gateway.apply(&after(pod("modem", WAIT), &format!("clock, path:{}", path.display()), "0"));
    waits_for(&gateway, "modem", &format!("path:{}", path.display()));
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    gateway.ready("modem");
}

#[test]
fn a_pod_starts_when_the_pod_it_waits_for_is_ready() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("client", WAIT), "pod/broker", "0"));
    waits_for(&gateway, "client", "pod/broker");
    gateway.apply(&pod("broker", WAIT));
    let client = gateway.ready("client");
    let broker = gateway.ready("broker");
    let started = |pod: &Value| text(pod, "/status/containerStatuses/0/state/running/startedAt").to_owned();
    assert!(started(&broker) <= started(&client));
}

#[test]
fn a_pod_starts_with_a_warning_when_its_wait_is_over() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("late", WAIT), "path:/no/such/device", "1s"));
    gateway.ready("late");
    let event = gateway.event("late", "/no/such/device");
    assert_eq!(text(&event, "/type"), "Warning", "{event:#}");
}

#[test]
fn pods_that_wait_for_each_other_are_refused() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("chicken", WAIT), "pod/egg", "0"));
    gateway.apply(&after(pod("egg", WAIT), "pod/chicken", "0"));
    gateway.until("the refusal", |pods| {
        pods.warnings.iter().any(|w| w.contains("chicken") && w.contains("egg")) && pods.ready("egg").is_none()
    });
}

#[test]
fn pods_of_higher_priority_start_first() {
    let mut gateway = Gateway::prepare("maxParallelStarts: 1\n");
    for (name, priority) in [("a-low", 1), ("b-high", 1000), ("c-middle", 100)] {
        let mut pod = pod(name, WAIT);
        pod["spec"]["priority"] = json!(priority);
        gateway.apply(&pod);
    }
    gateway.run(true);
    for name in ["a-low", "b-high", "c-middle"] {
        gateway.ready(name);
    }
    let node = &gateway.node;
    let events = gateway.events();
    let started: Vec<_> = events
        .iter()
        .filter(|event| event["reason"] == "Started")
        .map(|event| text(event, "/involvedObject/name").strip_suffix(&format!("-{node}")).unwrap())
        .collect();
    assert_eq!(started, ["b-high", "c-middle", "a-low"]);
}
