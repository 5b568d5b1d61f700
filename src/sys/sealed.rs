//! A program in a sealed memfd: [`copy`] makes one, [`execute`] becomes it. Its pages come from no disk, and nobody can change them.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::{Errno, Result};

/// A sealed copy of `program`, executable and close-on-exec.
///
/// # Errors
/// Those of reading the program, `EFBIG` when it is longer than 64 MiB, `ENOMEM`.
pub fn copy(program: &File) -> std::io::Result<OwnedFd> {
    const MOST: u64 = 64 << 20;
    // Kernels from 6.3 on want to be told that it will be executed; earlier ones do not know the flag.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("gatepost", flags | MemfdFlags::EXEC).or_else(|_| memfd_create("gatepost", flags))?;
    let mut memory = File::from(memory);
    let copied = std::io::copy(&mut program.take(MOST), &mut memory)?;
    if copied >= MOST {
        return Err(Errno::FBIG.into());
    }
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(memory.into())
}

/// Whether `program` is such a copy.
pub fn is_sealed(program: impl AsFd) -> bool {
    fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SEAL))
}

/// Becomes the program, with this process's environment; descriptors are kept as their close-on-exec flag says. Returns only
/// when that failed.
pub fn execute(program: BorrowedFd<'_>, args: &[CString]) -> Errno {
    let argv: Vec<*const c_char> =
        args.iter().map(|arg| arg.as_ptr()).chain(std::iter::once(std::ptr::null())).collect();
    // SAFETY: an array of strings that all end with a NUL, itself ended by a null pointer; the environment of the C library.
    unsafe {
        let environment = super::spawn::environ;
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_execveat, program.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), environment, flags);
    }
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A descriptor that the program before left open for this one with [`keep_open`]. `EBADF` when there is none, or it has been taken.
pub fn take_over(number: RawFd) -> Result<OwnedFd> {
    if number < 3 {
        return Err(Errno::BADF);
    }
    // SAFETY: the borrow ends with this function; fcntl on a number that is not open is EBADF, not undefined.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // Whatever this process has opened itself is close-on-exec, and so is what has been taken over.
    if rustix::io::fcntl_getfd(borrowed)?.contains(rustix::io::FdFlags::CLOEXEC) {
        return Err(Errno::BADF);
    }
    keep_open(borrowed, false)?;
    // SAFETY: it is open, it came with the execve, and by its flag it is handed out only once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether `descriptor` stays open over an execve(2).
pub fn keep_open(descriptor: impl AsFd, keep: bool) -> Result<()> {
    let flags = if keep { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    rustix::io::fcntl_setfd(descriptor, flags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::sys::process::{Which, reap};
    use crate::sys::spawn::{Program, Spawn};
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_changed() {
        let copy = copy(&File::open("/bin/sh").unwrap()).unwrap();
        assert!(is_sealed(&copy));
        assert!(!is_sealed(File::open("/bin/sh").unwrap()));
        assert!(rustix::io::write(&copy, b"x").is_err());
        let args = ["sh", "-c", "exit 7"].map(|word| CString::new(word).unwrap());
        let child = Spawn::new(Program::Descriptor(copy.as_fd()), &args).start().unwrap();
        poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], None).unwrap();
        assert_eq!(reap(Which::Pid(child.pid)).unwrap().unwrap().status, 7);
    }

    #[test]
    fn what_is_no_program_cannot_be_become() {
        let copy = copy(&File::open("/etc/hostname").unwrap()).unwrap();
        assert_eq!(execute(copy.as_fd(), &[c"x".to_owned()]), Errno::NOEXEC);
    }
}
