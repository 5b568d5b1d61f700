//! [`say`]: one line on the console and in the host log, in the form that init's lines have.

use std::fmt;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::{clock, host_log};

/// How long a console may take to make room for a line; a line that finds none is lost, since nobody may stop the boot.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The host log. PID 1 has made its place; the initramfs has none.
static LOG: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// Prints `[seconds since the kernel's start] role: text`.
pub(super) fn say(role: &str, text: fmt::Arguments<'_>) {
    let now = clock::boottime_us();
    let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
    let line = format!("[{seconds:5}.{micros:06}] {role}: {text}\n");
    let stderr = rustix::stdio::stderr();
    if matches!(poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&PATIENCE)), Ok(1)) {
        let _ = rustix::io::write(stderr, line.as_bytes());
    }
    if let Some(log) = LOG.get_or_init(|| host_log::open().ok()) {
        host_log::append(log.as_fd(), line.as_bytes());
    }
}
