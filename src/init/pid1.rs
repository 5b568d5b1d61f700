//! PID 1 of a gateway: [`main`], from the kernel's execve(2) to the loop, and [`Pid1`], what it has besides an init next to a host's.
//!
//! | signal | what |
//! | --- | --- |
//! | SIGTERM, SIGINT (ctrl-alt-del) | reboot |
//! | SIGUSR1 | halt |
//! | SIGUSR2, SIGPWR | poweroff |
//! | SIGHUP | the supervisor reads the manifests again |
//! | SIGQUIT | a new binary takes over, containers go on |
//! | one of the first three lines again | the same, with a shorter grace |

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::booting::Booting;
use super::handover::{self, Handover};
use super::last_resort::LastResort;
use super::renewal::Renewal;
use super::services::Services;
use super::watchdog::{self, Guard};
use super::way_out::WayOut;
use super::{Init, Options, mounts, say, stdio};
use crate::sys::clock::boottime_ms;
use crate::sys::process;
use crate::sys::sealed;
use crate::sys::spawn::Child;
use crate::sys::watchdog::Watchdog;
use crate::sys::{fatal, memory, reboot};
use crate::wire;

/// The name of PID 1: `argv[0]`, without the directory.
const NAME: &[u8] = b"init";

/// The soft limit of open files that every process of a gateway begins with.
pub(super) const OPEN_FILES: u64 = 1024;

/// What PID 1 has besides an init next to a host's.
pub(super) struct Pid1 {
    /// When PID 1 began, CLOCK_BOOTTIME in milliseconds.
    pub(super) began_ms: u64,
    /// What its children begin with.
    pub(super) environment: Vec<CString>,
    pub(super) watchdog: Option<Guard>,
    /// How the hardware says that the board came to be started.
    pub(super) boot_status: Option<i32>,
    pub(super) booting: Booting,
    pub(super) boot: Option<Child>,
    /// Init's end of boot's channel.
    pub(super) boot_channel: Option<OwnedFd>,
    pub(super) services: Services,
    /// How long the pods may take to stop.
    pub(super) shutdown_bound_ms: u64,
    pub(super) way_out: Option<WayOut>,
    /// Why the machine goes down: a word of the report.
    pub(super) cause: &'static str,
    pub(super) farewell: Option<Child>,
    /// What the firmware is to be told at the reboot.
    pub(super) reboot_argument: Option<CString>,
    /// What comes after a supervisor that fails in safe mode too, and the role farewell that counts.
    pub(super) last_resort: LastResort,
    pub(super) counter: Option<Child>,
    pub(super) renewal: Option<Renewal>,
    /// Processes that ended only by SIGKILL.
    pub(super) killed: u32,
    /// This is the first pid namespace, so cgroups and file systems are nobody else's.
    pub(super) whole_machine: bool,
}

impl Pid1 {
    pub(super) fn new() -> Self {
        Self {
            began_ms: 0,
            environment: environment(),
            watchdog: None,
            boot_status: None,
            booting: Booting::new(),
            boot: None,
            boot_channel: None,
            services: Services::new(),
            shutdown_bound_ms: u64::from(wire::boot::SHUTDOWN_BOUND_S).saturating_mul(1000),
            way_out: None,
            cause: "",
            farewell: None,
            reboot_argument: None,
            last_resort: LastResort::Idle,
            counter: None,
            renewal: None,
            killed: 0,
            whole_machine: process::sees_whole_machine(),
        }
    }
}

impl Pid1 {
    /// A watchdog that runs already.
    pub(super) fn guard(&mut self, descriptor: OwnedFd, max_s: u16, wanted_s: u16, now: u64) {
        let device = Watchdog::from_descriptor(descriptor);
        self.boot_status = device.boot_status().ok();
        self.watchdog = Some(Guard::resume(device, wanted_s, max_s, now));
    }
}

/// Whether this process is to become PID 1 of a gateway: it has that pid, and was started as `init`.
pub fn is_asked_for() -> bool {
    let name = std::env::args_os().next();
    let name = name.as_deref().map(OsStr::as_bytes).and_then(|path| path.rsplit(|byte| *byte == b'/').next());
    rustix::process::getpid().is_init() && name == Some(NAME)
}

/// PID 1. Returns only when it could not even begin, and then the kernel panics, as it must.
///
/// Every step that fails is told, and the next one is taken: a gateway without this or that is better than none.
pub fn main() -> ExitCode {
    // Nothing here panics. Were it to happen all the same, the signal leads to the rescue.
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    let _ = rustix::thread::set_name(c"init");
    let handover = Handover::received();
    if handover.is_none() {
        let handover = begin();
        // The same again, from memory; the second time the branch above is not taken.
        if let Some(program) = sealed_copy() {
            let error = handover::pass(&handover.borrowed(), program.as_fd());
            say(format_args!("cannot run from memory: {error}; going on from the disk"));
        }
        return settle_down(handover);
    }
    settle_down(handover.unwrap_or_default())
}

/// What is done once in the life of the kernel.
fn begin() -> Handover {
    let began_ms = boottime_ms();
    mounts::mount(&mounts::DEV);
    let watchdog = watchdog::open();
    stdio::open();
    for row in mounts::TABLE {
        mounts::mount(row);
    }
    mounts::share_root();
    set_limits();
    if process::sees_whole_machine()
        && let Err(error) = reboot::catch_ctrl_alt_del()
    {
        say(format_args!("ctrl-alt-del resets this machine without a shutdown: {error}"));
    }
    Handover::first(began_ms, watchdog.map(Watchdog::into_descriptor))
}

/// The kernel gives PID 1 few open files and few processes, and all its children inherit that. Processes are bounded by cgroups.
fn set_limits() {
    let limits = [
        ("open files", Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(524_288) }),
        ("processes", Resource::Nproc, Rlimit { current: None, maximum: None }),
        ("core files", Resource::Core, Rlimit { current: Some(0), maximum: None }),
        ("locked memory", Resource::Memlock, Rlimit { current: None, maximum: None }),
    ];
    for (what, resource, limit) in limits {
        if let Err(error) = setrlimit(resource, limit) {
            say(format_args!("the limit of {what} stays as it is: {error}"));
        }
    }
}

fn sealed_copy() -> Option<OwnedFd> {
    match File::open("/proc/self/exe").and_then(|program| sealed::copy(&program)) {
        Ok(copy) => Some(copy),
        Err(error) => {
            say(format_args!("cannot copy itself into memory: {error}; going on from the disk"));
            None
        }
    }
}

/// From here on nothing is read from a disk.
fn settle_down(handover: Handover) -> ExitCode {
    say::keep_log();
    if let Err(error) = memory::lock() {
        say(format_args!("cannot lock itself into memory: {error}"));
    }
    let program = match File::open("/proc/self/exe") {
        Ok(program) => OwnedFd::from(program),
        Err(error) => {
            say(format_args!("cannot start: /proc/self/exe: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = fatal::execute_on_fatal_signals(program.as_fd(), handover.watchdog()) {
        say(format_args!("a fault of init's own would panic the kernel: {error}"));
    }
    let options = Options {
        supervisor_program: program,
        supervisor_args: supervisor_args(),
        // The way out has a bound of its own.
        stop_bound_ms: u64::MAX,
    };
    match Init::set_up_pid1(options, handover) {
        Ok(mut init) => {
            init.run();
            ExitCode::FAILURE
        }
        Err((what, error)) => {
            say(format_args!("cannot start: {what}: {error}"));
            // The rescue reboots; the kernel would stand still, or panic.
            std::process::abort()
        }
    }
}

fn supervisor_args() -> Vec<CString> {
    let words = [c"gatepost", c"supervise", c"/run/gatepost", wire::GATEWAY];
    words.map(std::borrow::ToOwned::to_owned).into()
}

/// The environment of all children: the kernel gives PID 1 words of its command line, which are nobody's business.
pub(super) fn environment() -> Vec<CString> {
    let words = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"HOME=/", c"TERM=linux"];
    words.map(std::borrow::ToOwned::to_owned).into()
}
