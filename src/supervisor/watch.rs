//! [`ManifestWatch`]: notices every change below the manifest directories, also what inotify on a directory cannot see:
//! a mount over it, an unmount (both by `/proc/self/mountinfo`), a swapped link or a directory that comes later (by watching
//! the parents).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Mode, OFlags};

/// Quiet time after the last change before the directories are read, in milliseconds: one edit is many events.
pub(crate) const QUIET_MS: u64 = 500;

/// What watches the manifest directories.
#[derive(Debug)]
pub(crate) struct ManifestWatch {
    directories: Vec<PathBuf>,
    changes: OwnedFd,
    mounts: OwnedFd,
}

impl ManifestWatch {
    /// Watches `directories` and every directory and link on the way to them.
    pub(crate) fn new(directories: &[PathBuf]) -> io::Result<Self> {
        let watch = Self {
            directories: directories.to_vec(),
            changes: inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?,
            mounts: rustix::fs::open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
        };
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

    /// Takes what the descriptors say and watches anew, since a name may now lead elsewhere.
    pub(crate) fn acknowledge(&self) {
        let mut buffer = [0; 8192];
        while rustix::io::read(&self.changes, &mut buffer).is_ok_and(|n| n > 0) {}
        self.renew();
    }

    /// The kernel keeps one watch for one inode, so adding what is watched already changes nothing.
    fn renew(&self) {
        let content = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        // MASK_ADD: a parent may be a manifest directory itself.
        let names =
            WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::MASK_ADD | WatchFlags::ONLYDIR;
        for directory in &self.directories {
            for parent in way_to(directory) {
                let _ = inotify::add_watch(&self.changes, &parent, names);
            }
            let _ = inotify::add_watch(&self.changes, directory, content | WatchFlags::MASK_ADD | WatchFlags::ONLYDIR);
        }
    }
}

/// Every directory whose entries decide where `path` leads: its parents, and those of each link on the way.
/// `/` and `/proc` and the like are cheap to watch and quiet; a busy parent costs only a look.
fn way_to(path: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut next = Some(path.to_owned());
    // As many links as the kernel would follow (path_resolution(7)).
    for _ in 0..40 {
        let Some(current) = next.take() else { break };
        for parent in current.ancestors().skip(1) {
            if !way.contains(&parent.to_owned()) {
                way.push(parent.to_owned());
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

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn changed(watch: &ManifestWatch) -> bool {
        let changes = watch.changes();
        let mut fds = [PollFd::new(&changes, PollFlags::IN)];
        let seen = poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0;
        watch.acknowledge();
        seen
    }

    #[test]
    fn a_written_renamed_or_removed_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let watch = ManifestWatch::new(&[dir.path().to_owned()]).unwrap();
        assert!(!changed(&watch));
        fs::write(dir.path().join(".a"), "x").unwrap();
        assert!(changed(&watch));
        fs::rename(dir.path().join(".a"), dir.path().join("a")).unwrap();
        assert!(changed(&watch));
        fs::remove_file(dir.path().join("a")).unwrap();
        assert!(changed(&watch));
        assert!(!changed(&watch));
    }

    #[test]
    fn a_swapped_link_on_the_way_is_noticed_and_its_new_target_watched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("v1/m")).unwrap();
        fs::create_dir_all(dir.path().join("v2/m")).unwrap();
        symlink("v1", dir.path().join("current")).unwrap();
        let watch = ManifestWatch::new(&[dir.path().join("current/m")]).unwrap();
        symlink("v2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
        assert!(changed(&watch));
        fs::write(dir.path().join("v2/m/pod.yaml"), "").unwrap();
        assert!(changed(&watch));
    }

    #[test]
    fn a_directory_that_comes_later_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let watch = ManifestWatch::new(&[dir.path().join("a/b")]).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        assert!(changed(&watch));
        fs::create_dir(dir.path().join("a/b")).unwrap();
        assert!(changed(&watch));
        fs::write(dir.path().join("a/b/pod.yaml"), "").unwrap();
        assert!(changed(&watch));
    }
}
