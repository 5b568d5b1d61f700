//! [`execute_on_fatal_signals`]: what PID 1 becomes when it is hit by a signal that says its own code is broken.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::{Errno, Result};

/// Signals that a program brings upon itself.
const FATAL: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// Enough for a handler that makes a few system calls, on every architecture.
const STACK: usize = 64 * 1024;

/// The program's descriptor, and one that it inherits; -1 is none.
static PROGRAM: AtomicI32 = AtomicI32::new(-1);
static INHERITED: AtomicI32 = AtomicI32::new(-1);

/// From now on SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP and SIGSYS make this process execute `program` as
/// `gatepost rescue SIGNAL DESCRIPTOR`; both descriptors must stay open for ever. `inherited`, if any, stays open in it, and its
/// number is the second argument, else `-`. Works with a stack that has overflown.
pub fn execute_on_fatal_signals(program: BorrowedFd<'_>, inherited: Option<BorrowedFd<'_>>) -> Result<()> {
    PROGRAM.store(program.as_raw_fd(), Ordering::SeqCst);
    inherit(inherited);
    let stack: &'static mut [u8] = Box::leak(vec![0; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast::<c_void>(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack lives as long as the process.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        return Err(last_error());
    }
    for signal in FATAL {
        // SAFETY: all zero is a valid sigaction; the handler only makes async-signal-safe calls.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            // A second fault in the handler must not wait for the first: the default action ends it.
            action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(last_error());
        }
    }
    Ok(())
}

/// Replaces the descriptor that is inherited.
pub fn inherit(inherited: Option<BorrowedFd<'_>>) {
    INHERITED.store(inherited.map_or(-1, |descriptor| descriptor.as_raw_fd()), Ordering::SeqCst);
}

extern "C" fn handler(signal: c_int) {
    let program = PROGRAM.load(Ordering::SeqCst);
    let inherited = INHERITED.load(Ordering::SeqCst);
    let (mut signal_text, mut descriptor_text) = ([0u8; 12], [0u8; 12]);
    write_number(signal, &mut signal_text);
    write_number(inherited, &mut descriptor_text);
    let argv: [*const c_char; 5] = [
        c"gatepost".as_ptr(),
        RESCUE.as_ptr(),
        signal_text.as_ptr().cast(),
        descriptor_text.as_ptr().cast(),
        std::ptr::null(),
    ];
    let environment: [*const c_char; 1] = [std::ptr::null()];
    // SAFETY: async-signal-safe system calls on memory of this stack and on constants.
    unsafe {
        if inherited >= 0 {
            libc::fcntl(inherited, libc::F_SETFD, 0);
        }
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv.as_ptr(), environment.as_ptr(), flags);
    }
    // Returning repeats the fault, now with its default action: the kernel's panic is the last resort.
}

/// The role that is executed.
const RESCUE: &CStr = c"rescue";

/// Decimal digits and a NUL; `-` for what is negative.
fn write_number(value: c_int, text: &mut [u8; 12]) {
    if value < 0 {
        text[0] = b'-';
        return;
    }
    let mut digits = 1_usize;
    let mut rest = value / 10;
    while rest > 0 {
        digits = digits.saturating_add(1);
        rest /= 10;
    }
    let mut rest = value;
    for place in (0..digits).rev() {
        if let (Some(byte), Ok(digit)) = (text.get_mut(place), u8::try_from(rest % 10)) {
            *byte = b'0' | digit;
        }
        rest /= 10;
    }
}

/// Lets all signals through again: a program executed from a handler begins with that handler's signal mask.
pub fn unblock_all() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before it is used.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (number, text) in [(0, "0"), (7, "7"), (10, "10"), (i32::MAX, "2147483647"), (-1, "-")] {
            let mut bytes = [0; 12];
            write_number(number, &mut bytes);
            assert_eq!(CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap(), text);
        }
    }
}
