//! Validation of volumes.

use super::super::error::Errors;
use super::super::names;
use super::super::v1::{KeyToPath, Pod, Volume};
use super::env::object_name;
use crate::document::Quantity;
use crate::sorted::BTreeSet;

/// Names that mounts may refer to: an invalid volume is as good as none.
pub(super) type KnownVolumes<'a> = BTreeSet<&'a str>;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks all volumes and gives back the names of the valid ones.
pub(super) fn validate_volumes<'a>(
    pod: &'a Pod,
    errors: &mut Errors,
    warnings: &mut Vec<(String, String)>,
) -> KnownVolumes<'a> {
    let mut seen = BTreeSet::new();
    let mut known = BTreeSet::new();
    for (index, volume) in pod.spec.volumes.iter().enumerate() {
        let path = format!("spec.volumes[{index}]");
        let before = errors.list.len();
        validate_source(volume, &path, errors, warnings);
        let field = format!("{path}.name");
        if volume.name.is_empty() {
            errors.required(&field, "");
        } else {
            errors.invalid_all(&field, &volume.name, names::label(&volume.name));
            if !seen.insert(volume.name.as_str()) {
                errors.duplicate(&field, &volume.name);
            }
        }
        if errors.list.len() == before {
            known.insert(volume.name.as_str());
        }
    }
    known
}

fn validate_source(volume: &Volume, path: &str, errors: &mut Errors, warnings: &mut Vec<(String, String)>) {
    let present = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("secret", volume.secret.is_some()),
        ("configMap", volume.config_map.is_some()),
    ];
    for (name, _) in present.iter().filter(|(_, set)| *set).skip(1) {
        errors.forbidden(&format!("{path}.{name}"), "may not specify more than 1 volume type");
    }
    if let Some(source) = &volume.empty_dir {
        let size = source.size_limit.as_deref().and_then(|text| Quantity::parse(text).ok());
        let field = format!("{path}.emptyDir.sizeLimit");
        if size.is_some_and(|size| size.nanos() < 0) {
            errors.forbidden(&field, "SizeLimit field must be a valid resource quantity");
        } else if size.is_some_and(|size| size.nanos() > 0) && source.medium.is_empty() {
            warnings.push((field, "enforced for medium Memory only".to_owned()));
        }
        match source.medium.as_str() {
            "" | "Memory" => {}
            medium if medium == "HugePages" || medium.starts_with("HugePages-") => {
                errors.later(&format!("{path}.emptyDir.medium"), "huge pages; use medium Memory");
            }
            medium => errors.unsupported(&format!("{path}.emptyDir.medium"), medium, &["", "Memory"]),
        }
    }
    if let Some(source) = &volume.host_path {
        let field = format!("{path}.hostPath.path");
        if source.path.is_empty() {
            errors.required(&field, "");
        } else if source.path.split('/').any(|part| part == "..") {
            errors.invalid(&field, source.path.as_str(), "must not contain '..'");
        }
        errors.one_of(&format!("{path}.hostPath.type"), &source.kind, &HOST_PATH_TYPES);
    }
    if let Some(source) = &volume.config_map {
        let path = format!("{path}.configMap");
        if source.name.is_empty() {
            errors.required(&format!("{path}.name"), "");
        }
        validate_files(&source.items, source.default_mode, &path, errors);
    }
    if let Some(source) = &volume.secret {
        let path = format!("{path}.secret");
        if source.secret_name.is_empty() {
            errors.required(&format!("{path}.secretName"), "");
        }
        validate_files(&source.items, source.default_mode, &path, errors);
    }
    let reference = volume.config_map.as_ref().map(|source| ("configMap.name", &source.name));
    let reference =
        reference.or_else(|| volume.secret.as_ref().map(|source| ("secret.secretName", &source.secret_name)));
    if let Some((field, name)) = reference.filter(|(_, name)| !name.is_empty()) {
        object_name(name, &format!("{path}.{field}"), errors);
    }
}

fn validate_files(items: &[KeyToPath], default_mode: Option<i32>, path: &str, errors: &mut Errors) {
    const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
    let fits = |mode: i32| (0..=0o777).contains(&mode);
    if let Some(mode) = default_mode.filter(|mode| !fits(*mode)) {
        errors.invalid(&format!("{path}.defaultMode"), mode, MODE);
    }
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        if item.key.is_empty() {
            errors.required(&format!("{path}.key"), "");
        }
        let field = format!("{path}.path");
        if item.path.is_empty() {
            errors.required(&field, "");
        } else if item.path.starts_with('/') {
            errors.invalid(&field, item.path.as_str(), "must be a relative path");
        }
        if item.path.split('/').any(|part| part == "..") {
            errors.invalid(&field, item.path.as_str(), "must not contain '..'");
        } else if item.path.starts_with("..") {
            errors.invalid(&field, item.path.as_str(), "must not start with '..'");
        }
        if let Some(mode) = item.mode.filter(|mode| !fits(*mode)) {
            errors.invalid(&format!("{path}.mode"), mode, MODE);
        }
    }
}
