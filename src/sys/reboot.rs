//! [`reboot`]: reboot(2), the last call of PID 1.
#![allow(unsafe_code)]

use std::ffi::CStr;

use rustix::io::{Errno, Result};
use rustix::system::RebootCommand;

/// What becomes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine<'a> {
    /// Starts anew; the argument, if any, is for the firmware (`tryboot`).
    Restart(Option<&'a CStr>),
    /// Starts the kernel that kexec(8) has loaded. `EINVAL` when there is none.
    Kexec,
    /// Stops, with the power on.
    Halt,
    /// Is switched off.
    PowerOff,
}

/// Carries it out at once: nothing is synced. Returns only with an error. In a pid namespace it ends its first process by
/// SIGHUP (restart) or SIGINT (halt, poweroff) instead (`reboot(2)`).
pub fn reboot(machine: Machine<'_>) -> Errno {
    let result = match machine {
        Machine::Restart(None) => rustix::system::reboot(RebootCommand::Restart),
        Machine::Restart(Some(argument)) => restart_with(argument),
        Machine::Kexec => rustix::system::reboot(RebootCommand::Kexec),
        Machine::Halt => rustix::system::reboot(RebootCommand::Halt),
        Machine::PowerOff => rustix::system::reboot(RebootCommand::PowerOff),
    };
    result.err().unwrap_or(Errno::IO)
}

fn restart_with(argument: &CStr) -> Result<()> {
    // SAFETY: the magic numbers of reboot(2) and a string that ends with a NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// From now on ctrl-alt-del at the console sends SIGINT to PID 1 instead of resetting the machine.
pub fn catch_ctrl_alt_del() -> Result<()> {
    rustix::system::reboot(RebootCommand::CadOff)
}
