//! Control groups, v2, hybrid and v1: [`Cgroups`].
//!
//! A cgroup is named by one path (`kubepods/burstable/pod<uid>/<id>`) that stands for the directory of that name in each
//! hierarchy. Only v2 could tell when a cgroup's last process ends, so on all of them callers look ([`Cgroups::is_empty`])
//! shortly after the first process has ended.

mod usage;

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::json::{Deserialize, Serialize};
use rustix::process::{Pid, PidfdFlags, Signal};

pub use usage::Usage;

use super::mount::{MountEntry, mounts};

/// How the machine's cgroups are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One cgroup2 mount and no v1 controller.
    V2,
    /// v1 controllers and a cgroup2 mount beside them.
    Hybrid,
    /// v1 controllers only.
    V1,
}

/// The machine's cgroup hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// v1 hierarchies with the controllers (or `name=…`) bound to each.
    v1: Vec<(Vec<String>, PathBuf)>,
    /// The cgroup2 mount.
    unified: Option<PathBuf>,
}

/// Limits of one cgroup; `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU shares, 2-262144; written as `cpu.weight` on v2 by kubelet's linear formula.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in each period; at most `i64::MAX`.
    pub cpu_quota: Option<u64>,
    /// Period in microseconds. kubelet: 100 ms.
    pub cpu_period: u64,
    /// Bytes.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
    /// Bytes in huge pages of each size, named as the files name it (`2MB`).
    pub huge_pages: Vec<(String, u64)>,
}

impl Limits {
    /// No limit at all, the period being kubelet's.
    pub fn none() -> Self {
        Self { cpu_period: 100_000, ..Self::default() }
    }

    /// Files and values of cgroup v2.
    fn v2(&self) -> Vec<(&'static str, Cow<'static, str>, String)> {
        let mut files = Vec::new();
        if let Some(shares) = self.cpu_shares {
            files.push(("cpu", "cpu.weight".into(), weight(shares).to_string()));
        }
        if let Some(quota) = self.cpu_quota {
            files.push(("cpu", "cpu.max".into(), format!("{quota} {}", self.cpu_period)));
        }
        if let Some(bytes) = self.memory_max {
            files.push(("memory", "memory.max".into(), bytes.to_string()));
        }
        if let Some(pids) = self.pids_max {
            files.push(("pids", "pids.max".into(), pids.to_string()));
        }
        for (size, bytes) in &self.huge_pages {
            files.push(("hugetlb", format!("hugetlb.{size}.max").into(), bytes.to_string()));
        }
        files
    }

    /// Controllers, files and values of cgroup v1.
    fn v1(&self) -> Vec<(&'static str, Cow<'static, str>, String)> {
        let mut files = Vec::new();
        if let Some(shares) = self.cpu_shares {
            files.push(("cpu", "cpu.shares".into(), shares.to_string()));
        }
        if let Some(quota) = self.cpu_quota {
            files.push(("cpu", "cpu.cfs_period_us".into(), self.cpu_period.to_string()));
            files.push(("cpu", "cpu.cfs_quota_us".into(), quota.to_string()));
        }
        if let Some(bytes) = self.memory_max {
            files.push(("memory", "memory.limit_in_bytes".into(), bytes.to_string()));
        }
        if let Some(pids) = self.pids_max {
            files.push(("pids", "pids.max".into(), pids.to_string()));
        }
        for (size, bytes) in &self.huge_pages {
            files.push(("hugetlb", format!("hugetlb.{size}.limit_in_bytes").into(), bytes.to_string()));
        }
        files
    }
}

/// kubelet: `1 + (shares - 2) * 9999 / 262142`, at most 10000.
fn weight(shares: u64) -> u64 {
    let linear = shares.saturating_sub(2).saturating_mul(9999) / 262_142;
    linear.saturating_add(1).min(10_000)
}

impl Cgroups {
    /// Finds the hierarchies in this process's mount table.
    pub fn detect() -> io::Result<Self> {
        Self::from_mounts(&mounts()?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup file system is mounted; mount cgroup2 on /sys/fs/cgroup before the start",
            )
        })
    }

    /// Those that somebody has found before; else looks for them, in a mount table that grows with every pod.
    pub fn known(found: Option<&Self>) -> io::Result<Self> {
        found.cloned().map_or_else(Self::detect, Ok)
    }

    /// Whether a process joins a cgroup by [`Cgroups::open_procs`] without waiting for a grace period of RCU.
    pub fn join_at_once(&self) -> bool {
        self.mode() != Mode::V2
    }

    /// A machine without any: nothing can be made, and everything is empty. A supervisor runs with it, to say why no container does.
    pub fn none() -> Self {
        Self { v1: Vec::new(), unified: None }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.main_hierarchy().is_none()
    }

    /// Finds the hierarchies in a given mount table; `None` without any. A later mount of the same hierarchy is ignored.
    pub fn from_mounts(mounts: &[MountEntry]) -> Option<Self> {
        let mut found = Self { v1: Vec::new(), unified: None };
        for mount in mounts {
            match mount.fs_type.as_str() {
                "cgroup2" if found.unified.is_none() => found.unified = Some(mount.target.clone()),
                "cgroup" => {
                    let controllers: Vec<String> = mount
                        .super_options
                        .split(',')
                        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children"))
                        .filter(|option| !option.starts_with("release_agent="))
                        .map(str::to_owned)
                        .collect();
                    if !found.v1.iter().any(|(known, _)| *known == controllers) {
                        found.v1.push((controllers, mount.target.clone()));
                    }
                }
                _ => {}
            }
        }
        (found.unified.is_some() || !found.v1.is_empty()).then_some(found)
    }

    /// The layout.
    pub fn mode(&self) -> Mode {
        match (self.v1.is_empty(), &self.unified) {
            (true, _) => Mode::V2,
            (false, Some(_)) => Mode::Hybrid,
            (false, None) => Mode::V1,
        }
    }

    /// The cgroup2 mount, if there is one.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// The mount point of the hierarchy that holds a v1 controller.
    fn controller(&self, name: &str) -> Option<&Path> {
        self.v1.iter().find(|(controllers, _)| controllers.iter().any(|c| c == name)).map(|(_, path)| path.as_path())
    }

    /// The hierarchy in which processes are counted and killed: cgroup2, else `pids`, else `freezer`, else any.
    fn main_hierarchy(&self) -> Option<&Path> {
        match self.mode() {
            Mode::V2 => self.unified.as_deref(),
            Mode::Hybrid | Mode::V1 => self
                .controller("pids")
                .or_else(|| self.controller("freezer"))
                .or_else(|| self.v1.first().map(|(_, path)| path.as_path())),
        }
    }

    fn main_dir(&self, path: &str) -> io::Result<PathBuf> {
        let root = self.main_hierarchy().ok_or(io::ErrorKind::NotFound)?;
        Ok(root.join(checked(path)?))
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|(_, path)| path.as_path()).chain(self.unified.as_deref())
    }

    /// Creates a cgroup, with its parents, in the hierarchies that [`Limits`] and killing need, and writes its limits.
    /// Run again it completes what is there. On v2 the controllers are enabled from the root down to its parent; where
    /// `delegate`, for its children too.
    pub fn create(&self, path: &str, limits: &Limits, delegate: bool) -> io::Result<()> {
        let path = checked(path)?;
        if self.mode() == Mode::V2 {
            let root = self.unified.as_deref().ok_or(io::ErrorKind::NotFound)?;
            let mut dir = root.to_owned();
            for name in path.components() {
                enable_controllers(&dir)?;
                dir.push(name);
                make_dir(&dir)?;
            }
            if delegate {
                enable_controllers(&dir)?;
            }
            return limits.v2().into_iter().try_for_each(|(_, file, value)| write(&dir.join(&*file), &value));
        }
        let main = self.main_hierarchy();
        for root in ["cpu", "memory", "hugetlb"].iter().filter_map(|name| self.controller(name)).chain(main) {
            std::fs::create_dir_all(root.join(path))?;
        }
        for (controller, file, value) in limits.v1() {
            let root = self.controller(controller).ok_or_else(|| missing(controller))?;
            write(&root.join(path).join(&*file), &value)?;
        }
        Ok(())
    }

    /// Creates a cgroup in the main hierarchy only: enough to hold helper processes and to end them.
    pub fn create_bare(&self, path: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.main_dir(path)?)
    }

    /// Makes the cgroup, and opens its directory in the main hierarchy: an flock(2) on it says to whom it belongs.
    pub fn open_directory(&self, path: &str) -> io::Result<File> {
        self.create_bare(path)?;
        File::open(self.main_dir(path)?)
    }

    /// The file of the main hierarchy by which a process of one thread moves itself into the cgroup, open for writing: it
    /// writes `0`. On v1 that is `tasks`: the kernel then takes no lock that costs a grace period of RCU, some 20 ms on an
    /// idle machine, as `cgroup.procs` does.
    pub fn open_procs(&self, path: &str) -> io::Result<File> {
        let name = if self.mode() == Mode::V2 { "cgroup.procs" } else { "tasks" };
        OpenOptions::new().write(true).open(self.main_dir(path)?.join(name))
    }

    /// The `cgroup.procs` of every hierarchy that has this cgroup, open for writing: who writes `0` joins it in all of them.
    pub fn open_all_procs(&self, path: &str) -> io::Result<Vec<File>> {
        self.directories(path)?
            .iter()
            .map(|dir| OpenOptions::new().write(true).open(dir.join("cgroup.procs")).map_err(|error| at(dir, &error)))
            .collect()
    }

    /// Moves a process into the cgroup in the main hierarchy.
    pub fn add(&self, path: &str, pid: u32) -> io::Result<()> {
        let procs = self.main_dir(path)?.join("cgroup.procs");
        OpenOptions::new().write(true).open(procs)?.write_all(pid.to_string().as_bytes())
    }

    /// v2: moves every process that sits in the root of the visible hierarchy into `leaf`, this one too, since a cgroup with
    /// processes of its own can hand no controller to its children. Without effect on v1.
    pub fn move_root_into_leaf(&self, leaf: &str) -> io::Result<()> {
        let Some(root) = self.unified.as_deref().filter(|_| self.mode() == Mode::V2) else { return Ok(()) };
        self.create_bare(leaf)?;
        for pid in read_pids(root)? {
            match self.add(leaf, pid) {
                // Kernel threads cannot move, and a process may have ended meanwhile.
                Ok(()) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ESRCH)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All processes in the cgroup and below it; none when it is not there.
    pub fn processes(&self, path: &str) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for dir in tree(&self.main_dir(path)?)? {
            pids.extend(read_pids(&dir)?);
        }
        Ok(pids)
    }

    /// Whether no process is left in the cgroup or below it. A cgroup that is not there is empty.
    pub fn is_empty(&self, path: &str) -> io::Result<bool> {
        if self.is_none() {
            return Ok(true);
        }
        if self.mode() == Mode::V2 {
            return match std::fs::read_to_string(self.main_dir(path)?.join("cgroup.events")) {
                Ok(events) => Ok(keyed(&events, "populated") == Some(0)),
                Err(error) if gone(&error) => Ok(true),
                Err(error) => Err(error),
            };
        }
        Ok(self.processes(path)?.is_empty())
    }

    /// SIGKILL to everything in the cgroup and below it, once. On v1 frozen cgroups are thawed, else the signal would wait.
    /// Returns whether it is known to be empty now; without waiting it usually is not.
    pub fn kill_once(&self, path: &str) -> io::Result<bool> {
        if self.is_none() {
            return Ok(true);
        }
        if self.mode() == Mode::V2 {
            match write(&self.main_dir(path)?.join("cgroup.kill"), "1") {
                Ok(()) => return self.is_empty(path),
                Err(error) if gone(&error) && !self.main_dir(path)?.exists() => return Ok(true),
                // Before Linux 5.14 there is no cgroup.kill.
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(freezer) = self.controller("freezer") {
            for dir in tree(&freezer.join(checked(path)?))? {
                ignore_gone(write(&dir.join("freezer.state"), "THAWED"))?;
            }
        }
        let pids = self.processes(path)?;
        for pid in &pids {
            self.kill_process(path, *pid)?;
        }
        Ok(pids.is_empty())
    }

    /// The pid may have been given to a stranger since it was read: the pidfd is opened first, then membership is looked at
    /// again.
    fn kill_process(&self, path: &str, pid: u32) -> io::Result<()> {
        let Some(pid_number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let pidfd = match rustix::process::pidfd_open(pid_number, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !self.processes(path)?.contains(&pid) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills until the cgroup is empty, at most for `bound`; the answer says whether it is. For short-lived helpers, never for
    /// an event loop: it waits in steps of a millisecond.
    pub fn kill(&self, path: &str, bound: Duration) -> io::Result<bool> {
        let start = Instant::now();
        while !self.kill_once(path)? {
            if start.elapsed() >= bound {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }

    /// Whether swap can be limited: `memory.memsw.*` on v1; on v2 looked for in the cgroups below the root, which has none itself,
    /// and for that passes its controllers on.
    pub fn accounts_swap(&self) -> bool {
        match self.mode() {
            Mode::V2 => self.unified.as_deref().is_some_and(|root| {
                if let Err(error) = enable_controllers(root) {
                    log::warn!("{}: the controllers cannot be passed on: {error}", root.display());
                }
                subdirectories(root).unwrap_or_default().iter().any(|dir| dir.join("memory.swap.max").exists())
            }),
            Mode::Hybrid | Mode::V1 => {
                self.controller("memory").is_some_and(|root| root.join("memory.memsw.limit_in_bytes").exists())
            }
        }
    }

    /// Whether pages of other sizes than the usual can be limited.
    pub fn limits_huge_pages(&self) -> bool {
        match (self.mode(), self.unified.as_deref()) {
            (Mode::V2, Some(root)) => std::fs::read_to_string(root.join("cgroup.controllers"))
                .is_ok_and(|text| text.split_whitespace().any(|name| name == "hugetlb")),
            _ => self.controller("hugetlb").is_some(),
        }
    }

    /// How many processes of the cgroup and of those below it the kernel has killed for memory.
    pub fn oom_kills(&self, path: &str) -> io::Result<u64> {
        let (dirs, file) = match self.mode() {
            Mode::V2 => (vec![self.main_dir(path)?], "memory.events"),
            // A count of v1 is of one cgroup only.
            Mode::Hybrid | Mode::V1 => match self.controller("memory") {
                Some(root) => (tree(&root.join(checked(path)?))?, "memory.oom_control"),
                None => return Ok(0),
            },
        };
        dirs.iter().try_fold(0_u64, |sum, dir| match std::fs::read_to_string(dir.join(file)) {
            Ok(text) => Ok(sum.saturating_add(keyed(&text, "oom_kill").unwrap_or(0))),
            Err(error) if gone(&error) => Ok(sum),
            Err(error) => Err(error),
        })
    }

    /// Names of the cgroups directly below `path`, in any hierarchy, sorted.
    pub fn children(&self, path: &str) -> io::Result<Vec<String>> {
        let path = checked(path)?;
        let mut names = Vec::new();
        for root in self.roots() {
            for dir in subdirectories(&root.join(path))? {
                names.extend(dir.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The directories of this cgroup that exist, one for each hierarchy.
    pub fn directories(&self, path: &str) -> io::Result<Vec<PathBuf>> {
        let path = checked(path)?;
        Ok(self.roots().map(|root| root.join(path)).filter(|dir| dir.exists()).collect())
    }

    /// Removes the cgroup and all below it from every hierarchy, the deepest first. Processes in it make it fail with `EBUSY`.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let path = checked(path)?;
        for root in self.roots() {
            for dir in tree(&root.join(path))?.iter().rev() {
                remove_dir(dir)?;
            }
        }
        Ok(())
    }
}

/// A process that has just been reaped may keep its cgroup busy for a moment longer.
fn remove_dir(dir: &Path) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < Duration::from_millis(500) =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(at(dir, &error)),
        }
    }
}

/// A path below the root that cannot leave it; a leading `/` is allowed, as in OCI's `cgroupsPath`.
fn checked(path: &str) -> io::Result<&Path> {
    let path = Path::new(path.trim_start_matches('/'));
    if super::mount::is_plain_relative(path) {
        return Ok(path);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a cgroup path: {}", path.display())))
}

/// Passes the controllers a cgroup has on to its children.
fn enable_controllers(dir: &Path) -> io::Result<()> {
    let has = std::fs::read_to_string(dir.join("cgroup.controllers"))?;
    let passed = std::fs::read_to_string(dir.join("cgroup.subtree_control"))?;
    let wanted = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];
    for name in has.split_whitespace().filter(|name| wanted.contains(name)) {
        if !passed.split_whitespace().any(|enabled| enabled == name) {
            write(&dir.join("cgroup.subtree_control"), &format!("+{name}"))?;
        }
    }
    Ok(())
}

/// The cgroup and all below it, parents first; nothing when it is not there. No recursion: depth is the container's choice.
fn tree(top: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = if top.exists() { vec![top.to_owned()] } else { Vec::new() };
    let mut next = 0;
    while let Some(dir) = dirs.get(next).cloned() {
        dirs.extend(subdirectories(&dir)?);
        next = next.saturating_add(1);
    }
    Ok(dirs)
}

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(at(dir, &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => found.push(entry.path()),
            Ok(_) => {}
            Err(error) if gone(&error) => break,
            Err(error) => return Err(at(dir, &error)),
        }
    }
    Ok(found)
}

fn read_pids(dir: &Path) -> io::Result<Vec<u32>> {
    match std::fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()),
        // A threaded cgroup of v2 lists no processes itself; its domain ancestor does.
        Err(error) if gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(at(dir, &error)),
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENOTDIR))
}

fn ignore_gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) })
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(dir, &error)),
        _ => Ok(()),
    }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
        .map_err(|error| io::Error::new(error.kind(), format!("writing {value} to {}: {error}", file.display())))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn missing(controller: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "the kernel offers no {controller} controller, so its limit cannot be kept; remove the limit or enable it"
        ),
    )
}

#[cfg(test)]
mod tests;
