//! Validation of containers: what is common to all, and what each kind of list adds.

use crate::sorted::BTreeSet;

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::mounts::validate_mounts;
use super::volumes::{PULL_POLICIES, Volumes};
use super::{env, probes, resources, security};

/// What an ephemeral container may not have.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
];

/// Checks app, init and ephemeral containers.
pub(super) fn validate_containers(spec: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (apps, inits, debuggers) =
        (spec.child("containers"), spec.child("initContainers"), spec.child("ephemeralContainers"));
    if !apps.is_truthy() {
        errors.required_at(&apps, "");
    }
    let mut seen = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for container in apps.items() {
        validate_common(&container, spec, volumes, errors);
        unique_name(&container, &mut seen, errors);
        probes::validate_probes(&container, spec, errors);
        validate_restart_policy(&container, errors);
        unique_host_ports(&container, &container, &mut host_ports, errors);
    }
    for container in inits.items() {
        validate_common(&container, spec, volumes, errors);
        validate_restart_policy(&container, errors);
        // Several without a name are no duplicates here, though they are among app containers.
        if container.child("name").is_truthy() || seen.contains("") {
            unique_name(&container, &mut seen, errors);
        }
        // One runs after the other, so each has its own; Kubernetes names the first in its errors.
        unique_host_ports(&container, &inits.index(0), &mut BTreeSet::new(), errors);
        if container.text_of("restartPolicy") == "Always" {
            probes::validate_probes(&container, spec, errors);
        } else {
            probes::refuse_probes(&container, errors);
            for policy in container.child("resizePolicy").items() {
                let restart = policy.child("restartPolicy");
                if restart.text() == "RestartContainer" {
                    let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    errors.invalid_at(&restart, detail);
                }
            }
        }
    }
    seen.extend(inits.items().map(|container| container.text_of("name")));
    let targets = seen.clone();
    for container in debuggers.items() {
        validate_common(&container, spec, volumes, errors);
        unique_name(&container, &mut seen, errors);
        let target = container.child("targetContainerName");
        if target.is_truthy() && !targets.contains(target.text()) {
            errors.not_found_at(&target);
        }
        for field in NOT_EPHEMERAL {
            let at = container.child(field);
            // What Kubernetes holds by value counts only when it is not the zero value.
            if at.is_set() && (field != "resources" || at.is_truthy()) {
                errors.forbidden_at(&at, "cannot be set for an Ephemeral Container");
            }
        }
        for mount in container.child("volumeMounts").items() {
            for path in ["subPath", "subPathExpr"] {
                if mount.child(path).is_truthy() {
                    errors.forbidden_at(&mount.child(path), "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
    if debuggers.is_truthy() {
        errors.forbidden_at(&debuggers, "cannot be set on create");
    }
    if spec.flag_of("hostNetwork") == Some(true) {
        for container in apps.items() {
            for port in container.child("ports").items() {
                let host = port.child("hostPort");
                if host.number() != port.child("containerPort").number() {
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    errors.invalid_as(&host, host.number(), detail);
                }
            }
        }
    }
}

fn unique_name<'a>(container: &At<'a>, seen: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let name = container.text_of("name");
    if !seen.insert(name) {
        errors.duplicate_at(&container.child("name"), name);
    }
}

fn validate_common(container: &At<'_>, spec: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (name, image) = (container.child("name"), container.child("image"));
    if errors.needs(&name) {
        errors.wrong(&name, names::label(name.text()));
    }
    if errors.needs(&image) && image.text().trim() != image.text() {
        errors.invalid_at(&image, "must not have leading or trailing whitespace");
    }
    errors.one_of_at(&container.child("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    validate_ports(&container.child("ports"), errors);
    env::validate_env(container, errors);
    validate_mounts(container, volumes, errors);
    errors.one_of_at(&container.child("imagePullPolicy"), &PULL_POLICIES);
    resources::validate_container_resources(container, spec, errors);
    validate_resize(container, spec, errors);
    security::validate_container_security(container, spec, errors);
}

fn validate_ports(ports: &At<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (name, number, host) = (port.child("name"), port.child("containerPort"), port.child("hostPort"));
        if name.is_truthy() {
            let wrong = names::port(name.text());
            if wrong.is_empty() && !seen.insert(port.text_of("name")) {
                errors.duplicate_at(&name, name.text());
            }
            errors.wrong(&name, wrong);
        }
        if errors.needs(&number) {
            errors.within(&number, 1, 65535);
        }
        if host.is_truthy() {
            errors.within(&host, 1, 65535);
        }
        errors.one_of_at(&port.child("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// `place`: the container that errors name.
fn unique_host_ports(container: &At<'_>, place: &At<'_>, seen: &mut BTreeSet<String>, errors: &mut Errors) {
    let ports = place.child("ports");
    for (index, port) in container.child("ports").items().enumerate() {
        let number = port.child("hostPort").number();
        let taken = format!("{}/{}/{number}", port.text_of("protocol"), port.text_of("hostIP"));
        if number != 0 && !seen.insert(taken.clone()) {
            errors.duplicate_at(&ports.index(index).child("hostPort"), &taken);
        }
    }
}

fn validate_restart_policy(container: &At<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.child("restartPolicy"), container.child("restartPolicyRules"));
    if policy.is_set() {
        errors.one_of_at(&policy, &["Always", "Never", "OnFailure"]);
    } else if rules.is_truthy() {
        errors.required_at(&policy, "must specify restartPolicy when restart rules are used");
    }
    let count = rules.items().len();
    if count > 20 {
        errors.too_many_at(&rules, count, 20);
    }
    for rule in rules.items() {
        errors.one_of_at(&rule.child("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.child("exitCodes");
        if !codes.is_set() {
            errors.required_at(&codes, "must be specified");
            continue;
        }
        errors.one_of_at(&codes.child("operator"), &["In", "NotIn"]);
        let values = codes.child("values");
        if values.items().len() > 255 {
            errors.too_many_at(&values, values.items().len(), 255);
        }
    }
}

/// Kubernetes leaves the index out of most of these paths.
fn validate_resize(container: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let policies = container.child("resizePolicy");
    let place = policies.to_string();
    let mut seen = BTreeSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.text_of("resourceName"), policy.text_of("restartPolicy"));
        if !seen.insert(resource) {
            errors.duplicate_at(&policy, resource);
        }
        for (value, known) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            if value.is_empty() {
                errors.required(&place, "");
            } else {
                errors.one_of(&place, value, &known);
            }
        }
        if spec.text_of("restartPolicy") == "Never" && restart != "NotRequired" {
            errors.invalid(&place, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}
