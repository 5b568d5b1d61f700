//! [`Runtime`]: the OCI runtime's binary, its command lines, and what its state root says about containers.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::json::{self, Deserialize, Serialize};
use crate::sys::cgroup::{Cgroups, Mode};
use crate::sys::{mount, namespace};

/// Which family a runtime binary belongs to; it decides how its state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// runc, and what writes its `state.json`.
    Runc,
    /// crun, which writes `status`.
    Crun,
    /// Anything else with runc's command line.
    Other,
}

/// The OCI runtime's binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Absolute path of the binary.
    pub path: PathBuf,
    /// Family.
    pub flavour: Flavour,
    /// First line of `--version`, for example `runc version 1.1.5`.
    pub version: String,
    /// Whether `--version` says that it was built with seccomp. Some do not say.
    pub says_seccomp: bool,
}

/// Why no runtime can be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The setting names a program that is not there.
    #[error(
        "no OCI runtime {0:?} in PATH; install it (Debian: apt-get install runc) or set `runtime` in the configuration"
    )]
    NotFound(String),
    /// It does not run.
    #[error("{} --version: {reason}; is it an OCI runtime for this machine?", path.display())]
    Broken {
        /// The binary.
        path: PathBuf,
        /// What it did instead.
        reason: String,
    },
}

impl Runtime {
    /// Looks the setting up in `PATH` (an absolute path is taken as it is) and asks the binary for its version.
    pub fn find(setting: &str) -> Result<Self, RuntimeError> {
        let path = if Path::new(setting).is_absolute() {
            PathBuf::from(setting)
        } else {
            let dirs = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin"));
            std::env::split_paths(&dirs)
                .map(|dir| dir.join(setting))
                .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file())
                .ok_or_else(|| RuntimeError::NotFound(setting.to_owned()))?
        };
        let broken = |reason: String| RuntimeError::Broken { path: path.clone(), reason };
        let output = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| broken(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().trim().to_owned();
        if !output.status.success() || version.is_empty() {
            return Err(broken(format!("{}, {version:?}", output.status)));
        }
        let flavour = match version.split_whitespace().next() {
            Some("runc") => Flavour::Runc,
            Some("crun") => Flavour::Crun,
            _ => Flavour::Other,
        };
        let says_seccomp = text.to_ascii_lowercase().contains("seccomp");
        Ok(Self { path, flavour, version, says_seccomp })
    }

    /// Stands in for a runtime that is not there: every container says that it cannot be started, and why.
    pub fn missing(setting: &str) -> Self {
        let path = if Path::new(setting).is_absolute() { setting.into() } else { Path::new("/usr/bin").join(setting) };
        let flavour = match path.file_name().and_then(|name| name.to_str()) {
            Some("runc") => Flavour::Runc,
            Some("crun") => Flavour::Crun,
            _ => Flavour::Other,
        };
        Self { path, flavour, version: format!("{setting} (missing)"), says_seccomp: false }
    }

    /// The command without a verb. Its log goes to `log` as JSON lines.
    pub fn command(&self, root: &Path, log: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(root).arg("--log").arg(log).args(["--log-format", "json"]);
        command
    }

    /// `start`: begins the program of a created container.
    pub fn start(&self, root: &Path, log: &Path, id: &str) -> Command {
        let mut command = self.command(root, log);
        command.arg("start").arg(id);
        command
    }

    /// `delete --force`. That it succeeds proves nothing; see [`super::cleanup`].
    pub fn delete(&self, root: &Path, log: &Path, id: &str) -> Command {
        let mut command = self.command(root, log);
        command.args(["delete", "--force"]).arg(id);
        command
    }

    /// `exec`: runs a program in a running container, in the foreground, on the caller's standard streams; with `tty` in a
    /// new terminal connected to the caller's. The command ends with the program's exit status.
    pub fn exec(&self, root: &Path, id: &str, tty: bool, program: &[OsString]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(root).arg("exec");
        if tty {
            command.arg("--tty");
        }
        command.arg(id).args(program);
        command
    }

    /// The same without a terminal, and over when the program has begun: its pid is in `pid_file`, and this process is the parent
    /// of whoever calls the command.
    pub fn exec_detached(&self, root: &Path, log: &Path, pid_file: &Path, id: &str, program: &[String]) -> Command {
        let mut command = self.command(root, log);
        command.args(["exec", "--detach", "--pid-file"]).arg(pid_file).arg(id).args(program);
        command
    }

    /// Whether of a bundle's configuration only `process` is read after the container was made, by `exec` (runc), or nothing
    /// (crun, which copies the file). Of others nobody knows.
    pub fn rereads_the_process_only(&self) -> bool {
        self.flavour != Flavour::Other
    }

    /// crun refuses machines with v1 controllers and a cgroup2 mount beside them. Where that is so, moves this process into a
    /// mount namespace of its own that hides the cgroup2 mount, and says so. To be called before crun is executed in place.
    pub fn hide_hybrid_cgroups(&self) -> io::Result<bool> {
        if self.flavour != Flavour::Crun {
            return Ok(false);
        }
        let cgroups = Cgroups::detect()?;
        let (Mode::Hybrid, Some(unified)) = (cgroups.mode(), cgroups.unified()) else { return Ok(false) };
        namespace::unshare_mounts()?;
        // Without this the new mount would spread to the host where its mounts are shared.
        mount::make_private(Path::new("/"))?;
        // Not an unmount: crun writes to what it finds there, and in the directory below the mount that would stay for ever.
        mount::tmpfs(unified, Some(64 << 10), 0o755, false)?;
        Ok(true)
    }
}

/// Where a container's first process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, its program not begun.
    Created,
    /// The process with this pid and start time lives.
    Running,
    /// It does not, or is a zombie.
    Stopped,
}

/// What the runtime's state root says about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Process id of the first process.
    pub pid: u32,
    /// Its start time in clock ticks since boot, field 22 of `/proc/<pid>/stat`; tells it from a later process of that pid.
    pub start_time: u64,
    /// Where it is.
    pub status: Status,
    /// It has not executed its program, or died before it did: nobody has opened the FIFO at which the runtime's own process
    /// waits. Of runc this is known also when it was killed between opening that FIFO and removing it.
    pub waiting: bool,
}

/// Reads runc's `state.json` or crun's `status`. `None`: no such container, or a half state that a killed runtime left.
pub fn observed(root: &Path, id: &str) -> Option<Observed> {
    /// runc writes the whole configuration beside these; serde passes over it without keeping it.
    #[derive(Deserialize)]
    struct Runc {
        init_process_pid: u32,
        init_process_start: u64,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Crun {
        pid: u32,
        process_start_time: u64,
    }
    let dir = root.join(id);
    let fifo = dir.join("exec.fifo").exists();
    let (pid, start_time, waiting) = if let Ok(text) = std::fs::read(dir.join("state.json")) {
        let state: Runc = json::from_slice(&text).ok()?;
        (state.init_process_pid, state.init_process_start, fifo && is_runc_itself(state.init_process_pid))
    } else {
        let state: Crun = json::from_slice(&std::fs::read(dir.join("status")).ok()?).ok()?;
        (state.pid, state.process_start_time, fifo)
    };
    let alive = process_start_time(pid) == Some(start_time);
    let status = match (alive, waiting) {
        (false, _) => Status::Stopped,
        (true, true) => Status::Created,
        (true, false) => Status::Running,
    };
    Some(Observed { pid, start_time, status, waiting })
}

/// Whether a process, living or a zombie, is still runc (`runc:[2:INIT]`) and not yet the container's program.
fn is_runc_itself(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(b"runc:["))
}

/// Ids of all containers in the runtime's state root, half states included, sorted.
pub fn list(root: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ids = Vec::new();
    for entry in entries {
        // crun keeps a `.cache` there.
        ids.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
    }
    ids.sort();
    Ok(ids)
}

/// Start time in clock ticks since boot of a process that is there and no zombie.
pub(super) fn process_start_time(pid: u32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The command name stands in parentheses and may hold any character, so fields are counted from its end: the first is 3.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn state(root: &Path, id: &str, file: &str, text: &str) {
        std::fs::create_dir_all(root.join(id)).unwrap();
        std::fs::write(root.join(id).join(file), text).unwrap();
    }

    #[test]
    fn the_states_of_runc_and_crun_are_read() {
        let root = tempfile::tempdir().unwrap();
        let me = std::process::id();
        let start = process_start_time(me).unwrap();
        state(
            root.path(),
            "a",
            "state.json",
            &format!(r#"{{"id":"a","init_process_pid":{me},"init_process_start":{start},"config":{{"x":[1]}}}}"#),
        );
        state(root.path(), "b", "status", &format!(r#"{{"pid":{me},"process-start-time":{start},"bundle":"/b"}}"#));
        std::fs::write(root.path().join("b/exec.fifo"), "").unwrap();
        state(root.path(), "c", "state.json", &format!(r#"{{"init_process_pid":{me},"init_process_start":1}}"#));
        assert_eq!(
            observed(root.path(), "a"),
            Some(Observed { pid: me, start_time: start, status: Status::Running, waiting: false })
        );
        assert_eq!(observed(root.path(), "b").unwrap().status, Status::Created);
        // Killed between opening the FIFO and removing it: this process executes what it should already.
        std::fs::write(root.path().join("a/exec.fifo"), "").unwrap();
        assert_eq!(observed(root.path(), "a").unwrap().status, Status::Running);
        assert_eq!(observed(root.path(), "c").unwrap().status, Status::Stopped);
    }

    #[test]
    fn a_half_state_is_listed_but_not_observed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("half")).unwrap();
        std::fs::create_dir(root.path().join(".cache")).unwrap();
        state(root.path(), "torn", "state.json", r#"{"init_process_pid":12"#);
        assert_eq!(list(root.path()).unwrap(), ["half", "torn"]);
        assert_eq!(observed(root.path(), "half"), None);
        assert_eq!(observed(root.path(), "torn"), None);
        assert_eq!(list(Path::new("/nonexistent")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_process_named_to_confuse_and_a_zombie_are_told_apart() {
        let tail = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1";
        assert_eq!(parse_stat(&format!("12 (a) S 1) S {tail}")), Some(4711));
        assert_eq!(parse_stat(&format!("12 (a) Z {tail}")), None);
    }

    #[test]
    fn a_runtime_that_is_not_there_is_refused_with_advice() {
        let error = Runtime::find("no-such-runtime").unwrap_err().to_string();
        assert!(error.contains("install it"), "{error}");
        assert!(Runtime::find("/bin/false").is_err());
        assert_eq!(Runtime::find("runc").unwrap().flavour, Flavour::Runc);
        assert_eq!(Runtime::find("crun").unwrap().flavour, Flavour::Crun);
    }
}
