//! Validation of what would steer a scheduler. It has no effect here; what Kubernetes refuses is refused all the same.

use serde_json::Value as Json;

use super::super::error::Errors;
use super::super::names;

/// Checks `nodeSelector`, `tolerations` and `preemptionPolicy` of a decoded spec.
pub(in super::super) fn validate_scheduling(spec: &Json, errors: &mut Errors) {
    for key in spec.get("nodeSelector").and_then(Json::as_object).into_iter().flat_map(serde_json::Map::keys) {
        errors.invalid_all("spec.nodeSelector", key, names::qualified(key));
    }
    if let Some(policy) = spec.get("preemptionPolicy").and_then(Json::as_str).filter(|policy| !policy.is_empty()) {
        errors.one_of("spec.preemptionPolicy", policy, &["PreemptLowerPriority", "Never"]);
    }
    let tolerations = spec.get("tolerations").and_then(Json::as_array);
    for (index, toleration) in tolerations.into_iter().flatten().enumerate() {
        validate_toleration(toleration, &format!("spec.tolerations[{index}]"), errors);
    }
}

fn validate_toleration(toleration: &Json, path: &str, errors: &mut Errors) {
    let text = |key: &str| toleration.get(key).and_then(Json::as_str).unwrap_or_default();
    let (key, operator, value, effect) = (text("key"), text("operator"), text("value"), text("effect"));
    if !key.is_empty() {
        errors.invalid_all(&format!("{path}.key"), key, names::qualified(key));
    }
    if key.is_empty() && operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&format!("{path}.operator"), operator, detail);
    }
    if toleration.get("tolerationSeconds").is_some() && effect != "NoExecute" {
        errors.invalid(&format!("{path}.effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    let at = format!("{path}.operator");
    match operator {
        "" | "Equal" => errors.invalid_all(&at, value, names::label_value(value)),
        "Exists" if !value.is_empty() => errors.invalid(&at, value, "value must be empty when `operator` is 'Exists'"),
        "Exists" => {}
        other => errors.unsupported(&at, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.one_of(&format!("{path}.effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}
