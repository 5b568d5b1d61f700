//! Validation of volumes and of the sources that need no driver.

use crate::sorted::BTreeSet;

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::env::{validate_field_ref, validate_resource_field};
use super::paths::{not_reserved, validate_mode, without_backsteps};
use super::{drivers, objects, projections};

/// The valid volumes, by name: what mounts may refer to.
pub(super) type Volumes<'a> = Vec<At<'a>>;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const FIELD_PATHS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The sources in Kubernetes' order; of several the first counts. Beside each: its name where it is one too many.
const SOURCES: [(&str, &str); 30] = [
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

/// Checks all volumes and gives back the valid ones: an invalid volume is as good as none. `pod_name`: the name as written.
pub(super) fn validate_volumes<'a>(volumes: &'a At<'a>, pod_name: &str, errors: &mut Errors) -> Volumes<'a> {
    let mut valid: Volumes<'a> = Vec::new();
    let mut seen = BTreeSet::new();
    let claims: Vec<String> = volumes
        .items()
        .filter(|volume| volume.child("ephemeral").is_set() && !pod_name.is_empty())
        .map(|volume| format!("{pod_name}-{}", volume.text_of("name")))
        .collect();
    for volume in volumes.items() {
        let before = errors.list.len();
        validate_sources(&volume, pod_name, errors);
        let name = volume.child("name");
        if errors.needs(&name) {
            errors.wrong(&name, names::label(name.text()));
        }
        if seen.contains(name.text()) {
            errors.duplicate_at(&name, name.text());
        }
        if errors.list.len() == before {
            seen.insert(volume.text_of("name"));
            valid.push(volume);
        }
        let claim = volume.child("persistentVolumeClaim");
        let claim = claim.child("claimName");
        if claim.is_set() && claims.iter().any(|created| created == claim.text()) {
            errors.invalid_at(&claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    valid
}

fn validate_sources(volume: &At<'_>, pod_name: &str, errors: &mut Errors) {
    let mut sources = 0;
    for (field, surplus) in SOURCES {
        let Some(source) = volume.set(field) else { continue };
        if sources > 0 {
            errors.forbidden_at(&volume.child(surplus), "may not specify more than 1 volume type");
            continue;
        }
        sources += 1;
        match field {
            "emptyDir" => {
                let size = source.child("sizeLimit");
                if size.quantity().is_some_and(|size| size.nanos() < 0) {
                    errors.forbidden_at(&size, "SizeLimit field must be a valid resource quantity");
                }
            }
            "hostPath" => validate_host_path(&source, errors),
            "secret" => validate_files(&source, "secretName", errors),
            "configMap" => validate_files(&source, "name", errors),
            "downwardAPI" => {
                validate_mode(&source.child("defaultMode"), errors);
                for file in source.child("items").items() {
                    validate_downward_file(&file, &source, errors);
                }
            }
            "projected" => projections::validate_projected(&source, errors),
            "image" => {
                errors.one_of_at(&source.child("pullPolicy"), &PULL_POLICIES);
            }
            "ephemeral" => validate_ephemeral(&source, volume, pod_name, errors),
            _ => drivers::validate_driver(field, &source, volume, errors),
        }
    }
    if sources == 0 {
        errors.required_at(volume, "must specify a volume type");
    }
}

/// A path of the host; also that of a PersistentVolume.
pub(super) fn validate_host_path(source: &At<'_>, errors: &mut Errors) {
    let path = source.child("path");
    if errors.needs(&path) {
        without_backsteps(&path, path.text(), errors);
        errors.one_of_if_set(&source.child("type"), &HOST_PATH_TYPES);
    }
}

fn validate_files(source: &At<'_>, name: &str, errors: &mut Errors) {
    errors.needs(&source.child(name));
    validate_mode(&source.child("defaultMode"), errors);
    for item in source.child("items").items() {
        validate_item(&item, errors);
    }
}

/// A key and its file.
pub(super) fn validate_item(item: &At<'_>, errors: &mut Errors) {
    errors.needs(&item.child("key"));
    let path = item.child("path");
    errors.needs(&path);
    not_reserved(&path, path.text(), errors);
    validate_mode(&item.child("mode"), errors);
}

/// A file with a field of the pod. Kubernetes names the source in its errors, not the item.
pub(super) fn validate_downward_file(file: &At<'_>, at: &At<'_>, errors: &mut Errors) {
    let path = file.text_of("path");
    if path.is_empty() {
        errors.required_at(&at.child("path"), "");
    }
    not_reserved(&at.child("path"), path, errors);
    let (field, resource) = (file.child("fieldRef"), file.child("resourceFieldRef"));
    if field.is_set() {
        validate_field_ref(&field, &at.child("fieldRef"), &FIELD_PATHS, errors);
        if resource.is_set() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid_as(at, "resource", detail);
        }
    } else if resource.is_set() {
        validate_resource_field(&resource, &at.child("resourceFieldRef"), true, errors);
    } else {
        errors.required_at(at, "one of fieldRef and resourceFieldRef is required");
    }
    let mode = file.child("mode");
    if mode.is_set() && !(0..=0o777).contains(&mode.number()) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid_as(&at.child("mode"), mode.number(), detail);
    }
}

fn validate_ephemeral(source: &At<'_>, volume: &At<'_>, pod_name: &str, errors: &mut Errors) {
    let template = source.child("volumeClaimTemplate");
    if template.is_set() {
        objects::validate_claim_template(&template, errors);
    } else {
        errors.required_at(&template, "");
    }
    let name = volume.child("name");
    if !pod_name.is_empty() && name.is_truthy() {
        let claim = format!("{pod_name}-{}", name.text());
        for message in names::subdomain(&claim) {
            errors.invalid_at(&name, format!("PVC name {claim:?}: {message}"));
        }
    }
}
