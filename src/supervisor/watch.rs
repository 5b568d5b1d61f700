//! [`ManifestWatch`]: notices every change below the manifest directories, also what inotify on a directory cannot see: a mount
//! over it or an unmount (by `/proc/self/mountinfo`), a swapped link, a renamed parent, a directory that comes later.
//!
//! Idle means idle, so what strangers do beside the way to a manifest directory must wake nobody, and inotify cannot be asked
//! for one name only. Hence:
//!
//! | on the way | watched | for |
//! | --- | --- | --- |
//! | the manifest directory | itself | its entries, its removal and renaming |
//! | a directory | itself | its removal and renaming, not its entries |
//! | a symbolic link | the link itself | its replacement (its link count), removal and renaming |
//! | the first name that is missing | the directory it is missing in | new entries; only that name matters |
//!
//! The removal of an empty directory that a process still has open is told by the kernel when that process lets go. Before each
//! reading the way is looked at anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Mode, OFlags};

use crate::sys::mount;

/// Quiet time after the last change before the directories are read, in milliseconds: one edit is many events.
pub(crate) const QUIET_MS: u64 = 500;

/// As many links as the kernel would follow (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// What watches the manifest directories.
#[derive(Debug)]
pub(crate) struct ManifestWatch {
    directories: Vec<PathBuf>,
    changes: OwnedFd,
    mounts: OwnedFd,
    /// The mounts on the way to the directories.
    mounted: Vec<u64>,
    /// What is watched, by watch descriptor.
    watched: BTreeMap<i32, Watched>,
}

/// One watched file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    flags: WatchFlags,
    /// Names that matter where others come and go as well; empty: whatever is told matters.
    names: BTreeSet<OsString>,
}

impl ManifestWatch {
    /// Watches `directories`, which are absolute, and what decides where their paths lead.
    pub(crate) fn new(directories: &[PathBuf]) -> io::Result<Self> {
        let mut watch = Self {
            directories: directories.to_vec(),
            changes: inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?,
            mounts: rustix::fs::open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
            mounted: Vec::new(),
            watched: BTreeMap::new(),
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
            matters |= match (self.watched.get(&event.wd()), name) {
                (Some(watched), Some(name)) => watched.names.is_empty() || watched.names.contains(name),
                // Also an overflow of the queue (watch -1), and what went itself.
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
        let way: BTreeSet<PathBuf> =
            self.directories.iter().flat_map(|directory| way_to(directory)).map(Step::path).collect();
        let mounts = mount::mounts().unwrap_or_default();
        mounts.into_iter().filter(|mount| way.contains(&mount.target)).map(|mount| mount.id).collect()
    }

    /// Watches what now decides where the directories are, and nothing else.
    pub(crate) fn renew(&mut self) {
        let mut way = self.way();
        // What comes into being between the look and the watch is told by nobody: look again.
        for _ in 0..MOST_LINKS {
            self.watch(&way);
            let now = self.way();
            if now == way {
                break;
            }
            way = now;
        }
    }

    fn way(&self) -> Vec<Vec<Step>> {
        self.directories.iter().map(|directory| way_to(directory)).collect()
    }

    fn watch(&mut self, ways: &[Vec<Step>]) {
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let entries = WatchFlags::CREATE | WatchFlags::MOVE;
        let content =
            WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE | entries | itself;
        let mut watched = BTreeMap::new();
        for way in ways {
            for (index, step) in way.iter().enumerate() {
                let last = index.saturating_add(1) == way.len();
                let none = BTreeSet::new();
                match step {
                    Step::Directory(path) if last => self.add(&mut watched, path, content, none),
                    // Not ATTRIB, which a directory also tells of its entries.
                    Step::Directory(path) => self.add(&mut watched, path, itself, none),
                    Step::Link(path) => {
                        let flags = WatchFlags::DONT_FOLLOW | WatchFlags::ATTRIB | itself;
                        self.add(&mut watched, path, flags, none);
                    }
                    Step::Missing(parent, name) => {
                        self.add(&mut watched, parent, entries, BTreeSet::from([name.clone()]));
                    }
                }
            }
        }
        for gone in self.watched.keys().filter(|watch| !watched.contains_key(watch)) {
            let _ = inotify::remove_watch(&self.changes, *gone);
        }
        self.watched = watched;
    }

    /// The kernel keeps one watch for one inode. Its flags are replaced, not added to, lest it tell what mattered once.
    fn add(&self, watched: &mut BTreeMap<i32, Watched>, path: &Path, flags: WatchFlags, names: BTreeSet<OsString>) {
        // What is not there any more is found out by the next look.
        let Ok(watch) = inotify::add_watch(&self.changes, path, flags) else { return };
        let Some(known) = watched.get_mut(&watch) else {
            watched.insert(watch, Watched { flags, names });
            return;
        };
        if known.flags.contains(WatchFlags::CREATE) && flags.contains(WatchFlags::CREATE) {
            // Of one of two that watch its entries every name may matter.
            known.names =
                if known.names.is_empty() || names.is_empty() { BTreeSet::new() } else { &known.names | &names };
        } else if flags.contains(WatchFlags::CREATE) {
            known.names = names;
        }
        known.flags |= flags;
        let _ = inotify::add_watch(&self.changes, path, known.flags);
    }
}

/// One thing that decides where a path leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A directory that is there.
    Directory(PathBuf),
    /// A symbolic link.
    Link(PathBuf),
    /// In this directory this name is missing, or is no directory: the way ends here.
    Missing(PathBuf, OsString),
}

impl Step {
    fn path(self) -> PathBuf {
        match self {
            Self::Directory(path) | Self::Link(path) => path,
            Self::Missing(parent, name) => parent.join(name),
        }
    }
}

/// The way to `path`, name by name, links followed. The last step is the directory itself, if it is there.
fn way_to(path: &Path) -> Vec<Step> {
    let mut way = Vec::new();
    let mut links = 0;
    let mut here = PathBuf::from("/");
    let mut names: VecDeque<OsString> = names_of(path).collect();
    while let Some(name) = names.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let kind = std::fs::symlink_metadata(&next).map(|metadata| metadata.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => {
                way.push(Step::Directory(next.clone()));
                here = next;
            }
            Ok(kind) if kind.is_symlink() && links < MOST_LINKS => {
                links = links.saturating_add(1);
                let target = std::fs::read_link(&next).unwrap_or_default();
                way.push(Step::Link(next));
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                names = names_of(&target).chain(names).collect();
            }
            _ => {
                way.push(Step::Missing(here, name));
                break;
            }
        }
    }
    way
}

fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
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
    fn what_happens_beside_the_way_wakes_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("v1/a/m")).unwrap();
        symlink("v1", dir.path().join("current")).unwrap();
        let watch = ManifestWatch::new(&[dir.path().join("current/a/m")]).unwrap();
        for place in ["", "v1", "v1/a"] {
            let stranger = dir.path().join(place).join("stranger");
            fs::write(&stranger, "").unwrap();
            fs::rename(&stranger, stranger.with_extension("x")).unwrap();
            fs::remove_file(stranger.with_extension("x")).unwrap();
        }
        assert_eq!(rustix::io::ioctl_fionread(watch.changes()).unwrap(), 0);
    }

    #[test]
    fn a_renamed_parent_and_what_takes_its_place_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b/m")).unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("a/b/m")]).unwrap();
        fs::rename(dir.path().join("a"), dir.path().join("old")).unwrap();
        assert!(changed(&mut watch));
        fs::create_dir_all(dir.path().join("new/b/m")).unwrap();
        assert!(!changed(&mut watch));
        fs::rename(dir.path().join("new"), dir.path().join("a")).unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("a/b/m/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("old/b/m/pod.yaml"), "").unwrap();
        assert!(!changed(&mut watch));
    }

    #[test]
    fn a_removed_directory_that_comes_again_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("m")]).unwrap();
        fs::remove_dir(dir.path().join("m")).unwrap();
        assert!(changed(&mut watch));
        fs::create_dir(dir.path().join("m")).unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("m/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
    }

    #[test]
    fn a_link_that_loops_ends_the_way() {
        let dir = tempfile::tempdir().unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let mut watch = ManifestWatch::new(&[dir.path().join("loop/m")]).unwrap();
        fs::remove_file(dir.path().join("loop")).unwrap();
        assert!(changed(&mut watch));
        fs::create_dir_all(dir.path().join("loop/m")).unwrap();
        assert!(changed(&mut watch));
    }

    #[test]
    fn a_directory_that_is_also_the_way_to_another_is_still_watched_for_its_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let directories = [dir.path().join("a/b"), dir.path().join("a"), dir.path().join("a/later")];
        let mut watch = ManifestWatch::new(&directories).unwrap();
        fs::write(dir.path().join("a/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("a/b/pod.yaml"), "").unwrap();
        assert!(changed(&mut watch));
        fs::create_dir(dir.path().join("a/later")).unwrap();
        assert!(changed(&mut watch));
        fs::write(dir.path().join("a/later/pod.yaml"), "").unwrap();
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
