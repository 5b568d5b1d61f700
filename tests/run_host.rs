//! What `make run-host` does: `tests/samples/run.sh` shows the sample pods until Ctrl-C, and leaves nothing behind.
//!
//! A test program of its own: some sample pods use fixed ports of the host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use gatepost::sys::cgroup::Cgroups;
use gatepost::sys::mount;
use rustix::process::{Pid, Signal, kill_process_group};

/// Far above what is ever needed between two lines: other work may share the machine.
const PATIENCE: Duration = Duration::from_mins(4);
const RUNNING: [&str; 8] = [
    "mosquitto-",
    "publisher-",
    "nginx-",
    "redis-",
    "nodejs-gateway",
    "nodejs-host-",
    "offline-",
    "docker-registry-1-",
];

/// The script with all it has started, in a process group of its own as on a terminal.
struct Script {
    process: Child,
}

impl Script {
    /// Ctrl-C, as a terminal sends it.
    fn interrupt(&self) {
        kill_process_group(Pid::from_child(&self.process), Signal::INT).unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            self.interrupt();
            let _ = self.process.wait();
        }
    }
}

#[test]
fn the_sample_pods_are_shown_until_ctrl_c_and_nothing_is_left() {
    let dir = tempfile::Builder::new().prefix("samples-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let run = tempfile::Builder::new().prefix("gp-").tempdir().unwrap();
    let run_dir = run.path().join("r");
    let cgroup_root = format!("gp-samples-{}", std::process::id());
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Whoever starts the tests in the background has them ignore Ctrl-C.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM", "sh"]).arg(own.join("tests/samples/run.sh"));
    command.args([Path::new(env!("CARGO_BIN_EXE_gatepost")), dir.path()]).process_group(0);
    command.env("SETTINGS", format!("runDir: {}\ncgroupRoot: {cgroup_root}", run_dir.display()));
    command.env("GATEPOST_RUN_DIR", &run_dir).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = Script { process: command.spawn().unwrap() };
    let output = BufReader::new(script.process.stdout.take().unwrap());
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));

    // NAMESPACE NAME READY STATUS …, one line a change.
    let mut status = BTreeMap::new();
    let is = |status: &BTreeMap<String, String>, name: &str, word: &str| {
        status.iter().any(|(pod, now)| pod.starts_with(name) && now == word)
    };
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}; last seen: {status:#?}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["default", name, _, now, ..] = *words {
            status.insert(name.to_owned(), now.to_owned());
        }
        if RUNNING.iter().all(|name| is(&status, name, "Running")) && is(&status, "crash-", "CrashLoopBackOff") {
            break;
        }
    }
    script.interrupt();
    let ended = script.process.wait().unwrap();
    let said: Vec<String> = lines.iter().collect();
    assert!(ended.success(), "{ended}: {said:#?}\n{}", fs::read_to_string(dir.path().join("gatepost.log")).unwrap());
    assert!(said.iter().any(|line| line == "stopping the pods…"), "{said:#?}");

    let cgroups = Cgroups::detect().unwrap();
    for root in [cgroup_root.clone(), format!("gatepost/{cgroup_root}")] {
        assert_eq!(cgroups.processes(&root).unwrap_or_default(), Vec::<u32>::new(), "processes in {root}");
    }
    for class in ["", "/burstable", "/besteffort"] {
        let mut pods = cgroups.children(&format!("{cgroup_root}{class}")).unwrap_or_default();
        pods.retain(|child| child.starts_with("pod"));
        assert_eq!(pods, Vec::<String>::new(), "cgroups of pods");
    }
    let mounts = || mount::mounts().unwrap().into_iter().map(|entry| entry.target);
    let left: Vec<_> =
        mounts().filter(|at| at.starts_with(dir.path()) || (at.starts_with(&run_dir) && *at != run_dir)).collect();
    assert!(left.is_empty(), "mounts {left:?}");
    for root in [cgroup_root.clone(), format!("gatepost/{cgroup_root}")] {
        let _ = cgroups.remove(&root);
    }
    let _ = mount::detach(&run_dir);
    let own = [dir.path(), run.path()].map(|path| path.display().to_string());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        assert!(!own.iter().any(|path| command.contains(path.as_str())), "a process is left: {command}");
    }
}
