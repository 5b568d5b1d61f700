//! Processes: how a child ended ([`peek`], [`reap`]), which process a pid means ([`stat`], [`open`]), and signalling it.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How a child ended, as waitid(2) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The child.
    pub pid: u32,
    /// `CLD_EXITED` 1, `CLD_KILLED` 2 or `CLD_DUMPED` 3.
    pub code: i32,
    /// The exit status, or the signal that killed it.
    pub status: i32,
}

/// Which children a wait is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Any child.
    Any,
    /// The child with this pid.
    Pid(u32),
}

/// An ended child that is left as it is: a zombie. `None` when no such child has ended, `ECHILD` when there is no such child.
pub fn peek(which: Which) -> Result<Option<Ended>> {
    wait(which, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// As [`peek`], and the zombie is gone afterwards.
pub fn reap(which: Which) -> Result<Option<Ended>> {
    wait(which, libc::WEXITED | libc::WNOHANG)
}

fn wait(which: Which, options: libc::c_int) -> Result<Option<Ended>> {
    let (kind, id) = match which {
        Which::Any => (libc::P_ALL, 0),
        // waitid(2) takes pid 0 for the caller's process group.
        Which::Pid(0) => return Err(Errno::CHILD),
        Which::Pid(pid) => (libc::P_PID, pid),
    };
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is room for one siginfo_t, which is plain data.
        if unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) } != 0 {
            let error = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
            if error == Errno::INTR {
                continue;
            }
            // EINVAL: a number that cannot be a pid.
            return Err(if error == Errno::INVAL { Errno::CHILD } else { error });
        }
        // SAFETY: zeroed above and filled by waitid, which leaves si_pid 0 when no child has ended.
        let info = unsafe { info.assume_init() };
        // SAFETY: after waitid these fields of the union are the valid ones (or all zero).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0).map(|pid| Ended {
            pid,
            code: info.si_code,
            status,
        }));
    }
}

/// What a process is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// No child of ours: gone, reaped, or somebody else's.
    NotAChild,
    /// A living child.
    Living,
    /// A child that has ended and waits to be reaped.
    Zombie,
}

/// Whether `pid` is our child, and how it is.
pub fn kinship(pid: u32) -> Kinship {
    match peek(Which::Pid(pid)) {
        Ok(None) => Kinship::Living,
        Ok(Some(_)) => Kinship::Zombie,
        Err(_) => Kinship::NotAChild,
    }
}

/// What `/proc/<pid>/stat` says about which process this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter, `Z` for a zombie (proc_pid_stat(5)).
    pub state: char,
    /// The parent's pid; 0 when the parent is in another pid namespace.
    pub parent: u32,
    /// When it started, in clock ticks since boot: with the pid, the name of a process. The runtime's
    /// `init_process_start` in its `state.json` is the same number.
    pub start_time: u64,
}

/// Reads `/proc/<pid>/stat`. `ENOENT` or `ESRCH` when there is no such process.
pub fn stat(pid: u32) -> std::io::Result<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| std::io::Error::other(format!("/proc/{pid}/stat is not as proc(5) describes it")))
}

/// The command name may hold blanks, parentheses, line ends and bytes that are no UTF-8, so fields count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(name_end.checked_add(1)?..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // starttime is field 22 of proc_pid_stat(5); state was 3, the parent 4.
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start_time })
}

/// A pidfd, close-on-exec. It means the process intended only if [`stat`], read after opening it, agrees.
pub fn open(pid: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// Sends `signal` to the process of a pidfd. `ESRCH` when it has ended and been reaped.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    pidfd_send_signal(pidfd, signal)
}

/// Sends `signal` to every process but the caller and PID 1, in this pid namespace and those below it. To be called by PID 1 when
/// the machine goes down. No error when there is none.
pub fn signal_everyone(signal: Signal) {
    // SAFETY: plain system call. ESRCH, its only error for PID 1, means that nobody is left.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// Sends `signal` to the process group that `leader` leads.
pub fn signal_group(leader: u32, signal: Signal) -> Result<()> {
    // Group 1 would be everyone.
    let leader = i32::try_from(leader).ok().filter(|leader| *leader > 1).and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    rustix::process::kill_process_group(leader, signal)
}

/// Whether this process sees the whole machine: it is in the pid namespace that the kernel began with. In another one
/// cgroups and file systems belong to others too.
pub fn sees_whole_machine() -> bool {
    // PROC_PID_INIT_INO of include/linux/proc_ns.h, the same on every machine.
    rustix::fs::readlink("/proc/self/ns/pid", Vec::new()).is_ok_and(|name| name.to_bytes() == b"pid:[4026531836]")
}

/// Makes (or no longer makes) the caller the parent of every descendant whose own parent ends.
pub fn set_child_subreaper(on: bool) -> Result<()> {
    rustix::process::set_child_subreaper(if on { Some(rustix::process::getpid()) } else { None })
}

/// Raises (or lowers) the soft limit of open descriptors to `most`, but never above the hard limit. Returns the limit as it was
/// before and as it is now; `None` stands for no limit.
pub fn set_open_files(most: u64) -> Result<(Option<u64>, Option<u64>)> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let now = Some(before.maximum.map_or(most, |hard| most.min(hard)));
    setrlimit(Resource::Nofile, Rlimit { current: now, maximum: before.maximum })?;
    Ok((before.current, now))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_forge_the_parent_or_the_start_time() {
        let line =
            b"42 (evil) Z 1 (x) S 7 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10 18446744073709551615\n";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', parent: 7, start_time: 987_654 }));
        let not_utf8 = b"42 (\xff\xfe \n) R 9 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 5 1000 10\n";
        assert_eq!(parse_stat(not_utf8), Some(Stat { state: 'R', parent: 9, start_time: 5 }));
    }

    #[test]
    fn a_broken_stat_line_is_no_stat() {
        for line in [&b""[..], b"42", b"42 (x)", b"42 (x) S", b"42 (x) S 1 2 3", b"42 (x) S one 2"] {
            assert_eq!(parse_stat(line), None);
        }
    }

    #[test]
    fn our_own_stat_is_readable() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.start_time > 0);
    }

    #[test]
    #[allow(clippy::zombie_processes, reason = "reaping it is what is tested")]
    fn a_child_can_be_peeked_at_before_it_is_reaped() {
        let child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = child.id();
        let pidfd = open(pid).unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], None).unwrap();
        assert_eq!(kinship(pid), Kinship::Zombie);
        let expected = Some(Ended { pid, code: libc::CLD_EXITED, status: 7 });
        assert_eq!(peek(Which::Pid(pid)).unwrap(), expected);
        assert_eq!(reap(Which::Pid(pid)).unwrap(), expected);
        assert_eq!(kinship(pid), Kinship::NotAChild);
        assert_eq!(kinship(0), Kinship::NotAChild);
        assert_eq!(kinship(u32::MAX), Kinship::NotAChild);
    }
}
