//! [`keep`]: a line that has to survive a reset: into the kernel's log and, where the board has memory for it, into pstore.

use std::fmt::{self, Write};

use rustix::fs::{Mode, OFlags};

use super::say::Line;

/// Writes one line of at most 255 bytes to `/dev/kmsg` and `/dev/pmsg0`. Neither lies on a disk, and neither has to be there.
pub(super) fn keep(message: fmt::Arguments<'_>) {
    for (path, prefix) in [("/dev/kmsg", "<2>"), ("/dev/pmsg0", "")] {
        let mut line = Line::new();
        // What does not fit is cut.
        let _ = write!(line, "{prefix}gatepost init: {message}");
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
            let _ = rustix::io::write(file, line.end());
        }
    }
}
