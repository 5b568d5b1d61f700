//! [`ManifestWatch`]: notices every change below the manifest directories, also what inotify on a directory cannot see:
//! a mount over it, an unmount (both by `/proc/self/mountinfo`), a swapped link or a directory that comes later (by watching
//! the parents). No path is looked up here: the reader of the manifests does that, before it reads ([`crate::manifest::watch`]).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify;
use rustix::fs::{Mode, OFlags};

use crate::manifest::watch::{Interest, Watches};
use crate::sys::mount;

/// Quiet time after the last change before the directories are read, in milliseconds: one edit is many events.
pub(crate) const QUIET_MS: u64 = 500;

/// What watches the manifest directories.
#[derive(Debug)]
pub(crate) struct ManifestWatch {
    changes: OwnedFd,
    mounts: OwnedFd,
    /// What is watched, as the last reader has told.
    watches: Watches,
    /// The mounts on the way to the directories.
    mounted: Vec<u64>,
    /// All mounts when the reader now at work was started.
    before: Vec<(u64, PathBuf)>,
}

impl ManifestWatch {
    /// Watches nothing yet: each reader of the directories does that for it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            changes: inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?,
            mounts: rustix::fs::open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
            watches: Watches::default(),
            mounted: Vec::new(),
            before: Vec::new(),
        })
    }

    /// Readable on a change in a watched directory.
    pub(crate) fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Has a priority event (`EPOLLPRI`) when something was mounted or unmounted (proc_pid_mountinfo(5)).
    pub(crate) fn mounts(&self) -> BorrowedFd<'_> {
        self.mounts.as_fd()
    }

    /// Takes what the changes say; true if any of it matters.
    pub(crate) fn acknowledge(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut matters = false;
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                continue;
            }
            let name = event.file_name().map(|name| name.to_string_lossy());
            matters |= match (self.watches.interests.get(&event.wd()), name) {
                (Some(Interest::Names(names)), Some(name)) => names.contains(&*name),
                // Also an overflow of the queue (watch -1), a directory that went itself, and one whose reader is still at work.
                _ => true,
            };
        }
        matters
    }

    /// Something was mounted or unmounted; true if that is on the way to a manifest directory.
    pub(crate) fn acknowledge_mounts(&mut self) -> bool {
        let on_the_way = self.on_the_way(mounts());
        let matters = on_the_way != self.mounted;
        self.mounted = on_the_way;
        matters
    }

    /// A reader is about to be started, with the descriptor to watch with and the watches there are.
    pub(crate) fn begin(&mut self) -> (BorrowedFd<'_>, Vec<i32>) {
        self.before = mounts();
        (self.changes.as_fd(), self.watches.interests.keys().copied().collect())
    }

    /// The reader has told what it watches; true if something on the way was mounted or unmounted since it was started.
    pub(crate) fn renewed(&mut self, watches: Watches) -> bool {
        self.watches = watches;
        let before = std::mem::take(&mut self.before);
        self.mounted = self.on_the_way(before);
        self.acknowledge_mounts()
    }

    /// Ids of the mounts that lie on the way to a manifest directory, in the order of mounting.
    fn on_the_way(&self, mounts: Vec<(u64, PathBuf)>) -> Vec<u64> {
        mounts.into_iter().filter(|(_, target)| self.watches.way.contains(target)).map(|(id, _)| id).collect()
    }
}

/// Id and target of every mount.
fn mounts() -> Vec<(u64, PathBuf)> {
    mount::mounts().unwrap_or_default().into_iter().map(|mount| (mount.id, mount.target)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::manifest::watch::watch;

    /// A watch over one directory, as the reader of the manifests sets it up.
    struct Over(ManifestWatch, PathBuf);

    impl Over {
        fn new(directory: PathBuf) -> Self {
            let mut over = Self(ManifestWatch::new().unwrap(), directory);
            over.renew();
            over
        }

        fn renew(&mut self) {
            let (changes, former) = self.0.begin();
            let watches = watch(changes, std::slice::from_ref(&self.1), &former);
            assert!(!self.0.renewed(watches));
        }
    }

    fn changed(over: &mut Over) -> bool {
        let changed = over.0.acknowledge();
        if changed {
            over.renew();
        }
        changed
    }

    #[test]
    fn a_written_renamed_or_removed_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut over = Over::new(dir.path().to_owned());
        assert!(!changed(&mut over));
        fs::write(dir.path().join(".a"), "x").unwrap();
        assert!(changed(&mut over));
        fs::rename(dir.path().join(".a"), dir.path().join("a")).unwrap();
        assert!(changed(&mut over));
        fs::remove_file(dir.path().join("a")).unwrap();
        assert!(changed(&mut over));
        assert!(!changed(&mut over));
    }

    #[test]
    fn a_stranger_beside_a_manifest_directory_is_none_of_our_business() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        let mut over = Over::new(dir.path().join("m"));
        fs::write(dir.path().join("stranger"), "").unwrap();
        assert!(!changed(&mut over));
    }

    #[test]
    fn a_swapped_link_on_the_way_is_noticed_and_its_new_target_watched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("v1/m")).unwrap();
        fs::create_dir_all(dir.path().join("v2/m")).unwrap();
        symlink("v1", dir.path().join("current")).unwrap();
        let mut over = Over::new(dir.path().join("current/m"));
        symlink("v2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
        assert!(changed(&mut over));
        fs::write(dir.path().join("v2/m/pod.yaml"), "").unwrap();
        assert!(changed(&mut over));
    }

    #[test]
    fn a_directory_that_comes_later_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut over = Over::new(dir.path().join("a/b"));
        fs::create_dir(dir.path().join("a")).unwrap();
        assert!(changed(&mut over));
        fs::create_dir(dir.path().join("a/b")).unwrap();
        assert!(changed(&mut over));
        fs::write(dir.path().join("a/b/pod.yaml"), "").unwrap();
        assert!(changed(&mut over));
    }
}
