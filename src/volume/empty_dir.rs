//! emptyDir: a directory that lives as long as the pod, on disk, on a tmpfs or a hugetlbfs of its own: [`prepare`].

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{VolumeError, at};
use crate::manifest::v1::{Pod, Volume};
use crate::sys::{mount, quota};

/// Kubernetes: an emptyDir belongs to root and anybody may write to it.
const MODE: u32 = 0o777;

/// What an emptyDir is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// A directory on data.
    Disk,
    /// A tmpfs.
    Memory,
    /// A hugetlbfs.
    HugePages,
}

impl Medium {
    /// What the manifest asks for; an ephemeral claim is a directory on data.
    pub(super) fn of(volume: &Volume) -> Self {
        match volume.empty_dir.as_ref().map(|source| source.medium.as_str()) {
            Some("Memory") => Self::Memory,
            Some(medium) if medium.starts_with("HugePages") => Self::HugePages,
            _ => Self::Disk,
        }
    }
}

/// Makes the directory; in memory it holds at most `bytes` bytes, on disk where the file system bounds it.
pub(super) fn prepare(dir: &Path, pod: &Pod, volume: &Volume, bytes: Option<u64>) -> Result<(), VolumeError> {
    let medium = Medium::of(volume);
    if medium == Medium::Disk {
        on_disk(dir)?;
        return match bytes {
            Some(bytes) => bound(dir, &pod.metadata.uid, &volume.name, bytes),
            None => Ok(()),
        };
    }
    std::fs::create_dir_all(dir).map_err(at("creating", dir))?;
    if mount::is_mount_point(dir).map_err(at("looking for a mount at", dir))? {
        return Ok(());
    }
    if medium == Medium::Memory {
        return mount::tmpfs_unswapped(dir, bytes, MODE).map_err(at("mounting a tmpfs on", dir));
    }
    let size = page_size(pod, volume)?;
    mount::hugetlbfs(dir, &size).map_err(at("mounting a hugetlbfs on", dir))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(MODE)).map_err(at("setting the mode of", dir))
}

/// The mode is set once, when the directory is made: later the containers may have changed it. It is made under another name
/// first, so a kill in between leaves no directory with a wrong mode.
fn on_disk(dir: &Path) -> Result<(), VolumeError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    let mut fresh = std::ffi::OsString::from("..");
    fresh.push(dir.file_name().unwrap_or_default());
    let fresh = parent.join(fresh);
    std::fs::create_dir_all(&fresh).map_err(at("creating", &fresh))?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))
        .map_err(at("setting the mode of", &fresh))?;
    std::fs::rename(&fresh, dir).map_err(at("naming", dir))
}

/// Where the file system keeps no project quotas, the supervisor has the volume measured.
fn bound(dir: &Path, uid: &str, name: &str, bytes: u64) -> Result<(), VolumeError> {
    let hash = Sha256::digest(format!("{uid}/{name}"));
    let [a, b, c, d, ..] = hash.as_slice() else { return Ok(()) };
    // The upper half of the numbers, so that none is met that people gave.
    let project = u32::from_le_bytes([*a, *b, *c, *d]) | 1 << 31;
    let opened = File::open(dir).map_err(at("opening", dir))?;
    quota::limit(&opened, project, bytes).map(drop).map_err(at("limiting the size of", dir))
}

/// `2Mi`: that of the medium, else the only one that the pod's containers ask for.
fn page_size(pod: &Pod, volume: &Volume) -> Result<String, VolumeError> {
    let medium = volume.empty_dir.as_ref().map(|source| source.medium.as_str()).unwrap_or_default();
    let mut asked: Vec<&str> = Vec::new();
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        let names = container.resources.limits.keys().chain(container.resources.requests.keys());
        asked.extend(names.filter_map(|name| name.strip_prefix("hugepages-")));
    }
    asked.sort_unstable();
    asked.dedup();
    let size = match (medium.strip_prefix("HugePages-"), asked.as_slice()) {
        (Some(size), asked) if asked.contains(&size) => size,
        (Some(size), _) => {
            return Err(VolumeError::Refused(format!(
                "medium {medium} needs a container with a request for hugepages-{size}"
            )));
        }
        (None, [size]) => size,
        (None, []) => {
            return Err(VolumeError::Refused(
                "hugePages storage requested, but there is no resource request for huge pages.".to_owned(),
            ));
        }
        (None, _) => {
            return Err(VolumeError::Refused(
                "medium: HugePages can't be used if container requests multiple huge page sizes".to_owned(),
            ));
        }
    };
    Ok(size.to_owned())
}
