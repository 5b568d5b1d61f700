//! [`Spawn`]: starting a child with exactly the descriptors, cgroups and limits it should have, without ever waiting for it.
//!
//! The parent does not wait for the execve(2) to succeed, since that reads a program from a disk that may not answer. What
//! failed in the child before its program ran is told by [`Child::failure`] and by the exit status [`NOT_EXECUTED`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, pipe_with};

unsafe extern "C" {
    /// environ(7). Declared here because the `libc` crate has it for glibc only.
    pub(super) static environ: *const *const c_char;
}

/// Exit status of a child whose program could not be run.
pub const NOT_EXECUTED: i32 = 127;

/// Bytes of stack for a child that works in its parent's memory: a few system calls.
const STACK: usize = 32 << 10;

/// The program a child runs.
#[derive(Debug, Clone, Copy)]
pub enum Program<'a> {
    /// An absolute path; `PATH` is not searched.
    Path(&'a CStr),
    /// An open executable file: replacing the file by the same name does no harm. The child's name (`comm`) is then a number
    /// on older kernels.
    Descriptor(BorrowedFd<'a>),
}

/// Everything about a child to be started. Descriptors not named here are not inherited.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// What it runs.
    pub program: Program<'a>,
    /// Its arguments, `argv[0]` included.
    pub args: &'a [CString],
    /// Its environment (`NAME=value`); `None`: the caller's.
    pub env: Option<&'a [CString]>,
    /// Its standard input; `None`: the caller's.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Its standard output; `None`: the caller's.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Its standard error; `None`: the caller's.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Further descriptors, each with the number (3 or above, each once) it has in the child.
    pub extra_fds: Vec<(BorrowedFd<'a>, RawFd)>,
    /// Open `cgroup.procs` files of the cgroups it joins before anything else happens, one for each hierarchy.
    pub cgroup_procs: Vec<BorrowedFd<'a>>,
    /// Its working directory; `None`: the caller's.
    pub cwd: Option<&'a CStr>,
    /// Whether it leads a session of its own, so that no terminal's signals reach it.
    pub new_session: bool,
    /// Whether its standard input, a terminal that no session has, becomes the controlling terminal of its own session.
    pub controlling_terminal: bool,
    /// Added to its niceness; 0 changes nothing.
    pub nice: i32,
    /// Its `oom_score_adj` (-1000 to 1000). A value below the caller's needs CAP_SYS_RESOURCE; without it the child keeps the
    /// caller's value.
    pub oom_score_adj: Option<i32>,
    /// Its soft limit of open descriptors, at most the hard limit; `None`: the caller's.
    pub open_files: Option<u64>,
    /// Whether it works in the caller's memory until its program runs, as posix_spawn(3) does, so that no page table is copied and
    /// no page twice. The caller waits for that: only for a program whose first page is in memory, and cgroups that are joined
    /// at once.
    pub borrows_memory: bool,
}

impl<'a> Spawn<'a> {
    /// A child that runs `program` with `args` and is otherwise like the caller, without its descriptors from 3 on.
    pub fn new(program: Program<'a>, args: &'a [CString]) -> Self {
        Self {
            program,
            args,
            env: None,
            stdin: None,
            stdout: None,
            stderr: None,
            extra_fds: Vec::new(),
            cgroup_procs: Vec::new(),
            cwd: None,
            new_session: false,
            controlling_terminal: false,
            nice: 0,
            oom_score_adj: None,
            open_files: None,
            borrows_memory: false,
        }
    }

    /// Starts the child: all signals at their defaults and unblocked, no parent-death signal.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOMEM`: no process could be made. `EMFILE`: no descriptor was left. `EINVAL`: an `extra_fds` number below
    /// 3 or used twice.
    pub fn start(&self) -> Result<Child> {
        let mut prepared = Prepared::new(self)?;
        let (failure, report) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let pid = if self.borrows_memory {
            prepared.run_in_our_memory(report.as_raw_fd())
        } else {
            // SAFETY: the child only makes async-signal-safe calls on memory prepared beforehand, and never returns from `run`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                prepared.run(report.as_raw_fd());
            }
            pid
        };
        let pid = u32::try_from(pid).map_err(|_| last_error())?;
        // The child cannot vanish in between: only its parent, this thread, reaps it.
        let pidfd = match super::process::open(pid) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Without a pidfd the caller could not hold on to it: end it rather than lose it.
                if let Ok(raw) = i32::try_from(pid) {
                    // SAFETY: plain system call on our own child, not yet reaped.
                    unsafe { libc::kill(raw, libc::SIGKILL) };
                }
                return Err(error);
            }
        };
        Ok(Child { pid, pidfd, failure })
    }
}

/// A started child. Dropping it neither ends nor reaps the child.
#[derive(Debug)]
pub struct Child {
    /// Its pid, valid until it is reaped.
    pub pid: u32,
    /// Readable when it has ended; close-on-exec.
    pub pidfd: OwnedFd,
    failure: OwnedFd,
}

impl Child {
    /// Why the program could not be run. Ask after it ended with [`NOT_EXECUTED`]; `None` while it is not known, or when the
    /// program ran and chose that status itself.
    pub fn failure(&self) -> Option<Failure> {
        let mut bytes = [0; 8];
        match rustix::io::read(&self.failure, &mut bytes) {
            Ok(8) => Failure::from_bytes(bytes),
            _ => None,
        }
    }
}

/// What failed between the start of a child and its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// Why.
    pub errno: Errno,
}

/// The steps of a child before its program runs, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Leading a session of its own.
    Session,
    /// Joining a cgroup.
    Cgroup,
    /// Changing to its working directory.
    WorkingDirectory,
    /// Setting its limit of open descriptors.
    OpenFiles,
    /// Placing its descriptors.
    Descriptors,
    /// Running the program itself.
    Execute,
}

const STEPS: [Step; 6] =
    [Step::Session, Step::Cgroup, Step::WorkingDirectory, Step::OpenFiles, Step::Descriptors, Step::Execute];

impl Failure {
    fn to_bytes(self) -> [u8; 8] {
        let step = STEPS.iter().position(|step| *step == self.step).and_then(|index| u32::try_from(index).ok());
        let mut bytes = [0; 8];
        let source = step.unwrap_or(u32::MAX).to_ne_bytes().into_iter().chain(self.errno.raw_os_error().to_ne_bytes());
        for (byte, value) in bytes.iter_mut().zip(source) {
            *byte = value;
        }
        bytes
    }

    fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let (step, errno) = bytes.split_first_chunk::<4>()?;
        let step = STEPS.get(usize::try_from(u32::from_ne_bytes(*step)).ok()?)?;
        Some(Self { step: *step, errno: Errno::from_raw_os_error(i32::from_ne_bytes(*errno.first_chunk()?)) })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = match self.step {
            Step::Session => "cannot lead a session of its own",
            Step::Cgroup => "cannot join its cgroup",
            Step::WorkingDirectory => "cannot change to its working directory",
            Step::OpenFiles => "cannot set its limit of open descriptors",
            Step::Descriptors => "cannot place its descriptors",
            Step::Execute => "cannot run the program",
        };
        write!(formatter, "{step}: {}", std::io::Error::from(self.errno))
    }
}

/// A sealed memfd, close-on-exec, holding `content` and read from its start: the standard input of a helper.
pub fn memfd_with(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&memory, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    seek(&memory, SeekFrom::Start(0))?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(memory)
}

/// All the child needs, made before the fork, since it must not allocate afterwards.
struct Prepared<'a> {
    spawn: &'a Spawn<'a>,
    argv: Vec<*const c_char>,
    envp: Option<Vec<*const c_char>>,
    /// (descriptor here, number in the child); the first becomes its copy out of the way.
    placements: Vec<(RawFd, RawFd)>,
    /// The first number above all numbers in the child.
    above: RawFd,
    oom_score_adj: Option<CString>,
    open_files: Option<libc::rlimit>,
}

impl<'a> Prepared<'a> {
    fn new(spawn: &'a Spawn<'a>) -> Result<Self> {
        let mut placements: Vec<(RawFd, RawFd)> = Vec::with_capacity(spawn.extra_fds.len().saturating_add(3));
        for (source, target) in [(spawn.stdin, 0), (spawn.stdout, 1), (spawn.stderr, 2)] {
            if let Some(source) = source {
                placements.push((source.as_raw_fd(), target));
            }
        }
        for (source, target) in &spawn.extra_fds {
            if *target < 3 || placements.iter().any(|(_, taken)| taken == target) {
                return Err(Errno::INVAL);
            }
            placements.push((source.as_raw_fd(), *target));
        }
        let above = placements.iter().map(|(_, target)| *target).max().unwrap_or(2).max(2).saturating_add(1);
        let open_files = match spawn.open_files {
            None => None,
            Some(most) => {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                // SAFETY: `limit` is room for one rlimit.
                if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
                    return Err(last_error());
                }
                limit.rlim_cur = libc::rlim_t::try_from(most).unwrap_or(libc::rlim_t::MAX).min(limit.rlim_max);
                Some(limit)
            }
        };
        let oom_score_adj = spawn.oom_score_adj.and_then(|score| CString::new(score.to_string()).ok());
        Ok(Self {
            spawn,
            argv: pointers(spawn.args),
            envp: spawn.env.map(pointers),
            placements,
            above,
            oom_score_adj,
            open_files,
        })
    }

    /// The child's life until its program runs, in the caller's memory and on a stack of its own, while the caller waits
    /// (`CLONE_VM | CLONE_VFORK` of clone(2)). Its pid, or -1 with errno set.
    fn run_in_our_memory(&mut self, report: RawFd) -> libc::pid_t {
        struct Start<'a, 'b>(&'a mut Prepared<'b>, RawFd);
        extern "C" fn child(start: *mut c_void) -> c_int {
            // SAFETY: the one pointer to what the waiting caller keeps alive.
            let Start(prepared, report) = unsafe { &mut *start.cast::<Start<'_, '_>>() };
            prepared.run(*report)
        }
        let mut stack: Vec<u128> = Vec::with_capacity(STACK.div_ceil(size_of::<u128>()));
        let mut start = Start(self, report);
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the stack grows down from the end of an allocation that outlives the child's use of it, since CLONE_VFORK lets
        // this call return only after that. The child shares the memory alone: descriptors, signal handlers and working
        // directory are copies. Signals stay blocked, so that none of the caller's handlers runs in it; `run` resets them.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            let top = stack.as_mut_ptr().add(stack.capacity()).cast();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let pid = libc::clone(child, top, flags, (&raw mut start).cast());
            let error = last_error();
            libc::sigprocmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
            if pid < 0 {
                *libc::__errno_location() = error.raw_os_error();
            }
            pid
        }
    }

    /// The child's life until its program runs. Never returns.
    fn run(&mut self, report: RawFd) -> ! {
        // The report must not be where a descriptor will be placed.
        // SAFETY: plain system call.
        let report = unsafe { libc::fcntl(report, libc::F_DUPFD_CLOEXEC, self.above) };
        let step = self.steps();
        let failure = Failure { step, errno: last_error() }.to_bytes();
        // SAFETY: plain system calls on memory of known length; _exit does not return.
        unsafe {
            libc::write(report, failure.as_ptr().cast(), failure.len());
            libc::_exit(NOT_EXECUTED)
        }
    }

    /// Runs the program; if that fails returns the step that did, with errno set.
    fn steps(&mut self) -> Step {
        let spawn = self.spawn;
        // SAFETY: plain system calls; every pointer is to memory prepared before the fork and ends with a NUL where it must.
        unsafe {
            if spawn.new_session && libc::setsid() < 0 {
                return Step::Session;
            }
            for procs in &spawn.cgroup_procs {
                if libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1 {
                    return Step::Cgroup;
                }
            }
            if spawn.nice != 0 {
                // A wish: without CAP_SYS_NICE a lower niceness is refused, and that is no reason not to run.
                let _ = libc::nice(spawn.nice);
            }
            if let Some(score) = &self.oom_score_adj {
                let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file >= 0 {
                    libc::write(file, score.as_ptr().cast(), score.as_bytes().len());
                    libc::close(file);
                }
            }
            if let Some(directory) = spawn.cwd
                && libc::chdir(directory.as_ptr()) != 0
            {
                return Step::WorkingDirectory;
            }
            if let Some(limit) = &self.open_files
                && libc::setrlimit(libc::RLIMIT_NOFILE, &raw const *limit) != 0
            {
                return Step::OpenFiles;
            }
            let program = match spawn.program {
                Program::Path(_) => -1,
                Program::Descriptor(file) => libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.above),
            };
            if matches!(spawn.program, Program::Descriptor(_)) && program < 0 {
                return Step::Descriptors;
            }
            if !self.place_descriptors() {
                return Step::Descriptors;
            }
            if spawn.controlling_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Step::Session;
            }
            reset_signals();
            let envp = self.envp.as_ref().map_or(environ, Vec::as_ptr);
            match spawn.program {
                Program::Path(path) => {
                    libc::execve(path.as_ptr(), self.argv.as_ptr(), envp);
                }
                Program::Descriptor(_) => {
                    let flags = libc::AT_EMPTY_PATH;
                    libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), self.argv.as_ptr(), envp, flags);
                }
            }
        }
        Step::Execute
    }

    fn place_descriptors(&mut self) -> bool {
        let above = self.above;
        // First all sources out of the way, so that none is overwritten before it is placed.
        for (source, _) in &mut self.placements {
            // SAFETY: plain system call.
            *source = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, above) };
            if *source < 0 {
                return false;
            }
        }
        // Whatever has no place in the child ends at its execve. Kernels before 5.11 do not know the flag; ours are all
        // close-on-exec by birth anyway.
        // SAFETY: plain system call.
        unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, CLOSE_RANGE_CLOEXEC) };
        // SAFETY: plain system call; dup2 clears close-on-exec on the new number.
        self.placements.iter().all(|(source, target)| unsafe { libc::dup2(*source, *target) } >= 0)
    }
}

/// linux/close_range.h
const CLOSE_RANGE_CLOEXEC: c_int = 4;
/// 64 signals, on every architecture but MIPS.
const KERNEL_SIGNAL_SET_BYTES: usize = 8;

/// Default dispositions (Rust ignores SIGPIPE, and an ignored signal stays ignored over execve) and nothing blocked.
fn reset_signals() {
    // The kernel's struct sigaction, all zero, is SIG_DFL without flags. Past libc, since libc refuses its own signals 32 and
    // 33, which somebody above us may have ignored.
    let default_action = [0u64; 8];
    for number in 1..=64 {
        // SAFETY: the kernel reads at most the 64 bytes given; signals that cannot be set answer with an error.
        unsafe {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, number, default_action.as_ptr(), none, KERNEL_SIGNAL_SET_BYTES);
        }
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before it is used.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::super::process::{Ended, Which, reap};
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::io::Read;
    use std::os::fd::AsFd;

    fn shell(script: &str) -> Vec<CString> {
        ["sh", "-c", script].iter().map(|word| CString::new(*word).unwrap()).collect()
    }

    fn end_of(child: &Child) -> Ended {
        poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], None).unwrap();
        reap(Which::Pid(child.pid)).unwrap().unwrap()
    }

    fn output_of(spawn: Spawn<'_>) -> String {
        let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let child = Spawn { stdout: Some(write_end.as_fd()), ..spawn }.start().unwrap();
        drop(write_end);
        let mut text = String::new();
        std::fs::File::from(read_end).read_to_string(&mut text).unwrap();
        assert_eq!(end_of(&child), Ended { pid: child.pid, code: libc::CLD_EXITED, status: 0 }, "{text}");
        text
    }

    #[test]
    fn descriptors_land_where_they_should_even_when_they_swap_places() {
        let memfd = |text: &str| memfd_with("test", text.as_bytes()).unwrap();
        let (first, second, input) = (memfd("first"), memfd("second"), memfd("input"));
        // The most awkward case: the numbers of the sources are targets, crosswise.
        let (low, high) = (first.as_raw_fd(), second.as_raw_fd());
        let args = shell(&format!("cat; echo; cat /proc/self/fd/{low}; echo; cat /proc/self/fd/{high}"));
        let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
        spawn.stdin = Some(input.as_fd());
        spawn.extra_fds = vec![(first.as_fd(), high), (second.as_fd(), low)];
        assert_eq!(output_of(spawn), "input\nsecond\nfirst");
    }

    #[test]
    fn a_child_inherits_no_descriptor_that_was_not_given_to_it() {
        let leak = memfd_with("leak", b"x").unwrap();
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
        let given = memfd_with("given", b"x").unwrap();
        let args = shell("ls -l /proc/$$/fd");
        let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
        spawn.extra_fds = vec![(given.as_fd(), 9)];
        let text = output_of(spawn);
        assert!(text.contains("memfd:given"), "{text}");
        assert!(!text.contains("memfd:leak"), "{text}");
    }

    #[test]
    fn a_child_starts_with_default_signals() {
        let args = shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");
        let text = output_of(Spawn::new(Program::Path(c"/bin/sh"), &args));
        assert_eq!(text.matches("0000000000000000").count(), 2, "{text}");
    }

    #[test]
    fn working_directory_environment_session_niceness_and_limit_are_as_asked() {
        let env = [c"WORD=here".to_owned()];
        let args = shell(
            "pwd; echo $WORD; ulimit -n; cat /proc/self/oom_score_adj; \
             read a b c d e sid f </proc/$$/stat; test $sid = $$ && echo leader; /usr/bin/nice",
        );
        let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
        spawn.cwd = Some(c"/proc");
        spawn.env = Some(&env);
        spawn.new_session = true;
        spawn.nice = 5;
        spawn.oom_score_adj = Some(900);
        spawn.open_files = Some(77);
        let text = output_of(spawn);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..5], ["/proc", "here", "77", "900", "leader"]);
        assert!(lines[5].parse::<i32>().unwrap() >= 5);
    }

    #[test]
    fn a_program_runs_from_an_open_file() {
        let file = std::fs::File::open("/bin/sh").unwrap();
        let args = shell("echo ran");
        assert_eq!(output_of(Spawn::new(Program::Descriptor(file.as_fd()), &args)), "ran\n");
    }

    #[test]
    fn a_program_that_cannot_run_is_told_without_waiting_for_it() {
        let args = shell("");
        let child = Spawn::new(Program::Path(c"/nonexistent"), &args).start().unwrap();
        assert_eq!(end_of(&child).status, NOT_EXECUTED);
        let failure = child.failure().unwrap();
        assert_eq!(failure, Failure { step: Step::Execute, errno: Errno::NOENT });
        assert_eq!(failure.to_string(), "cannot run the program: No such file or directory (os error 2)");

        let refused = std::fs::File::open("/dev/null").unwrap();
        let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
        spawn.cgroup_procs = vec![refused.as_fd()];
        let child = spawn.start().unwrap();
        assert_eq!(end_of(&child).status, NOT_EXECUTED);
        assert_eq!(child.failure().unwrap().step, Step::Cgroup);
    }

    #[test]
    fn a_child_in_our_memory_does_all_of_this_too_and_leaves_that_memory_as_it_was() {
        let input = memfd_with("input", b"in").unwrap();
        let args =
            shell("cat; echo; cat /proc/self/fd/9; exec grep -cE '^Sig(Blk|Ign).*0000000000000000' /proc/self/status");
        for _ in 0..100 {
            let given = memfd_with("given", b"x\n").unwrap();
            let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
            (spawn.borrows_memory, spawn.stdin, spawn.new_session) = (true, Some(input.as_fd()), true);
            spawn.extra_fds = vec![(given.as_fd(), 9)];
            assert_eq!(output_of(spawn).trim_start_matches("in"), "\nx\n2\n");
        }
        let mut spawn = Spawn::new(Program::Path(c"/nonexistent"), &args);
        spawn.borrows_memory = true;
        let child = spawn.start().unwrap();
        assert_eq!(end_of(&child).status, NOT_EXECUTED);
        assert_eq!(child.failure().unwrap(), Failure { step: Step::Execute, errno: Errno::NOENT });
    }

    #[test]
    fn a_descriptor_number_can_be_given_only_once_and_not_below_three() {
        let file = memfd_with("test", b"").unwrap();
        let args = shell("");
        for numbers in [[2, 5], [5, 5]] {
            let mut spawn = Spawn::new(Program::Path(c"/bin/sh"), &args);
            spawn.extra_fds = numbers.iter().map(|number| (file.as_fd(), *number)).collect();
            assert_eq!(spawn.start().unwrap_err(), Errno::INVAL);
        }
    }
}
