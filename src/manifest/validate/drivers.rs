//! Validation of the volume sources that need a driver. Most rules are fields that must not be empty: [`REQUIRED`].

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::paths::descending;

/// Source, the name that Kubernetes gives it in errors, fields that must not be empty.
const REQUIRED: [(&str, &str, &[&str]); 21] = [
    ("awsElasticBlockStore", "awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", "azureDisk", &["diskName", "diskURI"]),
    ("azureFile", "azureFile", &["secretName", "shareName"]),
    ("cephfs", "cephfs", &["monitors"]),
    ("cinder", "cinder", &["volumeID"]),
    ("csi", "csi", &["driver"]),
    ("flexVolume", "flexVolume", &["driver"]),
    ("gcePersistentDisk", "persistentDisk", &["pdName"]),
    ("gitRepo", "gitRepo", &["repository"]),
    ("glusterfs", "glusterfs", &["endpoints", "path"]),
    ("iscsi", "iscsi", &["targetPortal", "iqn"]),
    ("nfs", "nfs", &["server", "path"]),
    ("persistentVolumeClaim", "persistentVolumeClaim", &["claimName"]),
    ("photonPersistentDisk", "photonPersistentDisk", &["pdID"]),
    ("portworxVolume", "portworxVolume", &["volumeID"]),
    ("quobyte", "quobyte", &["volume"]),
    ("rbd", "rbd", &["monitors", "image"]),
    ("scaleIO", "scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", "storageos", &["volumeName"]),
    ("vsphereVolume", "vsphereVolume", &["volumePath"]),
    ("flocker", "flocker", &[]),
];
const VALID: &str = "must be valid format";
const VALID_START: &str = "must be valid format starting with iqn, eui, or naa";
const HOST_PORT: &str = "must be a host:port pair or multiple pairs separated by commas";

/// Checks a source by its field's name.
pub(super) fn validate_driver(field: &str, source: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    if let Some((_, shown, required)) = REQUIRED.iter().find(|(name, ..)| *name == field) {
        let place = volume.child(shown);
        for name in *required {
            if !source.child(name).is_truthy() {
                errors.required_at(&place.child(name), "");
            }
        }
        if field.starts_with("gce") || field.starts_with("aws") {
            let partition = source.child("partition").number();
            if !(0..=255).contains(&partition) {
                errors.invalid_as(&place.child("partition"), partition, "must be between 1 and 255, inclusive");
            }
        }
    }
    match field {
        "azureDisk" => azure_disk(source, errors),
        "cinder" => secret_name(source, errors),
        "csi" => csi(source, errors),
        "fc" => fibre_channel(source, errors),
        "flexVolume" => flex(source, errors),
        "flocker" => flocker(source, errors),
        "gitRepo" => {
            let directory = source.child("directory");
            descending(&directory, directory.text(), errors);
        }
        "iscsi" => iscsi(source, volume, errors),
        "nfs" => {
            let path = source.child("path");
            if !path.text().starts_with('/') {
                errors.invalid_as(&path, path.text(), "must be an absolute path");
            }
        }
        "quobyte" => quobyte(source, errors),
        "storageos" => {
            for name in ["volumeName", "volumeNamespace"] {
                let name = source.child(name);
                if name.is_truthy() {
                    errors.wrong(&name, names::label(name.text()));
                }
            }
            secret_name(source, errors);
        }
        _ => {}
    }
}

fn secret_name(source: &At<'_>, errors: &mut Errors) {
    if let Some(secret) = source.set("secretRef") {
        errors.needs(&secret.child("name"));
    }
}

fn azure_disk(source: &At<'_>, errors: &mut Errors) {
    errors.one_of_if_set(&source.child("cachingMode"), &["None", "ReadOnly", "ReadWrite"]);
    let (kind, uri) = (source.child("kind"), source.child("diskURI"));
    errors.one_of_if_set(&kind, &["Dedicated", "Managed", "Shared"]);
    let (start, form) = if kind.text() == "Managed" {
        (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        )
    } else {
        ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
    };
    if kind.is_set() && !uri.text().starts_with(start) {
        errors.one_of_at(&uri, &[form]);
    }
}

fn csi(source: &At<'_>, errors: &mut Errors) {
    let driver = source.child("driver");
    if driver.text().len() > 63 {
        errors.too_long_at(&driver, 63);
    }
    errors.wrong_as(&driver, driver.text(), names::subdomain(&driver.text().to_ascii_lowercase()));
    if let Some(secret) = source.set("nodePublishSecretRef") {
        let name = secret.child("name");
        if errors.needs(&name) {
            // Kubernetes leaves the reference out of this path.
            errors.wrong_as(&source.child("name"), name.text(), names::subdomain(name.text()));
        }
    }
}

fn fibre_channel(source: &At<'_>, errors: &mut Errors) {
    let (targets, wwids) = (source.child("targetWWNs"), source.child("wwids"));
    match (targets.is_truthy(), wwids.is_truthy()) {
        (false, false) => {
            errors.required_at(&targets, "must specify either targetWWNs or wwids, but not both");
        }
        (true, true) => errors.invalid_at(&targets, "targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if targets.is_truthy() {
        let lun = source.child("lun");
        if lun.is_set() {
            errors.within(&lun, 0, 255);
        } else {
            errors.required_at(&lun, "lun is required if targetWWNs is specified");
        }
    }
}

fn flex(source: &At<'_>, errors: &mut Errors) {
    for (key, at) in source.child("options").entries() {
        let namespace = key.split('/').next().unwrap_or_default();
        let namespace = format!(".{}", if key.contains('/') { namespace } else { key }.to_ascii_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid_as(&at, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn flocker(source: &At<'_>, errors: &mut Errors) {
    let name = source.child("datasetName");
    match (name.is_truthy(), source.child("datasetUUID").is_truthy()) {
        (false, false) => errors.required_at(source, "one of datasetName and datasetUUID is required"),
        (true, true) => {
            errors.invalid_as(source, "resource", "datasetName and datasetUUID can not be specified simultaneously");
        }
        _ => {}
    }
    if name.text().contains('/') {
        errors.invalid_at(&name, "must not contain '/'");
    }
}

fn iscsi(source: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    let target = source.child("iqn");
    if target.is_truthy() {
        initiator(&target, target.text(), errors);
    }
    let lun = source.child("lun");
    errors.within(&lun, 0, 255);
    let authenticated = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|key| source.flag_of(key) == Some(true));
    if authenticated && !source.child("secretRef").is_set() {
        errors.required_at(&source.child("secretRef"), "");
    }
    if let Some(name) = source.set("initiatorName") {
        initiator(&source.child("initiatorname"), name.text(), errors);
        let volume_name = volume.child("name");
        if volume_name.text().len() + 1 + source.text_of("targetPortal").len() > 64 {
            let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
            errors.invalid_as(&volume_name, volume_name.text(), detail);
        }
    }
}

/// A name of the forms iqn, eui or naa.
fn initiator(at: &At<'_>, name: &str, errors: &mut Errors) {
    // After any character that is no line's end.
    let fixed = |length: usize| {
        let mut rest = name.chars().skip(3);
        rest.next().is_some_and(|any| any != '\n')
            && rest.clone().count() == length
            && rest.all(|letter| letter.is_ascii_alphanumeric())
    };
    let valid = match name.get(..3) {
        // Kubernetes' expression is bound to the end only.
        Some("iqn") => name.match_indices("iqn.").any(|(at, _)| name.get(at..).is_some_and(is_iqn)),
        Some("eui") => fixed(16),
        Some("naa") => fixed(32),
        _ => {
            errors.invalid_as(at, name, VALID_START);
            return;
        }
    };
    if !valid {
        errors.invalid_as(at, name, VALID);
    }
}

/// `iqn.YYYY-MM.domain:name`
fn is_iqn(name: &str) -> bool {
    let Some((start, rest)) = name.split_once(':') else { return false };
    let mut parts = start.splitn(3, '.');
    let date_fits = |date: &str| {
        date.len() == 7 && date.bytes().enumerate().all(|(at, b)| if at == 4 { b == b'-' } else { b.is_ascii_digit() })
    };
    parts.next() == Some("iqn")
        && parts.next().is_some_and(date_fits)
        && parts.next().is_some_and(|domain| {
            !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        })
        && !rest.is_empty()
        && !rest.chars().any(|c| ",;*&$|".contains(c) || c.is_ascii_whitespace())
}

fn quobyte(source: &At<'_>, errors: &mut Errors) {
    let registry = source.child("registry");
    if !registry.is_truthy() {
        errors.required_at(&registry, HOST_PORT);
    } else if source.text_of("tenant").len() >= 65 {
        errors.required_at(&source.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for pair in registry.text().split(',') {
            let host = pair.rsplit_once(':').map(|(host, _)| host);
            if host.is_none_or(|host| host.contains(':') && !(host.starts_with('[') && host.ends_with(']'))) {
                errors.invalid_at(&registry, HOST_PORT);
            }
        }
    }
}
