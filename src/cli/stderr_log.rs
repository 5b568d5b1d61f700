//! Messages of the long-lived roles and helpers: one line each on standard error, where a journal or a file takes them.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct StderrLog;

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
        // One write, so that lines of several processes do not mix. Nobody to tell when it fails.
        let _ = std::io::stderr().write_all(format!("gatepost: {level}{}\n", record.args()).as_bytes());
    }

    fn flush(&self) {}
}

/// Messages go to standard error from now on; those for debugging only with `GATEPOST_DEBUG` set.
pub(super) fn install() {
    if log::set_logger(&StderrLog).is_ok() {
        let debug = std::env::var_os("GATEPOST_DEBUG").is_some();
        log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    }
}
