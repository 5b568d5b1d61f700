//! Role `cleanup`: nothing of an ended container is left on the machine. Main function: [`clean`].
//!
//! The runtime is asked first, but neither its success nor its failure counts: each thing a container stands on is looked
//! for and removed here, so it also works on what a runtime killed at any instant has left. Run again it goes on where it
//! was.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::driver::process_start_time;
use super::failure::context;
use super::{Failure, Runtime, Status, observed, protocol, sandbox};
use crate::config::Layout;
use crate::json::{Deserialize, Serialize};
use crate::sys::cgroup::Cgroups;
use crate::sys::{mount, namespace};

/// How long processes may take to go after SIGKILL; one that waits for a dead disk can take for ever.
const KILL_BOUND: Duration = Duration::from_secs(5);
const REASON: &str = "CleanupFailed";

/// Which container to remove.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CleanupRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// The container.
    pub id: String,
    /// Its pod.
    pub uid: String,
    /// Where things lie.
    pub layout: Layout,
    /// The runtime that made it.
    pub runtime: Runtime,
    /// Its cgroup, for example `/kubepods/burstable/pod<uid>/<id>`.
    pub cgroup: String,
    /// The machine's cgroups, where they are known.
    #[serde(default)]
    pub cgroups: Option<Cgroups>,
}

/// The role's entry: request on descriptor 0, report on descriptor 3.
pub fn main() -> ExitCode {
    protocol::serve("cleanup", |request: CleanupRequest| clean(&request).map(|()| ((), Vec::new())))
}

/// Ends what runs, removes every trace, and verifies it.
pub fn clean(request: &CleanupRequest) -> Result<(), Failure> {
    let CleanupRequest { id, layout, cgroup, .. } = request;
    for name in [id, &request.uid] {
        if !mount::is_plain_relative(Path::new(name)) || name.contains('/') {
            return Err(Failure::new(REASON, format!("{name:?} is not an id")));
        }
    }
    let cgroups =
        Cgroups::known(request.cgroups.as_ref()).map_err(context(REASON, "detecting", Path::new("cgroups")))?;
    let container = layout.container(id);
    let state = layout.runtime_root().join(id);

    end_processes(&cgroups, request)?;
    // runc that enters a container mounts a copy of itself there for a moment, and may be killed in that moment.
    mount::detach_below(&state).map_err(context(REASON, "unmounting below", &state))?;
    if state.join("state.json").exists() || state.join("status").exists() {
        ask_runtime(request, &container);
        end_processes(&cgroups, request)?;
    }
    cgroups.remove(cgroup).map_err(context(REASON, "removing the cgroup", Path::new(cgroup)))?;
    mount::detach_below(&container).map_err(context(REASON, "unmounting below", &container))?;
    for tree in [&state, &container, &layout.container_data(id)] {
        remove_tree(tree)?;
    }
    match fs::remove_file(sandbox::termination_log(layout, &request.uid, id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::new(REASON, format!("removing the termination log of {id}: {error}")));
        }
        _ => {}
    }
    let left = cgroups.directories(cgroup).map_err(context(REASON, "looking for the cgroup", Path::new(cgroup)))?;
    if left.is_empty() { Ok(()) } else { Err(Failure::new(REASON, format!("cgroups are left: {left:?}"))) }
}

/// Everything in the cgroup, and the first process wherever it is: a runtime killed early may not have moved it yet.
fn end_processes(cgroups: &Cgroups, request: &CleanupRequest) -> Result<(), Failure> {
    let empty = cgroups.kill(&request.cgroup, KILL_BOUND).map_err(context(
        REASON,
        "killing in the cgroup",
        Path::new(&request.cgroup),
    ))?;
    let still_there = || Failure::new(REASON, format!("processes of {} are still there after SIGKILL", request.id));
    if !empty {
        return Err(still_there());
    }
    let Some(found) = observed(&request.layout.runtime_root(), &request.id) else { return Ok(()) };
    if found.status == Status::Stopped {
        return Ok(());
    }
    let start = Instant::now();
    while process_start_time(found.pid) == Some(found.start_time) {
        kill(found.pid, found.start_time)
            .map_err(|error| Failure::new(REASON, format!("killing {}: {error}", found.pid)))?;
        if start.elapsed() > KILL_BOUND {
            return Err(still_there());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn kill(pid: u32, start_time: u64) -> io::Result<()> {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let sent = rustix::process::pidfd_open(raw, PidfdFlags::empty()).and_then(|pidfd| {
        // The pid may have been given away before the pidfd was open, not after.
        if process_start_time(pid) == Some(start_time) {
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL)?;
        }
        Ok(())
    });
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn ask_runtime(request: &CleanupRequest, container: &Path) {
    // What follows has to see the host's cgroups again.
    let host_mounts = fs::File::open("/proc/thread-self/ns/mnt");
    let hidden = request.runtime.hide_hybrid_cgroups();
    // The container's directory may be gone already; a log that cannot be opened would keep the runtime from working.
    let log = if container.is_dir() { container.join("runtime.log") } else { "/dev/null".into() };
    let ended = request
        .runtime
        .delete(&request.layout.runtime_root(), &log, &request.id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => {
            log::debug!("{} delete {}: {status}; removing it by hand", request.runtime.path.display(), request.id);
        }
        Err(error) => log::warn!("{}: {error}", request.runtime.path.display()),
    }
    let back = match hidden {
        Ok(true) => host_mounts.and_then(|host| namespace::enter_file(&host)),
        other => other.map(drop),
    };
    if let Err(error) = back {
        log::warn!("cleanup of {}: hiding cgroup2 from the runtime: {error}", request.id);
    }
}

/// Removes a tree without following links; one that is not there is no error.
pub(super) fn remove_tree(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(context(REASON, "removing", path)(error)),
        _ => Ok(()),
    }
}
