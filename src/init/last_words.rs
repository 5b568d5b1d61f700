//! [`keep`]: a line that has to survive a reset: on the console, into the kernel's log and, where the board has memory for it, into
//! pstore.

use std::fmt::{self, Write};

use rustix::fs::{Mode, OFlags};

use super::say::{Line, say_within};

/// For a serial line that the kernel fills with messages of its own, as it does when a disk fails: these words come but once.
const PATIENCE_SECONDS: i64 = 2;

/// Says one line of at most 255 bytes, and writes it to `/dev/kmsg` and `/dev/pmsg0`. Neither lies on a disk, and neither has to be
/// there. For the kernel it is a matter of debugging: its own console would show the line a second time.
pub(super) fn keep(message: fmt::Arguments<'_>) {
    say_within(PATIENCE_SECONDS, message);
    for (path, prefix) in [("/dev/kmsg", "<7>gatepost "), ("/dev/pmsg0", "gatepost ")] {
        let mut line = Line::new();
        // What does not fit is cut.
        let _ = write!(line, "{prefix}init: {message}");
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
            let _ = rustix::io::write(file, line.end());
        }
    }
}
