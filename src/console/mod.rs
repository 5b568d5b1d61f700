//! The serial console: [`run`], a process of its own beside init. It prints the state of the pods as it changes, a line each with its time,
//! and takes a few keys. Nobody need read it: what waits for a slow terminal is bounded, and a terminal that hangs hurts only this process.
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | what a key does: pure, with the time given |
//! | `change` | from two states of the pods to lines: pure |
//! | `line`, `output` | the form of a line; lines that wait: pure |
//! | `answer` | what a person gets |
//! | `access` | who gets a shell |
//! | `tty` | the terminal |
//! | `feed` | the connection to the supervisor |
//! | `host` | what gatepost's other processes say |
//! | `child` | commands whose output is shown, and the shell |
//!
//! It sleeps until something happens: a reply, a key, an end of a child, or the deadline of a prompt.

mod access;
mod answer;
mod change;
mod child;
mod feed;
mod host;
mod keys;
mod line;
mod output;
mod tty;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;

use crate::config::Layout;
use crate::control::{ClientError, Reply};
use crate::sys::clock::{boottime_ms, boottime_us};
use crate::sys::host_log::Tail;
use crate::sys::signal::{Signal, SignalFd};
use answer::Choice;
use change::Watched;
use child::{Shell, View};
use feed::Feed;
use keys::Keys;
use output::Output;
use tty::Tty;

/// Shows the console on the terminal `named`, or on the one it finds, until the terminal is gone or a signal ends it.
pub fn run(named: Option<&Path>, layout: Layout) -> ExitCode {
    let signals = match SignalFd::new(&[Signal::TERM, Signal::INT, Signal::HUP, Signal::CHILD]) {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("console: signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (path, by_hand) = tty::find(named);
    let tty = loop {
        match Tty::open(&path) {
            Ok(tty) => break tty,
            Err(error) if by_hand || named.is_some() => {
                log::error!("console: {}: {error}; name a terminal", path.display());
                return ExitCode::FAILURE;
            }
            // A board without a console: nothing to do until a device comes.
            Err(_) => {
                if !wait_for_device(&path, &signals) {
                    return ExitCode::SUCCESS;
                }
            }
        }
    };
    let mut console = Console {
        keys: Keys::new(tty::init_is_ours(), by_hand),
        feed: Feed::new(layout.control_socket()),
        tty,
        signals,
        layout,
        watched: Watched::default(),
        output: Output::default(),
        pods: Vec::new(),
        choices: Vec::new(),
        view: None,
        shell: None,
        host: Tail::new().ok(),
        lost: None,
        end: None,
    };
    console.say("console", &console.help());
    console.serve()
}

/// Waits until something changes in the directory of `path`; false when a signal ends the wait.
fn wait_for_device(path: &Path, signals: &SignalFd) -> bool {
    let parent = path.parent().unwrap_or_else(|| Path::new("/dev"));
    let Ok(changes) = inotify::init(CreateFlags::CLOEXEC) else { return false };
    if inotify::add_watch(&changes, parent, WatchFlags::CREATE | WatchFlags::ATTRIB).is_err() {
        return false;
    }
    let mut watched = [PollFd::new(&changes, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    let _ = poll(&mut watched, None);
    signals.next().is_none()
}

struct Console {
    tty: Tty,
    signals: SignalFd,
    layout: Layout,
    keys: Keys,
    feed: Feed,
    watched: Watched,
    output: Output,
    /// v1 objects, as last told.
    pods: Vec<Value>,
    /// What was offered last.
    choices: Vec<Choice>,
    view: Option<View>,
    shell: Option<Shell>,
    /// What the supervisor and its helpers say; only on a gateway.
    host: Option<Tail>,
    /// Why there is no connection, as last told.
    lost: Option<String>,
    /// Set: leave.
    end: Option<ExitCode>,
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Source {
    Tty,
    Signals,
    Feed,
    View,
    ShellTerminal,
    ShellProcess,
    Host,
}

impl Console {
    fn serve(&mut self) -> ExitCode {
        loop {
            if let Some(result) = self.feed.connect(boottime_ms())
                && let Err(error) = result
            {
                let why = match error {
                    ClientError::NotRunning(_) | ClientError::NoListener(_) => "waiting for it to start".to_owned(),
                    other => other.to_string(),
                };
                self.tell_lost(&why);
            }
            self.look_at_deadlines();
            self.write();
            if let Some(status) = self.end {
                return status;
            }
            for source in self.wait() {
                match source {
                    Source::Tty => self.typed(),
                    Source::Signals => self.signalled(),
                    Source::Feed => self.told(),
                    Source::View => self.view_printed(),
                    Source::ShellTerminal => self.shell_printed(),
                    Source::ShellProcess => self.shell_ended(),
                    Source::Host => self.host_said(),
                }
            }
        }
    }

    /// Sleeps until something is ready or due.
    fn wait(&mut self) -> Vec<Source> {
        let wants_write = !self.output_pending().is_empty();
        let flags = |write| if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut sources = vec![Source::Tty, Source::Signals];
        let mut watched = vec![PollFd::new(&self.tty, flags(wants_write)), PollFd::new(&self.signals, PollFlags::IN)];
        let mut add = |source, descriptor| {
            sources.push(source);
            watched.push(descriptor);
        };
        if let Some(socket) = self.feed.descriptor() {
            add(Source::Feed, PollFd::from_borrowed_fd(socket, PollFlags::IN));
        }
        if let Some(host) = &self.host {
            add(Source::Host, PollFd::from_borrowed_fd(host.changes(), PollFlags::IN));
        }
        if let Some(view) = &self.view {
            add(Source::View, PollFd::from_borrowed_fd(view.output(), PollFlags::IN));
        }
        if let Some(shell) = &self.shell {
            // What it prints waits in its terminal while ours takes nothing.
            if shell.out.is_empty() || shell.wants_write() {
                add(Source::ShellTerminal, PollFd::from_borrowed_fd(shell.master(), flags(shell.wants_write())));
            }
            add(Source::ShellProcess, PollFd::from_borrowed_fd(shell.process(), PollFlags::IN));
        }
        let timeout = self.deadline().map(|at| {
            let left = at.saturating_sub(boottime_ms());
            let seconds = i64::try_from(left / 1000).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: i64::try_from(left % 1000).unwrap_or(0).saturating_mul(1_000_000) }
        });
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Vec::new(),
            Err(error) => {
                log::error!("console: cannot wait: {error}");
                self.end = Some(ExitCode::FAILURE);
                return Vec::new();
            }
        }
        let ready: Vec<bool> = watched.iter().map(|descriptor| !descriptor.revents().is_empty()).collect();
        sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source).collect()
    }

    fn deadline(&self) -> Option<u64> {
        let view = self.view.as_ref().map(|view| view.deadline);
        let shell = self.shell.as_ref().and_then(|shell| shell.deadline);
        [self.keys.deadline(), self.feed.deadline(), view, shell].into_iter().flatten().min()
    }

    fn look_at_deadlines(&mut self) {
        let now = boottime_ms();
        if let Some(wish) = self.keys.tick(now) {
            self.fulfil(wish);
        }
        self.output.prompt(self.keys.prompt());
        if self.view.as_ref().is_some_and(|view| view.deadline <= now) {
            self.show_view(" (it did not end in time)");
        }
        if let Some(shell) = &mut self.shell
            && shell.overdue(now)
        {
            shell.out = b"\r\nconsole: nothing was typed for too long: the shell is ended\r\n".to_vec();
        }
    }

    // ---- the terminal

    fn say(&mut self, room: &str, words: &str) {
        let stamped = line::stamped(boottime_us(), room, &line::plain(words));
        self.print(&stamped);
    }

    /// A line without a time.
    fn print(&mut self, words: &str) {
        for line in line::folded(words, self.tty.width()) {
            self.output.line(line);
        }
    }

    fn output_pending(&mut self) -> &[u8] {
        match &self.shell {
            Some(shell) => &shell.out,
            None => self.output.pending(),
        }
    }

    /// Writes as much as the terminal takes.
    fn write(&mut self) {
        loop {
            let bytes = match &self.shell {
                Some(shell) => shell.out.as_slice(),
                None => self.output.pending(),
            };
            if bytes.is_empty() {
                return;
            }
            match (self.tty.write(bytes), &mut self.shell) {
                (Ok(0), _) => return,
                (Ok(count), Some(shell)) => drop(shell.out.drain(..count.min(shell.out.len()))),
                (Ok(count), None) => self.output.wrote(count),
                (Err(error), _) => return self.terminal_gone(&error),
            }
        }
    }

    fn terminal_gone(&mut self, error: &io::Error) {
        log::warn!("console: the terminal is gone: {error}");
        self.end = Some(ExitCode::FAILURE);
    }

    fn typed(&mut self) {
        let mut bytes = [0; 256];
        let count = match self.tty.read(&mut bytes) {
            Ok(None) => return,
            Ok(Some(count)) => count,
            Err(error) => return self.terminal_gone(&error),
        };
        let bytes = bytes.get(..count).unwrap_or_default();
        let now = boottime_ms();
        if let Some(shell) = &mut self.shell {
            return shell.typed(bytes, now);
        }
        for byte in bytes {
            if let Some(wish) = self.keys.byte(*byte, now) {
                self.fulfil(wish);
            }
        }
        self.output.prompt(self.keys.prompt());
    }

    fn signalled(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal == Signal::CHILD {
                child::reap();
            } else {
                self.end = Some(ExitCode::SUCCESS);
            }
        }
    }

    // ---- the supervisor

    fn host_said(&mut self) {
        for line in self.host.as_mut().map(Tail::news).unwrap_or_default() {
            if !host::is_told_elsewhere(&line) {
                self.print(&line::plain(&line));
            }
        }
    }

    fn tell_lost(&mut self, why: &str) {
        if self.lost.is_none() {
            self.say("console", &format!("no supervisor: {why}"));
        }
        self.lost = Some(why.to_owned());
    }

    /// Takes what the supervisor has told.
    fn told(&mut self) {
        loop {
            match self.feed.next(boottime_ms()) {
                Ok(Some(reply)) => self.take(reply),
                Ok(None) => return,
                Err(error) => {
                    log::debug!("console: {error}");
                    return self.tell_lost("its connection has ended; waiting for the next one");
                }
            }
        }
    }

    fn take(&mut self, reply: Reply) {
        match reply {
            Reply::Info(info) => {
                self.lost = None;
                // Where its own lines are shown, it has said so.
                if self.host.is_none() {
                    self.say("console", &format!("supervisor {} of node {} is there", info.pid, info.node));
                }
            }
            Reply::Pods { items, warnings } => {
                for (room, words) in self.watched.update(&items, &warnings) {
                    self.say(room, &words);
                }
                self.pods = items;
            }
            Reply::Events { items } => {
                for words in items.iter().filter_map(change::event_line) {
                    self.say("event", &words);
                }
            }
            Reply::Services { .. } | Reply::Done { .. } | Reply::Error { .. } => {}
        }
    }
}
