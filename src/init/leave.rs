//! The way out, done: what `way_out` says is due.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::last_resort::Do;
use super::last_words;
use super::way_out::{Due, Goal, WayOut};
use super::{Init, say};
use crate::sys::clock::boottime_ms;
use crate::sys::process::{self, Ended, Which};
use crate::sys::reboot::{Machine, reboot};
use crate::sys::signal::Signal;
use crate::sys::spawn::{Program, Spawn};

/// Where the argument of the reboot lies, if it has one.
const REBOOT_ARGUMENT: &CStr = c"/run/gatepost/reboot-argument";
/// Its longest, with the closing NUL: the kernel takes 256 bytes.
const ARGUMENT_MOST: usize = 256;
/// How many ended children are reaped before init looks at its other events again.
const MOST_AT_ONCE: usize = 1024;

impl Init {
    /// A signal asks for the machine to go down.
    pub(super) fn go_down(&mut self, goal: Goal, cause: &'static str) {
        let now = boottime_ms();
        let Some(pid1) = &mut self.pid1 else { return };
        pid1.cause = cause;
        if let Some(way) = &mut pid1.way_out {
            say(format_args!("{} ({cause}): asked again, so the grace is shorter", goal.word()));
            if way.again(goal, now) {
                self.signal_supervisor(Signal::TERM);
            }
            return;
        }
        // Without a supervisor nobody can tell the pods: they have the time of all other processes.
        let supervised = pid1.booting.supervisor_may_run() && !self.supervision.keeps_dying();
        let pods_ms = if supervised { pid1.shutdown_bound_ms } else { 0 };
        pid1.way_out = Some(WayOut::new(goal, pods_ms, now));
        pid1.services.unwant_all();
        pid1.booting.give_up();
        if let Some(guard) = &mut pid1.watchdog {
            // Each stage has its bound.
            guard.feeding.init_vouches(now);
        }
        let bound_s = WayOut::bound_ms(pods_ms) / 1000;
        say(format_args!("{} ({cause}): within {bound_s} s, of which the pods have {} s", goal.word(), pods_ms / 1000));
        self.signal_boot();
        self.signal_supervisor(Signal::TERM);
    }

    /// The supervisor has crashed although it had left everything alone.
    pub(super) fn supervisor_is_at_its_wits_end(&mut self) {
        let Some(pid1) = &mut self.pid1 else { return };
        if pid1.way_out.is_some() || !pid1.last_resort.needed(boottime_ms()) {
            return;
        }
        let args = [c"gatepost".to_owned(), c"farewell".to_owned(), c"may-reboot".to_owned()];
        let mut spawn = Spawn::new(Program::Descriptor(self.options.supervisor_program.as_fd()), &args);
        spawn.env = Some(&pid1.environment);
        spawn.new_session = true;
        match spawn.start() {
            Ok(child) => pid1.counter = Some(child),
            Err(error) => {
                say(format_args!("cannot count reboots: {error}"));
                if let Some(answer) = pid1.last_resort.counted(None, boottime_ms()) {
                    self.resort_to(answer);
                }
            }
        }
    }

    pub(super) fn resort_to(&mut self, what: Do) {
        match what {
            Do::Reboot => {
                last_words::keep(format_args!("the supervisor fails in safe mode too: rebooting"));
                // Nobody is there who could stop the pods: they have the time of all other processes.
                if let Some(pid1) = &mut self.pid1 {
                    pid1.shutdown_bound_ms = 0;
                }
                self.go_down(Goal::Reboot, "the supervisor fails in safe mode too");
            }
            Do::Rest { until } => {
                say(format_args!("this board was rebooted three times within an hour: the next try is in six hours"));
                self.supervision.rest_until(until);
            }
            Do::Wait { until } => {
                say(format_args!("reboots cannot be counted here: the next one is 20 minutes after the start"));
                self.supervision.rest_until(until);
            }
        }
    }

    /// The supervisor has left after it was asked to: the pods are stopped.
    pub(super) fn pods_are_stopped(&mut self) {
        if let Some(way) = self.pid1.as_mut().and_then(|pid1| pid1.way_out.as_mut()) {
            way.pods_stopped();
        }
    }

    /// A supervisor has ended while it should have stopped the pods. The next one goes on with that, unless it keeps happening.
    pub(super) fn supervisor_failed_to_stop_pods(&mut self) {
        if self.supervision.keeps_dying() {
            say(format_args!("the supervisor keeps ending: going on without it"));
            self.pods_are_stopped();
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.pid1.as_ref().is_some_and(|pid1| pid1.way_out.is_some())
    }

    /// Whether everything is to end, so that every child is simply reaped.
    pub(super) fn ends_processes(&self) -> bool {
        self.pid1.as_ref().and_then(|pid1| pid1.way_out.as_ref()).is_some_and(WayOut::ends_processes)
    }

    pub(super) fn go_on_the_way_out(&mut self, now: u64) {
        // Each answer changes the stage, so this ends.
        for _ in 0..8 {
            let Some(way) = self.pid1.as_mut().and_then(|pid1| pid1.way_out.as_mut()) else { return };
            match way.due(now) {
                None => return,
                Some(Due::Term) => self.terminate_everyone(),
                Some(Due::Kill) => self.kill_everyone(),
                Some(Due::Farewell) => self.start_farewell(),
                Some(Due::Leave) => self.leave(),
            }
        }
    }

    fn terminate_everyone(&mut self) {
        process::signal_everyone(Signal::TERM);
        // A stopped process would take note of the signal only then.
        process::signal_everyone(Signal::CONT);
        self.reap_everyone();
    }

    fn kill_everyone(&mut self) {
        if self.pid1.as_ref().is_some_and(|pid1| pid1.whole_machine) {
            kill_cgroups(Path::new("/sys/fs/cgroup"));
        }
        process::signal_everyone(Signal::KILL);
        self.reap_everyone();
    }

    /// Reaps whatever has ended; nobody needs to be told any more.
    pub(super) fn reap_everyone(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            match process::reap(Which::Any) {
                Ok(Some(ended)) => self.forget(ended),
                Ok(None) => return,
                // No child at all: every process has init for its last parent.
                Err(_) => {
                    if let Some(way) = self.pid1.as_mut().and_then(|pid1| pid1.way_out.as_mut()) {
                        way.no_process_left();
                    }
                    return;
                }
            }
        }
        self.records.collect_soon();
    }

    fn forget(&mut self, ended: Ended) {
        if self.is_supervisor(ended.pid)
            && let Some(supervisor) = self.supervisor.take()
        {
            let _ = self.epoll.remove(&supervisor.socket);
        }
        let Some(pid1) = &mut self.pid1 else { return };
        if pid1.way_out.as_ref().is_some_and(WayOut::kills) {
            pid1.killed = pid1.killed.saturating_add(1);
        }
        if pid1.boot.as_ref().is_some_and(|boot| boot.pid == ended.pid) {
            pid1.boot = None;
        }
        for service in &mut pid1.services.0 {
            if service.child.as_ref().is_some_and(|child| child.pid == ended.pid) {
                service.child = None;
            }
        }
    }

    fn start_farewell(&mut self) {
        let Some(pid1) = &mut self.pid1 else { return };
        let Some(way) = &mut pid1.way_out else { return };
        // Now, since the farewell unmounts where it lies.
        let mut buffer = [0; ARGUMENT_MOST];
        pid1.reboot_argument = read(REBOOT_ARGUMENT, &mut buffer).map(std::borrow::ToOwned::to_owned);
        let took_ms = boottime_ms().saturating_sub(way.began);
        last_words::keep(format_args!(
            "{} ({}), {took_ms} ms after it was asked for, {} killed",
            way.goal.word(),
            pid1.cause,
            pid1.killed
        ));
        let words = [
            "gatepost".to_owned(),
            "farewell".to_owned(),
            way.goal.word().to_owned(),
            pid1.cause.to_owned(),
            way.began.to_string(),
            pid1.killed.to_string(),
        ];
        let args: Vec<CString> = words.into_iter().filter_map(|word| CString::new(word).ok()).collect();
        let mut spawn = Spawn::new(Program::Descriptor(self.options.supervisor_program.as_fd()), &args);
        spawn.env = Some(&pid1.environment);
        spawn.new_session = true;
        match spawn.start() {
            Ok(child) => pid1.farewell = Some(child),
            Err(error) => {
                say(format_args!("cannot unmount and sync: {error}"));
                way.farewell_ended();
            }
        }
    }

    pub(super) fn farewell_is_over(&mut self, ended: Ended) {
        let Some(pid1) = &mut self.pid1 else { return };
        pid1.farewell = None;
        if ended.code != libc::CLD_EXITED || ended.status != 0 {
            say(format_args!("unmounting and syncing did not end well (status {})", ended.status));
        }
        if let Some(way) = &mut pid1.way_out {
            way.farewell_ended();
        }
    }

    /// The last thing PID 1 does. Comes back only when the kernel refuses, and is then tried again, until the watchdog ends it.
    fn leave(&mut self) {
        let Some(pid1) = &mut self.pid1 else { return };
        let Some(way) = &pid1.way_out else { return };
        if pid1.farewell.is_some() {
            say(format_args!("unmounting and syncing takes too long: going down without it"));
        }
        let goal = way.goal;
        match (goal, pid1.watchdog.take()) {
            (Goal::Reboot, Some(guard)) => {
                guard.feed_for_the_last_time();
                // Closing it does not end it; but no program that follows shall get it either.
                std::mem::forget(guard);
            }
            (_, Some(guard)) => guard.disarm(),
            (_, None) => {}
        }
        say(format_args!("{} now", goal.word()));
        let error = match goal {
            Goal::Reboot => restart(pid1.reboot_argument.as_deref()),
            Goal::Halt => reboot(Machine::Halt),
            Goal::PowerOff => reboot(Machine::PowerOff),
        };
        say(format_args!("the kernel refuses to {}: {error}", goal.word()));
    }
}

/// With the argument that was left for the firmware, else into the kernel that is loaded, else plainly.
fn restart(argument: Option<&CStr>) -> rustix::io::Errno {
    if let Some(argument) = argument {
        let error = reboot(Machine::Restart(Some(argument)));
        say(format_args!("the kernel does not take the argument of the reboot: {error}"));
    }
    let mut buffer = [0; ARGUMENT_MOST];
    if read(c"/sys/kernel/kexec_loaded", &mut buffer) == Some(c"1") {
        let error = reboot(Machine::Kexec);
        say(format_args!("the loaded kernel cannot be started: {error}"));
    }
    reboot(Machine::Restart(None))
}

/// The first line of a file that lies in memory. `None` when it is not there, empty, or does not fit.
fn read<'a>(path: &CStr, buffer: &'a mut [u8; ARGUMENT_MOST]) -> Option<&'a CStr> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let length = rustix::io::read(file, &mut *buffer).ok()?;
    let end = buffer.iter().position(|byte| *byte == b'\n').unwrap_or(length);
    *buffer.get_mut(end)? = 0;
    CStr::from_bytes_until_nul(buffer).ok().filter(|line| !line.is_empty())
}

/// cgroup.kill of every cgroup below the root, so that what forks faster than signals come ends too. SIGKILL does not reach PID 1.
fn kill_cgroups(root: &Path) {
    let Ok(cgroups) = std::fs::read_dir(root) else { return };
    for cgroup in cgroups.flatten() {
        let path = cgroup.path().join("cgroup.kill");
        // Not there before Linux 5.14, and not a cgroup where it is not there.
        let _ = std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| {
            use std::io::Write as _;
            file.write_all(b"1")
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_cgroup_below_the_root_is_killed() {
        let root = tempfile::tempdir().unwrap();
        let control = |cgroup: &str| root.path().join(cgroup).join("cgroup.kill");
        for cgroup in ["pods", "gatepost"] {
            std::fs::create_dir(root.path().join(cgroup)).unwrap();
            std::fs::write(control(cgroup), "").unwrap();
        }
        // Linux before 5.14.
        std::fs::create_dir(root.path().join("old")).unwrap();
        kill_cgroups(root.path());
        for cgroup in ["pods", "gatepost"] {
            assert_eq!(std::fs::read_to_string(control(cgroup)).unwrap(), "1");
        }
        assert!(!control("old").exists() && !control("").exists());
    }
}
