//! User namespaces with a mapping of ids, and mounts seen through one: [`IdRange`], [`mount`].
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use rustix::thread::{Gid, Uid};

use crate::json::{Deserialize, Serialize};

/// Host ids that stand for the ids from 0 on inside a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The host id that is 0 inside.
    pub start: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// Gives the user namespace that a process has just made this range, of users and groups.
    pub fn apply(self, pid: u32) -> io::Result<()> {
        let line = format!("0 {} {}\n", self.start, self.size);
        ["uid_map", "gid_map"].into_iter().try_for_each(|name| std::fs::write(format!("/proc/{pid}/{name}"), &line))
    }
}

/// Makes the calling thread the root of the user namespace it has entered.
pub fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?)
}

/// What of a mount tree is made read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    /// Nothing more than is.
    No,
    /// The mount itself.
    Top,
    /// All that is mounted below it, too.
    All,
}

/// A copy of the mount tree at `source`, all that is mounted below it included where `recursive`, mounted at `target`. On it files
/// have owners as the user namespace sees them, where one is given.
///
/// # Errors
/// `EINVAL` where a file system among them cannot do that, `ENOSYS` before Linux 5.12.
pub fn mount(
    source: &Path,
    target: &Path,
    namespace: Option<&File>,
    recursive: bool,
    read_only: ReadOnly,
) -> io::Result<()> {
    let tree = clone(source, recursive)?;
    if let Some(namespace) = namespace {
        let users = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
        set_attributes(&tree, recursive, libc::MOUNT_ATTR_IDMAP, users)?;
    }
    if read_only != ReadOnly::No {
        set_attributes(&tree, recursive && read_only == ReadOnly::All, libc::MOUNT_ATTR_RDONLY, 0)?;
    }
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree.as_fd(), "", rustix::fs::CWD, target, empty)?)
}

fn set_attributes(tree: &OwnedFd, recursive: bool, set: u64, users: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: users };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the structure and its size match; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn clone(source: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    Ok(rustix::mount::open_tree(rustix::fs::CWD, source, flags)?)
}
