//! Validation of what would steer a scheduler: selectors, affinity, tolerations, spreading, gates. It has no effect here; what
//! Kubernetes refuses is refused all the same.

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::metadata::validate_labels;

/// Whether the values of a selector are checked as labels.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    Checked,
    Free,
}

/// Checks all of a pod's scheduling fields.
pub(super) fn validate_scheduling(spec: &At<'_>, errors: &mut Errors) {
    validate_labels(&spec.child("nodeSelector"), errors);
    validate_affinity(&spec.child("affinity"), errors);
    for toleration in spec.child("tolerations").items() {
        validate_toleration(&toleration, errors);
    }
    let constraints = spec.child("topologySpreadConstraints");
    for (index, constraint) in constraints.items().enumerate() {
        validate_spread(&constraint, constraints.items().skip(index + 1), errors);
    }
    for gate in spec.child("readinessGates").items() {
        let condition = gate.child("conditionType");
        errors.wrong_as(&condition, condition.text(), names::qualified(condition.text()));
    }
    let gates = spec.child("schedulingGates");
    for (index, gate) in gates.items().enumerate() {
        let name = gate.text_of("name");
        errors.wrong_as(&gate, name, names::qualified(name));
        if gates.items().take(index).any(|earlier| earlier.text_of("name") == name) {
            errors.duplicate_at(&gate, name);
        }
    }
    let node_name = spec.child("nodeName");
    if node_name.is_truthy() && gates.is_truthy() {
        errors.forbidden_at(&node_name, "cannot be set until all schedulingGates have been cleared");
    }
    if let Some(group) = spec.set("schedulingGroup") {
        let name = group.child("podGroupName");
        if name.is_set() {
            errors.wrong(&name, names::subdomain(name.text()));
        } else {
            errors.invalid_at(&name, "must specify one of: `podGroupName`");
        }
    }
}

/// A label selector, if it is set.
pub(super) fn validate_label_selector(selector: &At<'_>, errors: &mut Errors) {
    validate_labels(&selector.child("matchLabels"), errors);
    for expression in selector.child("matchExpressions").items() {
        validate_requirement(&expression, false, Values::Checked, errors);
    }
}

/// A condition on a label. `of_nodes`: nodes can be compared by number as well.
fn validate_requirement(expression: &At<'_>, of_nodes: bool, checked: Values, errors: &mut Errors) {
    let values = expression.child("values");
    match expression.text_of("operator") {
        "In" | "NotIn" if !values.is_truthy() => {
            errors.required_at(&values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if values.is_truthy() => {
            errors.forbidden_at(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if of_nodes => {
            if values.items().len() != 1 {
                errors.required_at(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid_as(&expression.child("operator"), other, "not a valid selector operator"),
    }
    let key = expression.child("key");
    errors.wrong_as(&key, key.text(), names::qualified(key.text()));
    for value in values.items().filter(|_| checked == Values::Checked) {
        errors.wrong(&value, names::label_value(value.text()));
    }
}

fn validate_affinity(affinity: &At<'_>, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = affinity.child("nodeAffinity");
    if let Some(required) = nodes.set(REQUIRED) {
        validate_node_selector(&required, errors);
    }
    for term in nodes.child(PREFERRED).items() {
        validate_weight(&term, errors);
        validate_node_term(&term.child("preference"), Values::Free, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.child(kind);
        for term in pods.child(REQUIRED).items() {
            validate_pod_term(&term, errors);
        }
        for weighted in pods.child(PREFERRED).items() {
            validate_weight(&weighted, errors);
            validate_pod_term(&weighted.child("podAffinityTerm"), errors);
        }
    }
}

/// Terms that choose nodes; also those of a PersistentVolume.
pub(super) fn validate_node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.child("nodeSelectorTerms");
    if !terms.is_truthy() {
        errors.required_at(&terms, "must have at least one node selector term");
    }
    for term in terms.items() {
        validate_node_term(&term, Values::Checked, errors);
    }
}

fn validate_node_term(term: &At<'_>, checked: Values, errors: &mut Errors) {
    for expression in term.child("matchExpressions").items() {
        validate_requirement(&expression, true, checked, errors);
    }
    for field in term.child("matchFields").items() {
        let (operator, values, key) = (field.child("operator"), field.child("values"), field.child("key"));
        if !["In", "NotIn"].contains(&operator.text()) {
            errors.invalid_as(&operator, operator.text(), "not a valid selector operator");
        } else if values.items().len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required_at(&values, detail);
        }
        if key.text() == "metadata.name" {
            for value in values.items() {
                errors.wrong(&value, names::subdomain(value.text()));
            }
        } else {
            errors.invalid_as(&key, key.text(), "not a valid field selector key");
        }
    }
}

fn validate_weight(term: &At<'_>, errors: &mut Errors) {
    let weight = term.child("weight");
    if !(1..=100).contains(&weight.number()) {
        errors.invalid_as(&weight, weight.number(), "must be in the range 1-100");
    }
}

fn validate_pod_term(term: &At<'_>, errors: &mut Errors) {
    validate_label_selector(&term.child("labelSelector"), errors);
    validate_label_selector(&term.child("namespaceSelector"), errors);
    for namespace in term.child("namespaces").texts() {
        errors.wrong_as(&term.child("namespace"), namespace, names::label(namespace));
    }
    validate_label_keys(term, errors);
    let key = term.child("topologyKey");
    if !key.is_truthy() {
        errors.required_at(&key, "can not be empty");
    }
    errors.wrong_as(&key, key.text(), names::qualified(key.text()));
}

/// `matchLabelKeys` and `mismatchLabelKeys`.
fn validate_label_keys(term: &At<'_>, errors: &mut Errors) {
    let selector = term.child("labelSelector");
    let (matching, mismatching) = (term.child("matchLabelKeys"), term.child("mismatchLabelKeys"));
    for keys in [&matching, &mismatching] {
        if keys.is_truthy() && !selector.is_set() {
            errors.forbidden_at(keys, "must not be specified when labelSelector is not set");
        } else {
            for key in keys.items() {
                errors.wrong(&key, names::qualified(key.text()));
            }
        }
    }
    let labels = selector.child("matchLabels");
    let expressions = selector.child("matchExpressions");
    for (place, expression) in expressions.items().enumerate() {
        let key = expression.text_of("key");
        let known = labels.json.get(key).is_some()
            || expressions.items().take(place).any(|earlier| earlier.text_of("key") == key);
        if let Some(index) = matching.texts().position(|name| name == key).filter(|_| known) {
            errors.invalid_as(&term.index(index), key, "exists in both matchLabelKeys and labelSelector");
        }
    }
    for key in matching.items() {
        if mismatching.texts().any(|name| name == key.text()) {
            errors.invalid_at(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

pub(super) fn validate_toleration(toleration: &At<'_>, errors: &mut Errors) {
    let (key, operator, effect) = (toleration.child("key"), toleration.child("operator"), toleration.child("effect"));
    let value = toleration.text_of("value");
    if key.is_truthy() {
        errors.wrong(&key, names::qualified(key.text()));
    } else if operator.text() != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid_as(&operator, operator.text(), detail);
    }
    if toleration.child("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
        errors.invalid_as(&effect, effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    match operator.text() {
        "" | "Equal" => {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                errors.invalid_as(&operator, value, wrong.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.invalid_as(&operator, value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        "Lt" | "Gt" => {
            if value.parse::<i64>().is_err() {
                let detail = "must be a valid decimal integer in canonical form";
                errors.invalid_as(&toleration.child("value"), value, detail);
            }
        }
        _ => errors.one_of_at(&operator, &["Equal", "Exists"]),
    }
    if effect.is_truthy() {
        errors.one_of_at(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

fn validate_spread<'a>(constraint: &At<'_>, mut rest: impl Iterator<Item = At<'a>>, errors: &mut Errors) {
    positive(&constraint.child("maxSkew"), errors);
    let topology = constraint.child("topologyKey");
    if !topology.is_truthy() {
        errors.required_at(&topology, "can not be empty");
    }
    let action = constraint.child("whenUnsatisfiable");
    errors.one_of_at(&action, &["DoNotSchedule", "ScheduleAnyway"]);
    let pair = (topology.text(), action.text());
    if rest.any(|other| (other.text_of("topologyKey"), other.text_of("whenUnsatisfiable")) == pair) {
        let place = constraint.child("{topologyKey, whenUnsatisfiable}");
        errors.duplicate_at(&place, &format!("{{{}, {}}}", pair.0, pair.1));
    }
    if let Some(domains) = constraint.set("minDomains") {
        positive(&domains, errors);
        if action.text() != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.text());
            errors.invalid_at(&domains, detail);
        }
    }
    for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        errors.one_of_if_set(&constraint.child(policy), &["Honor", "Ignore"]);
    }
    validate_label_keys(constraint, errors);
    validate_label_selector(&constraint.child("labelSelector"), errors);
}

fn positive(at: &At<'_>, errors: &mut Errors) {
    if at.number() <= 0 {
        errors.invalid_as(at, at.number(), "must be greater than zero");
    }
}
