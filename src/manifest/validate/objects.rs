//! Validation of the objects beside pods.

use serde_json::Value as Json;

use crate::sorted::BTreeMap;

use super::super::aggregate::is_overcommittable;
use super::super::base64;
use super::super::error::{ErrorKind, Errors};
use super::super::names;
use super::at::At;
use super::go_json;
use super::metadata::{validate_annotations, validate_labels};
use super::paths::without_backsteps;
use super::resources::{validate_container_name, validate_name};
use super::selectors::{validate_label_selector, validate_node_selector};
use super::service::validate_service;
use super::volumes::validate_host_path;
use crate::document::Quantity;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
/// Largest ConfigMap or Secret. Kubernetes: 1 MiB.
const MAX_OBJECT_BYTES: usize = 1 << 20;

/// Checks an object by its kind.
pub(in super::super) fn validate_object(kind: &str, object: &At<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    match kind {
        "ConfigMap" => validate_config_map(object, errors),
        "Secret" => validate_secret(object, errors),
        "PersistentVolume" => validate_volume(&spec, errors),
        "PersistentVolumeClaim" => validate_claim(&spec, errors),
        "Service" => validate_service(&spec, errors),
        _ => validate_limit_range(&spec, errors),
    }
}

fn validate_config_map(object: &At<'_>, errors: &mut Errors) {
    let (data, binary) = (object.child("data"), object.child("binaryData"));
    for (key, at) in data.entries() {
        errors.wrong_as(&at, key, names::config_key(key));
        if binary.json.get(key).is_some() {
            errors.invalid_as(&at, key, "duplicate of key present in binaryData");
        }
    }
    for (key, at) in binary.entries() {
        errors.wrong_as(&at, key, names::config_key(key));
    }
    if size(&data, false) + size(&binary, true) > MAX_OBJECT_BYTES {
        errors.add(ErrorKind::TooLong, "", None, format!("may not be more than {MAX_OBJECT_BYTES} bytes"));
    }
}

fn size(map: &At<'_>, base64: bool) -> usize {
    map.entries().map(|(_, value)| if base64 { value.text().len() / 4 * 3 } else { value.text().len() }).sum()
}

fn validate_secret(object: &At<'_>, errors: &mut Errors) {
    let (data, plain) = (object.child("data"), object.child("stringData"));
    for (key, at) in data.entries().chain(plain.entries()) {
        errors.wrong_as(&at, key, names::config_key(key));
    }
    if size(&data, true) + size(&plain, false) > MAX_OBJECT_BYTES {
        errors.too_long_at(&data, MAX_OBJECT_BYTES);
    }
    let has = |key: &str| data.json.get(key).is_some() || plain.json.get(key).is_some();
    let kind = object.text_of("type");
    if kind == "kubernetes.io/service-account-token" {
        let annotations = object.child("metadata");
        let annotations = annotations.child("annotations");
        errors.needs(&annotations.key("kubernetes.io/service-account.name"));
    }
    // Of the first list all keys are needed; else one of the second.
    let (all, any): (&[&str], &[&str]) = match kind {
        "kubernetes.io/dockercfg" => (&[".dockercfg"], &[]),
        "kubernetes.io/dockerconfigjson" => (&[".dockerconfigjson"], &[]),
        "kubernetes.io/basic-auth" => (&[], &["username", "password"]),
        "kubernetes.io/ssh-auth" => (&["ssh-privatekey"], &[]),
        "kubernetes.io/tls" => (&["tls.crt", "tls.key"], &[]),
        _ => (&[], &[]),
    };
    let missing = all.iter().filter(|key| !has(key));
    let neither = any.iter().filter(|_| !any.iter().any(|key| has(key)));
    for key in missing.chain(neither) {
        errors.required_at(&data.key(key), "");
    }
    for key in all.iter().filter(|key| key.starts_with(".docker")) {
        let content = match plain.json.get(*key) {
            Some(text) => text.as_str().map(|text| text.as_bytes().to_vec()),
            None => data.json.get(*key).and_then(Json::as_str).and_then(|text| base64::decode(text).ok()),
        };
        if let Some(Err(why)) = content.map(|content| go_json::object(&content)) {
            errors.invalid_as(&data.key(key), "<secret contents redacted>", why);
        }
    }
    let empty = |key: &str| !data.key(key).is_truthy() && !plain.key(key).is_truthy();
    if kind == "kubernetes.io/ssh-auth" && empty("ssh-privatekey") && has("ssh-privatekey") {
        errors.required_at(&data.key("ssh-privatekey"), "");
    }
}

fn validate_access_modes(modes: &At<'_>, detail: &str, errors: &mut Errors) {
    if !modes.is_truthy() {
        errors.required_at(modes, detail);
    }
    for mode in modes.texts() {
        errors.one_of(&modes.to_string(), mode, &ACCESS_MODES);
    }
    let known = || modes.texts().filter(|mode| ACCESS_MODES.contains(mode));
    if known().any(|mode| mode == "ReadWriteOncePod") && known().any(|mode| mode != "ReadWriteOncePod") {
        errors.forbidden_at(modes, "may not use ReadWriteOncePod with other access modes");
    }
}

/// A size must be above zero.
fn positive(place: &At<'_>, amount: &At<'_>, errors: &mut Errors) {
    if let Some(amount) = amount.quantity().filter(|amount| amount.nanos() <= 0) {
        errors.invalid_as(place, amount.to_string(), "must be greater than zero");
    }
}

fn validate_volume(spec: &At<'_>, errors: &mut Errors) {
    validate_access_modes(&spec.child("accessModes"), "", errors);
    let capacity = spec.child("capacity");
    errors.needs(&capacity);
    if capacity.json.get("storage").is_none() || capacity.entries().count() > 1 {
        let shown = capacity.json.to_string();
        errors.add(ErrorKind::NotSupported, &capacity.to_string(), Some(shown), "supported values: \"storage\"");
    }
    for (_, amount) in capacity.entries() {
        positive(&amount, &amount, errors);
    }
    errors.one_of_at(&spec.child("persistentVolumeReclaimPolicy"), &["Delete", "Recycle", "Retain"]);
    errors.one_of_if_set(&spec.child("volumeMode"), &VOLUME_MODES);
    let affinity = spec.child("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.child("required");
        if required.is_set() {
            validate_node_selector(&required, errors);
        } else {
            errors.required_at(&required, "must specify required node constraints");
        }
    }
    let mut sources = 0;
    let others = spec.entries().filter(|(name, at)| at.json.is_object() && !NOT_SOURCES.contains(name));
    for (name, _) in others {
        sources += 1;
        let source = spec.child(name);
        if sources > 1 {
            errors.forbidden_at(&source, "may not specify more than 1 volume type");
        } else if name == "hostPath" {
            validate_host_path(&source, errors);
            let path = source.child("path");
            if path.text().trim_end_matches('/').is_empty()
                && path.is_truthy()
                && spec.text_of("persistentVolumeReclaimPolicy") == "Recycle"
            {
                let place = spec.child("persistentVolumeReclaimPolicy");
                errors.forbidden_at(&place, "may not be 'recycle' for a hostPath mount of '/'");
            }
        } else if name == "local" {
            let path = source.child("path");
            if errors.needs(&path) {
                without_backsteps(&path, path.text(), errors);
            }
            if !affinity.is_set() {
                errors.required_at(&affinity, "Local volume requires node affinity");
            }
        }
    }
    if sources == 0 {
        errors.required_at(spec, "must specify a volume type");
    }
    let class = spec.child("storageClassName");
    if class.is_truthy() {
        errors.wrong(&class, names::subdomain(class.text()));
    }
}

/// Objects in the spec of a PersistentVolume that are no source.
const NOT_SOURCES: [&str; 3] = ["capacity", "claimRef", "nodeAffinity"];

fn validate_claim(spec: &At<'_>, errors: &mut Errors) {
    validate_access_modes(&spec.child("accessModes"), "at least 1 access mode is required", errors);
    validate_label_selector(&spec.child("selector"), errors);
    let resources = spec.child("resources");
    let requests = resources.child("requests");
    let (storage, place) = (requests.child("storage"), resources.key("storage"));
    if storage.is_set() {
        positive(&place, &storage, errors);
    } else {
        errors.required_at(&place, "");
    }
    for class in ["storageClassName", "volumeAttributesClassName"] {
        let class = spec.child(class);
        if class.is_truthy() {
            errors.wrong(&class, names::subdomain(class.text()));
        }
    }
    errors.one_of_if_set(&spec.child("volumeMode"), &VOLUME_MODES);
    for source in ["dataSource", "dataSourceRef"] {
        let Some(source) = spec.set(source) else { continue };
        let (group, namespace) = (source.child("apiGroup"), source.child("namespace"));
        if group.is_truthy() {
            errors.wrong(&group, names::subdomain(group.text()));
        }
        if namespace.is_truthy() {
            errors.wrong(&namespace, names::label(namespace.text()));
        }
        errors.needs(&source.child("name"));
        let kind = source.child("kind");
        errors.needs(&kind);
        if source.text_of("apiGroup").is_empty() && kind.text() != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid_as(&source, kind.text(), detail);
        }
    }
    if let (Some(source), Some(reference)) = (spec.set("dataSource"), spec.set("dataSourceRef")) {
        let differs = |field: &&str| source.child(field).json != reference.child(field).json;
        // The value that Kubernetes shows is no value of the claim.
        let shown = || Json::Object(serde_json::Map::new());
        if !reference.text_of("namespace").is_empty() {
            errors.invalid_as(spec, shown(), "may not be specified when dataSourceRef.namespace is specified");
        } else if ["apiGroup", "kind", "name"].iter().any(differs) {
            errors.invalid_as(spec, shown(), "must match dataSourceRef");
        }
    }
}

/// A claim that is made for each pod.
pub(super) fn validate_claim_template(template: &At<'_>, errors: &mut Errors) {
    let meta = template.child("metadata");
    validate_annotations(&meta.child("annotations"), errors);
    validate_labels(&meta.child("labels"), errors);
    for (name, at) in meta.entries().filter(|(name, at)| at.is_truthy() && !["annotations", "labels"].contains(name)) {
        let _ = at;
        errors.forbidden_at(&meta.child(name), "cannot be set");
    }
    validate_claim(&template.child("spec"), errors);
}

fn validate_limit_range(spec: &At<'_>, errors: &mut Errors) {
    let limits = spec.child("limits");
    let mut types = Vec::new();
    for limit in limits.items() {
        let kind = limit.child("type");
        errors.wrong_as(&kind, kind.text(), names::qualified(kind.text()));
        let standard = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind.text());
        if !kind.text().contains('/') && !standard && names::qualified(kind.text()).is_empty() {
            errors.invalid_at(&kind, "must be a standard limit type or fully qualified");
        }
        if types.contains(&kind.text()) {
            errors.duplicate_at(&kind, kind.text());
        }
        types.push(limit.text_of("type"));
        let mut amounts: BTreeMap<String, [Option<Quantity>; 5]> = BTreeMap::new();
        for (slot, list) in ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"].into_iter().enumerate()
        {
            let list_at = limit.child(list);
            if kind.text() == "Pod" && list.starts_with("default") {
                if list_at.is_truthy() {
                    errors.forbidden_at(&list_at, "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            for (name, amount) in list_at.entries() {
                if ["Pod", "Container"].contains(&kind.text()) {
                    validate_container_name(&amount, name, errors);
                } else {
                    validate_name(&amount, name, errors);
                }
                if let Some(place) = amounts.entry(name.to_owned()).or_default().get_mut(slot) {
                    *place = amount.quantity();
                }
            }
        }
        if kind.text() == "PersistentVolumeClaim"
            && ["min", "max"].iter().all(|list| limit.child(list).json.get("storage").is_none())
        {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.required_at(&limit.child("limits"), detail);
        }
        for (name, amounts) in amounts {
            compare_limits(&limit, &name, amounts, errors);
        }
    }
}

fn compare_limits(limit: &At<'_>, name: &str, amounts: [Option<Quantity>; 5], errors: &mut Errors) {
    let [min, max, default, request, ratio] = amounts;
    // The place of the error and of its value; the lesser, the greater, and their names.
    let pairs = [
        ("min", min, (min, "min"), (max, "max")),
        ("defaultRequest", request, (min, "min"), (request, "default request")),
        ("defaultRequest", request, (request, "default request"), (max, "max")),
        ("defaultRequest", request, (request, "default request"), (default, "default limit")),
        ("default", min, (min, "min"), (default, "default")),
        ("default", max, (default, "default"), (max, "max")),
    ];
    for (field, shown, (lesser, lesser_name), (greater, greater_name)) in pairs {
        if let (Some(lesser), Some(greater), Some(shown)) = (lesser, greater, shown)
            && lesser > greater
        {
            let detail = format!("{lesser_name} value {lesser} is greater than {greater_name} value {greater}");
            errors.invalid_as(&limit.child(field).key(name), shown.to_string(), detail);
        }
    }
    if let (Some(default), Some(asked)) = (default, request)
        && !is_overcommittable(name)
        && default != asked
    {
        let detail = format!("default value {default} must equal to defaultRequest value {asked} in {name}");
        errors.invalid_as(&limit.child("defaultRequest").key(name), asked.to_string(), detail);
    }
    if let Some(ratio) = ratio {
        let place = limit.child("maxLimitRequestRatio");
        let place = place.key(name);
        if ratio.milli() < 1000 {
            errors.invalid_as(&place, ratio.to_string(), format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max)
            && min.nanos() > 0
            && ratio.nanos().saturating_mul(min.nanos()) / 1_000_000_000 > max.nanos()
        {
            let detail = format!("ratio {ratio} is greater than max/min = {}", max.over(min));
            errors.invalid_as(&place, ratio.to_string(), detail);
        }
    }
}
