//! [`say`]: init's own lines on standard error, and on a gateway in the host log.

use std::fmt::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use crate::sys::clock::boottime_us;
use crate::sys::host_log;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where PID 1 keeps its lines besides: in memory, where it has no need to wait.
static LOG: OnceLock<OwnedFd> = OnceLock::new();

/// From now on PID 1's lines go to the host log too.
pub(super) fn keep_log() {
    match host_log::open() {
        Ok(log) => drop(LOG.set(log)),
        Err(error) => say(format_args!("what gatepost says is not kept: {}: {error}", host_log::PATH)),
    }
}

/// The host log, for children; `None` where there is none.
pub(super) fn log() -> Option<BorrowedFd<'static>> {
    LOG.get().map(AsFd::as_fd)
}

/// Writes one line of at most 255 bytes. A line that cannot be written at once is lost: PID 1 waits for no reader.
pub(super) fn say(message: fmt::Arguments<'_>) {
    say_within(0, message);
}

/// The same, waiting at most so many seconds for a terminal that others keep busy.
pub(super) fn say_within(seconds: i64, message: fmt::Arguments<'_>) {
    if rustix::process::getpid().is_init() {
        return say_as_within("init", seconds, message);
    }
    let mut line = Line::new();
    // What does not fit is cut.
    let _ = write!(line, "gatepost init: {message}");
    print(&mut line, seconds);
}

/// The same from another role of a gateway, in the form that the kernel's and boot's lines have.
pub(super) fn say_as(role: &str, message: fmt::Arguments<'_>) {
    say_as_within(role, 0, message);
}

fn say_as_within(role: &str, seconds: i64, message: fmt::Arguments<'_>) {
    let mut line = Line::new();
    let now = boottime_us();
    let (whole, micros) = (now / 1_000_000, now % 1_000_000);
    let _ = write!(line, "[{whole:5}.{micros:06}] {role}: {message}");
    print(&mut line, seconds);
    if let Some(log) = log() {
        host_log::append(log, line.end());
    }
}

fn print(line: &mut Line, seconds: i64) {
    let stderr = rustix::stdio::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    if matches!(poll(&mut watched, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })), Ok(1)) {
        let _ = rustix::io::write(stderr, line.end());
    }
}

/// A line in memory of its own: nothing is allocated for it.
pub(super) struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = text.as_bytes();
        for (byte, value) in self.bytes.iter_mut().take(255).skip(self.length).zip(text) {
            *byte = *value;
        }
        self.length = self.length.saturating_add(text.len()).min(255);
        Ok(())
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 256], length: 0 }
    }

    /// The whole line, ended.
    pub(super) fn end(&mut self) -> &[u8] {
        if let Some(byte) = self.bytes.get_mut(self.length) {
            *byte = b'\n';
        }
        self.bytes.get(..=self.length).unwrap_or_default()
    }
}
