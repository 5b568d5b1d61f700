//! Validation of a pod: its spec as a whole, and the annotations that steer it.

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::paths::descending;
use super::{containers, go_json, os, resources, security, selectors, volumes};

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Checks everything below `spec`, and the annotations that Kubernetes reads.
pub(super) fn validate_spec(pod: &At<'_>, errors: &mut Errors) {
    let (meta, spec) = (pod.child("metadata"), pod.child("spec"));
    validate_annotations(&meta.child("annotations"), &spec, errors);
    let list = spec.child("volumes");
    let valid = volumes::validate_volumes(&list, meta.text_of("name"), errors);
    containers::validate_containers(&spec, &valid, errors);
    resources::validate_pod_resources(&spec, errors);
    errors.one_of_at(&spec.child("restartPolicy"), &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of_at(&spec.child("dnsPolicy"), &policies);
    errors.one_of_if_set(&spec.child("preemptionPolicy"), &["PreemptLowerPriority", "Never"]);
    errors.within(&spec.child("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    selectors::validate_scheduling(&spec, errors);
    security::validate_pod_security(&spec, errors);
    validate_dns_config(&spec, errors);
    validate_names(&spec, errors);
    os::validate_os(&spec, errors);
    validate_token_sources(&spec, errors);
    validate_file_keys(&spec, errors);
}

/// Names of all sorts, and the lines of `/etc/hosts`.
fn validate_names(spec: &At<'_>, errors: &mut Errors) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName"] {
        let name = spec.child(field);
        if name.is_truthy() {
            errors.wrong(&name, names::subdomain(name.text()));
        }
    }
    let class = spec.child("runtimeClassName");
    if class.is_set() {
        errors.wrong(&class, names::subdomain(class.text()));
    }
    for field in ["hostname", "subdomain"] {
        let name = spec.child(field);
        if name.is_truthy() {
            errors.wrong(&name, names::label(name.text()));
        }
    }
    if let Some(name) = spec.set("hostnameOverride") {
        for other in ["setHostnameAsFQDN", "hostNetwork"] {
            if spec.flag_of(other) == Some(true) {
                errors.forbidden_at(&name, &format!("may not be specified when {other} is true"));
            }
        }
        if name.text().len() > 64 {
            errors.too_long_at(&name, 64);
        }
        errors.wrong(&name, names::subdomain(name.text()));
    }
    for alias in spec.child("hostAliases").items() {
        let ip = alias.child("ip");
        errors.wrong_as(&ip, ip.text(), names::ip(ip.text()));
        for name in alias.child("hostnames").items() {
            errors.wrong(&name, names::subdomain(name.text()));
        }
    }
}

fn validate_dns_config(spec: &At<'_>, errors: &mut Errors) {
    let config = spec.child("dnsConfig");
    let (servers, searches) = (config.child("nameservers"), config.child("searches"));
    if spec.text_of("dnsPolicy") == "None" {
        if !config.is_set() {
            errors.required_at(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if !servers.is_truthy() {
            errors.required_at(&servers, "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if servers.items().len() > 3 {
        errors.invalid_at(&servers, "must not have more than 3 nameservers");
    }
    for server in servers.items() {
        errors.wrong(&server, names::ip(server.text()));
    }
    if searches.items().len() > 32 {
        errors.invalid_at(&searches, "must not have more than 32 search paths");
    }
    if searches.texts().map(|search| search.len() + 1).sum::<usize>() > 2049 {
        errors.invalid_at(&searches, "must not have more than 2048 characters (including spaces) in the search list");
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let stem = search.text().strip_suffix('.').unwrap_or(search.text());
        errors.wrong_as(&search, stem, names::search_domain(stem));
    }
    for option in config.child("options").items() {
        if option.text_of("name").is_empty() {
            errors.required_at(&option, "must not be empty");
        }
    }
}

/// Tokens are for an account, so one must be named.
fn validate_token_sources(spec: &At<'_>, errors: &mut Errors) {
    if !spec.text_of("serviceAccountName").is_empty() {
        return;
    }
    for volume in spec.child("volumes").items() {
        for source in volume.child("projected").child("sources").items() {
            if let Some(token) = source.set("serviceAccountToken") {
                errors.forbidden_at(&token, "must not be specified when serviceAccountName is not set");
            }
        }
    }
}

/// Variables from files read them from an emptyDir.
fn validate_file_keys(spec: &At<'_>, errors: &mut Errors) {
    let volumes = spec.child("volumes");
    for list in super::CONTAINERS {
        for container in spec.child(list).items() {
            for variable in container.child("env").items() {
                let from = variable.child("valueFrom");
                let Some(reference) = from.set("fileKeyRef") else { continue };
                let name = reference.child("volumeName");
                match volumes.items().filter(|volume| volume.text_of("name") == name.text()).last() {
                    None => errors.not_found_at(&name),
                    Some(volume) if !volume.child("emptyDir").is_set() => {
                        errors.invalid_as(&name, name.text(), "referenced volume must be of type emptyDir");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

fn validate_annotations(annotations: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let containers = || super::CONTAINERS.iter().map(|list| spec.child(list));
    let exists = |name: &str| containers().any(|list| list.items().any(|c| c.text_of("name") == name));
    for (key, value) in annotations.entries() {
        let text = value.text();
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            let place = annotations.child(key);
            if let Some(file) = text.strip_prefix("localhost/") {
                descending(&place, file, errors);
            } else if !["runtime/default", "docker/default", "unconfined"].contains(&text) {
                errors.invalid_as(&place, text, "must be a valid seccomp profile");
            }
        }
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            if !exists(container) {
                errors.invalid_as(&value, container, "container not found");
            }
            if !["", "runtime/default", "unconfined"].contains(&text) && !text.starts_with("localhost/") {
                errors.invalid_as(&value, text, format!("invalid AppArmor profile name: {text:?}"));
            }
        }
        if key == MIRROR && spec.text_of("nodeName").is_empty() {
            errors.invalid_as(&value, text, "must set spec.nodeName if mirror pod annotation is set");
        }
        if key == TOLERATIONS && !text.is_empty() {
            match go_json::tolerations(text.as_bytes()) {
                Ok(list) => {
                    let place = annotations.child(key);
                    let place = place.showing(&list);
                    place.items().for_each(|toleration| selectors::validate_toleration(&toleration, errors));
                }
                Err(why) => errors.invalid_as(annotations, key, why),
            }
        }
        let canonical = text == "0" || !text.starts_with(['+', '0']);
        if key == DELETION_COST && !(canonical && text.parse::<i32>().is_ok()) {
            errors.invalid_as(&value, text, "must be a 32bit integer");
        }
    }
    let context = spec.child("securityContext");
    if let Some(profile) = context.set("seccompProfile") {
        profiles_match(annotations.json.get(SECCOMP_POD), &profile, "seccomp", errors);
    }
    let on_windows = spec.child("os").text_of("name") == "windows";
    for list in super::CONTAINERS {
        for container in spec.child(list).items() {
            let (own, name) = (container.child("securityContext"), container.text_of("name"));
            if let Some(profile) = own.set("seccompProfile") {
                let annotation = annotations.json.get(format!("{SECCOMP_CONTAINER}{name}"));
                profiles_match(annotation, &profile, "seccomp", errors);
            }
            let profile = own.child("appArmorProfile");
            let shown = if profile.is_set() { profile.json } else { context.child("appArmorProfile").json };
            if !shown.is_null() && !on_windows {
                let place = profile.showing(shown);
                let annotation = annotations.json.get(format!("{APP_ARMOR}{name}"));
                profiles_match(annotation, &place, "apparmor", errors);
            }
        }
    }
}

/// An annotation of old must not contradict the field.
fn profiles_match(annotation: Option<&serde_json::Value>, profile: &At<'_>, what: &str, errors: &mut Errors) {
    let Some(annotation) = annotation.and_then(serde_json::Value::as_str) else { return };
    let (kind, file) = (profile.child("type"), profile.child("localhostProfile"));
    let same = match kind.text() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || what == "seccomp" && annotation == "docker/default",
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(name) if name != file.text() => {
                errors.forbidden_at(&file, &format!("{what} profile in annotation and field must match"));
                true
            }
            other => other.is_some(),
        },
        _ => true,
    };
    if !same {
        errors.forbidden_at(&kind, &format!("{what} type in annotation and field must match"));
    }
}
