//! [`Instance`]: one run of one container, from its directory under `/run` to the last trace of it.
//!
//! What a restarted supervisor must know of it stands in its directory: [`Record`] before anything is started, and its [`Exit`]
//! before init's record of it is consumed.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::json::{Deserialize, Serialize};
use crate::pod::event::{ContainerRef, Exit, Seq, StartMode};
use crate::pod::time::{Instant, Wall};
use crate::state::{StateError, volatile};
use crate::sys::pipe;
use crate::wire::ExitRecord;

/// Capacity of a log FIFO in bytes: what a container may say while nobody reads.
const FIFO_SIZE: usize = 256 << 10;

/// Bytes of a termination message that are kept (Kubernetes' limit).
const TERMINATION_MESSAGE: u64 = 4096;

/// What is known of an instance, as written to `instance.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its number; token of its exit record.
    pub(crate) seq: Seq,
    /// Its name at the runtime.
    pub(crate) id: String,
    /// Which container.
    pub(crate) container: ContainerRef,
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's full name.
    pub(crate) pod_name: String,
    /// Number of its log file.
    pub(crate) attempt: u32,
    /// Whether the program starts in the same call.
    pub(crate) mode: StartMode,
    /// Whether it has a terminal.
    pub(crate) tty: bool,
    /// Its cgroup, from the root of the hierarchy.
    pub(crate) cgroup: String,
    /// Where its last words are found after its end.
    pub(crate) termination_message: PathBuf,
    /// Its first process, once known.
    pub(crate) pid: Option<u32>,
    /// Start time of that process (proc_pid_stat(5)).
    pub(crate) start_time: Option<u64>,
    /// Its slots in init's stream table: stdout (or the terminal), stderr.
    pub(crate) slots: [Option<u32>; 2],
    /// Its log is stored to the end, and init holds nothing of it any more: it must not be asked to again.
    #[serde(default)]
    pub(crate) stored: bool,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The runtime is at work.
    Launching,
    /// Created, its program not started.
    Created,
    /// Its program runs.
    Running,
    /// Its first process has ended; what it left in its cgroup is being killed.
    Emptying,
    /// It has ended; the end of its log is being fetched for its termination message.
    Telling,
    /// It has ended, or never started; the core knows.
    Ended,
}

/// One run of one container.
#[derive(Debug)]
pub(crate) struct Instance {
    /// What stands in its directory.
    pub(crate) record: Record,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// Its first process; means the right one (see [`crate::sys::process::open`]).
    pub(crate) pidfd: Option<OwnedFd>,
    /// Its process is not init's child: nobody will tell how it ends.
    pub(crate) foreign: bool,
    /// How it ended, while its cgroup is being emptied.
    pub(crate) exit: Option<Exit>,
    /// When to look at its cgroup again, and how long to wait after that (ms).
    pub(crate) look_again: Option<(Instant, u64)>,
    /// Log streams the log writer has not finished yet.
    pub(crate) open_streams: u32,
    /// The core wants every trace of it removed.
    pub(crate) remove: bool,
}

impl Instance {
    /// An instance nothing is known of but its record.
    pub(crate) fn new(record: Record, phase: Phase) -> Self {
        Self {
            record,
            phase,
            pidfd: None,
            foreign: false,
            exit: None,
            look_again: None,
            open_streams: 0,
            remove: false,
        }
    }
}

/// Makes the directory and FIFOs of an instance and writes its record.
pub(crate) fn lay_out(directory: &Path, record: &Record) -> Result<(), StateError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StateError::Io { action, path, source }
    };
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    if !record.tty {
        for name in ["stdout", "stderr"] {
            let path = directory.join(name);
            let made = rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
            made.or_else(|e| if e == rustix::io::Errno::EXIST { Ok(()) } else { Err(e) })
                .map_err(|e| failed("create", &path)(e.into()))?;
        }
    }
    save(directory, record)
}

/// Writes the record.
pub(crate) fn save(directory: &Path, record: &Record) -> Result<(), StateError> {
    volatile::write(&directory.join("instance.json"), record)
}

/// Reads the record; `None` when there is none.
pub(crate) fn load(directory: &Path) -> Result<Option<Record>, StateError> {
    volatile::read(&directory.join("instance.json"))
}

/// Stores how it ended: before the record of that is consumed.
pub(crate) fn save_exit(directory: &Path, exit: &Exit) -> Result<(), StateError> {
    volatile::write(&directory.join("exit.json"), exit)
}

/// How it ended, if that was stored.
pub(crate) fn load_exit(directory: &Path) -> Result<Option<Exit>, StateError> {
    volatile::read(&directory.join("exit.json"))
}

/// One end of a log FIFO, with its own open(2): a shared one would share `O_NONBLOCK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// For the container: read-write, so that it never sees EPIPE, and blocking.
    Container,
    /// For init, which keeps it so that unread bytes outlive everybody: read-write, non-blocking.
    Keeper,
    /// For the log writer: reading, non-blocking.
    Reader,
}

/// Opens one end of a log FIFO.
pub(crate) fn open_fifo(path: &Path, end: End) -> io::Result<OwnedFd> {
    let flags = match end {
        End::Container => OFlags::RDWR,
        End::Keeper => OFlags::RDWR | OFlags::NONBLOCK,
        End::Reader => OFlags::RDONLY | OFlags::NONBLOCK,
    };
    let fifo = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
    if end == End::Keeper
        && let Err(error) = pipe::set_size(fifo.as_fd(), FIFO_SIZE)
    {
        // Without CAP_SYS_RESOURCE the kernel bounds what one user's pipes may hold (pipe(7)); a smaller one works too.
        log::debug!("{}: capacity stays at the kernel's default: {error}", path.display());
    }
    Ok(fifo)
}

/// The pid the runtime wrote.
pub(crate) fn read_pid(directory: &Path) -> Option<u32> {
    fs::read_to_string(directory.join("pid")).ok()?.trim().parse().ok()
}

/// The exit that init's record tells.
pub(crate) fn exit_of(record: &ExitRecord, message: String) -> Exit {
    // CLD_EXITED is 1: the status is a code, else a signal (waitid(2)).
    let code = if record.si_code == 1 { record.si_status } else { record.si_status.saturating_add(128) };
    Exit {
        code,
        oom_killed: false,
        reason: None,
        message,
        at: Instant(record.boottime_ms),
        at_wall: Wall(record.wall_ms),
    }
}

/// The end of an instance that nobody saw end: 137, as Kubernetes says it.
pub(crate) fn unseen_exit(at: Instant, at_wall: Wall) -> Exit {
    Exit {
        code: 137,
        oom_killed: false,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: "The container ended while no supervisor was there to see how".to_owned(),
        at,
        at_wall,
    }
}

/// What the container left in its termination log: the last 4096 bytes.
pub(crate) fn termination_message(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        // The container may have put anything there: never wait for a FIFO.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TERMINATION_MESSAGE)))?;
        let mut text = Vec::new();
        file.take(TERMINATION_MESSAGE).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(si_code: i32, si_status: i32) -> ExitRecord {
        ExitRecord { number: 1, token: 1, pid: 2, si_code, si_status, boottime_ms: 5, wall_ms: 6 }
    }

    #[test]
    fn an_exit_status_is_its_code_and_a_signal_128_more() {
        assert_eq!(exit_of(&record(1, 3), String::new()).code, 3);
        assert_eq!(exit_of(&record(2, 9), String::new()).code, 137);
        assert_eq!(exit_of(&record(3, 11), String::new()).code, 139);
    }

    #[test]
    fn the_last_4096_bytes_are_the_termination_message_and_a_missing_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert_eq!(termination_message(&path), "");
        fs::write(&path, "a".repeat(5000) + "end").unwrap();
        let message = termination_message(&path);
        assert_eq!(message.len(), 4096);
        assert!(message.ends_with("end"));
    }
}
