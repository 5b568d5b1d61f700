//! [`Epoll`]: waiting for many descriptors at once, each known by a number of the caller's choice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData};
pub use rustix::event::epoll::{Event, EventFlags};
use rustix::fs::Timespec;
use rustix::io::{Errno, Result};

/// An epoll instance, close-on-exec.
///
/// Remove a descriptor before closing it: when its open file is shared with another process, closing does not end the watch.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty instance.
    pub fn new() -> Result<Self> {
        epoll::create(CreateFlags::CLOEXEC).map(Self)
    }

    /// Watches `source` for `flags`; its events carry `token`. Regular files are refused with `EPERM`.
    pub fn add(&self, source: impl AsFd, token: u64, flags: EventFlags) -> Result<()> {
        epoll::add(&self.0, source, EventData::new_u64(token), flags)
    }

    /// Changes what `source` is watched for; also what re-arms an `EventFlags::ONESHOT`.
    pub fn modify(&self, source: impl AsFd, token: u64, flags: EventFlags) -> Result<()> {
        epoll::modify(&self.0, source, EventData::new_u64(token), flags)
    }

    /// Ends the watch.
    pub fn remove(&self, source: impl AsFd) -> Result<()> {
        epoll::delete(&self.0, source)
    }

    /// Waits without bound and returns how many of `events` were filled; 0 after an interruption.
    pub fn wait(&self, events: &mut [Event]) -> Result<usize> {
        self.wait_for(events, None)
    }

    /// As [`Epoll::wait`], but at most for `bound`, a tenth of a millisecond more so that a deadline has passed when the
    /// wait for it ends; zero does not wait at all.
    pub fn wait_for(&self, events: &mut [Event], bound: Option<Duration>) -> Result<usize> {
        let bound =
            bound.map(|bound| if bound.is_zero() { bound } else { bound.saturating_add(Duration::from_micros(100)) });
        let bound = bound.map(|bound| Timespec {
            tv_sec: i64::try_from(bound.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: bound.subsec_nanos().into(),
        });
        match epoll::wait(&self.0, events, bound.as_ref()) {
            Err(Errno::INTR) => Ok(0),
            other => other,
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An event to fill the buffer of [`Epoll::wait`] with.
pub const NO_EVENT: Event = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
