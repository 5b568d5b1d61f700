//! [`PATH`]: what gatepost itself says on a gateway, kept in memory within a bound: [`open`], [`append`], [`Tail`].
//!
//! Whoever has a line appends it with one write(2), so that lines of several processes do not mix; whoever finds the file larger
//! than its bound leaves the newest half of it. No process stays for it, and none waits. The file is used only where
//! it lies on a tmpfs: those who write to it must not wait for a disk.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, fstatfs, inotify, openat};
use rustix::io::{Errno, Result};

/// The file; PID 1 makes it.
pub const PATH: &str = "/var/log/gatepost/host.log";
const DIRECTORY: &str = "/var/log/gatepost";
/// Bytes it may have.
const MOST: u64 = 256 << 10;
/// Bytes that [`Tail::news`] takes at a time.
const NEWS: u64 = 64 << 10;
/// `TMPFS_MAGIC` of linux/magic.h.
const TMPFS: u32 = 0x0102_1994;

/// Opens it for appending; it and its directory are made where they are missing, but not the directory's parent.
///
/// # Errors
/// `EXDEV`: it would lie on a disk.
pub fn open() -> Result<OwnedFd> {
    match rustix::fs::mkdir(DIRECTORY, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let directory = openat(CWD, DIRECTORY, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    // The field is a signed word, of 32 or 64 bits as the architecture has it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let in_memory = fstatfs(&directory)?.f_type as u32 == TMPFS;
    if !in_memory {
        return Err(Errno::XDEV);
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    openat(directory, "host.log", flags, Mode::from_raw_mode(0o640))
}

/// Whether what is written there is read beside the lines of a gateway's PID 1: the host log, or where it could not be made,
/// `/dev/console` (character device 5:1).
pub fn is_read_with_inits_lines(descriptor: impl AsFd) -> bool {
    let Ok(here) = fstat(descriptor) else { return false };
    let device = (rustix::fs::major(here.st_rdev), rustix::fs::minor(here.st_rdev));
    let there = rustix::fs::stat(PATH);
    device == (5, 1) || there.is_ok_and(|there| (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
}

/// Appends a whole line, unless the log is far beyond its bound: then nobody is left who keeps it. For PID 1: nothing is allocated.
pub fn append(log: BorrowedFd<'_>, line: &[u8]) {
    if fstat(log).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size < 2 * MOST)) {
        let _ = rustix::io::write(log, line);
    }
}

/// Keeps the log within its bound: of one that is larger the newest half stays. For everyone but PID 1, after a line.
pub fn keep_bounded() {
    // A confined helper may not see it; there are others.
    let _ = shorten(Path::new(PATH), MOST);
}

fn shorten(path: &Path, most: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() <= most {
        return Ok(());
    }
    let mut file = File::options().read(true).append(true).open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let size = file.metadata()?.len();
    if size <= most {
        return Ok(());
    }
    let mut newest = Vec::new();
    file.seek(SeekFrom::Start(size.saturating_sub(most / 2)))?;
    file.read_to_end(&mut newest)?;
    let whole = newest.iter().position(|byte| *byte == b'\n').and_then(|end| newest.get(end.saturating_add(1)..));
    file.set_len(0)?;
    file.write_all(whole.unwrap_or_default())
}

/// What others append, as it comes.
#[derive(Debug)]
pub struct Tail {
    file: File,
    changes: OwnedFd,
    at: u64,
}

impl Tail {
    /// Begins at the end of what is there now.
    ///
    /// # Errors
    /// `NotFound` where there is no host log.
    pub fn new() -> io::Result<Self> {
        Self::of(Path::new(PATH))
    }

    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
        let at = file.metadata()?.size();
        Ok(Self { file, changes, at })
    }

    /// Readable when there may be news.
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// The whole lines that came since the last call; when there are very many, the last of them.
    pub fn news(&mut self) -> Vec<String> {
        let mut events = [0; 1024];
        while rustix::io::read(&self.changes, &mut events).is_ok_and(|count| count > 0) {}
        let size = self.file.metadata().map_or(0, |metadata| metadata.size());
        if size < self.at {
            // It was shortened; what is left of it was seen.
            self.at = size;
        }
        self.at = self.at.max(size.saturating_sub(NEWS));
        let text = self.read_from(self.at);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
        self.at = self.at.saturating_add(whole as u64);
        lines(text.get(..whole).unwrap_or_default())
    }

    /// The last lines, seen or not.
    pub fn last(&mut self, count: usize) -> Vec<String> {
        let size = self.file.metadata().map_or(0, |metadata| metadata.size());
        let mut lines = lines(&self.read_from(size.saturating_sub(NEWS)));
        lines.split_off(lines.len().saturating_sub(count))
    }

    fn read_from(&mut self, at: u64) -> Vec<u8> {
        let mut text = Vec::new();
        let _ = self.file.seek(SeekFrom::Start(at)).and_then(|_| (&self.file).take(2 * NEWS).read_to_end(&mut text));
        text
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).lines().map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_log_beyond_its_bound_keeps_the_newest_half_in_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut all = String::new();
        for number in 0..100 {
            all += &format!("line {number}\n");
        }
        fs::write(&path, &all).unwrap();
        shorten(&path, all.len() as u64).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), all);
        shorten(&path, 200).unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.starts_with("line ") && kept.len() <= 100, "{kept}");
        assert!(all.ends_with(&kept) && kept.ends_with("line 99\n"));
    }

    #[test]
    fn a_log_that_another_shortens_is_left_alone_and_one_line_without_end_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "x".repeat(1000)).unwrap();
        let other = File::open(&path).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        shorten(&path, 100).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1000);
        drop(other);
        shorten(&path, 100).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert!(shorten(&directory.path().join("none"), 100).is_err());
    }

    #[test]
    fn a_tail_gives_each_whole_line_once_whatever_becomes_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let mut tail = Tail::of(&path).unwrap();
        let mut log = File::options().append(true).open(&path).unwrap();
        assert!(tail.news().is_empty());
        log.write_all(b"one\ntwo\nhal").unwrap();
        assert_eq!(tail.news(), ["one", "two"]);
        log.write_all(b"f\n").unwrap();
        assert_eq!(tail.news(), ["half"]);
        assert_eq!(tail.last(2), ["two", "half"]);
        shorten(&path, 10).unwrap();
        assert!(tail.news().is_empty());
        log.write_all(b"three\n").unwrap();
        assert_eq!(tail.news(), ["three"]);
        log.write_all("many\n".repeat(100_000).as_bytes()).unwrap();
        assert!((1..=2 * usize::try_from(NEWS).unwrap()).contains(&tail.news().len()));
        assert!(tail.news().is_empty());
    }
}
