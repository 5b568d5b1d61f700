//! A tree that strangers may change meanwhile, walked by descriptors, so that no link leads out of it: [`walk`].

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// Deepest nesting that is entered: each level holds a descriptor.
const DEEPEST: usize = 400;

/// Something in the tree; the top itself has the name `.`.
pub struct Entry<'a> {
    /// The directory it is in.
    pub parent: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CStr,
    /// What it is, links not followed.
    pub stat: Stat,
}

impl Entry<'_> {
    /// Its kind.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Calls `visit` for `top`, a directory, and everything in it, a directory before what is in it. Other file systems mounted in
/// it are not entered. What `visit` returns as an error ends the walk; what vanishes meanwhile is passed over.
///
/// Returns whether all of it was seen: false when directories are nested too deep.
pub fn walk(top: OwnedFd, mut visit: impl FnMut(&Entry<'_>) -> io::Result<()>) -> io::Result<bool> {
    let stat = rustix::fs::fstat(&top)?;
    let device = stat.st_dev;
    let mut complete = true;
    let mut levels = vec![Dir::new(top)?];
    if let Some(top) = levels.first() {
        visit(&Entry { parent: top.fd()?, name: c".", stat })?;
    }
    while let Some(level) = levels.last_mut() {
        let Some(found) = level.read() else {
            levels.pop();
            continue;
        };
        let found = found?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let parent = level.fd()?;
        let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let entry = Entry { parent, name, stat };
        visit(&entry)?;
        if entry.kind() != FileType::Directory || entry.stat.st_dev != device {
            continue;
        }
        if levels.len() >= DEEPEST {
            complete = false;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(parent) = levels.last() else { break };
        match rustix::fs::openat(parent.fd()?, name, flags, Mode::empty()) {
            Ok(below) => levels.push(Dir::new(below)?),
            // It is gone, or something else by now.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn names(top: &Path) -> (Vec<String>, bool) {
        let top = rustix::fs::open(top, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut names = Vec::new();
        let complete = walk(top, |entry| {
            names.push(entry.name.to_str().unwrap().to_owned());
            Ok(())
        });
        names.sort();
        (names, complete.unwrap())
    }

    #[test]
    fn everything_is_visited_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/file"), "").unwrap();
        symlink("/etc", dir.path().join("a/link")).unwrap();
        assert_eq!(names(dir.path()), ([".", "a", "b", "file", "link"].map(str::to_owned).to_vec(), true));
    }

    #[test]
    fn what_is_nested_too_deep_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf = std::iter::repeat_n("d", 600).collect();
        std::fs::create_dir_all(dir.path().join(deep)).unwrap();
        let (names, complete) = names(dir.path());
        assert!(!complete && names.len() <= DEEPEST + 1);
    }
}
