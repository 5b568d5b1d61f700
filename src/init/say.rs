//! [`say`]: init's own lines on standard error.

use std::fmt::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes one line of at most 255 bytes. A line that cannot be written at once is lost: PID 1 waits for no reader.
pub(super) fn say(message: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 256], length: 0 };
    // What does not fit is cut.
    let _ = write!(line, "gatepost init: {message}");
    line.end();
    let stderr = rustix::stdio::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    if matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1)) {
        let _ = rustix::io::write(stderr, line.bytes.get(..line.length).unwrap_or_default());
    }
}

struct Line {
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
    fn end(&mut self) {
        if let Some(byte) = self.bytes.get_mut(self.length) {
            *byte = b'\n';
            self.length = self.length.saturating_add(1);
        }
    }
}
