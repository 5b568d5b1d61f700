//! fsGroup: the pod's group owns its volumes: [`apply`] (kubernetes pkg/volume/volume_linux.go).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat};

use crate::sys::walk::walk;

/// Most files that are named in warnings; a read-only disk has more.
const NAMED: usize = 10;

/// What the group may do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Adds 0440.
    ReadOnly,
    /// Adds 0660.
    ReadWrite,
}

/// Whom a tree is given to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) id: u32,
    pub(super) access: Access,
    /// `fsGroupChangePolicy: OnRootMismatch`: a top that is right already stands for all below it.
    pub(super) only_on_mismatch: bool,
}

/// Gives everything from `top` on to the group and adds its mode bits; links are given, never followed, whoever swaps what
/// meanwhile. The top comes last, so that only a finished tree looks finished. A file that cannot be changed is a warning, as in
/// Kubernetes.
pub(super) fn apply(top: &Path, group: Group, warnings: &mut Vec<String>) {
    let mut failures = 0_usize;
    let mut warn = |name: &dyn std::fmt::Display, error: &io::Error| {
        failures = failures.saturating_add(1);
        if failures <= NAMED {
            warnings.push(format!("fsGroup {} could not be set on {name}: {error}", group.id));
        }
    };
    let shown = top.display();
    let opened =
        rustix::fs::open(top, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(|fd| {
            let stat = rustix::fs::fstat(&fd)?;
            Ok((fd.try_clone(), fd, stat))
        });
    let (own, walked, stat) = match opened {
        Ok((Ok(own), walked, stat)) => (own, walked, stat),
        Ok((Err(error), ..)) => return warn(&shown, &error),
        Err(error) => return warn(&shown, &error.into()),
    };
    if group.only_on_mismatch && group.has(&stat) {
        return;
    }
    let complete = walk(walked, |entry| {
        if entry.name != c"."
            && !group.has(&entry.stat)
            && let Err(error) = group.take(entry.parent, entry.name)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn(&format_args!("{} in {shown}", entry.name.to_string_lossy()), &error);
        }
        Ok(())
    });
    match complete {
        Ok(true) => {}
        Ok(false) => warn(&shown, &io::Error::other("what is nested too deep is left as it is")),
        Err(error) => warn(&shown, &error),
    }
    if let Err(error) = group.take(own.as_fd(), c".") {
        warn(&shown, &error);
    }
    if failures > NAMED {
        warnings.push(format!(
            "fsGroup {} could not be set on {} more files",
            group.id,
            failures.saturating_sub(NAMED)
        ));
    }
}

impl Group {
    fn bits(self, kind: FileType) -> u32 {
        let bits = match self.access {
            Access::ReadOnly => 0o440,
            Access::ReadWrite => 0o660,
        };
        match kind {
            FileType::Symlink => 0,
            FileType::Directory => bits | 0o2110,
            _ => bits,
        }
    }

    fn has(self, stat: &Stat) -> bool {
        let bits = self.bits(FileType::from_raw_mode(stat.st_mode));
        stat.st_gid == self.id && stat.st_mode & bits == bits
    }

    /// By a descriptor of its own: what it names cannot be swapped between two calls.
    fn take(self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let bits = self.bits(FileType::from_raw_mode(stat.st_mode));
        rustix::fs::chownat(&file, c"", None, Some(Gid::from_raw(self.id)), AtFlags::EMPTY_PATH)?;
        if bits != 0 {
            let mode = Mode::from_raw_mode((stat.st_mode | bits) & 0o7777);
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())?;
        }
        Ok(())
    }
}
