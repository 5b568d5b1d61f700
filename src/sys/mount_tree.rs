//! A mount with all below it as a descriptor, attached nowhere yet: [`MountTree`].
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

/// A copy of part of the mount table, which vanishes with its descriptor unless it is attached.
#[derive(Debug)]
pub struct MountTree(OwnedFd);

impl MountTree {
    /// What a bind mount of `source` with all that is mounted below it would show. `source` is a file or directory, `O_PATH` is
    /// enough: since no path is resolved, nobody can swap it any more.
    pub fn of(source: impl AsFd) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self(rustix::mount::open_tree(source, c"", flags)?))
    }

    /// Makes it read-only with all that is mounted below it. `ENOSYS` before Linux 5.12.
    pub fn make_read_only(&self) -> io::Result<()> {
        let attributes =
            libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
        let empty: &CStr = c"";
        // SAFETY: the path is a C string, `attributes` outlives the call, and its size is the one that is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                empty.as_ptr(),
                libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Mounts it on `target`, which is trusted and of the same kind.
    pub fn attach(&self, target: &Path) -> io::Result<()> {
        Ok(rustix::mount::move_mount(&self.0, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}
