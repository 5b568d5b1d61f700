//! Messages of the long-lived roles and helpers: one line each on standard error, where a journal, a file, or on a gateway the host
//! log takes them.

use std::io::Write;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::sys::clock::boottime_us;
use crate::sys::host_log;

struct StderrLog;

/// On a gateway the name that begins this process' lines, after the time, as all its lines have it.
static ROOM: OnceLock<&'static str> = OnceLock::new();

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug | Level::Trace => "debug: ",
        };
        let Some(room) = ROOM.get() else {
            // One write, so that lines of several processes do not mix. Nobody to tell when it fails.
            let _ = std::io::stderr().write_all(format!("gatepost: {level}{}\n", record.args()).as_bytes());
            return;
        };
        let room = if record.target() == EVENT { EVENT } else { room };
        let now = boottime_us();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        let line = format!("[{seconds:5}.{micros:06}] {room}: {level}{}\n", record.args());
        host_log::append(std::io::stderr().as_fd(), line.as_bytes());
        host_log::keep_bounded();
    }

    fn flush(&self) {}
}

/// The target of lines about what `get events` tells too.
const EVENT: &str = "event";

/// Messages go to standard error from now on; those for debugging only with `GATEPOST_DEBUG` set.
pub(super) fn install(role: Option<&'static str>) {
    if let Some(role) = role
        && host_log::is_read_with_inits_lines(std::io::stderr())
    {
        let _ = ROOM.set(if role == "supervise" { "supervisor" } else { role });
    }
    if log::set_logger(&StderrLog).is_ok() {
        let debug = std::env::var_os("GATEPOST_DEBUG").is_some();
        log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    }
}
