//! [`ManifestWatch`]: notices every change below the manifest directories, also what inotify on a directory cannot see:
//! a mount over it, an unmount (both by `/proc/self/mountinfo`), a swapped link or a directory that comes later (by watching
//! the parents).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Mode, OFlags};

use crate::sys::mount;

/// Quiet time after the last change before the directories are read, in milliseconds: one edit is many events.
pub(crate) const QUIET_MS: u64 = 500;

/// What watches the manifest directories.
#[derive(Debug)]
pub(crate) struct ManifestWatch {
    directories: Vec<PathBuf>,
    changes: OwnedFd,
    mounts: OwnedFd,
    /// The mounts on the way to the directories.
    mounted: Vec<u64>,
    /// What matters in each watched directory, by watch descriptor.
    interests: BTreeMap<i32, Interest>,
}

/// What matters in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Interest {
    /// It is a manifest directory.
    Everything,
    /// Manifest directories lie below, or lead through, these names. A busy `/tmp` around them is none of our business.
    Names(BTreeSet<OsString>),
}

impl ManifestWatch {
    /// Watches `directories` and every directory and link on the way to them.
    pub(crate) fn new(directories: &[PathBuf]) -> io::Result<Self> {
        let mut watch = Self {
            directories: directories.to_vec(),
            changes: inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?,
            mounts: rustix::fs::open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
            mounted: Vec::new(),
            interests: BTreeMap::new(),
        };
        watch.mounted = watch.mounts_on_the_way();
        watch.renew();
        Ok(watch)
    }

    /// Readable on a change in a watched directory.
    pub(crate) fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Has a priority event (`EPOLLPRI`) when something was mounted or unmounted (proc_pid_mountinfo(5)).
    pub(crate) fn mounts(&self) -> BorrowedFd<'_> {
        self.mounts.as_fd()
    }

    /// Takes what the changes say; true if any of it matters. Then everything is watched anew, since a name may now lead
    /// elsewhere.
    pub(crate) fn acknowledge(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut matters = false;
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            matters |= match (self.interests.get(&event.wd()), name) {
                (Some(Interest::Names(names)), Some(name)) => names.contains(name),
                // Also an overflow of the queue (watch -1), and a directory that went itself.
                _ => true,
            };
        }
        if matters {
            self.renew();
        }
        matters
    }

    /// Something was mounted or unmounted; true if that is on the way to a manifest directory.
    pub(crate) fn acknowledge_mounts(&mut self) -> bool {
        let on_the_way = self.mounts_on_the_way();
        let matters = on_the_way != self.mounted;
        if matters {
            self.mounted = on_the_way;
            self.renew();
        }
        matters
    }

    /// Ids of the mounts that lie on the way to a manifest directory, in the order of mounting.
    fn mounts_on_the_way(&self) -> Vec<u64> {
        let way: BTreeSet<PathBuf> = self
            .directories
            .iter()
            .flat_map(|directory| way_to(directory).into_iter().map(|(parent, name)| parent.join(name)))
            .collect();
        let mounts = mount::mounts().unwrap_or_default();
        mounts.into_iter().filter(|mount| way.contains(&mount.target)).map(|mount| mount.id).collect()
    }

    fn renew(&mut self) {
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
        let mut interests = BTreeMap::new();
        for directory in &self.directories {
            for (parent, name) in way_to(directory) {
                if let Ok(watch) = inotify::add_watch(&self.changes, &parent, names | common) {
                    let interest = interests.entry(watch).or_insert_with(|| Interest::Names(BTreeSet::new()));
                    if let Interest::Names(names) = interest {
                        names.insert(name);
                    }
                }
            }
            if let Ok(watch) = inotify::add_watch(&self.changes, directory, content | common) {
                interests.insert(watch, Interest::Everything);
            }
        }
        for gone in self.interests.keys().filter(|watch| !interests.contains_key(watch)) {
            let _ = inotify::remove_watch(&self.changes, *gone);
        }
        self.interests = interests;
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn changed(watch: &mut ManifestWatch) -> bool {
        watch.acknowledge()
    }

    #[test]
    fn a_written_renamed_or_removed_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().to_owned()]).unwrap();
        assert!(!changed(&mut watch));
        fs::write(dir.path().join(".a"), "x").unwrap();
        assert!(changed(&mut watch));
        fs::rename(dir.path().join(".a"), dir.path().join("a")).unwrap();
        assert!(changed(&mut watch));
        fs::remove_file(dir.path().join("a")).unwrap();
        assert!(changed(&mut watch));
        assert!(!changed(&mut watch));
    }

    #[test]
    fn a_stranger_beside_a_manifest_directory_is_none_of_our_business() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("m")]).unwrap();
        fs::write(dir.path().join("stranger"), "").unwrap();
        assert!(!changed(&mut watch));
    }

    #[test]
    fn a_swapped_link_on_the_way_is_noticed_and_its_new_target_watched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("v1/m")).unwrap();
        fs::create_dir_all(dir.path().join("v2/m")).unwrap();
        symlink("v1", dir.path().join("current")).unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("current/m")]).unwrap();
        symlink("v2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("v2/m/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
    }

    #[test]
    fn a_directory_that_comes_later_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("a/b")]).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        assert!(changed(&mut watch));
        fs::create_dir(dir.path().join("a/b")).unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("a/b/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
    }
}
