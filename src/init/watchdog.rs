//! [`Guard`]: the hardware watchdog in init's hands. When it is fed is in `feeding`.

use std::path::Path;

use super::feeding::{self, Due, Feeding};
use super::say;
use crate::sys::watchdog::Watchdog;

/// The time-out of the last feed where nobody knows the hardware's maximum, in seconds.
const LONG_TIMEOUT_S: u16 = 60;

/// An open watchdog and its feeding.
pub(super) struct Guard {
    pub(super) device: Watchdog,
    pub(super) feeding: Feeding,
    /// The hardware's maximum as the board says, in seconds; 0: not known.
    pub(super) max_s: u16,
}

/// Opens it, which starts it. A machine without one is no error.
pub(super) fn open() -> Option<Watchdog> {
    match Watchdog::open(Path::new("/dev/watchdog")) {
        Ok(device) => Some(device),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => None,
        Err(error) => {
            say(format_args!("the hardware watchdog cannot be used: /dev/watchdog: {error}"));
            None
        }
    }
}

impl Guard {
    /// The watchdog as it was opened: fed, and set to a time-out that any hardware keeps.
    pub(super) fn new(device: Watchdog, now: u64) -> Self {
        let mut guard = Self { device, feeding: Feeding::new(now), max_s: 0 };
        guard.set_one_of(feeding::first_candidates(), now);
        guard
    }

    /// Sets the time-out to the wanted one (0: the default) within the board's maximum (0: not known).
    pub(super) fn set(&mut self, wanted_s: u16, max_s: u16, now: u64) {
        self.max_s = max_s;
        let seconds = self.set_one_of(feeding::candidates(wanted_s, max_s), now);
        say(format_args!("the hardware watchdog resets this board {seconds} s after its last feed"));
    }

    /// The first that the driver takes; if it takes none, its own stays. What it says then counts, within the board's maximum.
    fn set_one_of(&mut self, candidates: [u16; 4], now: u64) -> u16 {
        let taken = candidates.into_iter().find_map(|seconds| self.device.set_timeout(seconds).ok().map(|_| seconds));
        let [wanted, ..] = candidates;
        // Read back: some drivers take what they do not keep. One that cannot tell has what it took, or nobody knows.
        let driver_s = self.device.timeout().ok().or(taken).unwrap_or(wanted);
        let seconds = feeding::effective(driver_s, self.max_s);
        if taken != Some(wanted) || driver_s != wanted {
            say(format_args!("the watchdog's driver made {driver_s} s of {wanted} s; counting with {seconds} s"));
        }
        self.feeding.set_timeout(seconds, now);
        if let Err(error) = self.device.feed() {
            say(format_args!("cannot feed the hardware watchdog: {error}"));
        }
        seconds
    }

    /// Feeds it if that is due. Returns whether the supervisor is to be asked for a sign of life.
    pub(super) fn tend(&mut self, now: u64) -> bool {
        let due = self.feeding.due(now);
        match due {
            Some(Due::Feed | Due::FeedAndAsk) => {
                if let Err(error) = self.device.feed() {
                    say(format_args!("cannot feed the hardware watchdog: {error}"));
                }
            }
            Some(Due::Starve) => {
                say(format_args!("the supervisor does not answer: the hardware watchdog is not fed until it does"));
            }
            None => {}
        }
        due == Some(Due::FeedAndAsk)
    }

    /// The last feed, with the longest time-out: should the machine hang on its way down, it is still reset.
    pub(super) fn feed_for_the_last_time(&self) {
        let longest = if self.max_s == 0 { LONG_TIMEOUT_S } else { self.max_s };
        let _ = self.device.set_timeout(longest);
        let _ = self.device.feed();
    }

    /// Before the power goes: nobody will feed it again, and it shall not start the board again.
    pub(super) fn disarm(self) {
        // A driver that forbids it gets as much time as it takes.
        let _ = self.device.set_timeout(if self.max_s == 0 { LONG_TIMEOUT_S } else { self.max_s });
        let nowayout = std::fs::read("/sys/class/watchdog/watchdog0/nowayout").is_ok_and(|text| text.starts_with(b"1"));
        let result = self.device.disarm();
        if nowayout || result.is_err() {
            say(format_args!("the watchdog's driver cannot be disarmed (nowayout): it may start the board again"));
        }
    }
}
