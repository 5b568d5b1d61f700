//! [`Guard`]: the hardware watchdog in init's hands. When it is fed is in `feeding`.

use std::path::Path;

use rustix::io::Result;

use super::feeding::{self, Due, Feeding};
use super::say;
use crate::sys::watchdog::Watchdog;

/// The longest time-out of the last feed, in seconds: a kernel that hangs on its way down is reset after that.
const LAST_TIMEOUT_S: u16 = 120;

/// What a [`Guard`] asks of the hardware; in its tests of no hardware.
pub(super) trait Device {
    fn set_timeout(&self, seconds: u16) -> Result<u16>;
    fn timeout(&self) -> Result<u16>;
    fn feed(&self) -> Result<()>;
    fn disarm(self) -> Result<()>;
}

impl Device for Watchdog {
    fn set_timeout(&self, seconds: u16) -> Result<u16> {
        self.set_timeout(seconds)
    }

    fn timeout(&self) -> Result<u16> {
        self.timeout()
    }

    fn feed(&self) -> Result<()> {
        self.feed()
    }

    fn disarm(self) -> Result<()> {
        self.disarm()
    }
}

/// An open watchdog and its feeding.
pub(super) struct Guard<D = Watchdog> {
    pub(super) device: D,
    pub(super) feeding: Feeding,
    /// The hardware's maximum as the board says, in seconds; 0: not known.
    pub(super) max_s: u16,
    /// The time-out that is wanted, in seconds; 0: nobody has said yet.
    pub(super) wanted_s: u16,
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

impl<D: Device> Guard<D> {
    /// The watchdog as it was opened: fed, and set to a time-out that any hardware keeps.
    pub(super) fn new(device: D, now: u64) -> Self {
        let mut guard = Self { device, feeding: Feeding::new(now), max_s: 0, wanted_s: 0 };
        guard.set_one_of(feeding::first_candidates(), now);
        guard
    }

    /// One that a program before this one has guarded, and set to the wanted time-out (0: not yet).
    pub(super) fn resume(device: D, wanted_s: u16, max_s: u16, now: u64) -> Self {
        let mut guard = Self::new(device, now);
        if wanted_s > 0 {
            guard.set(wanted_s, max_s, now);
        }
        guard
    }

    /// Sets the time-out to the wanted one (0: the default) within the board's maximum (0: not known).
    pub(super) fn set(&mut self, wanted_s: u16, max_s: u16, now: u64) {
        (self.max_s, self.wanted_s) = (max_s, if wanted_s == 0 { feeding::DEFAULT_TIMEOUT_S } else { wanted_s });
        let seconds = self.set_one_of(feeding::candidates(self.wanted_s, max_s), now);
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

    /// The last feed, with a long time-out: should the machine hang on its way down, it is still reset.
    pub(super) fn feed_for_the_last_time(&self) {
        self.lengthen(LAST_TIMEOUT_S);
        let _ = self.device.feed();
    }

    /// Before the power goes: nobody will feed it again, and it shall not start the board again.
    pub(super) fn disarm(self) {
        // A driver that forbids it gets as much time as it takes.
        self.lengthen(u16::MAX);
        if self.device.disarm().is_err() {
            say(format_args!("the watchdog's driver cannot be disarmed (nowayout): it may start the board again"));
        }
    }

    /// Never beyond the hardware's maximum: where that is not known, the time-out stays as it is.
    fn lengthen(&self, most_s: u16) {
        if self.max_s > 0 {
            let _ = self.device.set_timeout(self.max_s.min(most_s));
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use std::cell::RefCell;

    use rustix::io::Errno;

    use super::*;

    /// A driver that takes time-outs up to `most`, reports `told` whatever it took, and remembers what it was asked.
    struct Driver<'a> {
        most: u16,
        told: Option<u16>,
        disarms: Result<()>,
        asked: &'a RefCell<Vec<String>>,
    }

    impl Device for Driver<'_> {
        fn set_timeout(&self, seconds: u16) -> Result<u16> {
            self.asked.borrow_mut().push(format!("{seconds} s"));
            if seconds > self.most { Err(Errno::INVAL) } else { Ok(seconds) }
        }

        fn timeout(&self) -> Result<u16> {
            self.told.ok_or(Errno::OPNOTSUPP)
        }

        fn feed(&self) -> Result<()> {
            self.asked.borrow_mut().push("feed".to_owned());
            Ok(())
        }

        fn disarm(self) -> Result<()> {
            self.asked.borrow_mut().push("disarm".to_owned());
            self.disarms
        }
    }

    #[test]
    fn what_a_driver_makes_of_a_time_out_is_what_it_is_fed_by() {
        for (most, told, wanted, max, asked, every_s) in [
            (3600, None, 30, 60, "30 s, feed", 10),
            (3600, None, 0, 60, "30 s, feed", 10),
            (3600, None, 90, 60, "60 s, feed", 20),
            // Refused.
            (16, None, 30, 0, "30 s, 15 s, feed", 5),
            (1, None, 30, 0, "30 s, 15 s, 7 s, 3 s, feed", 10),
            // Read back: less than it took, and more than the hardware keeps.
            (3600, Some(9), 30, 60, "30 s, feed", 3),
            (3600, Some(300), 30, 12, "12 s, feed", 4),
        ] {
            let log = RefCell::new(Vec::new());
            let driver = Driver { most, told, disarms: Ok(()), asked: &log };
            let mut guard = Guard { device: driver, feeding: Feeding::new(0), max_s: 0, wanted_s: 0 };
            guard.set(wanted, max, 0);
            assert_eq!(log.take().join(", "), asked);
            assert_eq!(guard.feeding.interval_ms(), every_s * 1000, "{asked}");
        }
    }

    #[test]
    fn a_new_program_goes_on_with_the_time_out_that_was_wanted() {
        for (wanted, max, asked) in
            [(0, 0, "10 s, feed"), (45, 60, "10 s, feed, 45 s, feed"), (30, 0, "10 s, feed, 30 s, feed")]
        {
            let log = RefCell::new(Vec::new());
            let guard = Guard::resume(Driver { most: 3600, told: None, disarms: Ok(()), asked: &log }, wanted, max, 0);
            assert_eq!((log.take().join(", ").as_str(), guard.wanted_s), (asked, wanted));
        }
    }

    #[test]
    fn before_a_reboot_it_is_left_armed_with_two_minutes_and_before_a_poweroff_it_is_disarmed() {
        for (max, reboot, poweroff) in [
            (2046, "120 s, feed", "2046 s, disarm"),
            (16, "16 s, feed", "16 s, disarm"),
            // Nobody knows what the hardware keeps.
            (0, "feed", "disarm"),
        ] {
            for disarms in [Ok(()), Err(Errno::BUSY)] {
                let log = RefCell::new(Vec::new());
                let driver = || Driver { most: 3600, told: None, disarms, asked: &log };
                let guard = || Guard { device: driver(), feeding: Feeding::new(0), max_s: max, wanted_s: 30 };
                guard().feed_for_the_last_time();
                assert_eq!(log.take().join(", "), reboot);
                guard().disarm();
                assert_eq!(log.take().join(", "), poweroff);
            }
        }
    }
}
