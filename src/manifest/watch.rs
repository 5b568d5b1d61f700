//! [`watch`]: makes an inotify instance notice every change that decides what the manifest directories hold. The work of the
//! role `read-manifests`, before it reads: looking up a path may wait for a disk, which the supervisor never does.
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

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};

use crate::json::{Deserialize, Serialize};
use crate::sorted::{BTreeMap, BTreeSet};
use rustix::fs::inotify::{self, WatchFlags};

/// As many links as the kernel would follow (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// What is watched now, for the one who reads the inotify instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watches {
    /// The manifest directories and everything on the way to them: a mount over one of these changes what is there.
    pub way: BTreeSet<PathBuf>,
    /// What matters of what each watch tells, by watch descriptor.
    pub interests: BTreeMap<i32, Interest>,
}

/// What matters of what a watch tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    /// All of it.
    Everything,
    /// These names, on which the way waits (bytes that are no UTF-8 replaced), and what happens to the watched directory itself.
    Names(BTreeSet<String>),
}

/// Watches `directories`, which are absolute, and what decides where their paths lead, with the instance `changes`; ends the watches of
/// `former` that are not needed any more.
pub fn watch(changes: BorrowedFd<'_>, directories: &[PathBuf], former: &[i32]) -> Watches {
    let look = || -> Vec<Vec<Step>> { directories.iter().map(|directory| way_to(directory)).collect() };
    let mut ways = look();
    let mut watched = BTreeMap::new();
    // What comes into being between the look and the watch is told by nobody: look again.
    for _ in 0..MOST_LINKS {
        let earlier: Vec<i32> = former.iter().chain(watched.keys()).copied().collect();
        watched = add_all(changes, &ways);
        for gone in earlier.iter().filter(|watch| !watched.contains_key(watch)) {
            let _ = inotify::remove_watch(changes, *gone);
        }
        let now = look();
        if now == ways {
            break;
        }
        ways = now;
    }
    Watches {
        way: ways.into_iter().flatten().map(|step| lossy(&step.path())).collect(),
        interests: watched.into_iter().map(|(watch, watched)| (watch, watched.interest)).collect(),
    }
}

/// One watched file.
struct Watched {
    flags: WatchFlags,
    interest: Interest,
}

fn add_all(changes: BorrowedFd<'_>, ways: &[Vec<Step>]) -> BTreeMap<i32, Watched> {
    let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    let entries = WatchFlags::CREATE | WatchFlags::MOVE;
    let content =
        WatchFlags::CLOSE_WRITE | WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE | entries | itself;
    let mut watched = BTreeMap::new();
    for way in ways {
        for (index, step) in way.iter().enumerate() {
            let last = index.saturating_add(1) == way.len();
            let (path, flags, interest) = match step {
                Step::Directory(path) if last => (path, content, Interest::Everything),
                // Not ATTRIB, which a directory also tells of its entries.
                Step::Directory(path) => (path, itself, Interest::Everything),
                Step::Link(path) => (path, WatchFlags::DONT_FOLLOW | WatchFlags::ATTRIB | itself, Interest::Everything),
                Step::Missing(parent, name) => {
                    let name = name.to_string_lossy().into_owned();
                    (parent, entries, Interest::Names(BTreeSet::from([name])))
                }
            };
            add(changes, &mut watched, path, flags, interest);
        }
    }
    watched
}

/// The kernel keeps one watch for one inode. Its flags are replaced, not added to, lest it tell what mattered once.
fn add(
    changes: BorrowedFd<'_>,
    watched: &mut BTreeMap<i32, Watched>,
    path: &Path,
    flags: WatchFlags,
    interest: Interest,
) {
    // What is not there any more is found out by the next look.
    let Ok(watch) = inotify::add_watch(changes, path, flags) else { return };
    let Some(known) = watched.get_mut(&watch) else {
        watched.insert(watch, Watched { flags, interest });
        return;
    };
    if flags.contains(WatchFlags::CREATE) {
        let both = known.flags.contains(WatchFlags::CREATE);
        match (&mut known.interest, interest) {
            (Interest::Names(names), Interest::Names(more)) => names.extend(more),
            // Of two that watch its entries, one wants to know them all.
            (_, _) if both => known.interest = Interest::Everything,
            (before, now) => *before = now,
        }
    }
    known.flags |= flags;
    let _ = inotify::add_watch(changes, path, known.flags);
}

/// A path that can be written as JSON.
fn lossy(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
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
