//! Measuring a directory tree, and deleting one safely: never through a symbolic link, never into another mount, with few descriptors
//! however deep a hostile container has nested it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::sorted::BTreeSet;

/// Directories held open at a time; what lies deeper is moved up to the top first.
const MAX_OPEN: usize = 32;

/// Removes `name` below `dir`, whatever it is. A name that is not there is no error.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let mut moved: u64 = 0;
    let top = open(dir, name, device(dir)?)?;
    loop {
        // Each round empties the top; trees that were too deep come up as new children of it.
        let before = moved;
        empty(top.as_fd(), top.as_fd(), MAX_OPEN, &mut moved)?;
        if moved == before {
            break;
        }
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

fn device(fd: impl AsFd) -> rustix::io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_dev)
}

fn open(dir: BorrowedFd<'_>, name: &CStr, expected: u64) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if device(&fd)? != expected {
        return Err(Errno::XDEV);
    }
    Ok(fd)
}

fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> rustix::io::Result<()> {
    let here = device(dir)?;
    let mut entries = Dir::read_from(dir)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                // Not told by the directory: it is a directory after all.
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        if depth == 0 {
            loop {
                *moved = moved.saturating_add(1);
                let up = CString::new(format!(".gatepost-deep-{moved}")).unwrap_or_default();
                match rustix::fs::renameat_with(dir, name, top, &up, rustix::fs::RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => {}
                    done => break done?,
                }
            }
            continue;
        }
        let child = open(dir, name, here)?;
        empty(child.as_fd(), top, depth.saturating_sub(1), moved)?;
        drop(child);
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes that a file or tree takes on the disk, a file with several names once. What cannot be read counts nothing.
pub(crate) fn bytes(dir: BorrowedFd<'_>, path: &str) -> u64 {
    let mut seen = BTreeSet::default();
    let Ok(stat) = rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW) else { return 0 };
    let own = bytes_of(&stat);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return own;
    }
    let path = CString::new(path).unwrap_or_default();
    open(dir, &path, stat.st_dev)
        .map_or(own, |top| own.saturating_add(bytes_below(top.as_fd(), stat.st_dev, &mut seen)))
}

fn bytes_of(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

fn bytes_below(dir: BorrowedFd<'_>, device: u64, seen: &mut BTreeSet<u64>) -> u64 {
    let Ok(mut entries) = Dir::read_from(dir) else { return 0 };
    let mut sum = 0_u64;
    while let Some(Ok(entry)) = entries.read() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        #[allow(clippy::unnecessary_cast)] // field types differ by target
        if !is_directory && stat.st_nlink > 1 && !seen.insert(stat.st_ino as u64) {
            continue;
        }
        sum = sum.saturating_add(bytes_of(&stat));
        if is_directory && let Ok(child) = open(dir, name, device) {
            sum = sum.saturating_add(bytes_below(child.as_fd(), device, seen));
        }
    }
    sum
}
