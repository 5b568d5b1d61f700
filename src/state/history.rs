//! [`History`]: a small file that people change, with its earlier versions beside it, so that the last change can be taken back.
//!
//! The version before a change is on the disk before the change is. A power cut at any instant leaves the old or the new content, and
//! at most one earlier version that equals the present one, which is passed over.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fsync};

use super::StateError;
use crate::sys::replace::replace_durably;

/// Changes that can be taken back.
const KEPT: usize = 10;

/// Who may read the file and its versions: there may be Secrets in it.
const MODE: u32 = 0o600;

/// The file, locked against another change at the same time. A file that is not there is empty.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    name: &'static str,
    /// The directory of the versions; its lock ends with it.
    versions: File,
}

impl History {
    /// Waits until nobody else changes the file. Both directories are made if absent.
    ///
    /// # Errors
    /// [`StateError::Io`]: they cannot be made, opened or locked.
    pub fn lock(directory: &Path, name: &'static str) -> Result<Self, StateError> {
        let path = versions_of(directory, name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let versions = File::open(&path).map_err(failed("open", &path))?;
        flock(&versions, FlockOperation::LockExclusive).map_err(io::Error::from).map_err(failed("lock", &path))?;
        Ok(Self { directory: directory.to_owned(), name, versions })
    }

    /// The present content.
    ///
    /// # Errors
    /// [`StateError::Io`]: it cannot be read.
    pub fn content(&self) -> Result<Vec<u8>, StateError> {
        read(&self.directory.join(self.name))
    }

    /// Changes the content; an empty one removes the file. Nothing is written when nothing changes.
    ///
    /// # Errors
    /// [`StateError::Io`]: the disk refuses; the old content stays.
    pub fn change(&self, content: &[u8]) -> Result<(), StateError> {
        let before = self.content()?;
        if before == content {
            return Ok(());
        }
        let numbers = self.numbers()?;
        let number = numbers.last().map_or(0, |last| last.saturating_add(1));
        let (version, path) = (number.to_string(), self.version(number));
        replace_durably(&self.versions, &version, &before, MODE).map_err(failed("write", &path))?;
        self.put(content)?;
        for number in numbers.iter().rev().skip(KEPT.saturating_sub(1)) {
            self.forget(*number)?;
        }
        Ok(())
    }

    /// What [`Self::take_back`] would make of it; `None` when there is no change to take back.
    ///
    /// # Errors
    /// [`StateError::Io`]: a version cannot be read.
    pub fn earlier(&self) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.last_change()?.map(|(_, content)| content))
    }

    /// Takes the last change back. Whether there was one.
    ///
    /// # Errors
    /// [`StateError::Io`]: the disk refuses; the content stays.
    pub fn take_back(&self) -> Result<bool, StateError> {
        let Some((number, content)) = self.last_change()? else { return Ok(false) };
        self.put(&content)?;
        for later in self.numbers()?.into_iter().filter(|other| *other >= number) {
            self.forget(later)?;
        }
        Ok(true)
    }

    /// The newest version that differs from the present content.
    fn last_change(&self) -> Result<Option<(u64, Vec<u8>)>, StateError> {
        let present = self.content()?;
        for number in self.numbers()?.into_iter().rev() {
            let content = read(&self.version(number))?;
            if content != present {
                return Ok(Some((number, content)));
            }
        }
        Ok(None)
    }

    fn put(&self, content: &[u8]) -> Result<(), StateError> {
        let path = self.directory.join(self.name);
        let directory = File::open(&self.directory).map_err(failed("open", &self.directory))?;
        if content.is_empty() {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            return fsync(&directory).map_err(io::Error::from).map_err(failed("sync", &self.directory));
        }
        replace_durably(&directory, self.name, content, MODE).map_err(failed("write", &path))
    }

    fn forget(&self, number: u64) -> Result<(), StateError> {
        let path = self.version(number);
        fs::remove_file(&path).map_err(failed("remove", &path))
    }

    /// The numbers of the versions, oldest first.
    fn numbers(&self) -> Result<Vec<u64>, StateError> {
        let path = versions_of(&self.directory, self.name);
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(failed("read", &path))?;
        let mut numbers: Vec<u64> =
            entries.iter().filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn version(&self, number: u64) -> PathBuf {
        versions_of(&self.directory, self.name).join(number.to_string())
    }
}

/// Beside the file, so that both are on one file system; hidden, so that nobody takes it for content of the directory.
fn versions_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!(".{name}.versions"))
}

fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(failed("read", path)),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NAME: &str = "applied.yaml";

    fn present(directory: &Path) -> Vec<u8> {
        fs::read(directory.join(NAME)).unwrap_or_default()
    }

    #[test]
    fn changes_are_taken_back_one_by_one_down_to_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::lock(directory.path(), NAME).unwrap();
        for content in ["a", "b", "", "c"] {
            history.change(content.as_bytes()).unwrap();
            assert_eq!(present(directory.path()), content.as_bytes());
        }
        for content in ["", "b", "a", ""] {
            assert_eq!(history.earlier().unwrap().unwrap(), content.as_bytes());
            assert!(history.take_back().unwrap());
            assert_eq!(present(directory.path()), content.as_bytes());
        }
        assert!(!history.take_back().unwrap());
        assert!(!directory.path().join(NAME).exists());
    }

    #[test]
    fn the_last_changes_are_kept_and_what_changes_nothing_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::lock(directory.path(), NAME).unwrap();
        for number in 0..30 {
            for _ in 0..2 {
                history.change(format!("{number}").as_bytes()).unwrap();
            }
        }
        let mut taken = 0;
        while history.take_back().unwrap() {
            taken += 1;
        }
        assert_eq!((taken, present(directory.path())), (KEPT, b"19".to_vec()));
    }

    #[test]
    fn a_power_cut_within_a_change_or_a_rollback_leaves_one_that_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::lock(directory.path(), NAME).unwrap();
        history.change(b"a").unwrap();
        history.change(b"b").unwrap();
        // Before the change itself was written, or after a rollback and before its version was removed.
        fs::write(history.version(7), "b").unwrap();
        assert!(history.take_back().unwrap());
        assert_eq!(present(directory.path()), b"a");
        history.change(b"c").unwrap();
        assert!(history.take_back().unwrap());
        assert_eq!(present(directory.path()), b"a");
    }

    #[test]
    fn only_its_owner_may_read_it_and_its_versions() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("made");
        let history = History::lock(&below, NAME).unwrap();
        history.change(b"a").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&below.join(NAME)), mode(&versions_of(&below, NAME))), (0o600, 0o700));
        assert_eq!(mode(&history.version(0)), 0o600);
    }

    #[test]
    fn a_change_waits_for_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::lock(directory.path(), NAME).unwrap();
        let other = File::open(versions_of(directory.path(), NAME)).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(history);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
