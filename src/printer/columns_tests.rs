#![allow(clippy::too_many_lines, clippy::needless_pass_by_value)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::*;

/// 2026-01-01T00:10:00Z.
const NOW: i64 = 1_767_226_200;

/// A pod with these init containers (a name ending in `*` is a sidecar), containers and statuses.
fn pod(phase: &str, init: &[&str], apps: &[&str], init_statuses: Value, statuses: Value) -> Value {
    let init: Vec<Value> = init
        .iter()
        .map(|name| match name.strip_suffix('*') {
            Some(name) => json!({"name": name, "restartPolicy": "Always"}),
            None => json!({"name": name}),
        })
        .collect();
    let apps: Vec<Value> = apps.iter().map(|name| json!({"name": name})).collect();
    json!({
        "metadata": {"name": "web-gw", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"initContainers": init, "containers": apps, "nodeName": "gw"},
        "status": {"phase": phase, "initContainerStatuses": init_statuses, "containerStatuses": statuses},
    })
}

fn running(name: &str) -> Value {
    json!({"name": name, "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}})
}
fn waiting(name: &str, reason: &str) -> Value {
    json!({"name": name, "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}})
}
fn ended(name: &str, code: i32, reason: &str) -> Value {
    json!({"name": name, "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason}}})
}
fn signalled(name: &str, signal: i32) -> Value {
    json!({"name": name, "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 128 + signal, "signal": signal}}})
}
fn with(mut pod: Value, pointer: &str, key: &str, value: Value) -> Value {
    pod.pointer_mut(pointer).unwrap()[key] = value;
    pod
}
fn ready(pod: Value) -> Value {
    with(
        pod,
        "/status",
        "conditions",
        json!([{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}]),
    )
}

#[test]
fn status_and_ready_follow_the_printers_rules() {
    let one = |phase: &str, status: Value| pod(phase, &[], &["app"], json!([]), json!([status]));
    let two = |a: Value, b: Value| pod("Running", &[], &["a", "b"], json!([]), json!([a, b]));
    let init = |init: &[&str], statuses: Value| {
        pod("Pending", init, &["app"], statuses, json!([waiting("app", "PodInitializing")]))
    };
    let table: Vec<(&str, Value, &str, &str)> = vec![
        ("nothing known yet", pod("Pending", &[], &["app"], json!([]), json!([])), "Pending", "0/1"),
        ("running and ready", one("Running", running("app")), "Running", "1/1"),
        ("creating", one("Pending", waiting("app", "ContainerCreating")), "ContainerCreating", "0/1"),
        ("crash loop", one("Running", waiting("app", "CrashLoopBackOff")), "CrashLoopBackOff", "0/1"),
        ("waiting without a reason", one("Pending", waiting("app", "")), "Pending", "0/1"),
        (
            "a reason of the pod",
            with(one("Failed", json!({})), "/status", "reason", json!("Evicted")),
            "Evicted",
            "0/1",
        ),
        (
            "waits for a condition",
            with(pod("Pending", &[], &["app"], json!([]), json!([])), "/status", "reason", json!("WaitingFor: clock")),
            "WaitingFor: clock",
            "0/1",
        ),
        (
            "scheduling gated",
            with(
                one("Pending", json!({})),
                "/status",
                "conditions",
                json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            ),
            "SchedulingGated",
            "0/1",
        ),
        ("ended well", one("Succeeded", ended("app", 0, "Completed")), "Completed", "0/1"),
        ("ended badly", one("Failed", ended("app", 1, "Error")), "Error", "0/1"),
        ("out of memory", one("Running", ended("app", 137, "OOMKilled")), "OOMKilled", "0/1"),
        ("signal without reason", one("Failed", signalled("app", 9)), "Signal:9", "0/1"),
        ("code without reason", one("Failed", ended("app", 3, "")), "ExitCode:3", "0/1"),
        (
            "running, not ready",
            one("Running", json!({"name": "app", "ready": false, "state": {"running": {}}})),
            "Running",
            "0/1",
        ),
        (
            "the first container has the final say",
            two(waiting("a", "ErrImagePull"), waiting("b", "CrashLoopBackOff")),
            "ErrImagePull",
            "0/2",
        ),
        (
            "a later one shows through a running first",
            two(running("a"), waiting("b", "CrashLoopBackOff")),
            "CrashLoopBackOff",
            "1/2",
        ),
        ("one done, one running and ready", ready(two(ended("a", 0, "Completed"), running("b"))), "Running", "1/2"),
        ("one done, one running, pod not ready", two(ended("a", 0, "Completed"), running("b")), "NotReady", "1/2"),
        ("one done, one failed", two(ended("a", 0, "Completed"), ended("b", 2, "Error")), "Error", "0/2"),
        (
            "one done, one failed without reason",
            two(ended("a", 0, "Completed"), ended("b", 2, "")),
            "ExitCode:2",
            "0/2",
        ),
        (
            "first init not started",
            init(&["i", "j"], json!([waiting("i", "PodInitializing"), waiting("j", "PodInitializing")])),
            "Init:0/2",
            "0/1",
        ),
        (
            "second init running",
            init(&["i", "j"], json!([ended("i", 0, "Completed"), running("j")])),
            "Init:1/2",
            "0/1",
        ),
        ("init failed", init(&["i"], json!([ended("i", 1, "Error")])), "Init:Error", "0/1"),
        ("init failed without reason", init(&["i"], json!([ended("i", 4, "")])), "Init:ExitCode:4", "0/1"),
        ("init killed", init(&["i"], json!([signalled("i", 15)])), "Init:Signal:15", "0/1"),
        ("init crash loop", init(&["i"], json!([waiting("i", "CrashLoopBackOff")])), "Init:CrashLoopBackOff", "0/1"),
        ("init image", init(&["i"], json!([waiting("i", "ImagePullBackOff")])), "Init:ImagePullBackOff", "0/1"),
        ("all inits done", init(&["i"], json!([ended("i", 0, "Completed")])), "PodInitializing", "0/1"),
        (
            "sidecar started and ready counts",
            init(&["s*", "i"], json!([running("s"), running("i")])),
            "Init:1/2",
            "1/2",
        ),
        (
            "sidecar not started",
            init(&["s*"], json!([{"name": "s", "started": false, "ready": false, "state": {"running": {}}}])),
            "Init:0/1",
            "0/2",
        ),
        (
            "sidecar and app",
            pod("Running", &["s*"], &["app"], json!([running("s")]), json!([running("app")])),
            "Running",
            "2/2",
        ),
        (
            "an init that reruns after initialization does not hide the apps",
            ready(pod("Running", &["i"], &["app"], json!([running("i")]), json!([waiting("app", "CrashLoopBackOff")]))),
            "CrashLoopBackOff",
            "0/1",
        ),
        (
            "being deleted",
            with(one("Running", running("app")), "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z")),
            "Terminating",
            "1/1",
        ),
        (
            "deleted after its end",
            with(
                one("Succeeded", ended("app", 0, "Completed")),
                "/metadata",
                "deletionTimestamp",
                json!("2026-01-01T00:00:00Z"),
            ),
            "Completed",
            "0/1",
        ),
        (
            "quarantined while it was initializing",
            with(init(&["i"], json!([running("i")])), "/status", "reason", json!("Quarantined")),
            "Quarantined",
            "0/1",
        ),
        (
            "interrupted",
            with(one("Failed", ended("app", 137, "ContainerStatusUnknown")), "/status", "reason", json!("Interrupted")),
            "Interrupted",
            "0/1",
        ),
        (
            "an init container waits for a condition of the pod",
            init(&["i"], json!([waiting("i", "WaitingFor: clock")])),
            "WaitingFor: clock",
            "0/1",
        ),
        (
            "node lost",
            with(
                with(one("Running", running("app")), "/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z")),
                "/status",
                "reason",
                json!("NodeLost"),
            ),
            "Unknown",
            "1/1",
        ),
    ];
    for (case, pod, status, ready) in table {
        let row = PodRow::new(&pod, NOW);
        assert_eq!((row.status.as_str(), row.ready.as_str()), (status, ready), "{case}");
    }
}

#[test]
fn restarts_tell_the_newest_end() {
    let restarted = |name: &str, count: i64, finished: &str| {
        json!({"name": name, "restartCount": count, "ready": true, "started": true, "state": {"running": {}},
               "lastState": {"terminated": {"exitCode": 1, "finishedAt": finished}}})
    };
    let of = |pod: &Value| PodRow::new(pod, NOW).restarts;
    let apps = |statuses| pod("Running", &[], &["a", "b"], json!([]), statuses);
    assert_eq!(of(&apps(json!([running("a")]))), "0");
    assert_eq!(of(&apps(json!([restarted("a", 3, "2026-01-01T00:09:40Z"), running("b")]))), "3 (20s ago)");
    assert_eq!(
        of(&apps(json!([restarted("a", 3, "2026-01-01T00:00:00Z"), restarted("b", 2, "2026-01-01T00:08:00Z")]))),
        "5 (2m ago)"
    );
    assert_eq!(of(&apps(json!([{"name": "a", "restartCount": 4, "state": {"running": {}}}]))), "4");
    assert_eq!(of(&apps(json!([restarted("a", 0, "2026-01-01T00:08:00Z")]))), "0");
    // While initializing: the init containers; afterwards: sidecars and apps.
    let initializing = pod(
        "Pending",
        &["i"],
        &["app"],
        json!([{"name": "i", "restartCount": 7, "state": {"running": {}}}]),
        json!([]),
    );
    assert_eq!(of(&initializing), "7");
    let done = json!({"name": "i", "restartCount": 7, "state": {"terminated": {"exitCode": 0}}});
    let initialized = pod(
        "Running",
        &["i", "s*"],
        &["app"],
        json!([done, restarted("s", 2, "2026-01-01T00:09:00Z")]),
        json!([running("app")]),
    );
    assert_eq!(of(&initialized), "2 (60s ago)");
}

#[test]
fn wide_columns_name_address_node_and_gates() {
    let mut pod = pod("Running", &[], &["app"], json!([]), json!([running("app")]));
    let shown = Shown { namespace: true, wide: true, labels: true };
    assert_eq!(
        header(shown),
        "NAMESPACE\tNAME\tREADY\tSTATUS\tRESTARTS\tAGE\tIP\tNODE\tNOMINATED NODE\tREADINESS GATES\tLABELS"
    );
    assert_eq!(
        PodRow::new(&pod, NOW).line(shown),
        "default\tweb-gw\t1/1\tRunning\t0\t10m\t<none>\tgw\t<none>\t<none>\t<none>"
    );
    pod["status"]["podIPs"] = json!([{"ip": "10.0.0.7"}]);
    pod["spec"]["readinessGates"] = json!([{"conditionType": "a"}, {"conditionType": "b"}]);
    pod["status"]["conditions"] = json!([{"type": "a", "status": "True"}]);
    pod["metadata"]["labels"] = json!({"app": "web", "tier": "front"});
    assert_eq!(
        PodRow::new(&pod, NOW).line(shown),
        "default\tweb-gw\t1/1\tRunning\t0\t10m\t10.0.0.7\tgw\t<none>\t1/2\tapp=web,tier=front"
    );
    assert_eq!(header(Shown::default()), "NAME\tREADY\tSTATUS\tRESTARTS\tAGE");
}

#[test]
fn an_object_with_nothing_in_it_is_still_a_row() {
    for object in [json!({}), json!(null), json!({"metadata": 3, "spec": [], "status": "x"})] {
        assert_eq!(PodRow::new(&object, NOW).ready, "0/0");
    }
}
