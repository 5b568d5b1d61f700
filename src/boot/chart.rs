//! [`Chart`]: when each part of the boot began and ended, for `gatepost boot-chart`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::sys::clock;
use crate::wire::boot::INIT_MS;

/// File below the run directory: one line `start_us<TAB>end_us<TAB>room<TAB>name` a part (CLOCK_BOOTTIME in microseconds).
const FILE: &str = "boot-chart.tsv";

/// The lines so far.
#[derive(Debug)]
pub(super) struct Chart(String);

impl Chart {
    /// What happened before this process: the kernel, and init up to here.
    pub(super) fn begin() -> Self {
        let mut chart = Self(String::new());
        let init_ms: Option<u64> = std::env::var(INIT_MS).ok().and_then(|text| text.parse().ok());
        if let Some(init_us) = init_ms.map(|ms| ms.saturating_mul(1000)) {
            chart.line(0, init_us, "kernel", "kernel");
            chart.line(init_us, clock::boottime_us(), "init", "mounts, watchdog");
        }
        chart
    }

    /// Notes a part that ends now.
    pub(super) fn mark(&mut self, begin_us: u64, room: &str, name: &str) {
        self.line(begin_us, clock::boottime_us(), room, name);
    }

    /// Notes a part that has ended.
    pub(super) fn line(&mut self, begin: u64, end: u64, room: &str, name: &str) {
        let _ = writeln!(self.0, "{begin}\t{end}\t{room}\t{name}");
    }

    /// Appends what was noted to the file. A chart is no reason to complain.
    pub(super) fn write(&self, run: &Path) {
        if let Ok(mut file) = std::fs::File::options().create(true).append(true).open(run.join(FILE)) {
            let _ = file.write_all(self.0.as_bytes());
        }
    }
}
