//! The files that configMap, secret, downwardAPI and projected volumes show: [`files`].

use crate::sorted::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Objects, VolumeError, is_file_name};
use crate::manifest::base64;
use crate::manifest::v1::{DownwardApiVolumeFile, KeyToPath, Volume};
use crate::sys::mount::is_plain_relative;

/// Kubernetes' default mode of the files.
const DEFAULT_MODE: u32 = 0o644;

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProjectedFile {
    pub(super) mode: u32,
    pub(super) content: Vec<u8>,
}

/// Files by path relative to the volume.
pub(super) type Files = BTreeMap<PathBuf, ProjectedFile>;

/// Gives the text of a downwardAPI item, or why it has none.
pub type FieldOf<'a> = &'a dyn Fn(&DownwardApiVolumeFile) -> Result<String, String>;

/// The kinds of objects whose keys become files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ConfigMap,
    Secret,
}

/// Which keys of which object.
struct Keys<'a> {
    kind: Kind,
    name: &'a str,
    items: &'a [KeyToPath],
    default_mode: Option<i32>,
    optional: bool,
}

/// The files of a volume that is made of objects and fields; `None` for every other volume.
pub(super) fn files(
    volume: &Volume,
    namespace: &str,
    objects: &Objects,
    field: FieldOf<'_>,
) -> Result<Option<Files>, VolumeError> {
    let mut files = Files::new();
    let mut take = |keys: Keys<'_>| take_keys(&mut files, &keys, namespace, objects);
    if let Some(source) = &volume.config_map {
        take(Keys {
            kind: Kind::ConfigMap,
            name: &source.name,
            items: &source.items,
            default_mode: source.default_mode,
            optional: source.optional,
        })?;
    } else if let Some(source) = &volume.secret {
        take(Keys {
            kind: Kind::Secret,
            name: &source.secret_name,
            items: &source.items,
            default_mode: source.default_mode,
            optional: source.optional,
        })?;
    } else if let Some(source) = &volume.downward_api {
        take_fields(&mut files, &source.items, source.default_mode, field)?;
    } else if let Some(source) = &volume.projected {
        // A later source wins where paths are equal.
        for projection in &source.sources {
            let objects_of = [(Kind::ConfigMap, &projection.config_map), (Kind::Secret, &projection.secret)];
            for (kind, keys) in objects_of {
                let Some(keys) = keys else { continue };
                let keys = Keys {
                    kind,
                    name: &keys.name,
                    items: &keys.items,
                    default_mode: source.default_mode,
                    optional: keys.optional,
                };
                take_keys(&mut files, &keys, namespace, objects)?;
            }
            if let Some(fields) = &projection.downward_api {
                take_fields(&mut files, &fields.items, source.default_mode, field)?;
            }
        }
    } else {
        return Ok(None);
    }
    // One path cannot be both a file and the directory of another.
    if let Some(path) = files.keys().find(|path| path.ancestors().skip(1).any(|parent| files.contains_key(parent))) {
        return Err(VolumeError::Refused(format!("path {} lies below another file of the volume", path.display())));
    }
    Ok(Some(files))
}

fn take_keys(files: &mut Files, keys: &Keys<'_>, namespace: &str, objects: &Objects) -> Result<(), VolumeError> {
    // As messages name it, and what it calls a key of it.
    let (object, key_noun) = match keys.kind {
        Kind::ConfigMap => ("configmap", "config"),
        Kind::Secret => ("secret", "secret"),
    };
    let Some(mut content) = content_of(keys, namespace, objects)? else {
        if keys.optional {
            return Ok(());
        }
        return Err(VolumeError::Refused(format!("{object} \"{}\" not found", keys.name)));
    };
    if keys.items.is_empty() {
        for (key, content) in content {
            if !is_file_name(key) || key.starts_with("..") {
                return Err(VolumeError::Refused(format!("{object} key {key:?} cannot be a file name")));
            }
            files.insert(PathBuf::from(key), ProjectedFile { mode: mode(None, keys.default_mode)?, content });
        }
        return Ok(());
    }
    for item in keys.items {
        let path = path_of(&item.path, &item.key)?;
        match content.get_mut(item.key.as_str()) {
            Some(content) => {
                let mode = mode(item.mode, keys.default_mode)?;
                files.insert(path, ProjectedFile { mode, content: content.clone() });
            }
            None if keys.optional => {}
            None => {
                let key = &item.key;
                return Err(VolumeError::Refused(format!("{object} references non-existent {key_noun} key: {key}")));
            }
        }
    }
    Ok(())
}

fn content_of<'a>(
    keys: &Keys<'_>,
    namespace: &str,
    objects: &'a Objects,
) -> Result<Option<BTreeMap<&'a str, Vec<u8>>>, VolumeError> {
    let decode = |(key, text): (&'a String, &'a String)| {
        let decoded = base64::decode(text);
        let decoded = decoded.map_err(|error| VolumeError::Refused(format!("the value of key {key} is {error}")))?;
        Ok((key.as_str(), decoded))
    };
    match keys.kind {
        Kind::ConfigMap => {
            let wanted = objects
                .config_maps
                .iter()
                .find(|object| object.metadata.namespace == namespace && object.metadata.name == keys.name);
            let Some(object) = wanted else { return Ok(None) };
            let text = object.data.iter().map(|(key, text)| Ok((key.as_str(), text.clone().into_bytes())));
            text.chain(object.binary_data.iter().map(decode)).collect::<Result<_, _>>().map(Some)
        }
        Kind::Secret => {
            let wanted = objects
                .secrets
                .iter()
                .find(|object| object.metadata.namespace == namespace && object.metadata.name == keys.name);
            let Some(object) = wanted else { return Ok(None) };
            object.data.iter().map(decode).collect::<Result<_, _>>().map(Some)
        }
    }
}

fn take_fields(
    files: &mut Files,
    items: &[DownwardApiVolumeFile],
    default_mode: Option<i32>,
    field: FieldOf<'_>,
) -> Result<(), VolumeError> {
    for item in items {
        let path = path_of(&item.path, "a field")?;
        let content = field(item).map_err(VolumeError::Refused)?.into_bytes();
        files.insert(path, ProjectedFile { mode: mode(item.mode, default_mode)?, content });
    }
    Ok(())
}

fn path_of(text: &str, key: &str) -> Result<PathBuf, VolumeError> {
    let path = Path::new(text);
    if !is_plain_relative(path) || text.starts_with("..") || text.contains('\0') {
        return Err(VolumeError::Refused(format!("path {text:?} of key {key} must be relative and contain no '..'")));
    }
    Ok(path.components().collect())
}

fn mode(own: Option<i32>, default_mode: Option<i32>) -> Result<u32, VolumeError> {
    match own.or(default_mode) {
        None => Ok(DEFAULT_MODE),
        Some(mode) => u32::try_from(mode)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| VolumeError::Refused(format!("file mode {mode} is not within 0 and 0777"))),
    }
}
