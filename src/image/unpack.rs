//! [`LayerWriter`]: writes the entries of one layer into its directory, as overlayfs wants a lower layer to be.
//!
//! Every name is created relative to an open directory of the layer and never through a symbolic link of the host's
//! view: parents are resolved component by component inside the image (this layer over the ones below), so the worst
//! entry ends up inside the layer or is refused. Whiteouts become character devices 0/0. An opaque directory becomes
//! one whiteout for each name that the layers below show there, so that no privileged extended attribute is needed.
//! A directory's time is put back after each change inside it, so no list of directories is kept.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use rustix::io::Errno;

use super::attributes;
use super::error::{Error, Result};
use super::limits::{MAX_DEPTH, MAX_ENTRIES, MAX_NAME, MAX_OPAQUE, MAX_SYMLINKS, MAX_UNPACKED};
use super::lower::{Found, Lower, find_in, is_whiteout, names, open_directory};
use super::tarball::{Entry, Kind, Tarball, shown};
use super::tree;

/// One layer being written.
pub(crate) struct LayerWriter<'a> {
    root: OwnedFd,
    lower: &'a Lower,
    parent: Option<Parent>,
    /// Directories of this layer under which nothing of the layers below shows.
    opaque: BTreeSet<Vec<CString>>,
    buffer: Vec<u8>,
    counts: Counts,
}

/// What was written and what could not be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    /// Apparent size of all files in bytes.
    pub(crate) bytes: u64,
    /// Extended attributes that have no meaning in an image (overlayfs' own, trusted.*, labels) or no support here.
    pub(crate) dropped_xattrs: u64,
    /// Devices that could not be made for want of a capability, and character devices 0/0.
    pub(crate) dropped_devices: u64,
    /// Entries of types that tar does not define.
    pub(crate) unknown_entries: u64,
}

/// The directory that the last entry went into, as written and as resolved.
struct Parent {
    written: Vec<CString>,
    resolved: Vec<CString>,
    dir: GuardedDir,
}

/// An open directory whose times are put back when it has been changed.
struct GuardedDir {
    fd: OwnedFd,
    times: Timestamps,
    changed: bool,
}

impl GuardedDir {
    fn new(fd: OwnedFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, times: attributes::times_of(&stat), changed: false })
    }

    fn restore(&mut self) -> rustix::io::Result<()> {
        if self.changed {
            rustix::fs::futimens(&self.fd, &self.times)?;
            self.changed = false;
        }
        Ok(())
    }
}

/// Size of the copy buffer.
const BUFFER: usize = 128 << 10;

impl<'a> LayerWriter<'a> {
    /// `root`: the layer's empty directory. `lower`: the layers below.
    pub(crate) fn new(root: OwnedFd, lower: &'a Lower) -> Self {
        Self { root, lower, parent: None, opaque: BTreeSet::new(), buffer: vec![0; BUFFER], counts: Counts::default() }
    }

    /// Unpacks all entries and completes the layer.
    pub(crate) fn write_all(mut self, tarball: &mut Tarball) -> Result<Counts> {
        while let Some(entry) = tarball.next_entry()? {
            self.counts.entries = self.counts.entries.saturating_add(1);
            if self.counts.entries > MAX_ENTRIES {
                return Err(Error::Limit(format!("the layer has more than {MAX_ENTRIES} entries")));
            }
            self.write(&entry, tarball).map_err(|error| error.within(format!("entry {}", entry.shown())))?;
        }
        self.leave_parent()?;
        self.hide_lower()?;
        Ok(self.counts)
    }

    fn write(&mut self, entry: &Entry, data: &mut Tarball) -> Result<()> {
        let mut path = components(&entry.path)?;
        let Some(name) = path.pop() else {
            self.leave_parent()?;
            let root = reopen(&self.root)?;
            return if entry.kind == Kind::Directory {
                self.attributes(&root, entry)
            } else {
                Err(Error::Unsafe("the root directory can only be a directory".into()))
            };
        };
        self.enter_parent(&path)?;
        if let Some(hidden) = name.to_bytes().strip_prefix(b".wh.") {
            return self.whiteout(hidden);
        }
        let name = &name;
        match entry.kind {
            Kind::File => self.file(name, entry, data),
            Kind::Directory => self.directory(name, entry),
            Kind::Symlink => {
                let target = CString::new(entry.link.clone()).unwrap_or_default();
                if target.is_empty() {
                    return Err(Error::Corrupt("a symbolic link without a target".into()));
                }
                self.make(name, |dir| rustix::fs::symlinkat(&target, dir, name))?;
                self.attributes_at(name, entry)
            }
            Kind::HardLink => self.hard_link(name, entry),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.special(name, entry),
            Kind::Other(_) => {
                self.counts.unknown_entries = self.counts.unknown_entries.saturating_add(1);
                Ok(())
            }
        }
    }

    fn file(&mut self, name: &CString, entry: &Entry, data: &mut Tarball) -> Result<()> {
        self.count_bytes(entry.size())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(name, |dir| rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)))?;
        let whole = [(0, entry.stored)];
        let regions: &[(u64, u64)] = match &entry.sparse {
            Some(sparse) => {
                rustix::fs::ftruncate(&file, sparse.size).map_err(|e| Error::io("setting the size", e))?;
                &sparse.regions
            }
            None => &whole,
        };
        for (offset, length) in regions {
            self.copy_region(&file, data, *offset, *length)?;
        }
        self.attributes(&file, entry)
    }

    fn copy_region(&mut self, file: &OwnedFd, data: &mut Tarball, offset: u64, length: u64) -> Result<()> {
        let (mut at, mut left) = (offset, length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let got = {
                let chunk = self.buffer.get_mut(..most).unwrap_or_default();
                data.read(chunk).map_err(|e| Error::io("reading", e))?
            };
            let mut rest = self.buffer.get(..got).unwrap_or_default();
            if rest.is_empty() {
                return Err(Error::Corrupt("its data is truncated".into()));
            }
            left = left.saturating_sub(got as u64);
            while !rest.is_empty() {
                let written = rustix::io::pwrite(file, rest, at).map_err(|e| Error::io("writing", e))?;
                at = at.saturating_add(written as u64);
                rest = rest.get(written..).unwrap_or_default();
            }
        }
        Ok(())
    }

    fn special(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let (kind, device) = match entry.kind {
            Kind::Fifo => (FileType::Fifo, 0),
            Kind::BlockDevice => (FileType::BlockDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
            _ if entry.device == (0, 0) => {
                // Only overlayfs gives it a meaning, and the image format has its own mark for it.
                self.counts.dropped_devices = self.counts.dropped_devices.saturating_add(1);
                return Ok(());
            }
            _ => (FileType::CharacterDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
        };
        let made = self.make(name, |dir| rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device));
        if let Err(Error::Io { source, .. }) = &made
            && source.raw_os_error() == Some(libc::EPERM)
            && kind != FileType::Fifo
        {
            self.counts.dropped_devices = self.counts.dropped_devices.saturating_add(1);
            return Ok(());
        }
        made?;
        self.attributes_at(name, entry)
    }

    fn hard_link(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let target = shown(&entry.link);
        let mut path = components(&entry.link).map_err(|e| e.within(format!("hard link to {target}")))?;
        let Some(target_name) = path.pop() else {
            return Err(Error::Unsafe("a hard link to the root directory".into()));
        };
        let (resolved, fd) = self.resolve(&path)?;
        let mut dir = GuardedDir::new(fd).map_err(|e| Error::io("reading the link target's directory", e))?;
        let mut stat = rustix::fs::statat(&dir.fd, &target_name, AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_err() && !self.is_opaque(&resolved) {
            let mut full = resolved;
            full.push(target_name.clone());
            if let Found::Other { dir: from, stat: below } =
                self.lower.find(&full).map_err(|e| Error::io("reading the layers below", e))?
            {
                dir.changed = true;
                self.copy_up(&from, &below, &dir.fd, &target_name)?;
                stat = rustix::fs::statat(&dir.fd, &target_name, AtFlags::SYMLINK_NOFOLLOW);
            }
        }
        let usable = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory && !is_whiteout(stat);
        let Some(stat) = stat.ok().filter(usable) else {
            return Err(Error::Corrupt(format!("a hard link to {target}, which is no file of this image")));
        };
        let existing = rustix::fs::statat(self.parent_fd()?, name, AtFlags::SYMLINK_NOFOLLOW);
        if existing.is_ok_and(|e| (e.st_dev, e.st_ino) == (stat.st_dev, stat.st_ino)) {
            return dir.restore().map_err(|e| Error::io("setting times", e));
        }
        self.make(name, |to| rustix::fs::linkat(&dir.fd, &target_name, to, name, AtFlags::empty()))?;
        dir.restore().map_err(|e| Error::io("setting times", e))
    }

    /// A hard link's target that only a lower layer has: overlayfs cannot link across layers, so it is copied here.
    fn copy_up(&mut self, from: &OwnedFd, stat: &Stat, to: &OwnedFd, name: &CString) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Unsupported("a hard link to a special file of a lower layer".into()));
        }
        self.count_bytes(u64::try_from(stat.st_size).unwrap_or(0))?;
        let failed = |e: Errno| Error::io("copying the link target from a lower layer", e);
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = rustix::fs::openat(from, name, read, Mode::empty()).map_err(failed)?;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(to, name, write, Mode::from_raw_mode(0o600)).map_err(failed)?;
        loop {
            let got = rustix::io::read(&source, &mut *self.buffer).map_err(failed)?;
            let mut rest = self.buffer.get(..got).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let written = rustix::io::write(&copy, rest).map_err(failed)?;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
        attributes::copy(&source, stat, &copy).map_err(failed)
    }

    /// `.wh.<name>`: the layers below lose that name; `.wh..wh..opq`: they lose everything in this directory.
    fn whiteout(&mut self, hidden: &[u8]) -> Result<()> {
        let resolved = self.parent.as_ref().map(|p| p.resolved.clone()).unwrap_or_default();
        if hidden == b".wh..opq" {
            return self.add_opaque(resolved);
        }
        // AUFS' own records.
        if hidden.starts_with(b".wh.") {
            return Ok(());
        }
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(Error::Unsafe("a whiteout of no name of its own".into()));
        }
        let name = CString::new(hidden).unwrap_or_default();
        let mut full = resolved;
        full.push(name.clone());
        match rustix::fs::statat(self.parent_fd()?, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // This layer has the name itself: only what a directory would show through is meant.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return self.add_opaque(full),
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("reading the directory", error)),
        }
        if self.is_opaque(full.get(..full.len().saturating_sub(1)).unwrap_or_default()) {
            return Ok(());
        }
        if matches!(self.lower.find(&full).map_err(|e| Error::io("reading the layers below", e))?, Found::Nothing) {
            return Ok(());
        }
        self.make(&name, |dir| make_whiteout(dir, &name))
    }

    fn add_opaque(&mut self, path: Vec<CString>) -> Result<()> {
        self.opaque.insert(path);
        if self.opaque.len() > MAX_OPAQUE {
            return Err(Error::Limit(format!("the layer has more than {MAX_OPAQUE} opaque directories")));
        }
        Ok(())
    }

    fn is_opaque(&self, path: &[CString]) -> bool {
        !self.opaque.is_empty()
            && (0..=path.len()).any(|n| path.get(..n).is_some_and(|part| self.opaque.contains(part)))
    }

    /// Creates a name in the current parent; what this layer already has there goes first (a later entry wins).
    fn make<T>(&mut self, name: &CString, create: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>) -> Result<T> {
        let Some(parent) = &mut self.parent else { return Err(no_parent()) };
        parent.dir.changed = true;
        match create(parent.dir.fd.as_fd()) {
            Err(Errno::EXIST) => {}
            done => return done.map_err(|e| Error::io("creating", e)),
        }
        tree::remove(parent.dir.fd.as_fd(), name).map_err(|e| Error::io("replacing an earlier entry", e))?;
        create(parent.dir.fd.as_fd()).map_err(|e| Error::io("creating", e))
    }

    fn directory(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let Some(parent) = &mut self.parent else { return Err(no_parent()) };
        let mkdir = |dir: BorrowedFd<'_>| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700));
        parent.dir.changed = true;
        if let Err(error) = mkdir(parent.dir.fd.as_fd()) {
            if error != Errno::EXIST {
                return Err(Error::io("creating", error));
            }
            let stat = rustix::fs::statat(&parent.dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Error::io("replacing an earlier entry", e))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                let full = parent.resolved.iter().chain([name]).cloned().collect();
                self.make(name, mkdir)?;
                if is_whiteout(&stat) {
                    self.add_opaque(full)?;
                }
            }
        }
        let dir = open_directory(self.parent_fd()?, name).map_err(|e| Error::io("opening the directory", e))?;
        self.attributes(&dir, entry)
    }

    fn parent_fd(&self) -> Result<BorrowedFd<'_>> {
        self.parent.as_ref().map(|parent| parent.dir.fd.as_fd()).ok_or_else(no_parent)
    }

    fn enter_parent(&mut self, path: &[CString]) -> Result<()> {
        if self.parent.as_ref().is_some_and(|parent| parent.written == path) {
            return Ok(());
        }
        self.leave_parent()?;
        let (resolved, fd) = self.resolve(path)?;
        let dir = GuardedDir::new(fd).map_err(|e| Error::io("reading the parent directory", e))?;
        self.parent = Some(Parent { written: path.to_vec(), resolved, dir });
        Ok(())
    }

    fn leave_parent(&mut self) -> Result<()> {
        match self.parent.take() {
            Some(mut parent) => parent.dir.restore().map_err(|e| Error::io("setting a directory's time", e)),
            None => Ok(()),
        }
    }

    /// Opens a directory of the image in this layer. Symbolic links on the way are followed inside the image; missing
    /// directories are made, with the attributes they have in the layers below.
    fn resolve(&mut self, path: &[CString]) -> Result<(Vec<CString>, OwnedFd)> {
        let joined = joined(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        if let Ok(fd) = rustix::fs::openat2(&self.root, &joined, flags, Mode::empty(), inside) {
            return Ok((path.to_vec(), fd));
        }
        let mut todo: Vec<CString> = path.iter().rev().cloned().collect();
        let mut done: Vec<CString> = Vec::new();
        let mut here = reopen(&self.root)?;
        let mut links = 0_usize;
        while let Some(name) = todo.pop() {
            if name.as_bytes() == b".." {
                done.pop();
                here = self.walk(&done)?;
                continue;
            }
            done.push(name.clone());
            if done.len() > MAX_DEPTH {
                return Err(Error::Limit(format!("the path is nested deeper than {MAX_DEPTH} directories")));
            }
            if let Some(target) = self.step(&mut here, &done, &name)? {
                links = links.saturating_add(1);
                if links > MAX_SYMLINKS {
                    return Err(Error::Unsafe(format!(
                        "its parent is reached through more than {MAX_SYMLINKS} symbolic links"
                    )));
                }
                if target.first() == Some(&b'/') {
                    done.clear();
                    here = reopen(&self.root)?;
                } else {
                    done.pop();
                }
                for part in target.split(|b| *b == b'/').rev() {
                    if !matches!(part, b"" | b".") {
                        todo.push(CString::new(part).unwrap_or_default());
                    }
                }
            }
        }
        Ok((done, here))
    }

    /// One component: enters the directory (making it if need be), or gives the target of a symbolic link.
    fn step(&mut self, here: &mut OwnedFd, done: &[CString], name: &CString) -> Result<Option<Vec<u8>>> {
        let failed = |e: Errno| Error::io("opening its parent directory", e);
        let not_a_directory =
            || Error::Corrupt(format!("its parent {} is not a directory", shown(joined(done).as_bytes())));
        match rustix::fs::statat(&*here, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => {
                let mut guard = GuardedDir::new(reopen(here)?).map_err(failed)?;
                guard.changed = true;
                rustix::fs::unlinkat(&*here, name, AtFlags::empty()).map_err(failed)?;
                self.add_opaque(done.to_vec())?;
                *here = make_parent(here, name, None).map_err(failed)?;
                guard.restore().map_err(failed)?;
                Ok(None)
            }
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    *here = open_directory(here.as_fd(), name).map_err(failed)?;
                    Ok(None)
                }
                FileType::Symlink => {
                    Ok(Some(rustix::fs::readlinkat(&*here, name, Vec::new()).map_err(failed)?.into_bytes()))
                }
                _ => Err(not_a_directory()),
            },
            Err(Errno::NOENT) => {
                let mut below = Found::Nothing;
                if !self.is_opaque(done) {
                    below = self.lower.find(done).map_err(|e| Error::io("reading the layers below", e))?;
                }
                let like = match &below {
                    Found::Nothing => None,
                    Found::Directory(dirs) => dirs.first(),
                    Found::Other { dir, stat } if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                        return Ok(Some(rustix::fs::readlinkat(dir, name, Vec::new()).map_err(failed)?.into_bytes()));
                    }
                    Found::Other { .. } => return Err(not_a_directory()),
                };
                let mut guard = GuardedDir::new(reopen(here)?).map_err(failed)?;
                guard.changed = true;
                *here = make_parent(here, name, like).map_err(failed)?;
                guard.restore().map_err(failed)?;
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Opens a directory of this layer again, from the root.
    fn walk(&self, path: &[CString]) -> Result<OwnedFd> {
        let mut here = reopen(&self.root)?;
        for name in path {
            here = open_directory(here.as_fd(), name).map_err(|e| Error::io("opening its parent directory", e))?;
        }
        Ok(here)
    }

    /// Turns the opaque directories into whiteouts, once the layer's own names are all there.
    fn hide_lower(&mut self) -> Result<()> {
        if self.lower.is_empty() {
            return Ok(());
        }
        let failed = |path: &[CString]| {
            let path = shown(joined(path).as_bytes());
            move |e: Errno| Error::io(format!("hiding what lies below the opaque directory {path}"), e)
        };
        for path in std::mem::take(&mut self.opaque) {
            // Gone again, or no directory any more: nothing shows through.
            let Ok(dir) = self.walk(&path) else { continue };
            if let Found::Directory(below) = self.lower.find(&path).map_err(failed(&path))? {
                hide(&dir, &below, MAX_DEPTH).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    fn count_bytes(&mut self, size: u64) -> Result<()> {
        self.counts.bytes = self.counts.bytes.saturating_add(size);
        if self.counts.bytes > MAX_UNPACKED {
            return Err(Error::Limit(format!("the layer unpacks to more than {} GiB", MAX_UNPACKED >> 30)));
        }
        Ok(())
    }

    fn attributes(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<()> {
        let dropped = attributes::set(fd, entry)?;
        self.counts.dropped_xattrs = self.counts.dropped_xattrs.saturating_add(dropped);
        Ok(())
    }

    fn attributes_at(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let dropped = attributes::set_at(self.parent_fd()?, name, entry)?;
        self.counts.dropped_xattrs = self.counts.dropped_xattrs.saturating_add(dropped);
        Ok(())
    }
}

/// Cannot happen: every entry enters its parent first.
fn no_parent() -> Error {
    Error::Worker("an entry was written before its parent directory was opened".into())
}

/// The components of a path in an archive. A leading `/` and `.` are left out; `..` is refused.
fn components(path: &[u8]) -> Result<Vec<CString>> {
    let mut parts = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::Unsafe("its path contains `..`; the archive is refused".into())),
            _ if part.len() > MAX_NAME => {
                return Err(Error::Limit(format!("a path element is longer than {MAX_NAME} bytes")));
            }
            _ => parts.push(CString::new(part).unwrap_or_default()),
        }
    }
    if parts.len() > MAX_DEPTH {
        return Err(Error::Limit(format!("the path is nested deeper than {MAX_DEPTH} directories")));
    }
    Ok(parts)
}

fn joined(path: &[CString]) -> CString {
    if path.is_empty() {
        return c".".to_owned();
    }
    let parts: Vec<&[u8]> = path.iter().map(AsRef::as_ref).map(std::ffi::CStr::to_bytes).collect();
    CString::new(parts.join(&b'/')).unwrap_or_default()
}

/// A second descriptor of a directory, with a position of its own.
fn reopen(dir: &OwnedFd) -> Result<OwnedFd> {
    open_directory(dir.as_fd(), c".").map_err(|e| Error::io("opening a directory of the layer", e))
}

/// A directory that the archive does not list: as in the layer below, else 0755 root.
fn make_parent(dir: &OwnedFd, name: &CString, like: Option<&OwnedFd>) -> rustix::io::Result<OwnedFd> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
    let made = open_directory(dir.as_fd(), name)?;
    match like {
        Some(below) => attributes::copy(below, &rustix::fs::fstat(below)?, &made)?,
        None => rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?,
    }
    Ok(made)
}

fn make_whiteout(dir: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<()> {
    rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Puts a whiteout over every name that `below` shows and `dir` does not have, and does the same in the directories
/// that both have.
fn hide(dir: &OwnedFd, below: &[OwnedFd], depth: usize) -> rustix::io::Result<()> {
    let mut guard = GuardedDir::new(rustix::io::fcntl_dupfd_cloexec(dir, 0)?)?;
    for name in names(below)? {
        match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                guard.changed = true;
                make_whiteout(dir.as_fd(), &name)?;
            }
            Err(error) => return Err(error),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                if let Found::Directory(deeper) = find_in(below, &name)? {
                    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
                    hide(&open_directory(dir.as_fd(), &name)?, &deeper, depth)?;
                }
            }
            Ok(_) => {}
        }
    }
    guard.restore()
}
