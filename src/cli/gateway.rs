//! `gatepost reboot`, `poweroff`, `halt`, `reexec`: signals to the PID 1 of a gateway.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;

/// Where PID 1 looks for the argument of the reboot.
const REBOOT_ARGUMENT: &str = "/run/gatepost/reboot-argument";
/// reboot(2) takes 256 bytes, the closing NUL included.
const ARGUMENT_MOST: usize = 255;

/// `gatepost reboot`.
pub(super) fn reboot(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    if let Some(argument) = invocation.raw("argument") {
        check_pid1()?;
        leave_argument(argument)?;
    }
    order(Signal::TERM)
}

/// `gatepost poweroff`.
pub(super) fn poweroff(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    order(Signal::USR2)
}

/// `gatepost halt`.
pub(super) fn halt(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    order(Signal::USR1)
}

/// `gatepost reexec`.
pub(super) fn reexec(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    order(Signal::QUIT)
}

fn leave_argument(argument: &OsStr) -> Outcome<()> {
    let bytes = argument.as_bytes();
    if bytes.is_empty() || bytes.len() > ARGUMENT_MOST || bytes.contains(&b'\n') {
        return Err(Failure::usage(format!("--argument: one line of 1 to {ARGUMENT_MOST} bytes")));
    }
    fs::write(REBOOT_ARGUMENT, bytes).map_err(|error| Failure::failed(format!("{REBOOT_ARGUMENT}: {error}")))
}

fn order(signal: Signal) -> Outcome {
    check_pid1()?;
    kill_process(Pid::INIT, signal).map_err(|error| Failure::failed(format!("cannot signal PID 1: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Another init would take these signals for something else.
fn check_pid1() -> Outcome<()> {
    if init_is_gateposts() {
        return Ok(());
    }
    let program = fs::read_link("/proc/1/exe").map_err(|error| Failure::failed(format!("/proc/1/exe: {error}")))?;
    Err(Failure::failed(format!("PID 1 of this machine is {}, not gatepost; use its own commands", program.display())))
}

/// Whether PID 1 of this machine is gatepost's init, and not this very process.
pub(super) fn init_is_gateposts() -> bool {
    let named = fs::read("/proc/1/comm").is_ok_and(|name| name == b"init\n");
    let link = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    // It runs from memory, or from the disk if it had to.
    let ours = link("1").is_some_and(|program| {
        program == Path::new("/memfd:gatepost (deleted)") || link("self").is_some_and(|own| own == program)
    });
    named && ours && !rustix::process::getpid().is_init()
}
