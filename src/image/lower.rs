//! [`Lower`]: what the layers below show, merged by overlayfs' rules, without mounting anything. A layer may be unpacked while the
//! one below it is: it waits ([`Gate`]) when it first needs to know what is there.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The unpacked layers below the one being written, top layer first.
pub(crate) struct Lower {
    layers: Vec<OwnedFd>,
    /// The topmost of them may still be written; all others were complete before it began to wait for them.
    top: Option<Arc<Gate>>,
}

/// Opens when a layer is complete, so that the one above it can be begun before that.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    complete: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Gate {
    /// The layer is complete, or never will be.
    pub(crate) fn open(&self, complete: bool) {
        *self.complete.lock().unwrap_or_else(PoisonError::into_inner) = Some(complete);
        self.changed.notify_all();
    }

    /// Waits.
    fn pass(&self) -> rustix::io::Result<()> {
        let mut complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *complete {
                Some(true) => return Ok(()),
                Some(false) => return Err(Errno::CANCELED),
                None => complete = self.changed.wait(complete).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// What a path is in the merged view.
pub(crate) enum Found {
    Nothing,
    /// A directory, with the directories merged there, top first; the first one's attributes are the visible ones.
    Directory(Vec<OwnedFd>),
    /// Anything else: its name in the directory that holds it.
    Other {
        dir: OwnedFd,
        stat: Stat,
    },
}

impl Lower {
    /// `layers`: open layer directories, top layer first; that one is complete when `top` opens.
    pub(crate) fn new(layers: Vec<OwnedFd>, top: Option<Arc<Gate>>) -> Self {
        Self { layers, top }
    }

    /// Waits until all of them are complete.
    pub(crate) fn wait(&self) -> rustix::io::Result<()> {
        self.top.as_ref().map_or(Ok(()), |top| top.pass())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Looks a path up, component by component, following no symbolic link.
    pub(crate) fn find(&self, path: &[CString]) -> rustix::io::Result<Found> {
        self.wait()?;
        let mut here: Vec<OwnedFd> = Vec::new();
        let mut first = true;
        for (index, name) in path.iter().enumerate() {
            let dirs = if first { &self.layers } else { &here };
            first = false;
            match find_in(dirs, name)? {
                Found::Directory(below) => here = below,
                found if index.saturating_add(1) == path.len() => return Ok(found),
                _ => return Ok(Found::Nothing),
            }
        }
        if first {
            let layers: rustix::io::Result<_> =
                self.layers.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 0)).collect();
            return Ok(Found::Directory(layers?));
        }
        Ok(Found::Directory(here))
    }
}

/// One name in a merged directory.
pub(crate) fn find_in(dirs: &[OwnedFd], name: &CStr) -> rustix::io::Result<Found> {
    let mut below = Vec::new();
    for dir in dirs {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        if is_whiteout(&stat) {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            below.push(open_directory(dir.as_fd(), name)?);
            continue;
        }
        if below.is_empty() {
            return Ok(Found::Other { dir: rustix::io::fcntl_dupfd_cloexec(dir, 0)?, stat });
        }
        break;
    }
    Ok(if below.is_empty() { Found::Nothing } else { Found::Directory(below) })
}

/// All names a merged directory shows.
pub(crate) fn names(dirs: &[OwnedFd]) -> rustix::io::Result<Vec<CString>> {
    let mut seen: BTreeMap<CString, bool> = BTreeMap::new();
    for dir in dirs {
        let mut entries = Dir::read_from(dir)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || seen.contains_key(name) {
                continue;
            }
            let hidden = matches!(entry.file_type(), FileType::CharacterDevice | FileType::Unknown)
                && is_whiteout(&rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
            seen.insert(name.to_owned(), !hidden);
        }
    }
    Ok(seen.into_iter().filter_map(|(name, visible)| visible.then_some(name)).collect())
}

/// Whether a file is overlayfs' mark for a removed name: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens a directory that must not be reached through a symbolic link.
pub(crate) fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
