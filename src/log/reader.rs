//! [`read`]: prints a container's log as `kubectl logs` does, from the files themselves.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Timespec, inotify};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cri::Line;
use super::files::LogName;
use super::protocol::StreamKind;
use super::store::split;
use super::tail;

/// Bytes read at a time; a longer line is no CRI line and is printed in pieces.
const BLOCK: usize = 64 * 1024;

/// What to print.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The live log file of the container's current instance, `<directory>/<restart count>.log`.
    pub path: PathBuf,
    /// Print the instance before it instead.
    pub previous: bool,
    /// Only the last lines, rotated files included.
    pub tail: Option<u64>,
    /// Only lines not older than this.
    pub since: Option<OffsetDateTime>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Go on with what is printed next, until the container has ended.
    pub follow: bool,
}

/// Why a log could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The instance has no log file.
    #[error("no log at {0}: the container has not been started, or its log was removed")]
    NoLog(PathBuf),
    /// There is no instance before the current one, or its log is gone.
    #[error("no log of a previous instance in {0}: the container has not been restarted, or that log was removed")]
    NoPrevious(PathBuf),
    /// The path is not that of a container's log.
    #[error("{0} is not the path of a container log, <n>.log")]
    NotALog(PathBuf),
    /// A log file cannot be read.
    #[error("reading the log {path}: {error}")]
    Read {
        /// The file or its directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The output cannot be written.
    #[error("writing the log out: {0}")]
    Write(io::Error),
}

/// Prints a container's log to `out`.
///
/// With `follow` it goes on until `ended` says that the container has ended (asked at least twice a second) and everything
/// it printed is out. Parts of a line are joined; the content is passed on as it is.
pub fn read(options: &ReadOptions, out: &mut dyn Write, ended: &mut dyn FnMut() -> bool) -> Result<(), ReadError> {
    let (directory, name) = split(&options.path).ok_or_else(|| ReadError::NotALog(options.path.clone()))?;
    let instance = if options.previous { previous(directory, name.instance)? } else { name.instance };
    let series = Series { directory: directory.to_owned(), instance };
    let mut printer = Printer::new(out, options);
    let mut position = series.first(options.tail)?;
    // The watch begins before the first end of file, so that nothing written after it goes unnoticed.
    let watch = if options.follow { Some(series.watch()?) } else { None };
    loop {
        let over = options.follow && ended();
        position.print(&series, &mut printer)?;
        if let Some(next) = series.after(&position)? {
            // What was appended before the file was rotated away.
            position.print(&series, &mut printer)?;
            position = next;
            continue;
        }
        match &watch {
            Some(watch) if !over => {
                printer.flush().map_err(ReadError::Write)?;
                wait(watch).map_err(|error| series.failed(error))?;
            }
            _ => return printer.flush().map_err(ReadError::Write),
        }
    }
}

/// The end of a container's log for its termination message: the last `lines` lines, of these the last `bytes` bytes.
///
/// kubelet's `FallbackToLogsOnError`: 80 lines, 2048 bytes. `path` is the live log file.
pub fn tail_bytes(path: &Path, lines: u64, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let options = ReadOptions {
        path: path.to_owned(),
        previous: false,
        tail: Some(lines),
        since: None,
        timestamps: false,
        follow: false,
    };
    let mut last = LastBytes { kept: VecDeque::new(), most: bytes };
    read(&options, &mut last, &mut || true)?;
    Ok(last.kept.into())
}

/// Keeps the end of what is written to it.
struct LastBytes {
    kept: VecDeque<u8>,
    most: usize,
}

impl Write for LastBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = bytes.get(bytes.len().saturating_sub(self.most)..).unwrap_or_default();
        let excess = (self.kept.len() + end.len()).saturating_sub(self.most).min(self.kept.len());
        self.kept.drain(..excess);
        self.kept.extend(end);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log files of one container instance.
struct Series {
    directory: PathBuf,
    instance: u32,
}

/// How far one file has been printed.
struct Position {
    file: File,
    inode: u64,
    offset: u64,
}

impl Series {
    fn failed(&self, error: io::Error) -> ReadError {
        ReadError::Read { path: self.directory.clone(), error }
    }

    fn live(&self) -> PathBuf {
        self.directory.join(LogName::live(self.instance).to_string())
    }

    /// Names of this instance's files, oldest first.
    fn names(&self) -> Result<Vec<LogName>, ReadError> {
        let all = names(&self.directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::NoLog(self.live()),
            _ => self.failed(error),
        })?;
        Ok(all.into_iter().filter(|name| name.instance == self.instance).collect())
    }

    fn open(&self, name: LogName) -> io::Result<Option<Position>> {
        match File::open(self.directory.join(name.to_string())) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Position { file, inode, offset: 0 }))
            }
            // Rotated or removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `look` finds with the names of this instance's files, oldest first, while none of them changes: a rotation gives the live
    /// file's name to another one.
    fn at_rest<T>(&self, mut look: impl FnMut(&[LogName]) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut names = self.names()?;
        loop {
            let found = look(&names)?;
            let now = self.names()?;
            if now == names {
                return Ok(found);
            }
            names = now;
        }
    }

    /// Where printing begins.
    fn first(&self, lines: Option<u64>) -> Result<Position, ReadError> {
        let positions = self.at_rest(|names| {
            let opened: io::Result<Vec<_>> = names.iter().filter_map(|name| self.open(*name).transpose()).collect();
            opened.map_err(|error| self.failed(error))
        })?;
        let (index, offset) = match lines {
            None => (0, 0),
            Some(lines) => {
                let files: Result<Vec<_>, _> = positions.iter().map(|position| position.file.try_clone()).collect();
                files.and_then(|files| tail::start(&files, lines)).map_err(|error| self.failed(error))?
            }
        };
        let position = positions.into_iter().nth(index).ok_or_else(|| ReadError::NoLog(self.live()))?;
        Ok(Position { offset, ..position })
    }

    /// The file that follows the one at `position`, whatever that is called by now.
    fn after(&self, position: &Position) -> Result<Option<Position>, ReadError> {
        self.at_rest(|names| {
            let mut oldest = None;
            for name in names.iter().rev() {
                let Some(other) = self.open(*name).map_err(|error| self.failed(error))? else { continue };
                if other.inode == position.inode {
                    return Ok(oldest);
                }
                oldest = Some(other);
            }
            // Removed meanwhile: everything that is there is newer.
            Ok(oldest)
        })
    }

    fn watch(&self) -> Result<OwnedFd, ReadError> {
        let start = || {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
            inotify::add_watch(&watch, &self.directory, flags)?;
            Ok::<_, rustix::io::Errno>(watch)
        };
        start().map_err(|error| self.failed(error.into()))
    }
}

impl Position {
    /// Prints the whole lines from here on. A line without its end is left: it is being written.
    fn print(&mut self, series: &Series, printer: &mut Printer) -> Result<(), ReadError> {
        let mut block = vec![0; BLOCK];
        loop {
            let got = self.file.read_at(&mut block, self.offset).map_err(|error| series.failed(error))?;
            if got == 0 {
                // A writer that was killed takes back what it appended last, and writes the same again.
                let size = self.file.metadata().map_err(|error| series.failed(error))?.len();
                self.offset = self.offset.min(size);
                return Ok(());
            }
            let data = block.get(..got).unwrap_or_default();
            let whole = match data.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if got == BLOCK => got,
                None => return Ok(()),
            };
            let lines = data.get(..whole).unwrap_or_default();
            for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
                printer.line(line).map_err(ReadError::Write)?;
            }
            self.offset = self.offset.saturating_add(whole as u64);
        }
    }
}

/// Joins the parts of lines and writes them out.
struct Printer<'a> {
    out: &'a mut dyn Write,
    timestamps: bool,
    since: Option<OffsetDateTime>,
    /// Unfinished lines of standard output and standard error.
    parts: [Vec<u8>; 2],
    /// The stream whose unfinished line is out already.
    unfinished: Option<StreamKind>,
}

impl<'a> Printer<'a> {
    fn new(out: &'a mut dyn Write, options: &ReadOptions) -> Self {
        let (timestamps, since) = (options.timestamps, options.since);
        Self { out, timestamps, since, parts: [Vec::new(), Vec::new()], unfinished: None }
    }

    fn line(&mut self, raw: &[u8]) -> io::Result<()> {
        let Some(line) = Line::parse(raw) else {
            // Not ours: somebody wrote into the file. Show it as it is.
            self.break_line(None)?;
            self.out.write_all(raw)?;
            return self.out.write_all(b"\n");
        };
        if let Some(since) = self.since
            && OffsetDateTime::parse(line.time, &Rfc3339).is_ok_and(|time| time < since)
        {
            return Ok(());
        }
        let fresh = self.unfinished != Some(line.stream);
        let parts = self.part(line.stream);
        let begins = parts.is_empty() && fresh;
        if begins && self.timestamps {
            let time = line.time.to_owned();
            let parts = self.part(line.stream);
            parts.extend_from_slice(time.as_bytes());
            parts.push(b' ');
        }
        let parts = self.part(line.stream);
        parts.extend_from_slice(line.content);
        if !line.partial {
            parts.push(b'\n');
            self.emit(line.stream, true)
        } else if parts.len() > BLOCK {
            self.emit(line.stream, false)
        } else {
            Ok(())
        }
    }

    fn part(&mut self, stream: StreamKind) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.parts;
        if stream == StreamKind::Stdout { stdout } else { stderr }
    }

    fn emit(&mut self, stream: StreamKind, whole: bool) -> io::Result<()> {
        self.break_line(Some(stream))?;
        let bytes = std::mem::take(self.part(stream));
        self.out.write_all(&bytes)?;
        self.unfinished = if whole { None } else { Some(stream) };
        Ok(())
    }

    /// Ends another stream's unfinished line before `stream` writes.
    fn break_line(&mut self, stream: Option<StreamKind>) -> io::Result<()> {
        if self.unfinished.is_some() && self.unfinished != stream {
            self.unfinished = None;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes out what is unfinished, too: a prompt, or the end of a log.
    fn flush(&mut self) -> io::Result<()> {
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            if !self.part(stream).is_empty() {
                self.emit(stream, false)?;
            }
        }
        self.out.flush()
    }
}

/// The newest instance before `instance`.
fn previous(directory: &Path, instance: u32) -> Result<u32, ReadError> {
    let none = || ReadError::NoPrevious(directory.to_owned());
    let names = names(directory).map_err(|_| none())?;
    names.into_iter().map(|name| name.instance).filter(|other| *other < instance).max().ok_or_else(none)
}

fn names(directory: &Path) -> io::Result<Vec<LogName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(LogName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// Waits until something happens in the watched directory, at most half a second.
fn wait(watch: &OwnedFd) -> io::Result<()> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    match rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut events = [0_u8; 4096];
    while rustix::io::read(watch, &mut events).is_ok_and(|got| got > 0) {}
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use super::*;

    /// Rotates the live file, as the log writer does.
    fn rotate(directory: &Path, second: u32) {
        let live = directory.join("0.log");
        fs::rename(&live, directory.join(format!("0.log.20260102-1200{second:02}"))).unwrap();
        fs::write(live, format!("file {second}")).unwrap();
    }

    #[test]
    fn files_that_are_rotated_while_they_are_looked_at_are_looked_at_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("0.log"), "the first").unwrap();
        rotate(directory.path(), 1);
        let series = Series { directory: directory.path().to_owned(), instance: 0 };
        let position = series.open(LogName::live(0)).unwrap().unwrap();
        let mut looks = 0;
        let found = series.at_rest(|names| {
            looks += 1;
            if looks < 3 {
                rotate(directory.path(), 1 + looks);
            }
            let names = names
                .iter()
                .rev()
                .take_while(|name| series.open(**name).unwrap().is_none_or(|other| other.inode != position.inode));
            Ok(names.count())
        });
        // Looked at once only, the live file's name would not have led to it, and all older files would have seemed newer.
        assert_eq!((found.unwrap(), looks), (2, 3));
        let next = series.after(&position).unwrap().unwrap();
        assert_eq!(next.file.metadata().unwrap().len(), "file 2".len() as u64);
        let mut content = [0; 6];
        next.file.read_at(&mut content, 0).unwrap();
        assert_eq!(&content, b"file 2");
    }
}
