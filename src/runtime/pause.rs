//! Role `pause`: the first process of a pid namespace that the containers of a pod share (`shareProcessNamespace`), and [`ensure`],
//! which starts it.
//!
//! It is what the kernel needs and nothing more: it inherits orphans, which the kernel reaps for it, and it waits for ever. It is
//! nobody's child but init's, belongs to the pod's cgroup, and ends with that; a supervisor may come and go meanwhile. When it is
//! killed all containers of the pod are, and the first one that is started again gets a new one.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::FlockOperation;

use super::driver::process_start_time;
use super::failure::{Failure, context};
use super::namespaces;
use super::sandbox::REASON;
use crate::config::Layout;
use crate::manifest::v1::Pod;
use crate::sys::cgroup::{Cgroups, Limits};
use crate::sys::held::Held;
use crate::sys::namespace::{self, Kind};
use crate::sys::replace::replace;
use crate::sys::spawn::{Program, Spawn};
use crate::sys::{confine, id_map, mount};

/// kubelet: that of the pause container.
const OOM_SCORE_ADJ: i32 = -998;

/// The role's entry. Comes back only when the machine does not let it wait.
pub fn main() -> ExitCode {
    let _ = rustix::thread::set_name(c"pause");
    for warning in confine::idle(Path::new("/proc")) {
        log::debug!("pause: {warning}");
    }
    confine::wait_for_ever();
    ExitCode::FAILURE
}

/// Starts the first process of the pod's own pid namespace where it is wanted and not there, and pins the namespace.
pub(super) fn ensure(layout: &Layout, pod: &Pod, cgroup: &str) -> Result<(), Failure> {
    if !pod.spec.share_process_namespace {
        return Ok(());
    }
    let uid = &pod.metadata.uid;
    let failed = |what| context(REASON, what, Path::new("the pod's pid namespace"));
    // Two containers may be started at the same time.
    let lock = layout.pod(uid).join("pause.lock");
    let file = File::options().create(true).append(true).open(&lock).map_err(context(REASON, "opening", &lock))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|e| context(REASON, "locking", &lock)(e.into()))?;

    let path = layout.pod_namespace(uid, Kind::Pid.name());
    let record = layout.pod(uid).join("pause");
    if is_alive(&record) && namespace::is_pinned(&path).map_err(failed("looking for"))? {
        return Ok(());
    }
    mount::detach(&path).map_err(failed("letting go of"))?;
    let cgroup = format!("{cgroup}/pause");
    let cgroups = Cgroups::detect().map_err(failed("finding the cgroup of"))?;
    cgroups.create(&cgroup, &Limits::none(), false).map_err(failed("making a cgroup for"))?;
    // One that is there, but not on record, was started by a helper that was killed before it could say so.
    cgroups.kill(&cgroup, super::sandbox::KILL_BOUND).map_err(failed("ending what was in"))?;
    let procs = cgroups.open_all_procs(&cgroup).map_err(failed("opening the cgroup of"))?;
    let program = File::open("/proc/self/exe").map_err(failed("opening the program of"))?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed("opening /dev/null for"))?;
    let of_pod = namespaces::pod_namespaces(layout, pod);

    let held = Held::start(|| {
        let user = of_pod.user.as_ref().map(|user| &user.path);
        for path in user.into_iter().chain(&of_pod.net).chain(&of_pod.ipc).chain(&of_pod.uts) {
            namespace::enter(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if user.is_some() {
            id_map::become_root().map_err(|error| format!("becoming root: {error}"))?;
        }
        namespace::unshare(Kind::Pid).map_err(|error| format!("making a pid namespace: {error}"))?;
        let args = ["/pause", "pause"].map(|word| CString::new(word).unwrap_or_default());
        let mut spawn = Spawn::new(Program::Descriptor(program.as_fd()), &args);
        spawn.env = Some(&[]);
        (spawn.stdin, spawn.stdout, spawn.stderr) = (Some(null.as_fd()), Some(null.as_fd()), Some(null.as_fd()));
        spawn.cgroup_procs = procs.iter().map(File::as_fd).collect();
        spawn.cwd = Some(c"/");
        spawn.new_session = true;
        spawn.oom_score_adj = Some(OOM_SCORE_ADJ);
        spawn.start().map(|child| child.pid.to_string()).map_err(|error| format!("starting its first process: {error}"))
    })
    .map_err(failed("making"))?;
    let pid: u32 = held.said().parse().map_err(|_| Failure::new(REASON, "the pause process has no pid"))?;
    let start = process_start_time(pid).ok_or_else(|| Failure::new(REASON, "the pause process has ended at once"))?;
    namespace::pin_of(pid, Kind::Pid, &path).map_err(failed("pinning"))?;
    replace(&record, format!("{pid} {start}").as_bytes(), 0o600).map_err(context(REASON, "writing", &record))
}

fn is_alive(record: &Path) -> bool {
    let text = fs::read_to_string(record).unwrap_or_default();
    let mut fields = text.split(' ').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(start))) = (fields.next(), fields.next()) else { return false };
    u32::try_from(pid).is_ok_and(|pid| process_start_time(pid) == Some(start) && !is_exiting(pid))
}

/// It ends only when all others of its namespace have, and meanwhile looks alive, but nobody can join it any more.
fn is_exiting(pid: u32) -> bool {
    // linux/sched.h
    const PF_EXITING: u32 = 4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Field 9 of proc_pid_stat(5); the first after the name is 3.
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_none_or(|flags| flags & PF_EXITING != 0)
}
