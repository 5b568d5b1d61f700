//! [`Supervisor`]: the supervisor as a process: starting it with its fixed descriptors, signalling it, burying it.

use std::os::fd::{AsFd, OwnedFd};

use super::supervision::Death;
use super::{COMMANDS, Init, say};
use crate::sys::clock::boottime_ms;
use crate::sys::epoll::EventFlags;
use crate::sys::process::{self, Ended, Which};
use crate::sys::signal::Signal;
use crate::sys::socket;
use crate::sys::spawn::{Child, NOT_EXECUTED, Program, Spawn};
use crate::wire;

/// A gateway's supervisor is the last to be killed for want of memory, but for PID 1.
const OOM_SCORE_ADJ: i32 = -900;

/// One incarnation of the supervisor.
pub(super) struct Supervisor {
    child: Child,
    /// Init's end of its command socket.
    pub(super) socket: OwnedFd,
}

impl Supervisor {
    pub(super) fn pid(&self) -> u32 {
        self.child.pid
    }
}

impl Init {
    pub(super) fn start_supervisor(&mut self) {
        let now = boottime_ms();
        match self.spawn_supervisor() {
            Ok(supervisor) => {
                self.supervisor = Some(supervisor);
                self.supervision.started(now);
                self.watchdog_feeding(|feeding| feeding.supervisor_started(now));
            }
            Err(error) => {
                say(format_args!("cannot start the supervisor: {error}"));
                self.supervision.died(Death::Crash, now);
            }
        }
    }

    fn spawn_supervisor(&self) -> rustix::io::Result<Supervisor> {
        let (ours, theirs) = socket::pair()?;
        self.epoll.add(&ours, COMMANDS, EventFlags::IN)?;
        let program = Program::Descriptor(self.options.supervisor_program.as_fd());
        let crashed = self.supervision.crashed();
        let args = if crashed { &self.args_after_crash } else { &self.options.supervisor_args };
        let mut spawn = Spawn::new(program, args);
        spawn.extra_fds = vec![
            (theirs.as_fd(), wire::COMMAND_SOCKET),
            (self.records.read_end(), wire::EXIT_RECORDS),
            (self.streams.memory(), wire::STREAM_TABLE),
            (self.journal.0.as_fd(), wire::JOURNAL_READ),
            (self.journal.1.as_fd(), wire::JOURNAL_WRITE),
        ];
        // A terminal's Ctrl-C is for init, which tells the supervisor in its own way.
        spawn.new_session = true;
        spawn.open_files = self.open_files_before;
        if let Some(pid1) = &self.pid1 {
            spawn.env = Some(&pid1.environment);
            // The console has one voice, the role console's.
            (spawn.stdout, spawn.stderr) = (say::log(), say::log());
            spawn.oom_score_adj = Some(OOM_SCORE_ADJ);
        }
        Ok(Supervisor { child: spawn.start()?, socket: ours })
    }

    /// Does nothing when there is no supervisor. One that has ended but is not yet reaped takes no harm.
    pub(super) fn signal_supervisor(&self, signal: Signal) {
        if let Some(supervisor) = &self.supervisor
            && let Err(error) = process::signal(&supervisor.child.pidfd, signal)
            && error != rustix::io::Errno::SRCH
        {
            say(format_args!("cannot signal the supervisor: {error}"));
        }
    }

    pub(super) fn is_supervisor(&self, pid: u32) -> bool {
        self.supervisor.as_ref().is_some_and(|supervisor| supervisor.pid() == pid)
    }

    /// The supervisor is a zombie: does what it asked for last, then reaps it.
    pub(super) fn bury_supervisor(&mut self, ended: Ended) {
        // Its last words count: what it gave init to hold must not be lost.
        self.take_commands();
        let Some(supervisor) = self.supervisor.take() else { return };
        let _ = self.epoll.remove(&supervisor.socket);
        let _ = process::reap(Which::Pid(ended.pid));
        let how = if ended.code == libc::CLD_EXITED { "ended with status" } else { "was killed by signal" };
        match supervisor.child.failure().filter(|_| ended.status == NOT_EXECUTED) {
            Some(failure) => say(format_args!("the supervisor did not start: {failure}")),
            None => say(format_args!("the supervisor (pid {}) {how} {}", ended.pid, ended.status)),
        }
        let death = match (ended.code, ended.status) {
            (libc::CLD_EXITED, 0) => Death::Left,
            (libc::CLD_KILLED, libc::SIGKILL) => Death::Killed,
            _ => Death::Crash,
        };
        let now = boottime_ms();
        self.supervision.died(death, now);
        self.watchdog_feeding(|feeding| feeding.init_vouches(now));
        self.renew();
        if self.supervision.is_at_its_wits_end() {
            self.supervisor_is_at_its_wits_end();
        }
        if self.is_leaving() {
            match death {
                Death::Left => self.pods_are_stopped(),
                Death::Crash | Death::Killed => self.supervisor_failed_to_stop_pods(),
            }
        }
    }

    /// Tells the watchdog's feeding something, where there is one. On the way out init vouches for everything.
    pub(super) fn watchdog_feeding(&mut self, tell: impl FnOnce(&mut super::feeding::Feeding)) {
        if let Some(pid1) = &mut self.pid1
            && pid1.way_out.is_none()
            && let Some(guard) = &mut pid1.watchdog
        {
            tell(&mut guard.feeding);
        }
    }
}
