//! `gatepost run`: next to a host's init. Checks what must be there, prepares `/run/gatepost`, and becomes the role init.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::FlockOperation;

use crate::config::{self, Config, Layout};
use crate::init;
use crate::runtime::{self, Runtime};
use crate::state::durable;
use crate::supervisor::Setup;
use crate::sys::cgroup::Cgroups;
use crate::sys::mount;

/// Used when the command line names no file, and is there.
const DEFAULT_CONFIG: &str = "/etc/gatepost/config.yaml";

/// Bytes that `/run/gatepost` may take: bundles, states, secrets; a bound, not a reservation.
const RUN_SIZE: u64 = 128 << 20;

/// How long init waits for the supervisor after SIGTERM when pods stay: it has only its state to save.
const LEAVE_BOUND_MS: u64 = 30_000;

/// The same when pods are stopped: Kubernetes' default grace for three priorities in turn, and some.
const STOP_BOUND_MS: u64 = 120_000;

/// Name of the file that keeps the node's name.
const NODE_NAME: &str = "node-name";

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
    let error = match prepare(options) {
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
fn prepare(options: &RunOptions) -> Result<(PathBuf, u64), String> {
    let overrides: Vec<String> = options.overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut config = match &options.config {
        Some(path) => config::load(path, &overrides),
        None if Path::new(DEFAULT_CONFIG).exists() => config::load(Path::new(DEFAULT_CONFIG), &overrides),
        None => config::parse("the command line", b"", &overrides),
    }
    .map_err(|e| e.to_string())?;
    if !rustix::process::geteuid().is_root() {
        return Err("it must run as root: namespaces, mounts and cgroups need it".to_owned());
    }
    if !runtime::may_administer() {
        return Err("CAP_SYS_ADMIN is missing: mounts and namespaces need it; give it the capability".to_owned());
    }
    let runtime = Runtime::find(&config.runtime).map_err(|e| e.to_string())?;
    for finding in runtime::probe(&runtime) {
        log::warn!("{}: {}", finding.concerns, finding.message);
    }
    let cgroups = Cgroups::detect().map_err(|e| format!("no usable cgroups: {e}; mount them first"))?;
    cgroups.move_root_into_leaf("gatepost/init").map_err(|e| format!("cannot leave the root cgroup: {e}"))?;
    let cgroup_lock = lock_cgroup(&config, &cgroups)?;
    make_run_directory(&config.layout)?;
    let run_lock = lock_run_directory(&config.layout)?;
    for directory in [&config.layout.data, &config.layout.logs] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(|e| format!("cannot create {}: {e}", directory.display()))?;
    }
    config.node_name = node_name(&config)?;
    log::info!("node {}, runtime {}", config.node_name, runtime.version);

    let stop_bound_ms = if options.stop_pods { STOP_BOUND_MS } else { LEAVE_BOUND_MS };
    let run = config.layout.run.clone();
    Setup { config, runtime, stop_pods: options.stop_pods }.begin().map_err(|e| e.to_string())?;
    // Held, over the execve too, until this process ends; init never closes it.
    for lock in [cgroup_lock, run_lock] {
        rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::empty())
            .map_err(|e| format!("cannot keep the lock: {e}"))?;
        std::mem::forget(lock);
    }
    Ok((run, stop_bound_ms))
}

/// A tmpfs of its own, private: what is mounted below it in a helper's namespace stays there.
fn make_run_directory(layout: &Layout) -> Result<(), String> {
    let run = &layout.run;
    let failed = |what: &str| {
        let what = format!("cannot {what} {}", run.display());
        move |error: std::io::Error| format!("{what}: {error}")
    };
    fs::create_dir_all(run).map_err(failed("create"))?;
    if !mount::is_mount_point(run).map_err(failed("look at"))? {
        mount::tmpfs(run, Some(RUN_SIZE), 0o700, false).map_err(failed("mount a tmpfs on"))?;
    }
    mount::make_private(run).map_err(failed("make a private mount of"))
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

/// The configured name; else the name of the first start, which is kept: pods' names and UIDs hang on it.
fn node_name(config: &Config) -> Result<String, String> {
    if !config.node_name.is_empty() {
        return Ok(config.node_name.clone());
    }
    let directory = config.layout.state();
    let file = |write| durable::Request {
        version: durable::VERSION,
        directory: directory.clone(),
        write,
        read: vec![NODE_NAME.to_owned()],
    };
    let report = durable::carry_out(&file(Vec::new()));
    if let Some((_, name)) = report.files.first() {
        return Ok(name.trim().to_owned());
    }
    if let Some(error) = report.error {
        return Err(format!("the node's name is not known: {error}"));
    }
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let name = if name.is_empty() { "gateway".to_owned() } else { name };
    match durable::carry_out(&file(vec![(NODE_NAME.to_owned(), format!("{name}\n"))])).error {
        None => Ok(name),
        Some(error) => Err(format!("the node's name cannot be kept: {error}")),
    }
}

/// The role `supervise RUN-DIR [crashed]`.
pub(super) fn supervise() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let Some(run) = arguments.next() else {
        log::error!("the role `supervise` is started by init only");
        return ExitCode::from(2);
    };
    let crashed = arguments.next().is_some_and(|word| word.as_bytes() == crate::wire::CRASHED.to_bytes());
    crate::supervisor::main(&PathBuf::from(run), crashed)
}
