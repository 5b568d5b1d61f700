//! Descriptors placed at fixed numbers by the process that spawned this one.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes over inherited descriptor `number` and sets close-on-exec on it.
///
/// Call it once for each number, before anything else opens descriptors. Errors: `EBADF` when nothing is open there.
pub(crate) fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends before the descriptor is owned; fcntl on a number that is not open is EBADF, not undefined.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: the number is open (just checked) and, by this function's rule, owned by nobody else in this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
