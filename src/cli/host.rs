//! The roles that begin everything: `gatepost run` next to a host's init, which prepares the node and becomes the role init;
//! `boot` on a gateway; and the supervisor.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::FlockOperation;

use super::gateway;
use super::prepare::{self, OnFailure};
use crate::config::{self, Config, Layout};
use crate::init;
use crate::runtime;
use crate::supervisor::Incarnation;
use crate::sys::cgroup::Cgroups;

/// How long init waits for the supervisor after SIGTERM when pods stay: it has only its state to save.
const LEAVE_BOUND_MS: u64 = 30_000;

/// The same when pods are stopped: Kubernetes' default grace for three priorities in turn, and some.
const STOP_BOUND_MS: u64 = 120_000;

/// The command line of `gatepost run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunOptions {
    /// The configuration file; the default one when missing.
    pub(super) config: Option<PathBuf>,
    /// Settings that override the file's, in order: key and value.
    pub(super) overrides: Vec<(String, String)>,
    /// Stop all pods when gatepost is told to end.
    pub(super) stop_pods: bool,
}

/// Prepares, then becomes the role init by an execve(2) of itself: the pages that reading the configuration took are not
/// kept for years by a process that needs none of them.
pub(super) fn run(options: &RunOptions) -> ExitCode {
    if gateway::init_is_gateposts() {
        log::error!(
            "this is a gateway: its PID 1 is gatepost already, and runs its pods; see `gatepost get pods`. What it runs is in \
             the manifest directories of {}; `gatepost reload` reads them again",
            config::DEFAULT_FILE
        );
        return ExitCode::FAILURE;
    }
    let error = match prepare_beside_host(options) {
        Ok((run, stop_bound_ms)) => {
            let bound = stop_bound_ms.to_string();
            Command::new("/proc/self/exe")
                .arg0("gatepost")
                .arg("init")
                .args([run.as_os_str(), bound.as_ref()])
                .exec()
                .to_string()
        }
        Err(error) => error,
    };
    log::error!("gatepost cannot start: {error}");
    ExitCode::FAILURE
}

/// The role `init RUN-DIR STOP-BOUND-MS`.
pub(super) fn init() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let run = arguments.next().and_then(|run| CString::new(run.as_bytes()).ok());
    let bound = arguments.next().and_then(|bound| bound.to_str()?.parse().ok());
    let (Some(run), Some(stop_bound_ms), Ok(program)) = (run, bound, File::open("/proc/self/exe")) else {
        log::error!("the role `init` is started by `gatepost run` only");
        return ExitCode::from(2);
    };
    init::run(init::Options {
        supervisor_program: OwnedFd::from(program),
        supervisor_args: vec![c"gatepost".to_owned(), c"supervise".to_owned(), run],
        stop_bound_ms,
    })
}

/// The run directory, and how long init waits for the supervisor after SIGTERM.
fn prepare_beside_host(options: &RunOptions) -> Result<(PathBuf, u64), String> {
    let overrides: Vec<String> = options.overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let default_file = Path::new(config::DEFAULT_FILE);
    let config = match &options.config {
        Some(path) => config::load(path, &overrides),
        None if default_file.exists() => config::load(default_file, &overrides),
        None => config::parse("the command line", b"", &overrides),
    }
    .map_err(|e| e.to_string())?;
    if !rustix::process::geteuid().is_root() {
        return Err("it must run as root: namespaces, mounts and cgroups need it".to_owned());
    }
    if !runtime::may_administer() {
        return Err("CAP_SYS_ADMIN is missing: mounts and namespaces need it; give it the capability".to_owned());
    }
    let cgroups = Cgroups::detect().map_err(|e| format!("no usable cgroups: {e}; mount them first"))?;
    let cgroup_lock = lock_cgroup(&config, &cgroups)?;
    let run = config.layout.run.clone();
    prepare::run_directory(&config.layout)?;
    let run_lock = lock_run_directory(&config.layout)?;
    log::info!("{}", prepare::node(config, options.stop_pods, &mut OnFailure::Stop)?.summary);
    // Held, over the execve too, until this process ends; init never closes it.
    for lock in [cgroup_lock, run_lock] {
        rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::empty())
            .map_err(|e| format!("cannot keep the lock: {e}"))?;
        std::mem::forget(lock);
    }
    Ok((run, if options.stop_pods { STOP_BOUND_MS } else { LEAVE_BOUND_MS }))
}

/// One gatepost for one `cgroupRoot`: it ends whatever it finds in the cgroups of its helpers.
fn lock_cgroup(config: &Config, cgroups: &Cgroups) -> Result<File, String> {
    let name = format!("gatepost/{}", config.cgroup_root);
    let directory = cgroups.open_directory(&name).map_err(|e| format!("cannot make the cgroup {name}: {e}"))?;
    lock(directory, &format!("the cgroup {name}"), "cgroupRoot")
}

/// One gatepost for one run directory.
fn lock_run_directory(layout: &Layout) -> Result<File, String> {
    let path = layout.lock();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    lock(file, &path.display().to_string(), "runDir")
}

fn lock(file: File, name: &str, setting: &str) -> Result<File, String> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(format!("another gatepost runs here: it holds {name}; stop it, or give this one another {setting}"))
        }
        Err(error) => Err(format!("cannot lock {name}: {error}")),
    }
}

/// The role `boot`: on a gateway PID 1 starts it, and a node that is not as it should be is prepared all the same.
pub(super) fn boot() -> ExitCode {
    crate::boot::main(|config, warnings| {
        let mut on_failure = OnFailure::Warn(warnings);
        let directory = prepare::run_directory(&config.layout);
        on_failure.or("run directory", directory, || ())?;
        // Nobody is asked whether pods may stop: the machine goes down.
        prepare::node(config, true, &mut on_failure)
    })
}

/// The role `supervise RUN-DIR [gateway] [crashed]`.
pub(super) fn supervise() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let Some(run) = arguments.next() else {
        log::error!("the role `supervise` is started by init only");
        return ExitCode::from(2);
    };
    let words: Vec<_> = arguments.collect();
    let said = |word: &std::ffi::CStr| words.iter().any(|given| given.as_bytes() == word.to_bytes());
    let incarnation = Incarnation { crashed: said(crate::wire::CRASHED), gateway: said(crate::wire::GATEWAY) };
    crate::supervisor::main(&PathBuf::from(run), incarnation)
}
