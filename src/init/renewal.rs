//! `gatepost reexec`: a new binary takes over, and containers notice nothing.
//!
//! PID 1 reads no disk, so a child, the role `renew` ([`main`]), copies the new binary into memory, tries it, and sends it over.
//! Then the supervisor is ended, PID 1 becomes the new program with all it holds ([`handover`](super::handover)), and starts a
//! supervisor of the new kind, which adopts as after every end of one.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use super::handover::{self, Item};
use super::say::say_as;
use super::{Init, RENEWAL, say};
use crate::sys::epoll::EventFlags;
use crate::sys::process::{self, Which};
use crate::sys::signal::Signal;
use crate::sys::spawn::{Child, Program, Spawn};
use crate::sys::{inherited, sealed, socket};

/// Where the new binary lies.
const PROGRAM: &str = "/sbin/init";
/// The role's descriptor of the socket to init.
const CHANNEL: i32 = 3;
/// The new binary must be able to say its version within this time.
const TRIAL: Duration = Duration::from_secs(10);

/// A renewal under way.
pub(super) struct Renewal {
    channel: OwnedFd,
    child: Child,
    /// The new program, once it has come. It takes over when the supervisor has ended.
    program: Option<OwnedFd>,
}

/// The role `renew`, started by PID 1.
pub fn main() -> ExitCode {
    let result = inherited::take(CHANNEL).map_err(std::io::Error::from).and_then(|channel| {
        let program = sealed::copy(&File::open(PROGRAM)?)?;
        if !runs(&program) {
            return Err(std::io::Error::other("it does not run on this machine"));
        }
        Ok(socket::send(channel, b"program", Some(program.as_fd()))?)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_as("renew", format_args!("{PROGRAM} cannot take over: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the program can be executed at all.
fn runs(program: &OwnedFd) -> bool {
    let args = [c"gatepost".to_owned(), c"--version".to_owned()];
    let Ok(null) = File::options().write(true).open("/dev/null") else { return false };
    let mut spawn = Spawn::new(Program::Descriptor(program.as_fd()), &args);
    spawn.stdout = Some(null.as_fd());
    let Ok(child) = spawn.start() else { return false };
    for _ in 0..TRIAL.as_millis().checked_div(20).unwrap_or(0) {
        if let Ok(Some(ended)) = process::reap(Which::Pid(child.pid)) {
            return ended.code == libc::CLD_EXITED && ended.status == 0;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = process::signal(&child.pidfd, Signal::KILL);
    false
}

impl Init {
    /// Asks for the new binary.
    pub(super) fn begin_renewal(&mut self) {
        let Some(pid1) = &mut self.pid1 else { return };
        if pid1.way_out.is_some() || !pid1.booting.supervisor_may_run() {
            return;
        }
        if let Some(stuck) = pid1.renewal.take() {
            // Asked before, and the disk has not answered.
            let _ = process::signal(&stuck.child.pidfd, Signal::KILL);
            let _ = self.epoll.remove(&stuck.channel);
        }
        match self.spawn_renew() {
            Ok(renewal) => {
                say(format_args!("asked to let {PROGRAM} take over"));
                if let Some(pid1) = &mut self.pid1 {
                    pid1.renewal = Some(renewal);
                }
            }
            Err(error) => say(format_args!("cannot read {PROGRAM}: {error}")),
        }
    }

    fn spawn_renew(&self) -> rustix::io::Result<Renewal> {
        let (ours, theirs) = socket::pair()?;
        let args = [c"gatepost".to_owned(), c"renew".to_owned()];
        let mut spawn = Spawn::new(Program::Descriptor(self.options.supervisor_program.as_fd()), &args);
        spawn.extra_fds = vec![(theirs.as_fd(), CHANNEL)];
        spawn.new_session = true;
        let child = spawn.start()?;
        self.epoll.add(&ours, RENEWAL, EventFlags::IN)?;
        Ok(Renewal { channel: ours, child, program: None })
    }

    /// The role has sent the program, or ended without.
    pub(super) fn hear_renewal(&mut self) {
        let Some(renewal) = self.pid1.as_mut().and_then(|pid1| pid1.renewal.as_mut()) else { return };
        let _ = self.epoll.remove(&renewal.channel);
        let mut word = [0; 16];
        let received = socket::receive(&renewal.channel, &mut word).ok().and_then(|received| received.descriptor);
        // The role itself is reaped like any child that nobody knows.
        match received.filter(|program| sealed::is_sealed(program)) {
            Some(program) => {
                renewal.program = Some(program);
                if self.supervisor.is_some() {
                    // It ends at once and has nothing to say: the next one adopts what it leaves.
                    self.signal_supervisor(Signal::KILL);
                } else {
                    self.renew();
                }
            }
            None => {
                if let Some(pid1) = &mut self.pid1 {
                    pid1.renewal = None;
                }
            }
        }
    }

    /// Becomes the new program if one waits. There is no supervisor at this moment.
    pub(super) fn renew(&mut self) {
        let Some(pid1) = &mut self.pid1 else { return };
        let Some(program) = pid1.renewal.as_mut().and_then(|renewal| renewal.program.take()) else { return };
        pid1.renewal = None;
        if pid1.way_out.is_some() {
            return;
        }
        // They run from the old program; the new one starts them again.
        for service in &pid1.services.0 {
            if let Some(child) = &service.child {
                let _ = process::signal(&child.pidfd, Signal::KILL);
            }
        }
        let mut items = vec![Item::Began(pid1.began_ms), Item::Booted(pid1.shutdown_bound_ms)];
        items.extend(
            pid1.watchdog.as_ref().map(|guard| Item::Watchdog(guard.device.as_fd(), guard.max_s, guard.wanted_s)),
        );
        let wanted = pid1.services.0.iter().filter(|service| service.upkeep.is_wanted());
        items.extend(wanted.map(|service| Item::Service(service.kind)));
        let (read_end, write_end, written) = self.records.parts();
        items.extend([Item::ExitsRead(read_end, written), Item::ExitsWrite(write_end)]);
        items.extend([Item::JournalRead(self.journal.0.as_fd()), Item::JournalWrite(self.journal.1.as_fd())]);
        items.push(Item::Streams(self.streams.memory()));
        items.extend(self.held.all().map(|(slot, key, descriptor)| {
            Item::Held(descriptor.as_fd(), key, u64::try_from(slot).unwrap_or(u64::MAX))
        }));
        items.extend(self.registered.all().map(|(pid, token)| Item::Registered(pid, token)));
        say(format_args!("{PROGRAM} takes over"));
        let error = handover::pass(&items, program.as_fd());
        say(format_args!("the new program cannot be executed: {error}; going on with this one"));
    }
}
