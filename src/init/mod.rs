//! The role init: PID 1, or a child subreaper next to a host init. Entry: [`run`].
//!
//! The contract of this room:
//! * It never ends but through its one way out. Next to a host init that is: asked by SIGTERM or SIGINT, after the
//!   supervisor has ended or its time was up. As PID 1 it is reboot(2), by the stages of `way_out`.
//! * It cannot panic: no unwrap, no indexing, no unchecked arithmetic (lints below); its tables have a fixed size, and their
//!   memory is taken before the loop begins. In the loop only the start of a supervisor allocates.
//! * It parses nothing but the fixed-size records of `wire`, and it waits for nobody: every descriptor is used
//!   without blocking, a message that finds no room is dropped, and the other side has a bound.
//! * As PID 1 it runs from a sealed memfd, locked in memory, and opens nothing that lies on a disk: what may wait for one is done
//!   by the roles `boot` and `farewell`, which have deadlines. Hit by a fault of its own it executes itself as `rescue`.
//! * What may fail, and what happens then:
//!   setting up, before the first supervisor: told on standard error, the role ends with 1, and the host init or the boot
//!   stage before it decides;
//!   waiting for events: told, and tried again after a second, for ever;
//!   starting a supervisor: counts as a death of it, and is tried again after a growing delay, for ever;
//!   a full pipe of exit records: the zombie is the queue, and the pipe tells when there is room;
//!   a full table: the command is refused, and the supervisor has to cope;
//!   anything else about one child, one stream or one command: concerns only that one.
//!
//!   As PID 1 besides:
//!   a mount, the console, a limit, the copy in memory: told, and the boot goes on without;
//!   boot that crashes, overruns or talks nonsense: once more with the defaults, then on without it;
//!   a service that ends: again after a growing delay, for ever.
//! * It wakes only when something happens or is due. A healthy supervisor without deadlines and containers whose output is
//!   read cost nothing.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

mod booting;
mod commands;
mod duties;
mod exits;
pub mod farewell;
mod feeding;
mod handover;
mod held;
mod incarnation;
mod last_resort;
mod last_words;
mod leave;
mod mounts;
pub mod pid1;
mod reboots;
mod registered;
pub mod renewal;
pub mod rescue;
mod say;
mod services;
mod stdio;
mod streams;
mod supervision;
mod upkeep;
mod watchdog;
mod way_out;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::io::Result;

use crate::sys::clock::{BootTimer, boottime_ms};
use crate::sys::epoll::{Epoll, Event, EventFlags, NO_EVENT};
use crate::sys::process;
use crate::sys::signal::{Signal, SignalFd};
use crate::wire;
use exits::ExitRecords;
use handover::{Handover, Item};
use held::Held;
use incarnation::Supervisor;
use pid1::Pid1;
use registered::RegisteredPids;
use say::say;
use streams::Streams;
use supervision::{Due, Supervision, Wedged};
use way_out::Goal;

/// What init is told by whoever makes this process its init.
#[derive(Debug)]
pub struct Options {
    /// The program of the supervisor, open for reading: replacing the file by that name does no harm to a restart.
    pub supervisor_program: OwnedFd,
    /// Its arguments, `argv[0]` included. After a supervisor that crashed the next one gets [`wire::CRASHED`] besides, as the last.
    pub supervisor_args: Vec<CString>,
    /// How long init waits for the supervisor after it was asked to stop, in milliseconds.
    pub stop_bound_ms: u64,
}

/// Runs the role until it is asked to stop.
///
/// Signals: SIGTERM and SIGINT stop it (the supervisor is sent SIGTERM and has `stop_bound_ms` to end), SIGHUP is passed on to the
/// supervisor (read the manifests again), SIGCHLD is its trade. The caller must not have other threads.
pub fn run(options: Options) -> ExitCode {
    match Init::set_up(options, &[Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP]) {
        Ok(mut init) => {
            init.run();
            ExitCode::SUCCESS
        }
        Err((what, error)) => {
            say(format_args!("cannot start: {what}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What an event is about: the number it carries.
const SIGNALS: u64 = 0;
const TIMER: u64 = 1;
const COMMANDS: u64 = 2;
const RECORDS_HAVE_ROOM: u64 = 3;
const BOOT: u64 = 4;
const RENEWAL: u64 = 5;
/// Streams carry this plus their slot.
const FIRST_STREAM: u64 = 16;

/// Init needs its held descriptors, and a few of its own.
const OPEN_FILES: u64 = 16_384;

/// All that init has.
struct Init {
    options: Options,
    /// The supervisor's arguments when the one before has crashed.
    args_after_crash: Vec<CString>,
    epoll: Epoll,
    signals: SignalFd,
    timer: BootTimer,
    supervision: Supervision,
    supervisor: Option<Supervisor>,
    registered: RegisteredPids,
    held: Held<OwnedFd>,
    records: ExitRecords,
    streams: Streams,
    journal: (OwnedFd, OwnedFd),
    null: File,
    /// The soft limit of open descriptors as it was, for the supervisor.
    open_files_before: Option<u64>,
    /// What a PID 1 has besides.
    pid1: Option<Pid1>,
}

/// What failed, and why.
type SetUp<T> = std::result::Result<T, (&'static str, std::io::Error)>;

impl Init {
    fn set_up(options: Options, signals: &[Signal]) -> SetUp<Self> {
        fn step<T>(what: &'static str, result: Result<T>) -> SetUp<T> {
            result.map_err(|error| (what, error.into()))
        }
        let signals = step("receiving signals", SignalFd::new(signals))?;
        step("becoming a child subreaper", process::set_child_subreaper(true))?;
        let (open_files_before, _) = step("the limit of open files", process::set_open_files(OPEN_FILES))?;
        let epoll = step("epoll", Epoll::new())?;
        let timer = step("a timer", BootTimer::new())?;
        step("watching signals", epoll.add(&signals, SIGNALS, EventFlags::IN))?;
        step("watching the timer", epoll.add(&timer, TIMER, EventFlags::IN))?;
        let records = step("the pipe for exit records", ExitRecords::new(&epoll))?;
        let streams = step("the stream table", Streams::new())?;
        let journal = step("the journal pipe", crate::sys::pipe::pair(wire::JOURNAL_BYTES))?;
        let null = File::options().write(true).open("/dev/null").map_err(|error| ("opening /dev/null", error))?;
        let mut args_after_crash = options.supervisor_args.clone();
        args_after_crash.push(wire::CRASHED.to_owned());
        Ok(Self {
            options,
            args_after_crash,
            epoll,
            signals,
            timer,
            supervision: Supervision::new(boottime_ms()),
            supervisor: None,
            registered: RegisteredPids::new(wire::REGISTERED_PIDS),
            held: Held::new(wire::STREAM_SLOTS),
            records,
            streams,
            journal,
            null,
            open_files_before,
            pid1: None,
        })
    }

    /// As [`Self::set_up`], for PID 1.
    fn set_up_pid1(options: Options, handover: Handover) -> SetUp<Self> {
        let signals = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP];
        let more = [Signal::USR1, Signal::USR2, Signal::POWER, Signal::QUIT];
        let signals: Vec<Signal> = signals.into_iter().chain(more).collect();
        let mut init = Self::set_up(options, &signals)?;
        // Without a handover there was no supervisor before that could want them.
        init.supervision.set_keep_unknown(false, boottime_ms());
        // What it was before is this program's own, where another one of it has raised it.
        init.open_files_before = Some(pid1::OPEN_FILES);
        init.pid1 = Some(Pid1::new());
        init.resume(handover).map_err(|error| ("taking over from the program before", error.into()))?;
        Ok(init)
    }

    /// Takes over what the program of PID 1 before this one has left.
    fn resume(&mut self, handover: Handover) -> Result<()> {
        let now = boottime_ms();
        let (mut exits, mut journal) = ((None, None, 0), (None, None));
        let Some(pid1) = &mut self.pid1 else { return Ok(()) };
        for item in handover.0 {
            match item {
                Item::Began(at) => pid1.began_ms = at,
                Item::Watchdog(fd, max_s, wanted_s) => pid1.guard(fd, max_s, wanted_s, now),
                Item::Booted(bound_ms) => {
                    pid1.shutdown_bound_ms = bound_ms;
                    pid1.booting = booting::Booting::over();
                    self.supervision.set_keep_unknown(true, now);
                }
                Item::Service(kind) => pid1.services.want(kind, now),
                Item::ExitsRead(descriptor, written) => (exits.0, exits.2) = (Some(descriptor), written),
                Item::ExitsWrite(descriptor) => exits.1 = Some(descriptor),
                Item::JournalRead(descriptor) => journal.0 = Some(descriptor),
                Item::JournalWrite(descriptor) => journal.1 = Some(descriptor),
                Item::Streams(memory) => self.streams = Streams::resume(memory)?,
                Item::Held(descriptor, key, slot) => {
                    // Those that are no streams are refused here, as they were when they came.
                    let token = FIRST_STREAM.saturating_add(slot);
                    if commands::is_stream(&descriptor) == Ok(true) {
                        let _ = self.epoll.add(&descriptor, token, EventFlags::IN | EventFlags::ONESHOT);
                    }
                    self.held.hold_at(usize::try_from(slot).unwrap_or(usize::MAX), key, descriptor);
                }
                Item::Registered(pid, token) => {
                    let _ = self.registered.register(pid, token);
                }
            }
        }
        if let (Some(read_end), Some(write_end), written) = exits {
            self.records = ExitRecords::resume(&self.epoll, read_end, write_end, written)?;
        }
        if let (Some(read_end), Some(write_end)) = journal {
            self.journal = (read_end, write_end);
        }
        Ok(())
    }

    fn run(&mut self) {
        let mut events = [NO_EVENT; 64];
        crate::sys::memory::forget_text();
        loop {
            if self.do_what_is_due() {
                return;
            }
            self.set_timer();
            match self.epoll.wait(&mut events) {
                Ok(count) => {
                    for event in events.iter().take(count) {
                        self.handle(*event);
                    }
                }
                Err(error) => {
                    say(format_args!("waiting for events failed: {error}; trying again in a second"));
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let token = event.data.u64();
        match token {
            SIGNALS => self.take_signals(),
            TIMER => self.timer.acknowledge(),
            COMMANDS => self.take_commands(),
            RECORDS_HAVE_ROOM => self.records_have_room(),
            BOOT => self.hear_boot(),
            RENEWAL => self.hear_renewal(),
            _ => self.stream_has_bytes(token.saturating_sub(FIRST_STREAM)),
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::CHILD => self.collect_exits(),
                Signal::HUP => self.signal_supervisor(Signal::HUP),
                signal if self.pid1.is_some() => self.take_order(signal),
                _ => {
                    say(format_args!("asked to stop"));
                    self.supervision.stop(self.options.stop_bound_ms, boottime_ms());
                    self.signal_supervisor(Signal::TERM);
                }
            }
        }
    }

    /// A signal to PID 1.
    fn take_order(&mut self, signal: Signal) {
        match signal {
            Signal::TERM => self.go_down(Goal::Reboot, "SIGTERM"),
            Signal::INT => self.go_down(Goal::Reboot, "ctrl-alt-del"),
            Signal::USR1 => self.go_down(Goal::Halt, "SIGUSR1"),
            Signal::USR2 => self.go_down(Goal::PowerOff, "SIGUSR2"),
            Signal::POWER => self.go_down(Goal::PowerOff, "power failure"),
            Signal::QUIT => self.begin_renewal(),
            _ => {}
        }
    }

    /// Returns whether the role ends.
    fn do_what_is_due(&mut self) -> bool {
        let now = boottime_ms();
        self.look_at_streams(now);
        self.continue_collecting();
        self.do_duties(now);
        if !self.supervises() {
            return false;
        }
        // Each answer changes what is due, so this ends; the bound is for the reader's peace.
        for _ in 0..8 {
            match self.supervision.due(now) {
                None => break,
                Some(Due::Exit) => {
                    self.signal_supervisor(Signal::KILL);
                    return true;
                }
                Some(due) => self.act(due),
            }
        }
        false
    }

    fn act(&mut self, due: Due) {
        match due {
            Due::Start => self.start_supervisor(),
            Due::LookAtRecords => self.look_at_records(),
            Due::ReapUnknown => {
                say(format_args!("no word from a supervisor for a minute: unknown zombies are reaped"));
                self.collect_exits();
            }
            Due::Kill(wedged) => {
                let why = match wedged {
                    Wedged::Deadline => "it let its deadline pass by 10 s, or closed its command socket",
                    Wedged::Records => "it has read no exit record for 10 s",
                };
                say(format_args!("the supervisor is wedged: {why}; killing it"));
                self.signal_supervisor(Signal::KILL);
            }
            Due::Exit => {}
        }
    }

    fn set_timer(&mut self) {
        let collecting = self.records.collecting_goes_on().then_some(0);
        let supervision = if self.supervises() { self.supervision.next_ms() } else { None };
        let duties = self.pid1.as_ref().and_then(Pid1::next_ms);
        let next = [supervision, duties, self.streams.next_ms(), collecting].into_iter().flatten().min();
        if let Err(error) = self.timer.set(next) {
            say(format_args!("cannot set the timer: {error}"));
        }
    }
}
