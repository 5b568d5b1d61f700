//! The clocks: [`boottime_ms`] for every duration, [`wall_ms`] only to be printed, [`BootTimer`] to be woken.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Result;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, clock_settime,
    timerfd_create, timerfd_settime,
};

/// Milliseconds since the kernel started, time spent suspended included (CLOCK_BOOTTIME); never jumps.
pub fn boottime_ms() -> u64 {
    u64::try_from(milliseconds(ClockId::Boottime)).unwrap_or(0)
}

/// Milliseconds since 1970 as this machine believes (CLOCK_REALTIME); may jump either way.
pub fn wall_ms() -> i64 {
    milliseconds(ClockId::Realtime)
}

/// As [`boottime_ms`], in microseconds: for what is drawn or printed, not for rules.
pub fn boottime_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000)).unwrap_or(0)
}

/// Sets the wall clock, in seconds since 1970.
pub fn set_wall(seconds: i64) -> Result<()> {
    clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: 0 })
}

fn milliseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

/// One timer on CLOCK_BOOTTIME that makes its descriptor readable; it fires once for each time it is armed.
#[derive(Debug)]
pub struct BootTimer {
    descriptor: OwnedFd,
    armed: Option<u64>,
}

impl BootTimer {
    /// A disarmed timer, close-on-exec and non-blocking.
    pub fn new() -> Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { descriptor: timerfd_create(TimerfdClockId::Boottime, flags)?, armed: None })
    }

    /// Arms it for `at_ms` (see [`boottime_ms`]; a time already past fires at once) or disarms it with `None`. No system
    /// call is made when nothing changes.
    pub fn set(&mut self, at_ms: Option<u64>) -> Result<()> {
        if self.armed == at_ms {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = match at_ms {
            None => zero,
            Some(at) => {
                // An all-zero value would disarm.
                let at = i64::try_from(at.max(1)).unwrap_or(i64::MAX);
                Timespec { tv_sec: at / 1000, tv_nsec: (at % 1000).saturating_mul(1_000_000) }
            }
        };
        timerfd_settime(
            &self.descriptor,
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec { it_interval: zero, it_value: value },
        )?;
        self.armed = at_ms;
        Ok(())
    }

    /// Takes note that it fired: the descriptor is no longer readable and the timer counts as disarmed.
    pub fn acknowledge(&mut self) {
        let mut count = [0; 8];
        if rustix::io::read(&self.descriptor, &mut count).is_ok() {
            self.armed = None;
        }
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
