//! Defaults of the v1 API, put into the decoded JSON before validation. Kubernetes: pkg/apis/core/v1/defaults.go.

use serde_json::{Map, Value as Json, json};

use crate::document::Quantity;

/// Texts of volume sources: source, field, default.
const TEXTS: [(&str, &str, &str); 8] = [
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
    ("scaleIO", "fsType", "xfs"),
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "kind", "Shared"),
];

type Fields = Map<String, Json>;

/// Defaults of a pod.
pub(super) fn apply_to_pod(pod: &mut Json) {
    let Some(Json::Object(spec)) = pod.get_mut("spec") else { return };
    if let Some(old) = spec.remove("serviceAccount") {
        // The older name of the field counts where the newer is not set.
        default(spec, "serviceAccountName", || old);
    }
    default(spec, "dnsPolicy", || "ClusterFirst".into());
    default(spec, "restartPolicy", || "Always".into());
    default(spec, "schedulerName", || "default-scheduler".into());
    spec.entry("securityContext").or_insert_with(|| json!({}));
    spec.entry("terminationGracePeriodSeconds").or_insert_with(|| 30.into());
    spec.entry("enableServiceLinks").or_insert_with(|| true.into());
    if let Some(overhead) = spec.get_mut("overhead") {
        round(overhead);
    }
    let host_network = spec.get("hostNetwork").and_then(Json::as_bool).unwrap_or(false);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in objects(spec, list) {
            apply_to_container(container, list != "ephemeralContainers", host_network);
        }
    }
    for volume in objects(spec, "volumes") {
        apply_to_volume(volume);
    }
    if let Some(resources) = object(spec, "resources") {
        resources.values_mut().for_each(round);
    }
    if let Some(spec) = pod.get_mut("spec") {
        super::aggregate::default_pod_resources(spec);
    }
}

/// Defaults of the objects beside pods.
pub(super) fn apply_to_object(kind: &str, object: &mut Json) {
    let Some(Json::Object(spec)) = object.get_mut("spec") else { return };
    match kind {
        "PersistentVolume" => {
            default(spec, "persistentVolumeReclaimPolicy", || "Retain".into());
            spec.entry("volumeMode").or_insert_with(|| "Filesystem".into());
        }
        "PersistentVolumeClaim" => {
            spec.entry("volumeMode").or_insert_with(|| "Filesystem".into());
        }
        "Service" => {
            default(spec, "type", || "ClusterIP".into());
            default(spec, "sessionAffinity", || "None".into());
            if is(spec, "sessionAffinity", "None") {
                spec.remove("sessionAffinityConfig");
            }
            // As the API server fills it in.
            let own = spec.get("clusterIP").filter(|own| own.as_str().is_some_and(|own| !own.is_empty())).cloned();
            if let Some(own) =
                own.filter(|_| spec.get("clusterIPs").is_none_or(|list| *list == json!([]) || list.is_null()))
            {
                spec.insert("clusterIPs".to_owned(), json!([own]));
            }
            for port in objects(spec, "ports") {
                default(port, "protocol", || "TCP".into());
                let number = port.get("port").cloned().unwrap_or_default();
                default(port, "targetPort", || number);
            }
        }
        "LimitRange" => {
            for limit in objects(spec, "limits").filter(|limit| is(limit, "type", "Container")) {
                for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                    fill(limit, from, to);
                }
            }
        }
        _ => {}
    }
}

/// A text, number or port that is absent, empty or zero becomes the default.
fn default(fields: &mut Fields, key: &str, value: impl FnOnce() -> Json) {
    let slot = fields.entry(key).or_insert(Json::Null);
    if slot.is_null() || slot == "" || slot == 0 {
        *slot = value();
    }
}

fn is(fields: &Fields, key: &str, value: &str) -> bool {
    fields.get(key).and_then(Json::as_str) == Some(value)
}

fn object<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fields.get_mut(key).and_then(Json::as_object_mut)
}

fn objects<'a>(fields: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    fields.get_mut(key).and_then(Json::as_array_mut).into_iter().flatten().filter_map(Json::as_object_mut)
}

/// What the map `to` lacks, it gets from the map `from`.
fn fill(fields: &mut Fields, from: &str, to: &str) {
    let Some(source) = fields.get(from).and_then(Json::as_object).filter(|map| !map.is_empty()).cloned() else {
        return;
    };
    if let Some(target) = fields.entry(to).or_insert_with(|| json!({})).as_object_mut() {
        for (key, value) in source {
            target.entry(key).or_insert(value);
        }
    }
}

/// Resource lists are exact to a thousandth only, rounded up.
fn round(list: &mut Json) {
    for value in list.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let Some(quantity) = value.as_str().and_then(|text| Quantity::parse(text).ok()) else { continue };
        let rounded = quantity.rounded_to_milli();
        if rounded != quantity {
            *value = rounded.to_string().into();
        }
    }
}

fn apply_to_container(container: &mut Fields, of_pod: bool, host_network: bool) {
    let image = container.get("image").and_then(Json::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    default(container, "imagePullPolicy", || policy.into());
    default(container, "terminationMessagePath", || "/dev/termination-log".into());
    default(container, "terminationMessagePolicy", || "File".into());
    for port in objects(container, "ports") {
        default(port, "protocol", || "TCP".into());
        if host_network && of_pod {
            let number = port.get("containerPort").cloned().unwrap_or_else(|| 0.into());
            default(port, "hostPort", || number);
        }
    }
    if let Some(resources) = object(container, "resources") {
        resources.values_mut().for_each(round);
        if of_pod {
            fill(resources, "limits", "requests");
        }
    }
    for variable in objects(container, "env") {
        if let Some(from) = object(variable, "valueFrom") {
            apply_to_field_ref(from);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = object(container, probe) else { continue };
        for (key, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            default(probe, key, || value.into());
        }
        apply_to_handler(probe);
    }
    if let Some(lifecycle) = object(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(handler) = object(lifecycle, hook) {
                apply_to_handler(handler);
            }
        }
    }
}

fn apply_to_handler(handler: &mut Fields) {
    if let Some(http) = object(handler, "httpGet") {
        default(http, "path", || "/".into());
        default(http, "scheme", || "HTTP".into());
    }
}

fn apply_to_field_ref(source: &mut Fields) {
    if let Some(field) = object(source, "fieldRef") {
        default(field, "apiVersion", || "v1".into());
    }
}

fn apply_to_volume(volume: &mut Fields) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(image) = object(volume, "image") {
        let policy = pull_policy(image.get("reference").and_then(Json::as_str).unwrap_or_default());
        default(image, "pullPolicy", || policy.into());
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = object(volume, source) {
            source.entry("defaultMode").or_insert_with(|| 0o644.into());
            apply_to_files(source);
            for projection in objects(source, "sources") {
                if let Some(files) = object(projection, "downwardAPI") {
                    apply_to_files(files);
                }
                if let Some(token) = object(projection, "serviceAccountToken") {
                    token.entry("expirationSeconds").or_insert_with(|| 3600.into());
                }
            }
        }
    }
    for (source, key, value) in TEXTS {
        if let Some(source) = object(volume, source) {
            default(source, key, || value.into());
        }
    }
}

fn apply_to_files(source: &mut Fields) {
    for file in objects(source, "items") {
        apply_to_field_ref(file);
    }
}

/// `Always` for the tag `latest` and for no tag, `IfNotPresent` otherwise and with any digest.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}
