//! [`watch`]: makes an inotify instance notice every change that decides what the manifest directories hold: in the
//! directories, and in every directory on the way to them. The work of the role `read-manifests`, before it reads: looking up
//! a path may wait for a disk, which the supervisor never does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use serde::{Deserialize, Serialize};

/// What is watched now, for the one who reads the inotify instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watches {
    /// The manifest directories and everything on the way to them: a mount over one of these changes what is there.
    pub way: BTreeSet<PathBuf>,
    /// What matters in each watched directory, by watch descriptor.
    pub interests: BTreeMap<i32, Interest>,
}

/// What matters in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    /// It is a manifest directory.
    Everything,
    /// Manifest directories lie below, or lead through, these names (bytes that are no UTF-8 replaced). A busy `/tmp` around
    /// them is none of our business.
    Names(BTreeSet<String>),
}

/// Watches `directories` and every directory and link on the way to them with the instance `changes`; ends the watches of
/// `former` that are not needed any more.
pub fn watch(changes: BorrowedFd<'_>, directories: &[PathBuf], former: &[i32]) -> Watches {
    // The kernel keeps one watch for one inode, so adding what is watched already changes nothing.
    let content = WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
    // MASK_ADD: a directory on the way may be a manifest directory itself.
    let common = WatchFlags::MASK_ADD | WatchFlags::ONLYDIR;
    let mut watches = Watches::default();
    for directory in directories {
        for (parent, name) in way_to(directory) {
            if let Ok(watch) = inotify::add_watch(changes, &parent, names | common) {
                let interest = watches.interests.entry(watch).or_insert_with(|| Interest::Names(BTreeSet::new()));
                if let Interest::Names(names) = interest {
                    names.insert(name.to_string_lossy().into_owned());
                }
            }
            watches.way.insert(lossy(&parent.join(name)));
        }
        if let Ok(watch) = inotify::add_watch(changes, directory, content | common) {
            watches.interests.insert(watch, Interest::Everything);
        }
    }
    for gone in former.iter().filter(|watch| !watches.interests.contains_key(watch)) {
        let _ = inotify::remove_watch(changes, *gone);
    }
    watches
}

/// A path that can be written as JSON.
fn lossy(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// Every directory whose entries decide where `path` leads, with the entry that does: its parents, and those of each link
/// on the way.
fn way_to(path: &Path) -> BTreeSet<(PathBuf, OsString)> {
    let mut way = BTreeSet::new();
    let mut next = Some(path.to_owned());
    // As many links as the kernel would follow (path_resolution(7)).
    for _ in 0..40 {
        let Some(current) = next.take() else { break };
        for step in current.ancestors() {
            if let (Some(parent), Some(name)) = (step.parent(), step.file_name()) {
                way.insert((parent.to_owned(), name.to_owned()));
            }
        }
        next = current.ancestors().find_map(|a| {
            let target = std::fs::read_link(a).ok()?;
            let rest = current.strip_prefix(a).ok()?;
            Some(a.parent()?.join(target).join(rest))
        });
    }
    way
}
