//! [`replace`], [`replace_durably`] and [`take_durably`]: a small file changes as a whole, for a reader and for a kill at any instant.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fsync, openat, renameat};

/// Replaces `path` by a file of this content and mode (umask applies). For a tmpfs: nothing is synced.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    stage(CWD, path, content, mode, false)
}

/// Changes the content of a file on a tmpfs that is mounted elsewhere, too, so that no other file may take its place. A reader never sees
/// it cut: what is shorter ends in empty lines for a moment.
pub fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut padded = content.to_vec();
    padded.resize(content.len().max(before), b'\n');
    file.write_all(&padded)?;
    file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))
}

/// As [`replace`] for `name` in an open directory on a disk: a power cut at any instant leaves the old or the new content, and
/// when this returns it is the new one.
pub fn replace_durably(directory: impl AsFd, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    stage(directory.as_fd(), Path::new(name), content, mode, true)?;
    Ok(fsync(directory)?)
}

/// Reads `name` in a directory on a disk and removes it; when this returns it is gone from the disk, so that its content counts
/// once, whatever happens then. `None`: there is none.
pub fn take_durably(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = directory.join(name);
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    fs::remove_file(&path)?;
    fsync(File::open(directory)?)?;
    Ok(Some(content))
}

fn stage(directory: BorrowedFd<'_>, path: &Path, content: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut staged = std::ffi::OsString::from(".");
    staged.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    staged.push(".new");
    let staged = path.with_file_name(staged);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, &staged, flags, Mode::from_raw_mode(mode))?);
    file.write_all(content)?;
    if sync {
        file.sync_all()?;
    }
    Ok(renameat(directory, &staged, directory, path)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_new_content_takes_the_name_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        replace(&path, b"a longer text", 0o600).unwrap();
        replace_durably(File::open(directory.path()).unwrap(), "x", b"short", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_taken_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("x"), "content").unwrap();
        assert_eq!(take_durably(directory.path(), "x").unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(take_durably(directory.path(), "x").unwrap(), None);
        assert_eq!(take_durably(&directory.path().join("nowhere"), "x").unwrap(), None);
    }

    #[test]
    fn what_a_killed_predecessor_left_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".x.new"), "half of something long").unwrap();
        replace(&directory.path().join("x"), b"whole", 0o600).unwrap();
        assert_eq!(fs::read(directory.path().join("x")).unwrap(), b"whole");
    }
}
