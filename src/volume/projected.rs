//! Files in the layout that readers of such volumes rely on: [`write`].
//!
//! `<volume>/..<time>.<random>/` holds the files, `..data` links to it, and each top-level name links into `..data`. A change
//! makes a new directory and renames a new `..data` over the old one, so a reader sees all of the old or all of the new
//! (kubernetes pkg/volume/util/atomic_writer.go).

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::content::Files;
use super::ownership::{self, Group};
use super::{VolumeError, at};
use crate::sorted::BTreeMap;

/// Writes the files; nothing is touched when all of it is there already.
pub(super) fn write(
    dir: &Path,
    files: &Files,
    group: Option<Group>,
    warnings: &mut Vec<String>,
) -> Result<(), VolumeError> {
    std::fs::create_dir_all(dir).map_err(at("creating", dir))?;
    let mode = dir.metadata().map_err(at("looking at", dir))?.permissions().mode();
    if mode & 0o777 != 0o755 && group.is_none() {
        std::fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(at("setting the mode of", dir))?;
    }
    let data = dir.join("..data");
    if !is_current(&data, files, group) {
        let fresh = dir.join(fresh_name());
        write_tree(&fresh, files)?;
        if let Some(group) = group {
            ownership::apply(&fresh, group, warnings);
        }
        let link = dir.join("..data_tmp");
        remove_entry(&link)?;
        symlink(fresh.file_name().unwrap_or_default(), &link).map_err(at("linking", &link))?;
        std::fs::rename(&link, &data).map_err(at("naming", &data))?;
    }
    link_names(dir, files)?;
    if let Some(group) = group {
        // The links and the volume's own directory too; what `..data` holds was done before it became visible.
        ownership::apply(dir, group, warnings);
    }
    Ok(())
}

/// `..2026_11_22_02_30_00.123456789`.
fn fresh_name() -> String {
    let now = time::OffsetDateTime::now_utc();
    let mut random = [0_u8; 4];
    // Only has to differ from a directory left by a killed predecessor in the same second; the clock's nanoseconds would do.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK).is_err() {
        random = now.nanosecond().to_le_bytes();
    }
    format!(
        "..{:04}_{:02}_{:02}_{:02}_{:02}_{:02}.{}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        u32::from_le_bytes(random)
    )
}

fn write_tree(top: &Path, files: &Files) -> Result<(), VolumeError> {
    let make_dir = |dir: &Path| {
        std::fs::create_dir_all(dir).map_err(at("creating", dir))?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(at("setting the mode of", dir))
    };
    make_dir(top)?;
    for (path, file) in files {
        let path = top.join(path);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        let mut out =
            File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(at("creating", &path))?;
        out.write_all(&file.content).map_err(at("writing", &path))?;
        out.set_permissions(Permissions::from_mode(file.mode)).map_err(at("setting the mode of", &path))?;
    }
    Ok(())
}

/// Whether `..data` holds exactly these files.
fn is_current(data: &Path, files: &Files, group: Option<Group>) -> bool {
    let mut pending = vec![PathBuf::new()];
    let mut seen = 0_usize;
    while let Some(relative) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(data.join(&relative)) else { return false };
        for entry in entries {
            let Ok(entry) = entry else { return false };
            let path = relative.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path);
                continue;
            }
            let Some(file) = files.get(&path) else { return false };
            let mode = file.mode | if group.is_some() { 0o440 } else { 0 };
            let same_mode = entry.metadata().is_ok_and(|found| found.permissions().mode() & 0o7777 == mode);
            if !same_mode || std::fs::read(entry.path()).ok().as_ref() != Some(&file.content) {
                return false;
            }
            seen = seen.saturating_add(1);
        }
    }
    seen == files.len()
}

/// Makes the visible links, and removes those and the data directories that nothing needs any more.
fn link_names(dir: &Path, files: &Files) -> Result<(), VolumeError> {
    let current = std::fs::read_link(dir.join("..data")).unwrap_or_default();
    let mut wanted: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for name in files.keys().filter_map(|path| path.components().next()) {
        wanted.insert(name.as_os_str().into(), Path::new("..data").join(name));
    }
    for entry in std::fs::read_dir(dir).map_err(at("reading", dir))? {
        let entry = entry.map_err(at("reading", dir))?;
        let name = PathBuf::from(entry.file_name());
        if name == Path::new("..data") || name == current {
            continue;
        }
        match wanted.get(&name) {
            Some(target) if std::fs::read_link(entry.path()).is_ok_and(|found| found == *target) => {
                wanted.remove(&name);
            }
            // A directory that a subPath has made.
            None if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_hidden(&name) => {}
            _ => remove_entry(&entry.path())?,
        }
    }
    for (name, target) in wanted {
        let link = dir.join(name);
        symlink(target, &link).map_err(at("linking", &link))?;
    }
    Ok(())
}

/// Names that start with `..` are the layout's own.
fn is_hidden(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().starts_with(b"..")
}

fn remove_entry(path: &Path) -> Result<(), VolumeError> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(at("removing", path))
}
