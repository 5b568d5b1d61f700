//! [`ClockChange`]: a descriptor that becomes readable when the wall clock is set (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Seconds since the epoch at which the timer would expire by itself: never in a gateway's life.
const NEVER: i64 = i32::MAX as i64 * 4;

/// A subscription to jumps of the wall clock.
#[derive(Debug)]
pub struct ClockChange(OwnedFd);

impl ClockChange {
    /// Subscribes.
    pub fn watch() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let change = Self(fd);
        change.arm()?;
        Ok(change)
    }

    /// Takes the notice and subscribes to the next one.
    pub fn acknowledge(&mut self) {
        let mut expirations = [0; 8];
        // ECANCELED is the notice itself.
        let _ = rustix::io::read(&self.0, &mut expirations);
        if let Err(error) = self.arm() {
            log::warn!("cannot watch the wall clock any longer: {error}");
        }
    }

    fn arm(&self) -> io::Result<()> {
        let never = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
        Ok(())
    }
}

impl AsFd for ClockChange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
