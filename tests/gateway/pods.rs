//! [`Pods`]: v1 objects as gatepost gives them, and what tests ask of them.
#![allow(clippy::indexing_slicing)]

use serde_json::Value;

/// All pods of a node at one moment.
#[derive(Debug)]
pub struct Pods {
    pub node: String,
    pub items: Vec<Value>,
    pub warnings: Vec<String>,
}

impl Pods {
    /// A pod by the name its manifest has.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let full = format!("{name}-{}", self.node);
        self.items.iter().find(|pod| [full.as_str(), name].contains(&text(pod, "/metadata/name")))
    }

    /// The pod, when it is Ready and stays.
    pub fn ready(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|pod| is_ready(pod))
    }

    /// One line a pod.
    pub fn summary(&self) -> Vec<String> {
        let line = |pod: &Value| format!("{}: {}", text(pod, "/metadata/name"), pod["status"]);
        self.items.iter().map(line).collect()
    }
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.clone().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// A text field by JSON pointer; empty when it is not there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The status of a container, init or app.
pub fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let statuses = |field: &str| pod["status"][field].as_array().into_iter().flatten();
    statuses("initContainerStatuses")
        .chain(statuses("containerStatuses"))
        .find(|status| status["name"] == name)
        .unwrap_or(&Value::Null)
}

/// Why the container `app` waits; empty when it does not.
pub fn waits(pod: &Value) -> &str {
    text(container(pod, "app"), "/state/waiting/reason")
}

/// How often the container `app` was restarted.
pub fn restarts(pod: &Value) -> u64 {
    container(pod, "app")["restartCount"].as_u64().unwrap_or(0)
}
