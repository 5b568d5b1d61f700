//! What PID 1 does in the loop besides what every init does: boot, services, the watchdog, its own children.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::booting::{After, Due, Fault};
use super::pid1::Pid1;
use super::{BOOT, Init, say};
use crate::sys::clock::boottime_ms;
use crate::sys::epoll::EventFlags;
use crate::sys::process::{self, Ended, Which};
use crate::sys::signal::Signal;
use crate::sys::socket;
use crate::sys::spawn::{Child, NOT_EXECUTED, Program, Spawn};
use crate::wire::Message;
use crate::wire::boot::{self as wire, LONGEST_SHUTDOWN_S, Report};

/// How many records of boot are taken before init looks at its other events again.
const MOST_AT_ONCE: usize = 64;

/// A child that PID 1 started for itself, besides the supervisor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Boot,
    Service(usize),
    Farewell,
    Counter,
}

impl Pid1 {
    fn own(&self) -> [(Own, Option<u32>); 5] {
        let [console, dhcp] = &self.services.0;
        let pid = |child: &Option<Child>| child.as_ref().map(|child| child.pid);
        [
            (Own::Boot, pid(&self.boot)),
            (Own::Service(0), pid(&console.child)),
            (Own::Service(1), pid(&dhcp.child)),
            (Own::Farewell, pid(&self.farewell)),
            (Own::Counter, pid(&self.counter)),
        ]
    }

    /// When [`Init::do_duties`] must be called again at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let watchdog = self.watchdog.as_ref().map(|guard| guard.feeding.next_ms());
        let way_out = self.way_out.as_ref().map(super::way_out::WayOut::next_ms);
        let others = [self.booting.next_ms(), self.services.next_ms(), self.last_resort.next_ms()];
        [watchdog, way_out].into_iter().chain(others).flatten().min()
    }
}

impl Init {
    /// Whether the supervisor is started and watched. Not before boot has prepared the node, and not when everything ends.
    pub(super) fn supervises(&self) -> bool {
        self.pid1.as_ref().is_none_or(|pid1| {
            pid1.booting.supervisor_may_run() && pid1.way_out.as_ref().is_none_or(super::way_out::WayOut::stops_pods)
        })
    }

    pub(super) fn do_duties(&mut self, now: u64) {
        let Some(pid1) = &mut self.pid1 else { return };
        if pid1.watchdog.as_mut().is_some_and(|guard| guard.tend(now)) {
            self.send(Message::Ping, None);
        }
        self.tend_boot(now);
        self.tend_services(now);
        if let Some(due) = self.pid1.as_mut().and_then(|pid1| pid1.last_resort.due(now)) {
            self.resort_to(due);
        }
        self.go_on_the_way_out(now);
    }

    fn tend_boot(&mut self, now: u64) {
        let Some(pid1) = &mut self.pid1 else { return };
        match pid1.booting.due(now) {
            Some(Due::Start { defaults }) => self.start_boot(defaults),
            Some(Due::Kill(fault)) => self.kill_boot(fault),
            None => {}
        }
    }

    fn start_boot(&mut self, defaults: bool) {
        let started = self.spawn_boot(defaults);
        let Some(pid1) = &mut self.pid1 else { return };
        match started {
            Ok((child, channel)) => {
                (pid1.boot, pid1.boot_channel) = (Some(child), Some(channel));
                pid1.booting.started(boottime_ms());
            }
            Err(error) => {
                say(format_args!("cannot start boot: {error}"));
                self.boot_is_over();
            }
        }
    }

    fn spawn_boot(&self, defaults: bool) -> rustix::io::Result<(Child, std::os::fd::OwnedFd)> {
        let Some(pid1) = &self.pid1 else { return Err(Errno::INVAL) };
        let (ours, theirs) = socket::pair()?;
        self.epoll.add(&ours, BOOT, EventFlags::IN)?;
        let mut args = vec![c"gatepost".to_owned(), c"boot".to_owned()];
        if defaults {
            args.push(wire::DEFAULTS.to_owned());
        }
        let mut environment = pid1.environment.clone();
        let status = pid1.boot_status.map(|status| format!("{}={status}", wire::WATCHDOG_STATUS));
        let began = format!("{}={}", wire::INIT_MS, pid1.began_ms);
        environment.extend(status.into_iter().chain([began]).filter_map(|word| CString::new(word).ok()));
        let mut spawn = Spawn::new(Program::Descriptor(self.options.supervisor_program.as_fd()), &args);
        spawn.env = Some(&environment);
        spawn.extra_fds = vec![(theirs.as_fd(), wire::CHANNEL)];
        // Its process group, so that it can be killed with all it started.
        spawn.new_session = true;
        spawn.open_files = self.open_files_before;
        let child = spawn.start()?;
        Ok((child, ours))
    }

    fn kill_boot(&mut self, fault: Fault) {
        let why = match fault {
            Fault::Overdue => "a stage of boot takes longer than it said",
            Fault::Garbage => "boot does not speak as it should",
        };
        say(format_args!("{why}: it is killed"));
        self.signal_boot();
    }

    pub(super) fn signal_boot(&self) {
        if let Some(boot) = self.pid1.as_ref().and_then(|pid1| pid1.boot.as_ref()) {
            // Before it leads its group it has started nothing.
            let _ = process::signal_group(boot.pid, Signal::KILL);
            let _ = process::signal(&boot.pidfd, Signal::KILL);
        }
    }

    /// Reads what boot says.
    pub(super) fn hear_boot(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let Some(channel) = self.pid1.as_ref().and_then(|pid1| pid1.boot_channel.as_ref()) else { return };
            // One byte more than a record, so that a longer message is not taken for one.
            let mut buffer = [0; Report::SIZE + 1];
            match socket::receive(channel, &mut buffer) {
                Err(Errno::AGAIN) => return,
                Ok(received) if received.length > 0 => {
                    self.take_report(Report::from_bytes(buffer.get(..received.length).unwrap_or_default()));
                }
                _ => return self.close_boot_channel(),
            }
        }
    }

    fn close_boot_channel(&mut self) {
        if let Some(channel) = self.pid1.as_mut().and_then(|pid1| pid1.boot_channel.take()) {
            let _ = self.epoll.remove(&channel);
        }
    }

    fn take_report(&mut self, report: Option<Report>) {
        let Some(pid1) = &mut self.pid1 else { return };
        let now = boottime_ms();
        if let Some(Due::Kill(fault)) = pid1.booting.report(report, now) {
            return self.kill_boot(fault);
        }
        match report {
            Some(Report::Watchdog { timeout_s, max_s }) => {
                if let Some(guard) = &mut pid1.watchdog {
                    guard.set(timeout_s, max_s, now);
                }
            }
            Some(Report::ShutdownBound { seconds }) => {
                pid1.shutdown_bound_ms = u64::from(seconds.min(LONGEST_SHUTDOWN_S)).saturating_mul(1000);
            }
            Some(Report::Service { kind }) if pid1.way_out.is_none() => pid1.services.want(kind, now),
            _ => {}
        }
    }

    /// Boot has ended, or could not be started.
    fn boot_is_over(&mut self) {
        // Its last words count.
        self.hear_boot();
        self.close_boot_channel();
        let Some(pid1) = &mut self.pid1 else { return };
        pid1.boot = None;
        match pid1.booting.ended() {
            After::Well => {}
            After::Again => say(format_args!("boot failed: once more, with the defaults and without reading anything")),
            After::Nevertheless => {
                say(format_args!("boot failed with the defaults too: going on without it"));
            }
        }
        // Whoever looks at the console is told what is the matter.
        if pid1.way_out.is_none() && pid1.booting.failed() {
            pid1.services.want(wire::Service::Console, boottime_ms());
        }
    }

    fn tend_services(&mut self, now: u64) {
        let Some(pid1) = &mut self.pid1 else { return };
        for service in &mut pid1.services.0 {
            if !service.upkeep.start_is_due(now) {
                continue;
            }
            let args = [c"gatepost".to_owned(), service.role.to_owned()];
            let mut spawn = Spawn::new(Program::Descriptor(self.options.supervisor_program.as_fd()), &args);
            spawn.env = Some(&pid1.environment);
            spawn.new_session = true;
            spawn.open_files = self.open_files_before;
            if service.kind == wire::Service::Console {
                spawn.stderr = say::log();
            }
            match spawn.start() {
                Ok(child) => {
                    service.child = Some(child);
                    service.upkeep.started(now);
                }
                Err(error) => {
                    say(format_args!("cannot start {}: {error}", name(service.role)));
                    service.upkeep.ended(now);
                }
            }
        }
    }

    /// Whether `pid` is a child that PID 1 started for itself.
    pub(super) fn own_child(&self, pid: u32) -> Option<Own> {
        self.pid1.as_ref()?.own().into_iter().find(|(_, own)| *own == Some(pid)).map(|(own, _)| own)
    }

    /// Those of its own children that have ended. They are looked at one by one, since others may have to stay zombies.
    pub(super) fn collect_own(&mut self) {
        let Some(pid1) = &self.pid1 else { return };
        for (own, pid) in pid1.own() {
            if let Some(pid) = pid
                && let Ok(Some(ended)) = process::peek(Which::Pid(pid))
            {
                self.own_child_ended(own, ended);
            }
        }
    }

    pub(super) fn own_child_ended(&mut self, own: Own, ended: Ended) {
        let _ = process::reap(Which::Pid(ended.pid));
        let now = boottime_ms();
        match own {
            Own::Boot => {
                if ended.code != libc::CLD_EXITED || ended.status != 0 {
                    self.tell_end("boot", ended, None);
                }
                self.boot_is_over();
            }
            Own::Service(place) => {
                let Some(pid1) = &mut self.pid1 else { return };
                let Some(service) = pid1.services.0.get_mut(place) else { return };
                service.child = None;
                let (role, wanted) = (name(service.role), service.upkeep.is_wanted());
                let delay = service.upkeep.ended(now);
                if wanted {
                    self.tell_end(role, ended, Some(delay));
                }
            }
            Own::Farewell => self.farewell_is_over(ended),
            Own::Counter => {
                let Some(pid1) = &mut self.pid1 else { return };
                pid1.counter = None;
                let exited = ended.code == libc::CLD_EXITED;
                let status = u8::try_from(ended.status).ok().filter(|_| exited);
                if let Some(answer) = pid1.last_resort.counted(status, now) {
                    self.resort_to(answer);
                }
            }
        }
    }

    #[allow(clippy::unused_self)]
    fn tell_end(&self, what: &str, ended: Ended, delay_ms: Option<u64>) {
        let how = if ended.code == libc::CLD_EXITED { "ended with status" } else { "was killed by signal" };
        match delay_ms {
            _ if ended.status == NOT_EXECUTED => say(format_args!("{what} could not be executed")),
            Some(delay) => say(format_args!("{what} {how} {}; again in {} s", ended.status, delay / 1000)),
            None => say(format_args!("{what} {how} {}", ended.status)),
        }
    }
}

fn name(role: &'static CStr) -> &'static str {
    role.to_str().unwrap_or_default()
}
