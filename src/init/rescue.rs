//! The role `rescue`: what PID 1 becomes when its own code has failed. Entry: [`main`].
//!
//! It has no tables and no plan but to bring the board up again: it writes down why, ends everything, lets a child save the disks,
//! and reboots. Each step has a bound, the hardware watchdog is fed only within them, and nothing is read from a disk: it runs
//! from the memory that PID 1 ran from.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::last_words;
use super::pid1::environment;
use super::say;
use crate::sys::clock::boottime_ms;
use crate::sys::process::{self, Which};
use crate::sys::reboot::{Machine, reboot};
use crate::sys::signal::Signal;
use crate::sys::spawn::{Program, Spawn};
use crate::sys::watchdog::Watchdog;
use crate::sys::{fatal, inherited};

/// How long processes have after SIGTERM.
const TERM_MS: u64 = 5_000;
/// How long they have after SIGKILL.
const KILL_MS: u64 = 2_000;
/// How long unmounting and syncing may take.
const FAREWELL_MS: u64 = 20_000;
const STEP: Duration = Duration::from_millis(50);

/// The role `rescue SIGNAL WATCHDOG-DESCRIPTOR`. Only for PID 1.
pub fn main() -> ExitCode {
    if !rustix::process::getpid().is_init() {
        say(format_args!("the role `rescue` is PID 1's only"));
        return ExitCode::from(2);
    }
    let mut words = std::env::args().skip(2);
    let signal = words.next().unwrap_or_default();
    let watchdog = words.next().and_then(|number| inherited::take(number.parse().ok()?).ok());
    let watchdog = watchdog.map(Watchdog::from_descriptor).or_else(|| Watchdog::open(Path::new("/dev/watchdog")).ok());
    fatal::unblock_all();
    let _ = rustix::thread::set_name(c"rescue");

    last_words::keep(format_args!("PID 1 failed with signal {signal}: this board is rebooted"));
    process::signal_everyone(Signal::TERM);
    process::signal_everyone(Signal::CONT);
    wait(TERM_MS, watchdog.as_ref(), &nothing_left);
    process::signal_everyone(Signal::KILL);
    wait(KILL_MS, watchdog.as_ref(), &nothing_left);
    save_disks(&signal, watchdog.as_ref());
    // One last feed; nobody feeds after this.
    if let Some(watchdog) = &watchdog {
        let _ = watchdog.feed();
    }
    loop {
        let error = reboot(Machine::Restart(None));
        say(format_args!("the kernel refuses to reboot: {error}"));
        let _ = process::reap(Which::Any);
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// Unmounts and syncs in a child, which may have to wait for a disk.
fn save_disks(signal: &str, watchdog: Option<&Watchdog>) {
    let Ok(program) = File::open("/proc/self/exe").map(OwnedFd::from) else { return };
    let cause = format!("PID 1 failed with signal {signal}");
    let began = boottime_ms().to_string();
    let words = ["gatepost", "farewell", "reboot", &cause, &began, "0"];
    let args: Vec<CString> = words.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    let environment = environment();
    let mut spawn = Spawn::new(Program::Descriptor(program.as_fd()), &args);
    spawn.env = Some(&environment);
    if spawn.start().is_ok() {
        wait(FAREWELL_MS, watchdog, &nothing_left);
    }
}

/// Reaps what ends.
fn nothing_left() -> bool {
    while let Ok(ended) = process::reap(Which::Any) {
        if ended.is_none() {
            return false;
        }
    }
    true
}

/// Until `over`, at most for so long.
fn wait(most_ms: u64, watchdog: Option<&Watchdog>, over: &dyn Fn() -> bool) {
    let end = boottime_ms().saturating_add(most_ms);
    let mut feed_at = 0;
    while !over() && boottime_ms() < end {
        if let Some(watchdog) = watchdog
            && boottime_ms() >= feed_at
        {
            let _ = watchdog.feed();
            feed_at = boottime_ms().saturating_add(1_000);
        }
        std::thread::sleep(STEP);
    }
}
