//! The descriptors a short-lived helper role is started with: request on 0, report on 3.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

/// Where a helper writes its one report.
const REPORT: i32 = 3;

/// Takes the report pipe; it is closed in whatever the helper executes. Fails when the helper was started without one.
///
/// To be called once, at the start of the role.
pub fn take_report_pipe() -> io::Result<File> {
    // SAFETY: descriptor 3 is only looked at, and is not closed during this call; if it is not open, fcntl says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(REPORT) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: by the helper protocol descriptor 3 was handed to this process and nothing else in it owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(REPORT) }))
}

/// Makes standard input `/dev/null`, so that what is executed next does not inherit the request.
pub fn drop_request() -> io::Result<()> {
    let null = File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&null)?)
}
