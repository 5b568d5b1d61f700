//! emptyDir: a directory that lives as long as the pod, on disk or on a tmpfs of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{VolumeError, at};
use crate::sys::mount;

/// Kubernetes: an emptyDir belongs to root and anybody may write to it.
const MODE: u32 = 0o777;

/// Makes the directory, and mounts a tmpfs of at most `bytes` bytes on it where it is to be in memory.
pub(super) fn prepare(dir: &Path, in_memory: bool, bytes: Option<u64>) -> Result<(), VolumeError> {
    if in_memory {
        std::fs::create_dir_all(dir).map_err(at("creating", dir))?;
        if !mount::is_mount_point(dir).map_err(at("looking for a mount at", dir))? {
            mount::tmpfs(dir, bytes, MODE, true).map_err(at("mounting a tmpfs on", dir))?;
        }
        return Ok(());
    }
    // The mode is set once, when the directory is made: later the containers may have changed it. It is made under another
    // name first, so a kill in between leaves no directory with a wrong mode.
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
