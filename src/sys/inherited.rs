//! [`take`]: descriptors placed at fixed numbers by the process that spawned this one.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, FdFlags, Result, fcntl_setfd};

/// The descriptor this process was given as `number` (3 to 63), from now on close-on-exec. To be called while the process
/// starts, before it opens anything. `EBADF` when it was not given one, or it was taken already.
pub fn take(number: RawFd) -> Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bit = u32::try_from(number).ok().filter(|_| number >= 3).and_then(|shift| 1_u64.checked_shl(shift));
    let bit = bit.ok_or(Errno::BADF)?;
    // SAFETY: the borrow ends with the call; fcntl on a number that is not open is EBADF, not undefined.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC)?;
    if TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: it is open, nothing was opened by this process yet, and it is handed out only once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
