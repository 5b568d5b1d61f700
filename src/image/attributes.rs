//! Owner, extended attributes, mode and times of what a layer holds: [`set`], [`set_at`] and [`copy`].

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::{Error, Result};
use super::tarball::{Entry, Kind, shown};

/// Sets all of an open file or directory, in the order in which none of them undoes another. Returns how many extended
/// attributes had to be left out.
pub(super) fn set(fd: &OwnedFd, entry: &Entry) -> Result<u64> {
    let (uid, gid) = owner(entry)?;
    rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(|e| Error::io("setting the owner", e))?;
    let mut dropped = 0_u64;
    for (name, value) in &entry.xattrs {
        if !keeps_xattr(name) {
            dropped = dropped.saturating_add(1);
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOTSUP | Errno::PERM) => dropped = dropped.saturating_add(1),
            Err(error) => {
                return Err(Error::io(format!("setting the extended attribute {}", shown(name)), error));
            }
        }
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(|e| Error::io("setting the mode", e))?;
    rustix::fs::futimens(fd, &entry_times(entry)).map_err(|e| Error::io("setting the time", e))?;
    Ok(dropped)
}

/// As [`set`] for what cannot be opened: links and special files, which keep no extended attributes.
pub(super) fn set_at(dir: BorrowedFd<'_>, name: &CString, entry: &Entry) -> Result<u64> {
    let (uid, gid) = owner(entry)?;
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Error::io("setting the owner", e))?;
    if entry.kind != Kind::Symlink {
        // Just made here and no link, so the name cannot lead elsewhere.
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(|e| Error::io("setting the mode", e))?;
    }
    rustix::fs::utimensat(dir, name, &entry_times(entry), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Error::io("setting the time", e))?;
    Ok(entry.xattrs.len() as u64)
}

/// Gives one file or directory the attributes of another, whose status is `stat`.
pub(super) fn copy(from: &OwnedFd, stat: &Stat, to: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    let mut list = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut *list) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error),
    };
    for name in list.get(..length).unwrap_or_default().split(|b| *b == 0).filter(|name| keeps_xattr(name)) {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name, &mut *value)?;
        rustix::fs::fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &times_of(stat))
}

/// What an image may set. overlayfs' own marks, trusted.* and security labels of the build machine mean nothing here,
/// or would change how the layers are stacked.
fn keeps_xattr(name: &[u8]) -> bool {
    let own = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    own || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}

fn owner(entry: &Entry) -> Result<(Uid, Gid)> {
    // The highest number means "unchanged" to chown(2).
    let id = |value: u64| u32::try_from(value).ok().filter(|id| *id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(Error::Corrupt(format!("its owner {}:{} is out of range", entry.uid, entry.gid))),
    }
}

fn entry_times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// The times of a file, to be put back: the time of its last change for both.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, clippy::useless_conversion)] // field types differ by target
pub(super) fn times_of(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime as i64, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}
