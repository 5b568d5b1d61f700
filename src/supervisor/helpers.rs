//! [`Helpers`]: the short-lived processes that do what may wait: each in a cgroup of its own, with a deadline.
//!
//! The request goes in as a sealed memfd on descriptor 0, the report comes out of a pipe on descriptor 3. A helper that
//! overruns its deadline is killed with all it started. A new supervisor ends what an old one left running, whose cgroups say
//! what that is.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::config::WORKER_REMEDY;
use crate::pod::time::Instant;
use crate::sorted::BTreeMap;
use crate::sys::cgroup::Cgroups;
use crate::sys::helper::{PASSED, REPORT};
use crate::sys::memory;
use crate::sys::process::{self, Ended, Which};
use crate::sys::spawn::{Child, Program, Spawn, Step, memfd_with};

/// Largest report; a helper that says more is broken.
const MAX_REPORT: usize = 64 << 20;

/// How long a new supervisor waits for the helpers of the previous one to be gone after their SIGKILL.
const END_BOUND: Duration = Duration::from_secs(5);

/// The running helpers, each with the task it does.
#[derive(Debug)]
pub(crate) struct Helpers<T> {
    cgroups: Cgroups,
    /// The cgroup they live below, outside the pods' ones.
    parent: String,
    running: BTreeMap<u64, Running<T>>,
    next: u64,
    /// Cgroups that are made and empty.
    free: Vec<Slot>,
    slots: u32,
    /// A role of this binary can be started without waiting for anything.
    in_memory: bool,
}

/// What a helper is to do.
pub(crate) struct Job<'a, T> {
    /// Comes back with the outcome.
    pub(crate) task: T,
    /// The role of this binary, or the program with its arguments.
    pub(crate) command: Command<'a>,
    /// Its request; empty for none.
    pub(crate) request: Vec<u8>,
    /// Its standard output and error; `None`: the supervisor's own error output.
    pub(crate) output: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// A descriptor for its role, at [`PASSED`].
    pub(crate) passed: Option<BorrowedFd<'a>>,
    /// Milliseconds until it is killed.
    pub(crate) bound_ms: u64,
}

/// What a helper runs.
pub(crate) enum Command<'a> {
    /// A role of this binary.
    Role(&'a str),
    /// A role of `gatepost-worker`, which lies at this path.
    Worker(&'a Path, &'a str),
    /// Another program: absolute path and arguments, its name first.
    Program(&'a str, Vec<String>),
}

#[derive(Debug)]
struct Running<T> {
    task: T,
    /// Where `gatepost-worker` should be, when it is that.
    worker: Option<PathBuf>,
    child: Child,
    report: Option<OwnedFd>,
    received: Vec<u8>,
    deadline: Instant,
    bound_ms: u64,
    overdue: bool,
    slot: Slot,
}

#[derive(Debug)]
struct Slot {
    path: String,
    /// Missing on a machine without cgroups: then only the helper itself is ended, not what it started.
    procs: Option<File>,
}

/// How a helper ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With exit status 0 and this report (empty when it gave none).
    Done(Vec<u8>),
    /// Otherwise: the report if there is one, and what happened in words.
    Failed(Vec<u8>, String),
}

/// A descriptor of a helper, as an epoll token half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// Its pidfd: it has ended.
    Process,
    /// Its report pipe: it says something.
    Report,
}

impl<T> Helpers<T> {
    /// Ends and removes whatever an earlier supervisor left running, and is ready to start new ones.
    pub(crate) fn take_over(cgroups: Cgroups, parent: String) -> Self {
        let held = memory::hold_headers().inspect_err(|error| {
            log::debug!("the program's first page is not held in memory, so helpers are started by copies: {error}");
        });
        let in_memory = held.is_ok() && cgroups.join_at_once();
        let helpers =
            Self { cgroups, parent, running: BTreeMap::new(), next: 1, free: Vec::new(), slots: 0, in_memory };
        helpers.end_all();
        helpers
    }

    /// Ends every helper, whosever it is, and removes its cgroup. Waits for their ends: not for the loop.
    pub(crate) fn end_all(&self) {
        let start = std::time::Instant::now();
        let mut left = self.cgroups.children(&self.parent).unwrap_or_default();
        // All at once, since one that waits for a dead disk may take as long as it likes.
        while !left.is_empty() {
            left.retain(|child| !is_ended(&self.cgroups, &format!("{}/{child}", self.parent)));
            if start.elapsed() > END_BOUND {
                log::warn!("helpers do not end: {}/{{{}}}", self.parent, left.join(","));
                break;
            }
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Starts a helper and gives its number and the descriptors to wait on.
    pub(crate) fn start(&mut self, job: Job<'_, T>, now: Instant) -> Result<u64, (T, io::Error)> {
        match self.spawn(&job) {
            Ok((child, report, slot)) => {
                let number = self.next;
                self.next = self.next.saturating_add(1);
                let worker = if let Command::Worker(path, _) = job.command { Some(path.to_owned()) } else { None };
                let running = Running {
                    task: job.task,
                    worker,
                    child,
                    report: Some(report),
                    received: Vec::new(),
                    deadline: now.after(job.bound_ms),
                    bound_ms: job.bound_ms,
                    overdue: false,
                    slot,
                };
                self.running.insert(number, running);
                Ok(number)
            }
            Err(error) => Err((job.task, error)),
        }
    }

    fn spawn(&mut self, job: &Job<'_, T>) -> io::Result<(Child, OwnedFd, Slot)> {
        let slot = self.slot()?;
        let (program, args) = match &job.command {
            Command::Role(role) => (c"/proc/self/exe".to_owned(), vec!["gatepost".to_owned(), (*role).to_owned()]),
            Command::Worker(path, role) => {
                let path = path.as_os_str().as_encoded_bytes();
                (CString::new(path)?, vec!["gatepost-worker".to_owned(), (*role).to_owned()])
            }
            Command::Program(path, args) => (CString::new(*path)?, args.clone()),
        };
        let args = args.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let request = memfd_with("request", &job.request)?;
        let (report, answer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&report, true)?;
        let null = File::open("/dev/null")?;
        let stderr = io::stderr();
        let mut spawn = Spawn::new(Program::Path(&program), &args);
        spawn.stdin = Some(if job.request.is_empty() { null.as_fd() } else { request.as_fd() });
        let (stdout, stderr) = job.output.unwrap_or((stderr.as_fd(), stderr.as_fd()));
        spawn.stdout = Some(stdout);
        spawn.stderr = Some(stderr);
        spawn.extra_fds = vec![(answer.as_fd(), REPORT)];
        spawn.extra_fds.extend(job.passed.map(|passed| (passed, PASSED)));
        spawn.cgroup_procs = slot.procs.iter().map(AsFd::as_fd).collect();
        spawn.new_session = true;
        // Its own program this process holds in memory; another one lies on a disk that may not answer.
        spawn.borrows_memory = self.in_memory && matches!(job.command, Command::Role(_));
        let child = spawn.start()?;
        Ok((child, report, slot))
    }

    fn slot(&mut self) -> io::Result<Slot> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        let path = format!("{}/{}", self.parent, self.slots);
        let procs = if self.cgroups.is_none() {
            None
        } else {
            self.cgroups.create_bare(&path)?;
            Some(self.cgroups.open_procs(&path)?)
        };
        self.slots = self.slots.saturating_add(1);
        Ok(Slot { path, procs })
    }

    /// The descriptors of helper `number`.
    pub(crate) fn descriptors(&self, number: u64) -> Option<(BorrowedFd<'_>, Option<BorrowedFd<'_>>)> {
        let running = self.running.get(&number)?;
        Some((running.child.pidfd.as_fd(), running.report.as_ref().map(AsFd::as_fd)))
    }

    /// Takes what a descriptor has to say; gives task and outcome once the helper has ended.
    pub(crate) fn ready(&mut self, number: u64, descriptor: Descriptor) -> Option<(T, Outcome)> {
        let running = self.running.get_mut(&number)?;
        running.read_report();
        if descriptor == Descriptor::Report {
            return None;
        }
        let pid = running.child.pid;
        let ended = match process::reap(Which::Pid(pid)) {
            Ok(Some(ended)) => ended,
            Ok(None) => return None,
            Err(error) => {
                log::warn!("helper process {pid} was reaped by somebody else: {error}");
                return self.finish(number, Some("it vanished".to_owned()));
            }
        };
        let failure = if running.overdue {
            Some(format!("it did not finish within {} s and was killed", running.bound_ms / 1000))
        } else if let Some(failure) = running.child.failure() {
            Some(match &running.worker {
                Some(path) if failure.step == Step::Execute => {
                    format!("cannot start {}: {}; {WORKER_REMEDY}", path.display(), io::Error::from(failure.errno))
                }
                _ => failure.to_string(),
            })
        } else {
            failure_of(ended)
        };
        self.finish(number, failure)
    }

    fn finish(&mut self, number: u64, failure: Option<String>) -> Option<(T, Outcome)> {
        let running = self.running.remove(&number)?;
        // What it left running, it should not have.
        match self.cgroups.is_empty(&running.slot.path) {
            Ok(true) => self.free.push(running.slot),
            _ => match self.cgroups.kill(&running.slot.path, Duration::from_millis(100)) {
                Ok(true) => self.free.push(running.slot),
                // The slot is given up; the next supervisor tries again.
                Ok(false) => log::warn!("a helper left processes in cgroup {} that do not end", running.slot.path),
                Err(error) => log::warn!("cannot empty the helper cgroup {}: {error}", running.slot.path),
            },
        }
        let outcome = match failure {
            None => Outcome::Done(running.received),
            Some(why) => Outcome::Failed(running.received, why),
        };
        Some((running.task, outcome))
    }

    /// The earliest deadline of a running helper.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running.values().filter(|r| !r.overdue).map(|r| r.deadline).min()
    }

    /// Kills every helper that has overrun its deadline; its end is then told as any other.
    pub(crate) fn kill_overdue(&mut self, now: Instant) {
        for running in self.running.values_mut().filter(|r| !r.overdue && r.deadline <= now) {
            running.overdue = true;
            if let Err(error) = self.cgroups.kill_once(&running.slot.path) {
                log::warn!("cannot kill the helper in cgroup {}: {error}", running.slot.path);
            }
            let _ = process::signal(&running.child.pidfd, rustix::process::Signal::KILL);
        }
    }

    /// Tasks of the running helpers.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &T> {
        self.running.values().map(|r| &r.task)
    }
}

/// Kills what is in a helper's cgroup and removes it; true when it is gone. A helper that was being started when its supervisor
/// died may still come into it.
fn is_ended(cgroups: &Cgroups, path: &str) -> bool {
    match cgroups.kill_once(path) {
        Ok(true) => cgroups.remove(path).is_ok(),
        Ok(false) => false,
        Err(error) => {
            log::warn!("cannot end the previous supervisor's helper in cgroup {path}: {error}");
            true
        }
    }
}

/// What an end means, in words; `None` for exit status 0.
fn failure_of(ended: Ended) -> Option<String> {
    match (ended.code, ended.status) {
        (libc::CLD_EXITED, 0) => None,
        (libc::CLD_EXITED, status) => Some(format!("it ended with status {status}")),
        (_, signal) => Some(format!("it was killed by signal {signal}")),
    }
}

impl<T> Running<T> {
    fn read_report(&mut self) {
        let Some(report) = &self.report else { return };
        let mut buffer = [0; 16384];
        loop {
            match rustix::io::read(report, &mut buffer) {
                Ok(0) => break,
                Ok(n) if self.received.len() < MAX_REPORT => {
                    self.received.extend_from_slice(buffer.get(..n).unwrap_or_default());
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => break,
            }
        }
        // At its end the pipe would be ready for ever.
        self.report = None;
    }
}
