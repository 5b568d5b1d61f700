//! fsGroup: the pod's group owns its volumes (kubernetes pkg/volume/volume_linux.go).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid};

/// What the group may do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Adds 0440.
    ReadOnly,
    /// Adds 0660.
    ReadWrite,
}

/// Gives everything from `top` on to the group and adds its mode bits; links are given, never followed. A file that cannot be
/// changed is a warning, as in Kubernetes.
pub(super) fn apply(top: &Path, group: u32, access: Access, warnings: &mut Vec<String>) {
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        if let Err(error) = apply_one(&path, group, access, &mut pending) {
            warnings.push(format!("fsGroup {group} could not be set on {}: {error}", path.display()));
        }
    }
}

fn apply_one(path: &Path, group: u32, access: Access, pending: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    rustix::fs::chownat(CWD, path, None, Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mut bits = match access {
        Access::ReadOnly => 0o440,
        Access::ReadWrite => 0o660,
    };
    if metadata.is_dir() {
        bits |= 0o2110;
        for entry in std::fs::read_dir(path)? {
            pending.push(entry?.path());
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777 | bits))
}
