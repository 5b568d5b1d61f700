//! [`open`]: standard input, output and error of PID 1.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// `/dev/console` becomes descriptors 0 to 2, or `/dev/null` where there is no console. A console that nobody reads must stop
/// nobody, so it is open without blocking: what does not fit is lost.
pub(super) fn open() {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty());
    if let Ok(opened) = console.or_else(|_| rustix::fs::open("/dev/null", flags, Mode::empty())) {
        place(&opened);
    }
    // Else whatever the kernel gave us, or the language's own /dev/null, stays.
}

fn place(opened: &OwnedFd) {
    let _ = rustix::stdio::dup2_stdin(opened);
    let _ = rustix::stdio::dup2_stdout(opened);
    let _ = rustix::stdio::dup2_stderr(opened);
}
