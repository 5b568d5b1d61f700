//! Names below a directory that strangers may write to, resolved so that no link, however it is swapped, leads out of it:
//! [`open`], [`make_directories`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// openat2(2): a name that is raced for is to be tried again. Whoever loses this often is being kept from it.
const TRIES: u32 = 128;

/// Opens a directory whose path is trusted, to resolve names below it.
pub fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens what `path` names below `root`. Links are followed as long as they stay below it; `EXDEV` when one does not.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root.as_fd(), path, flags, ResolveFlags::empty())
}

fn open_with(root: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = TRIES;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries > 0 => tries = tries.saturating_sub(1),
            other => return Ok(other?),
        }
    }
}

/// Opens (`O_PATH`) what `path` names below `root`, and makes directories of what is missing on the way: with exactly this
/// mode, whatever the umask.
pub fn make_directories(root: impl AsFd, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    match open_with(root, path, OFlags::PATH, ResolveFlags::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let mut prefix = PathBuf::new();
    let mut parent = open_with(root, Path::new("."), OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())?;
    for component in path.components() {
        let Component::Normal(name) = component else { return Err(io::ErrorKind::InvalidInput.into()) };
        prefix.push(name);
        // A link that is there already may stand for a directory.
        parent = match open_with(root, &prefix, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_one(parent.as_fd(), Path::new(name), mode)?,
            other => other?,
        };
    }
    Ok(parent)
}

fn make_one(parent: BorrowedFd<'_>, name: &Path, mode: Mode) -> io::Result<OwnedFd> {
    let made = rustix::fs::mkdirat(parent, name, Mode::RWXU);
    if made != Err(Errno::EXIST) {
        made?;
    }
    // Whatever somebody put in its place meanwhile, it is no link.
    let opened = open_with(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)?;
    if made.is_ok() {
        rustix::fs::fchmod(&opened, mode)?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn missing_directories_are_made_with_the_mode_and_existing_ones_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let top = root(dir.path()).unwrap();
        make_directories(&top, Path::new("a/b"), Mode::from_raw_mode(0o2770)).unwrap();
        for made in ["a", "a/b"] {
            assert_eq!(dir.path().join(made).metadata().unwrap().permissions().mode() & 0o7777, 0o2770);
        }
        make_directories(&top, Path::new("a/b/c"), Mode::from_raw_mode(0o700)).unwrap();
        assert_eq!(dir.path().join("a").metadata().unwrap().permissions().mode() & 0o7777, 0o2770);
        std::fs::write(dir.path().join("a/file"), "").unwrap();
        make_directories(&top, Path::new("a/file"), Mode::RWXU).unwrap();
        assert!(make_directories(&top, Path::new("a/file/x"), Mode::RWXU).is_err());
    }

    #[test]
    fn links_are_followed_inside_and_never_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        std::fs::create_dir_all(inside.join("real")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink("real", inside.join("link")).unwrap();
        symlink("../outside", inside.join("up")).unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../nowhere", inside.join("dangling")).unwrap();
        let top = root(&inside).unwrap();
        make_directories(&top, Path::new("link/made"), Mode::RWXU).unwrap();
        assert!(inside.join("real/made").is_dir());
        for path in ["up", "up/x", "absolute", "absolute/x", "dangling", "dangling/x", "..", "../outside", "/etc"] {
            assert!(make_directories(&top, Path::new(path), Mode::RWXU).is_err(), "{path}");
            assert!(open(&top, Path::new(path), OFlags::PATH).is_err(), "{path}");
        }
        assert_eq!((names(&outside), names(dir.path())), (0, 2));
    }
    #[test]
    fn a_name_that_is_swapped_all_the_time_never_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        std::fs::create_dir_all(inside.join("a")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopped, a, b, target) = (stop.clone(), inside.join("a"), inside.join("b"), outside.clone());
        let swapper = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::fs::rename(&a, &b);
                let _ = symlink(&target, &a);
                let _ = std::fs::remove_file(&a);
                let _ = std::fs::rename(&b, &a);
            }
        });
        let top = root(&inside).unwrap();
        let forbidden = std::os::unix::fs::MetadataExt::ino(&outside.metadata().unwrap());
        for number in 0..5000 {
            let path = format!("a/{number}");
            for opened in
                [make_directories(&top, Path::new(&path), Mode::RWXU), open(&top, Path::new("a"), OFlags::PATH)]
            {
                let found = opened.ok().map(|fd| rustix::fs::fstat(fd).unwrap().st_ino);
                assert_ne!(found, Some(forbidden));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap();
        assert_eq!(names(&outside), 0);
    }
}
