//! The role `container-exec`: runs a command in a container for a probe or hook, for no longer than it may take.
//!
//! The runtime's own `exec` ends as soon as the command has begun (a runc that waits holds 14 MB), and the command becomes a child of
//! this process, which is a child subreaper: so its exit status is known, and its pid means it and nothing else. Its time counts
//! from when it has begun, not from when the runtime was called.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::json::{Deserialize, Serialize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::runtime::{Runtime, failure_in};
use crate::sys::helper::Helper;
use crate::sys::process::{self, Which};
use crate::sys::signal::Signal;

/// Version of [`Request`] and [`Report`].
pub const VERSION: u32 = 1;

/// kubelet: what is kept of the output, in bytes.
const OUTPUT: usize = 10 << 10;
/// How long the runtime may take to begin a command. It is no fault of the container's when that is not enough.
pub const BEGIN_MS: u64 = 30_000;

/// What to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The runtime.
    pub runtime: Runtime,
    /// Its state root.
    pub root: PathBuf,
    /// Id of the container.
    pub id: String,
    /// For files of this call, whose names begin with `name`.
    pub directory: PathBuf,
    /// No other call in this directory has it.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Milliseconds it may run; `None`: as long as it likes.
    pub bound_ms: Option<u64>,
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// It ended with this code, 128 + n for signal n.
    #[serde(default)]
    pub code: Option<i32>,
    /// It was killed when its time was over.
    #[serde(default)]
    pub timed_out: bool,
    /// The first 10 KiB of what it said.
    #[serde(default)]
    pub output: String,
    /// It was not run, and why.
    #[serde(default)]
    pub error: String,
}

/// The role's entry.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("container-exec") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = helper.request::<Request>(VERSION).and_then(|request| {
        helper.drop_request(true).map_err(|error| error.to_string())?;
        let pid_file = request.directory.join(format!("{}.pid", request.name));
        let log = request.directory.join(format!("{}.log", request.name));
        let remove = || [&pid_file, &log].map(|path| std::fs::remove_file(path).is_ok());
        // A supervisor before, which counted from 1 too, may have been ended in the middle of a call.
        remove();
        let report = run(&request, &log, &pid_file);
        remove();
        report
    });
    let report = report.unwrap_or_else(|error| Report { error, ..Report::default() });
    helper.report(&Report { version: VERSION, ..report }, true)
}

fn run(request: &Request, log: &Path, pid_file: &Path) -> Result<Report, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    process::set_child_subreaper(true).map_err(|error| format!("becoming a child subreaper: {error}"))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|e| format!("a pipe: {e}"))?;
    let mut output = Output { pipe: Some(read), kept: Vec::new() };
    // Only our end must not wait.
    rustix::io::ioctl_fionbio(&write, false).map_err(|error| format!("a pipe: {error}"))?;
    let write = File::from(write);
    let mut command = request.runtime.exec_detached(&request.root, log, pid_file, &request.id, &request.command);
    command.stdin(Stdio::null()).stdout(write.try_clone().map_err(failed("a pipe"))?).stderr(write);
    let mut runtime = command.spawn().map_err(failed("the runtime"))?;
    drop(command);
    let began = Instant::now();
    let pidfd = process::open(runtime.id()).map_err(|error| format!("the runtime: {error}"))?;
    if !output.until_end_of(&pidfd, began.checked_add(Duration::from_millis(BEGIN_MS))) {
        let _ = runtime.kill();
        let _ = runtime.wait();
        return Err(format!("the runtime did not begin the command within {} s", BEGIN_MS / 1000));
    }
    let status = runtime.wait().map_err(failed("the runtime"))?;
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let pid = match pid {
        Some(pid) if status.success() => pid,
        _ => {
            let said = failure_in(log).message;
            return Err(if said.is_empty() { format!("the runtime ended with {status}") } else { said });
        }
    };
    let pidfd = process::open(pid).map_err(|error| format!("process {pid}: {error}"))?;
    let end = request.bound_ms.and_then(|bound| Instant::now().checked_add(Duration::from_millis(bound)));
    let timed_out = !output.until_end_of(&pidfd, end);
    if timed_out {
        // The runtime made it the leader of a session of its own. It is our child, so the number still means it.
        let _ = process::signal_group(pid, Signal::KILL);
        let _ = process::signal(&pidfd, Signal::KILL);
        output.until_end_of(&pidfd, None);
    }
    let ended = process::reap(Which::Pid(pid)).map_err(|error| format!("process {pid}: {error}"))?;
    output.read();
    let code = ended.map(|ended| if ended.code == 1 { ended.status } else { ended.status.saturating_add(128) });
    let output = String::from_utf8_lossy(&output.kept).into_owned();
    Ok(Report { code: code.filter(|_| !timed_out), timed_out, output, ..Report::default() })
}

/// What a command says: kept up to [`OUTPUT`], and then taken so that it never has to wait for a reader.
struct Output {
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
}

impl Output {
    /// Reads until the process has ended; false when that is not before `end`.
    fn until_end_of(&mut self, process: &OwnedFd, end: Option<Instant>) -> bool {
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let over = left.is_some_and(|left| left.tv_sec == 0 && left.tv_nsec == 0);
            let mut watched = vec![PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
            watched.extend(self.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            let polled = poll(&mut watched, left.as_ref());
            let ended = watched.first().is_some_and(|process| !process.revents().is_empty());
            let says = watched.get(1).is_some_and(|pipe| !pipe.revents().is_empty());
            drop(watched);
            if ended {
                return true;
            }
            if says {
                self.read();
            }
            if over && matches!(polled, Ok(_) | Err(rustix::io::Errno::INTR)) {
                return false;
            }
        }
    }

    /// Takes what is there, but not for ever from one that never stops.
    fn read(&mut self) {
        let mut piece = [0; 16384];
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut piece) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = OUTPUT.saturating_sub(self.kept.len()).min(count);
                    self.kept.extend_from_slice(piece.get(..room).unwrap_or_default());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}
