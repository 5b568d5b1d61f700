//! [`Watchdog`]: the hardware watchdog, by the ioctls of linux/watchdog.h.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// An open watchdog. It runs from the moment it is opened, and closing it does not end that; see [`Self::disarm`].
#[derive(Debug)]
pub struct Watchdog(OwnedFd);

// linux/watchdog.h; _IOC of the generic architectures, which all of ours are.
const GET_SUPPORT: u32 = 0x8028_5700;
const GET_BOOT_STATUS: u32 = 0x8004_5702;
const SET_OPTIONS: u32 = 0x8004_5704;
const KEEP_ALIVE: u32 = 0x8004_5705;
const SET_TIMEOUT: u32 = 0xc004_5706;
const GET_TIMEOUT: u32 = 0x8004_5707;
const DISABLE_CARD: i32 = 1;
const MAGIC_CLOSE: u32 = 0x0100;

/// struct watchdog_info
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

impl Watchdog {
    /// Opens, and by that starts, the watchdog at `path` (`/dev/watchdog`). `EBUSY` when another process has it.
    pub fn open(path: &Path) -> Result<Self> {
        rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }

    /// The watchdog that another program of this process opened.
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Its descriptor, to be handed to another program of this process.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// The driver's name for the device, cut at 32 bytes, and whether it can be disarmed by closing it with a word (nowayout
    /// aside).
    pub fn support(&self) -> Result<([u8; 32], bool)> {
        let mut info = Info::default();
        // SAFETY: WDIOC_GETSUPPORT writes one watchdog_info to where it is told.
        unsafe { self.call(GET_SUPPORT, (&raw mut info).cast())? };
        Ok((info.identity, info.options & MAGIC_CLOSE != 0))
    }

    /// Why the board was last reset, as the hardware remembers: bits `WDIOF_…`; 0 is an ordinary start.
    pub fn boot_status(&self) -> Result<i32> {
        self.integer(GET_BOOT_STATUS, 0)
    }

    /// Sets the time-out in seconds and returns what the driver says it took, which may differ. `EINVAL`: out of its range.
    pub fn set_timeout(&self, seconds: u16) -> Result<u16> {
        self.integer(SET_TIMEOUT, i32::from(seconds)).map(in_seconds)
    }

    /// The time-out in seconds.
    pub fn timeout(&self) -> Result<u16> {
        self.integer(GET_TIMEOUT, 0).map(in_seconds)
    }

    /// Feeds it.
    pub fn feed(&self) -> Result<()> {
        // Drivers without the ioctl take any byte but the `V` that announces a close.
        self.integer(KEEP_ALIVE, 0).map(drop).or_else(|_| rustix::io::write(&self.0, b"\0").map(drop))
    }

    /// Ends it for good, if the driver lets it: a driver with `nowayout` does not, and the board is reset when the time is over.
    pub fn disarm(self) -> Result<()> {
        let word = rustix::io::write(&self.0, b"V").map(drop);
        let option = self.integer(SET_OPTIONS, DISABLE_CARD).map(drop);
        drop(self.0);
        disarmed(word, option)
    }

    fn integer(&self, request: u32, mut value: i32) -> Result<i32> {
        // SAFETY: these ioctls read and write one int.
        unsafe { self.call(request, (&raw mut value).cast())? };
        Ok(value)
    }

    /// # Safety
    /// `argument` must point to what the ioctl reads and writes.
    unsafe fn call(&self, request: u32, argument: *mut libc::c_void) -> Result<()> {
        // The C library's type for the request: signed in musl.
        #[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast, clippy::cast_lossless)]
        let request = request as libc::Ioctl;
        // SAFETY: as the caller promises.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) } < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(())
    }
}

impl AsFd for Watchdog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn in_seconds(value: i32) -> u16 {
    u16::try_from(value.max(0)).unwrap_or(u16::MAX)
}

/// A driver with `nowayout` takes the word, means nothing by it, and says so to the option only (`watchdog_stop` of
/// drivers/watchdog/watchdog_dev.c). One that has no such option ends by the word.
fn disarmed(word: Result<()>, option: Result<()>) -> Result<()> {
    if option == Err(Errno::BUSY) { option } else { word.or(option) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_cannot_be_disarmed_is_believed() {
        assert_eq!(disarmed(Ok(()), Err(Errno::BUSY)), Err(Errno::BUSY), "nowayout");
        assert_eq!(disarmed(Ok(()), Ok(())), Ok(()));
        assert_eq!(disarmed(Ok(()), Err(Errno::NOTTY)), Ok(()), "no such option");
        assert_eq!(disarmed(Err(Errno::IO), Err(Errno::OPNOTSUPP)), Err(Errno::OPNOTSUPP));
    }
}
