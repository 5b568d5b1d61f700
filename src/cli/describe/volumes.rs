//! The volumes' part of `describe`.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::view::{flag, list, part, plain, text};

/// All volumes of the pod.
pub(super) fn write(out: &mut String, pod: &Value) {
    let volumes = list(pod, "/spec/volumes");
    if volumes.is_empty() {
        out.push_str("Volumes:\t<none>\n");
        return;
    }
    out.push_str("Volumes:\n");
    for volume in volumes {
        writeln!(out, "  {}:", text(volume, "/name")).ok();
        for (label, value) in fields(volume) {
            writeln!(out, "    {label}:\t{value}").ok();
        }
    }
}

/// What is said of one volume.
fn fields(volume: &Value) -> Vec<(&'static str, String)> {
    let optional = |source: &Value| ("Optional", flag(source, "/optional").to_string());
    if let Some(source) = part(volume, "/hostPath") {
        vec![
            ("Type", "HostPath (bare host directory volume)".to_owned()),
            ("Path", text(source, "/path").to_owned()),
            ("HostPathType", text(source, "/type").to_owned()),
        ]
    } else if let Some(source) = part(volume, "/emptyDir") {
        vec![
            ("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".to_owned()),
            ("Medium", text(source, "/medium").to_owned()),
            ("SizeLimit", source.get("sizeLimit").map_or_else(|| "<unset>".to_owned(), plain)),
        ]
    } else if let Some(source) = part(volume, "/configMap") {
        vec![
            ("Type", "ConfigMap (a volume populated by a ConfigMap)".to_owned()),
            ("Name", text(source, "/name").to_owned()),
            optional(source),
        ]
    } else if let Some(source) = part(volume, "/secret") {
        vec![
            ("Type", "Secret (a volume populated by a Secret)".to_owned()),
            ("SecretName", text(source, "/secretName").to_owned()),
            optional(source),
        ]
    } else if part(volume, "/downwardAPI").is_some() {
        vec![("Type", "DownwardAPI (a volume populated by information about the pod)".to_owned())]
    } else if part(volume, "/projected").is_some() {
        let mut fields =
            vec![("Type", "Projected (a volume that contains injected data from multiple sources)".to_owned())];
        for source in list(volume, "/projected/sources") {
            if let Some(secret) = part(source, "/secret") {
                fields.extend([("SecretName", text(secret, "/name").to_owned()), optional(secret)]);
            } else if let Some(map) = part(source, "/configMap") {
                fields.extend([("ConfigMapName", text(map, "/name").to_owned()), optional(map)]);
            } else if part(source, "/downwardAPI").is_some() {
                fields.push(("DownwardAPI", "true".to_owned()));
            }
        }
        fields
    } else if let Some(source) = part(volume, "/persistentVolumeClaim") {
        vec![
            ("Type", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)".to_owned()),
            ("ClaimName", text(source, "/claimName").to_owned()),
            ("ReadOnly", flag(source, "/readOnly").to_string()),
        ]
    } else if part(volume, "/ephemeral").is_some() {
        vec![(
            "Type",
            "EphemeralVolume (an inline specification for a volume that lives as long as the pod)".to_owned(),
        )]
    } else if let Some(source) = part(volume, "/image") {
        vec![
            ("Type", "Image (a container image or OCI artifact)".to_owned()),
            ("Reference", text(source, "/reference").to_owned()),
            ("PullPolicy", text(source, "/pullPolicy").to_owned()),
        ]
    } else {
        vec![("Type", "<unknown>".to_owned())]
    }
}
