//! [`Link`]: what init is told. A role that nobody started as init does, in a test or by hand, tells nobody.

use std::os::fd::OwnedFd;

use crate::sys::{clock, inherited, socket};
use crate::wire::{
    VERSION,
    boot::{CHANNEL, Report, Service},
};

/// Boot's end of the socket pair.
#[derive(Debug)]
pub(super) struct Link(Option<OwnedFd>);

impl Link {
    /// To be called before anything else is opened.
    pub(super) fn open() -> Self {
        let link = Self(inherited::take(CHANNEL).ok());
        link.tell(Report::Hello { version: VERSION });
        link
    }

    /// What runs now may take so many milliseconds from now on.
    pub(super) fn deadline_in(&self, ms: u64) {
        self.tell(Report::Deadline { boottime_ms: clock::boottime_ms().saturating_add(ms) });
    }

    /// Seconds; 0 where nothing is known.
    pub(super) fn watchdog(&self, timeout_s: u64, max_s: u64) {
        let short = |seconds| u16::try_from(seconds).unwrap_or(u16::MAX);
        self.tell(Report::Watchdog { timeout_s: short(timeout_s), max_s: short(max_s) });
    }

    pub(super) fn shutdown_bound(&self, seconds: u64) {
        self.tell(Report::ShutdownBound { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) });
    }

    pub(super) fn service(&self, kind: Service) {
        self.tell(Report::Service { kind });
    }

    pub(super) fn ready(&self) {
        self.tell(Report::Ready);
    }

    /// Init has its own bounds, so a record it does not get is no reason to stop.
    fn tell(&self, report: Report) {
        if let Some(socket) = &self.0 {
            let _ = socket::send(socket, &report.to_bytes(), None);
        }
    }
}
