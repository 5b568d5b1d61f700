//! What the console lets others do: [`View`], a command of this binary whose output is shown, and [`Shell`], a shell on a terminal
//! of its own, so that neither a stuck disk nor a shell can take the console away.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sys::process::{self, Which};
use crate::sys::signal::Signal;
use crate::sys::spawn::{Child, Program, Spawn, memfd_with};

/// Milliseconds a command may take.
const VIEW_MS: u64 = 15_000;
/// Bytes of its output that are shown; the end counts.
const VIEW_BYTES: usize = 32 << 10;
/// Milliseconds from the hang-up to the kill of a shell.
const HANG_UP_MS: u64 = 2_000;

/// A command whose output is shown when it has ended.
#[derive(Debug)]
pub(super) struct View {
    child: Child,
    output: OwnedFd,
    text: Vec<u8>,
    /// When it is killed.
    pub(super) deadline: u64,
}

impl View {
    /// Starts `gatepost ARGUMENTS`, which reads `input`, against the gatepost that runs in `run`.
    pub(super) fn start(arguments: &[&str], input: Option<&[u8]>, run: &Path, now: u64) -> Result<Self> {
        let read = match input {
            Some(text) => memfd_with("pasted", text)?,
            None => rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?,
        };
        let mut all = vec![c"gatepost".to_owned()];
        all.extend(arguments.iter().filter_map(|argument| CString::new(*argument).ok()));
        let run = run.to_string_lossy();
        all.extend([c"--run-dir".to_owned(), CString::new(run.as_bytes()).unwrap_or_default()]);
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Only our end shall not wait.
        rustix::io::ioctl_fionbio(&input, false)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let mut spawn = Spawn::new(Program::Path(c"/proc/self/exe"), &all);
        spawn.stdin = Some(read.as_fd());
        spawn.stdout = Some(input.as_fd());
        spawn.stderr = Some(input.as_fd());
        spawn.new_session = true;
        let child = spawn.start()?;
        Ok(Self { child, output, text: Vec::new(), deadline: now.saturating_add(VIEW_MS) })
    }

    /// Readable when there is more.
    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Takes what it has printed; true when it has printed all.
    pub(super) fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match rustix::io::read(&self.output, &mut chunk) {
                Ok(count @ 1..) => {
                    self.text.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    let excess = self.text.len().saturating_sub(VIEW_BYTES);
                    if excess >= VIEW_BYTES {
                        self.text.drain(..excess);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// Ends it, and gives the last `most` lines it printed.
    pub(super) fn finish(self, most: usize) -> Vec<String> {
        // It may have closed its output and live on. One that waits for a disk ends later, and is reaped then.
        let _ = process::signal(&self.child.pidfd, Signal::KILL);
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(most);
        lines.into_iter().skip(from).map(str::to_owned).collect()
    }
}

/// Reaps every ended child; the shell's end is told by its pidfd.
pub(super) fn reap() {
    while matches!(process::reap(Which::Any), Ok(Some(_))) {}
}

/// A shell behind a pseudo-terminal. Dropped, its terminal hangs up.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    master: OwnedFd,
    /// Bytes from the shell that the console has not taken yet.
    pub(super) out: Vec<u8>,
    /// Bytes typed that the shell has not taken yet; bounded, what noise adds beyond is lost.
    input: Vec<u8>,
    timeout_ms: u64,
    /// When it is told to end, or killed.
    pub(super) deadline: Option<u64>,
    hung_up: bool,
}

/// Bytes that wait for the shell.
const INPUT: usize = 4096;

impl Shell {
    /// Starts a login shell; `timeout_ms` 0 for no limit.
    pub(super) fn start(size: Winsize, timeout_ms: u64, now: u64) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, size)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let arguments = [c"-sh".to_owned()];
        let environment = [c"HOME=/root", PATH, c"TERM=vt100", c"USER=root"].map(CStr::to_owned);
        let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &arguments);
        spawn.env = Some(&environment);
        spawn.stdin = Some(slave.as_fd());
        spawn.stdout = Some(slave.as_fd());
        spawn.stderr = Some(slave.as_fd());
        spawn.cwd = Some(c"/");
        spawn.new_session = true;
        spawn.controlling_terminal = true;
        let child = spawn.start()?;
        let mut shell =
            Self { child, master, out: Vec::new(), input: Vec::new(), timeout_ms, deadline: None, hung_up: false };
        shell.touched(now);
        Ok(shell)
    }

    /// Readable when it has ended.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Its terminal.
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    fn touched(&mut self, now: u64) {
        if !self.hung_up {
            self.deadline = (self.timeout_ms > 0).then(|| now.saturating_add(self.timeout_ms));
        }
    }

    /// Something was typed.
    pub(super) fn typed(&mut self, bytes: &[u8], now: u64) {
        self.touched(now);
        let room = INPUT.saturating_sub(self.input.len());
        self.input.extend(bytes.iter().take(room));
        self.pass_on();
    }

    /// Gives the shell what it takes.
    pub(super) fn pass_on(&mut self) {
        while !self.input.is_empty() {
            match rustix::io::write(&self.master, &self.input) {
                Ok(count) => drop(self.input.drain(..count.min(self.input.len()))),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether bytes wait for the shell.
    pub(super) fn wants_write(&self) -> bool {
        !self.input.is_empty()
    }

    /// Takes what it printed, if all before was taken. False when nothing more will come.
    pub(super) fn read(&mut self) -> bool {
        if !self.out.is_empty() {
            return true;
        }
        let mut chunk = [0; 1024];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.master, &mut chunk)) {
            Ok(count @ 1..) => {
                self.out.extend_from_slice(chunk.get(..count).unwrap_or_default());
                true
            }
            Err(Errno::AGAIN) => true,
            Ok(_) | Err(_) => false,
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let _ = process::signal(&self.child.pidfd, Signal::KILL);
    }

    /// Nothing was typed for too long: it is told to end, and killed if it does not. True the first time.
    pub(super) fn overdue(&mut self, now: u64) -> bool {
        if self.deadline.is_none_or(|at| now < at) {
            return false;
        }
        let signal = if self.hung_up { Signal::KILL } else { Signal::HUP };
        let _ = process::signal(&self.child.pidfd, signal);
        let first = !self.hung_up;
        self.hung_up = true;
        self.deadline = first.then(|| now.saturating_add(HANG_UP_MS));
        first
    }
}

const PATH: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
