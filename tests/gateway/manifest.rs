//! Manifests for tests, as JSON values that a test changes where it differs.
#![allow(clippy::indexing_slicing)]

use serde_json::{Value, json};

/// Runs until it is told to end, and then ends at once.
pub const WAIT: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";

/// A pod with the one container `app` that runs a shell script.
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 10, "containers": [container("app", script)]},
    })
}

/// The same, run once.
pub fn run_once(name: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

/// A container that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "sample/busybox:1", "command": ["sh", "-c", script]})
}

/// Gives every container of the pod the volume at `path`.
pub fn mount(pod: &mut Value, path: &str, mut volume: Value) {
    let name = path.trim_matches('/').replace('/', "-");
    volume["name"] = json!(name);
    push(&mut pod["spec"]["volumes"], volume);
    for kind in ["initContainers", "containers"] {
        for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
            push(&mut container["volumeMounts"], json!({"name": name, "mountPath": path}));
        }
    }
}

/// Mounts a directory of the host at `/host`.
pub fn mount_host(pod: &mut Value, directory: &std::path::Path) {
    mount(pod, "/host", json!({"hostPath": {"path": directory, "type": "Directory"}}));
}

/// Appends to a list that may not be there.
pub fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}
