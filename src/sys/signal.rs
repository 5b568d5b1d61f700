//! Signals as events: [`SignalFd`] blocks a set of signals and hands them out one by one, so that no handler ever runs.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
pub use rustix::process::Signal;

/// A signalfd, close-on-exec and non-blocking.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in this thread and receives them here instead. Call it before any other thread exists.
    pub fn new(signals: &[Signal]) -> Result<Self> {
        let set = signal_set(signals);
        // SAFETY: `set` is an initialised signal set; a null old set is allowed.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } != 0 {
            return Err(last_error());
        }
        // SAFETY: `set` is an initialised signal set; -1 asks for a new descriptor.
        let descriptor = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(last_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// The next signal that has arrived, or `None`. Several of one kind may have merged into one.
    pub fn next(&self) -> Option<Signal> {
        // struct signalfd_siginfo (signalfd(2)): 128 bytes that begin with the signal's number.
        let mut record = [0; 128];
        loop {
            match rustix::io::read(&self.0, &mut record) {
                Err(Errno::INTR) => {}
                Ok(128) => {
                    let number = i32::from_ne_bytes(*record.first_chunk()?);
                    if let Some(signal) = Signal::from_named_raw(number) {
                        return Some(signal);
                    }
                }
                _ => return None,
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn signal_set(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set it is given.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signal in signals {
        // SAFETY: `set` is initialised; a wrong number is answered by an error, not by harm.
        unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
    }
    set
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
