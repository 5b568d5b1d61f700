//! persistentVolumeClaim: what a claim is bound to, and where that lies: [`prepare`].
//!
//! A claim is bound once and for ever: to a PersistentVolume that suits it, else to a directory of its own, named after it. What
//! it is bound to stands in [`Layout::claims`]: the directory itself, or a link whose text is the PersistentVolume's name. Neither
//! is ever removed here, so the data outlives every pod.

use crate::sorted::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::{Objects, VolumeError, at, host_path, is_file_name};
use crate::config::Layout;
use crate::manifest::Quantity;
use crate::manifest::v1::{LabelSelector, PersistentVolume, PersistentVolumeClaim};

/// Any user of a container may write to a directory made for a claim, as with the provisioners of small clusters.
const MODE: u32 = 0o777;

/// What a claim is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    /// The PersistentVolume's, or the claim's where it has a directory of its own.
    pub(super) name: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Whether fsGroup may change what is in it: not in a path of the host.
    pub(super) owned: bool,
    /// Only one pod may use it at a time.
    pub(super) exclusive: bool,
}

/// What is written down for a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    Nothing,
    Directory,
    Volume(String),
}

/// Binds the claim if it is not bound, and makes or checks what it is bound to.
pub(super) fn prepare(
    layout: &Layout,
    namespace: &str,
    name: &str,
    objects: &Objects,
    warnings: &mut Vec<String>,
) -> Result<Bound, VolumeError> {
    for name in [namespace, name] {
        if !is_file_name(name) || name.starts_with('.') {
            return Err(VolumeError::Refused(format!("{name:?} cannot be the name of a claim or of its namespace")));
        }
    }
    let dir = layout.claims(namespace);
    make_dir(&dir, 0o755)?;
    let place = dir.join(name);
    let claim =
        objects.claims.iter().find(|claim| claim.metadata.namespace == namespace && claim.metadata.name == name);
    let claim = claim.map(AsRef::as_ref);
    let record = recorded(&place)?;
    let taken = |volume: &str| holders(layout, volume).iter().any(|holder| *holder != place);
    let volume = choose(namespace, name, claim, &record, &objects.volumes, taken).map_err(VolumeError::Refused)?;
    let modes = claim.map(|claim| claim.spec.access_modes.as_slice()).unwrap_or_default();
    let exclusive = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    let Some(volume) = volume else {
        if let Some(size) = claim.and_then(|claim| claim.spec.resources.requests.get("storage"))
            && record == Record::Nothing
        {
            warnings.push(format!(
                "claim {name} asks for {size}: it is a directory on the node's disk, and its size is not bounded"
            ));
        }
        make_named(&place)?;
        return Ok(Bound { name: name.to_owned(), path: place, owned: true, exclusive });
    };
    match record {
        Record::Volume(_) => {}
        Record::Nothing => symlink(&volume.metadata.name, &place).map_err(at("binding the claim at", &place))?,
        Record::Directory => warnings.push(format!(
            "claim {name} is now bound to persistentvolume {}; what it held before stays in {}",
            volume.metadata.name,
            place.display()
        )),
    }
    let (path, owned) = if let Some(local) = &volume.spec.local {
        let path = PathBuf::from(&local.path);
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(VolumeError::Refused(format!("local path {} must be absolute, without '..'", local.path)));
        }
        if !path.is_dir() {
            // A disk would have to be formatted and mounted first.
            let why = if path.exists() { "is not a directory" } else { "does not exist" };
            return Err(VolumeError::Refused(format!("path \"{}\" {why}", local.path)));
        }
        (path, true)
    } else if let Some(source) = &volume.spec.host_path {
        host_path::prepare(source)?;
        (PathBuf::from(&source.path), false)
    } else {
        let name = &volume.metadata.name;
        return Err(VolumeError::Refused(format!("persistentvolume \"{name}\" is neither local nor hostPath")));
    };
    Ok(Bound { name: volume.metadata.name.clone(), path, owned, exclusive })
}

/// The PersistentVolume that the claim is bound to, or is to be bound to; `None`: a directory of its own.
fn choose<'a>(
    namespace: &str,
    name: &str,
    claim: Option<&PersistentVolumeClaim>,
    record: &Record,
    volumes: &'a [std::rc::Rc<PersistentVolume>],
    taken: impl Fn(&str) -> bool,
) -> Result<Option<&'a PersistentVolume>, String> {
    let named = |wanted: &str| {
        let volume = volumes.iter().find(|volume| volume.metadata.name == wanted).map(AsRef::as_ref);
        volume.ok_or_else(|| format!("persistentvolume \"{wanted}\" not found"))
    };
    let reserved_for = |volume: &PersistentVolume| {
        let to = volume.spec.claim_ref.as_ref()?;
        Some((to.namespace.is_empty() || to.namespace == namespace) && to.name == name)
    };
    if claim.is_some_and(|claim| claim.spec.volume_mode == "Block") {
        return Err(format!("claim {name} has volumeMode Block; containers can mount Filesystem claims only"));
    }
    if let Some(wanted) = claim.map(|claim| claim.spec.volume_name.as_str()).filter(|wanted| !wanted.is_empty()) {
        let volume = named(wanted)?;
        if reserved_for(volume) == Some(false) || taken(wanted) {
            return Err(format!("volume \"{wanted}\" already bound to a different claim."));
        }
        return Ok(Some(volume));
    }
    if let Some(volume) = volumes.iter().find(|volume| reserved_for(volume) == Some(true)) {
        return Ok(Some(volume));
    }
    match record {
        Record::Volume(bound) => return named(bound).map(Some),
        Record::Directory => return Ok(None),
        Record::Nothing => {}
    }
    let Some(claim) = claim else { return Ok(None) };
    let size = |of: &BTreeMap<String, String>| {
        of.get("storage").and_then(|text| Quantity::parse(text).ok()).map_or(0, Quantity::nanos)
    };
    let wanted = size(&claim.spec.resources.requests);
    let suits = |volume: &PersistentVolume| {
        let spec = &volume.spec;
        let selected = claim.spec.selector.as_ref().is_none_or(|selector| selects(selector, &volume.metadata.labels));
        reserved_for(volume).is_none()
            && spec.volume_mode != "Block"
            && spec.storage_class_name == claim.spec.storage_class_name.as_deref().unwrap_or_default()
            && claim.spec.access_modes.iter().all(|mode| spec.access_modes.contains(mode))
            && size(&spec.capacity) >= wanted
            && selected
            && !taken(&volume.metadata.name)
    };
    let suitable = volumes.iter().map(AsRef::as_ref).filter(|volume| suits(volume));
    Ok(suitable.min_by_key(|volume| (size(&volume.spec.capacity), &volume.metadata.name)))
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|condition| {
            let value = labels.get(&condition.key);
            let listed = value.is_some_and(|value| condition.values.contains(value));
            match condition.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

fn recorded(place: &Path) -> Result<Record, VolumeError> {
    match std::fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_symlink() => {
            let name = std::fs::read_link(place).map_err(at("reading", place))?;
            Ok(Record::Volume(name.to_string_lossy().into_owned()))
        }
        Ok(_) => Ok(Record::Directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::Nothing),
        Err(error) => Err(at("looking at", place)(error)),
    }
}

/// The claims, by place, that are bound to a PersistentVolume.
fn holders(layout: &Layout, volume: &str) -> Vec<PathBuf> {
    let Some(root) = layout.claims("x").parent().map(Path::to_owned) else { return Vec::new() };
    let below = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let places = below(&root).into_iter().flat_map(|namespace| below(&namespace));
    places.filter(|place| std::fs::read_link(place).is_ok_and(|name| name == Path::new(volume))).collect()
}

fn make_dir(path: &Path, mode: u32) -> Result<(), VolumeError> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(at("creating", path))
}

/// Under another name first, so that a kill in between leaves no directory with a wrong mode.
fn make_named(place: &Path) -> Result<(), VolumeError> {
    if place.is_dir() {
        return Ok(());
    }
    let mut fresh = std::ffi::OsString::from(".");
    fresh.push(place.file_name().unwrap_or_default());
    let fresh = place.with_file_name(fresh);
    make_dir(&fresh, 0o700)?;
    let mode = std::fs::Permissions::from_mode(MODE);
    std::fs::set_permissions(&fresh, mode).map_err(at("setting the mode of", &fresh))?;
    std::fs::rename(&fresh, place).map_err(at("naming", place))
}
