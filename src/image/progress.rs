//! [`Progress`]: one JSON line per step on a pipe, for the bar of the command that waits.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::json::{self, Deserialize, Serialize};

/// One step, as it goes over the pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Bytes of the archive read so far.
    pub done: u64,
    /// Bytes of the archive.
    pub total: u64,
    /// What is being worked on.
    pub what: String,
}

/// Counts bytes and tells now and then; without a pipe it only counts.
pub(crate) struct Progress {
    out: Option<Mutex<File>>,
    total: AtomicU64,
    done: AtomicU64,
    told: AtomicU64,
}

/// Bytes between two lines.
const STEP: u64 = 1 << 20;

impl Progress {
    pub(crate) fn new(out: Option<File>) -> Self {
        Self { out: out.map(Mutex::new), total: AtomicU64::new(0), done: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// A new archive of this many bytes begins.
    pub(crate) fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64, what: &str) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if done.saturating_sub(self.told.load(Ordering::Relaxed)) >= STEP {
            self.tell(what);
        }
    }

    pub(crate) fn tell(&self, what: &str) {
        let Some(out) = &self.out else { return };
        let done = self.done.load(Ordering::Relaxed);
        self.told.store(done, Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let step = Step { done, total, what: what.to_owned() };
        if let Ok(mut line) = json::to_vec(&step) {
            line.push(b'\n');
            // Nobody listening is no reason to stop.
            let _ = out.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        }
    }
}
