#![allow(clippy::needless_pass_by_value)] // JSON literals
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::*;

fn pod(name: &str, phase: &str, container: Value) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": phase, "containerStatuses": [container]},
    })
}

fn creating(name: &str) -> Value {
    pod(name, "Pending", json!({"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}))
}

fn running(name: &str, restarts: i64) -> Value {
    pod(name, "Running", json!({"name": "app", "ready": true, "restartCount": restarts, "state": {"running": {}}}))
}

fn crashed(name: &str, next: &str) -> Value {
    let message = format!("back-off 20s restarting failed container=app pod={name}; next try {next}");
    let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}});
    let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    pod(name, "Running", json!({"name": "app", "restartCount": 3, "state": state, "lastState": last}))
}

fn texts(watched: &mut Watched, pods: &[Value]) -> Vec<String> {
    watched.update(pods, &[]).into_iter().map(|(room, text)| format!("{room}: {text}")).collect()
}

#[test]
fn a_pod_is_told_when_it_comes_changes_and_goes() {
    let mut watched = Watched::default();
    assert_eq!(texts(&mut watched, &[creating("web")]), ["pods: default/web: ContainerCreating 0/1"]);
    assert_eq!(texts(&mut watched, &[creating("web")]), [""; 0]);
    assert_eq!(texts(&mut watched, &[running("web", 0)]), ["pods: default/web: Running 1/1"]);
    assert_eq!(texts(&mut watched, &[running("web", 2)]), ["pods: default/web: Running 1/1, 2 restarts"]);
    assert_eq!(
        texts(&mut watched, &[running("a", 1)]),
        ["pods: default/web: gone", "pods: default/a: new, Running 1/1, 1 restart"]
    );
}

#[test]
fn a_crash_is_told_with_how_it_ended_and_when_it_is_tried_again() {
    let mut watched = Watched::default();
    let told = texts(&mut watched, &[crashed("web", "2026-01-01T00:00:20Z")]);
    let words = "app ended with exit code 137 (OOMKilled), next try after 20s";
    assert_eq!(told, [format!("pods: default/web: CrashLoopBackOff 0/1, 3 restarts: {words}")]);
    // The wall clock was set: no news.
    assert_eq!(texts(&mut watched, &[crashed("web", "2027-01-01T00:00:20Z")]), [""; 0]);
}

#[test]
fn what_keeps_a_container_waiting_is_told_in_one_line() {
    let state =
        json!({"waiting": {"reason": "ErrImagePull", "message": "not here\nand more; next try 2026-01-01T00:00:00Z"}});
    let mut watched = Watched::default();
    let told = texts(&mut watched, &[pod("web", "Pending", json!({"name": "app", "state": state}))]);
    assert_eq!(told, ["pods: default/web: ErrImagePull 0/1: app: not here"]);
}

#[test]
fn a_pod_made_anew_under_its_name_is_told_as_replaced() {
    let mut watched = Watched::default();
    texts(&mut watched, &[running("web", 0)]);
    let mut other = running("web", 0);
    other["metadata"]["uid"] = json!("other");
    assert_eq!(texts(&mut watched, &[other]), ["pods: default/web: replaced, Running 1/1"]);
}

#[test]
fn a_warning_about_a_manifest_is_told_once() {
    let mut watched = Watched::default();
    let warnings = ["web.yaml:3: no".to_owned()];
    assert_eq!(watched.update(&[], &warnings), [("warning", "web.yaml:3: no".to_owned())]);
    assert_eq!(watched.update(&[], &warnings), []);
    assert_eq!(watched.update(&[], &[]), []);
    assert_eq!(watched.update(&[], &warnings).len(), 1);
}

#[test]
fn of_events_only_warnings_are_told_and_no_backoff() {
    let event = |kind: &str, reason: &str, count: i64| {
        json!({"type": kind, "reason": reason, "message": "it\nfails", "count": count,
            "involvedObject": {"namespace": "default", "name": "web"}})
    };
    assert_eq!(event_line(&event("Normal", "Started", 1)), None);
    assert_eq!(event_line(&event("Warning", "BackOff", 1)), None);
    assert_eq!(event_line(&event("Warning", "Failed", 1)).unwrap(), "default/web: Failed: it...");
    assert_eq!(event_line(&event("Warning", "Failed", 4)).unwrap(), "default/web: Failed (x4): it...");
}
