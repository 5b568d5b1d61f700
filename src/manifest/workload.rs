//! [`pod_of`]: Deployment, DaemonSet and Job as podman takes them: one pod `<name>-pod` made of the template.

use super::error::Errors;
use super::loaded::{Loaded, Warning};
use crate::document::{Entry, Node, Value};

/// The kinds.
pub(super) const KINDS: [&str; 3] = ["Deployment", "DaemonSet", "Job"];
/// What steers pods beyond the first, or their replacement; without a word.
const QUIET: [&str; 5] = ["minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit", "selector", "template"];
/// What says how many, which a warning answers.
const COUNTS: [&str; 3] = ["completions", "parallelism", "replicas"];
/// What has no effect here.
const WARNED: [&str; 13] = [
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "podFailurePolicy",
    "podReplacementPolicy",
    "strategy",
    "successPolicy",
    "ttlSecondsAfterFinished",
    "updateStrategy",
];

/// The kind, if it is one of these in its own version.
pub(super) fn kind_of(kind: &str, api_version: &str) -> Option<&'static str> {
    KINDS.into_iter().find(|known| *known == kind && version_of(known) == api_version)
}

/// The version in which a kind is read.
pub(super) fn version_of(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "DaemonSet" => "apps/v1",
        "Job" => "batch/v1",
        _ => "v1",
    }
}

/// The pod's document, with the lines of the template. `result` gets warnings about what has no effect.
pub(super) fn pod_of(kind: &str, node: &Node, result: &mut Loaded, errors: &mut Errors) -> Option<Node> {
    let mut warn = |entry: &Entry, message: &str| {
        result.warnings.push(Warning {
            field: format!("spec.{}", entry.key),
            message: message.to_owned(),
            line: entry.line,
        });
    };
    let Some(Value::Map(entries)) = node.get("spec").map(|spec| &spec.value) else {
        errors.required("spec.template", "the pod of this workload");
        return None;
    };
    for entry in entries {
        let number = match &entry.node.value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        match entry.key.as_str() {
            "suspend" | "paused" if entry.node.value == Value::Bool(true) => {
                errors
                    .later(&format!("spec.{}", entry.key), "nothing here lifts it; remove the document, or the field");
            }
            "suspend" | "paused" => {}
            key if COUNTS.contains(&key) && number == Some(1) => {}
            key if COUNTS.contains(&key) && number == Some(0) => {
                errors.later(&format!("spec.{key}"), "0 means no pod; remove the document to run none");
            }
            key if COUNTS.contains(&key) => warn(entry, "limited to one pod: there is one node"),
            key if QUIET.contains(&key) => {}
            key if WARNED.contains(&key) => warn(entry, "has no effect: the pod runs by its own restart policy"),
            _ => warn(entry, &format!("unknown field of {kind}; it has no effect")),
        }
    }
    let Some(template) = node.get("spec").and_then(|spec| spec.get("template")) else {
        errors.required("spec.template", "the pod of this workload");
        return None;
    };
    let at = |value| Node { value, line: node.line, column: node.column };
    let text = |text: &str| at(Value::String(text.to_owned()));
    let entry = |key: &str, node: Node| Entry { key: key.to_owned(), line: node.line, column: node.column, node };
    let outer = |key: &str| node.get("metadata").and_then(|meta| meta.get(key)).cloned();
    let mut metadata = Vec::new();
    let Some(name) = node.get("metadata").and_then(|meta| meta.text("name")).filter(|name| !name.is_empty()) else {
        errors.required("metadata.name", "");
        return None;
    };
    metadata.push(entry("name", text(&format!("{name}-pod"))));
    metadata.extend(outer("namespace").map(|node| entry("namespace", node)));
    metadata.extend(outer("annotations").map(|node| entry("annotations", node)));
    let labels = template.get("metadata").and_then(|meta| meta.get("labels")).cloned();
    metadata.extend(labels.map(|node| entry("labels", node)));
    let mut fields = vec![entry("apiVersion", text("v1")), entry("kind", text("Pod"))];
    fields.push(entry("metadata", at(Value::Map(metadata))));
    fields.extend(template.get("spec").cloned().map(|node| entry("spec", node)));
    Some(at(Value::Map(fields)))
}

/// A Job's pod ends; the others' never do.
pub(super) fn check_restart_policy(kind: &str, pod: &Node, errors: &mut Errors) {
    let written = pod.get("spec").and_then(|spec| spec.text("restartPolicy")).filter(|policy| !policy.is_empty());
    let known: &[&str] = if kind == "Job" { &["OnFailure", "Never"] } else { &["Always"] };
    errors.one_of("spec.restartPolicy", written.unwrap_or("Always"), known);
}

/// The field of the workload that a field of its pod comes from.
pub(super) fn field_of(field: &str) -> String {
    if field == "spec" || field.starts_with("spec.") || field.starts_with("metadata.labels") {
        format!("spec.template.{field}")
    } else {
        field.to_owned()
    }
}
