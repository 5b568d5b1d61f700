//! Validation of volume mounts and block devices of a container.

use crate::sorted::BTreeSet;

use super::super::error::Errors;
use super::at::At;
use super::paths::{descending, has_backsteps};
use super::volumes::Volumes;

/// Checks `volumeMounts` and `volumeDevices`.
pub(super) fn validate_mounts(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (mounts, devices) = (container.child("volumeMounts"), container.child("volumeDevices"));
    let privileged = container.child("securityContext").flag_of("privileged") == Some(true);
    let mut paths = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        errors.needs(&name);
        if !volumes.iter().any(|volume| volume.text_of("name") == name.text()) {
            errors.not_found_at(&name);
        }
        errors.needs(&path);
        if !paths.insert(mount.text_of("mountPath")) {
            errors.invalid_as(&path, path.text(), "must be unique");
        }
        if devices.items().any(|device| device.text_of("name") == name.text()) {
            errors.invalid_as(&name, name.text(), "must not already exist in volumeDevices");
        }
        if last_by_name(&devices, "devicePath").contains(&path.text()) {
            errors.invalid_as(&path, path.text(), "must not already exist as a path in volumeDevices");
        }
        // Kubernetes leaves the index out of the following paths.
        let (sub_path, expression) = (mount.text_of("subPath"), mount.text_of("subPathExpr"));
        descending(&mounts.child("subPath"), sub_path, errors);
        if !expression.is_empty() && !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid_as(&mount.child("subPathExpr"), expression, detail);
        }
        descending(&mounts.child("subPathExpr"), expression, errors);
        validate_propagation(&mount, &mounts, privileged, errors);
    }
    validate_devices(&devices, &mounts, volumes, errors);
}

fn validate_propagation(mount: &At<'_>, mounts: &At<'_>, privileged: bool, errors: &mut Errors) {
    let propagation = mount.child("mountPropagation");
    let place = mounts.child("mountPropagation").to_string();
    if propagation.is_set() {
        errors.one_of(&place, propagation.text(), &["Bidirectional", "HostToContainer", "None"]);
        if propagation.text() == "Bidirectional" && !privileged {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(&place, detail);
        }
    }
    let recursive = mount.child("recursiveReadOnly");
    let place = mounts.child("recursiveReadOnly").to_string();
    if recursive.is_set() {
        errors.one_of(&place, recursive.text(), &["Disabled", "Enabled", "IfPossible"]);
    }
    if ["Enabled", "IfPossible"].contains(&recursive.text()) {
        if mount.flag_of("readOnly") != Some(true) {
            errors.forbidden(&place, "may only be specified when readOnly is true");
        }
        if propagation.is_set() && propagation.text() != "None" {
            errors.forbidden(&place, "may only be specified when mountPropagation is None or not specified");
        }
    }
}

fn validate_devices(devices: &At<'_>, mounts: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for device in devices.items() {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        errors.needs(&name);
        if names.contains(name.text()) {
            errors.invalid_as(&name, name.text(), "must be unique");
        }
        match volumes.iter().find(|volume| volume.text_of("name") == name.text()) {
            None => errors.not_found_at(&name),
            Some(volume) if ["persistentVolumeClaim", "ephemeral"].iter().any(|key| volume.child(key).is_set()) => {}
            Some(_) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid_as(&name, name.text(), detail);
            }
        }
        errors.needs(&path);
        if paths.contains(path.text()) {
            errors.invalid_as(&path, path.text(), "must be unique");
        }
        if has_backsteps(path.text()) {
            errors.invalid_as(&path, path.text(), "can not contain backsteps ('..')");
        } else {
            paths.insert(device.text_of("devicePath"));
        }
        if mounts.items().any(|mount| mount.text_of("name") == name.text()) {
            errors.invalid_as(&name, name.text(), "must not already exist in volumeMounts");
        }
        if last_by_name(mounts, "mountPath").contains(&path.text()) {
            errors.invalid_as(&path, path.text(), "must not already exist as a path in volumeMounts");
        }
        if name.is_truthy() {
            names.insert(device.text_of("name"));
        }
    }
}

/// A field of the items, of those with the same name the last.
fn last_by_name<'a>(list: &'a At<'a>, field: &str) -> Vec<&'a str> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for item in list.items() {
        let (name, value) = (item.text_of("name"), item.text_of(field));
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => found.push((name, value)),
        }
    }
    found.into_iter().map(|(_, value)| value).collect()
}
