//! [`Machine`]: the real binary as PID 1 of a pid namespace, with a root, a console and a data partition of its own.
#![allow(dead_code)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gatepost::sys::process;
use rustix::process::{Pid, Signal, kill_process};

pub const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");

/// Far beyond what anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// What most machines here are configured with: there is no partition in a namespace, and none is waited for.
pub const CONFIG: &str = "nodeName: gw\nflashPartition: ''\ndataPartition: ''\nlogDir: /var/lib/logs\n";

/// A machine that is prepared, or runs, or has gone down.
pub struct Machine {
    dir: tempfile::TempDir,
    unshare: Option<Child>,
    /// Its PID 1, as the machine around it counts.
    pub init: u32,
    /// Its cgroups below that of the pods.
    cgroup_root: String,
}

impl Machine {
    /// Everything but the process.
    pub fn prepare(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pid1-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["root", "data", "manifests"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_ascii_lowercase().replace('.', "");
        let machine = Self { dir, unshare: None, init: 0, cgroup_root: name };
        fs::write(machine.path("with-cgroups"), "").unwrap();
        fs::copy(GATEPOST, machine.path("gatepost")).unwrap();
        fs::write(machine.path("console"), "").unwrap();
        let config = format!("{config}cgroupRoot: {}\nstaticPodPath: /flash/manifests\n", machine.cgroup_root);
        fs::write(machine.path("config.yaml"), config).unwrap();
        machine
    }

    /// Without cgroups there can be no pods. For machines that may end up with the default configuration, whose cgroups are not only
    /// this test's.
    pub fn without_cgroups(self) -> Self {
        fs::remove_file(self.path("with-cgroups")).unwrap();
        self
    }

    /// Waits until the supervisor was started in a machine without cgroups.
    pub fn until_tried(&self) {
        self.until("no container can be started: no cgroup file system is mounted");
    }

    /// A running machine without pods.
    pub fn boot() -> Self {
        let mut machine = Self::prepare(CONFIG);
        machine.start();
        machine.until_supervised();
        machine
    }

    /// With the busybox image, so that pods run.
    pub fn for_pods(manifests: &[serde_json::Value]) -> Self {
        Self::configured_for_pods(CONFIG, manifests)
    }

    pub fn configured_for_pods(config: &str, manifests: &[serde_json::Value]) -> Self {
        let machine = Self::prepare(config);
        let mut import = Command::new(GATEPOST);
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(".build/images/busybox.tar");
        import.args(["image", "import"]).arg(archive).arg("--data-dir").arg(machine.path("data/gatepost"));
        import.env("GATEPOST_RUN_DIR", "/nonexistent").stdout(Stdio::null());
        assert!(import.status().unwrap().success(), "busybox is not imported; `make images` builds it");
        for (number, manifest) in manifests.iter().enumerate() {
            fs::write(machine.path(&format!("manifests/{number}.json")), manifest.to_string()).unwrap();
        }
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it. What runs before PID 1 can be another program, such as a tracer. Where the way there does not come to its end, which
    /// says nothing about PID 1, it is begun anew.
    pub fn start_under(&mut self, tracer: &[&str]) {
        for _ in 0..3 {
            self.try_to_start(tracer);
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                if fs::metadata(self.path("entered")).is_ok_and(|entered| entered.len() > 0) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut stuck = self.unshare.take().unwrap();
            stuck.kill().unwrap();
            stuck.wait().unwrap();
        }
        panic!("the machine was never entered: {}", fs::read_to_string(self.path("trouble")).unwrap_or_default());
    }

    fn try_to_start(&mut self, tracer: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pid1/enter.sh");
        let mut words = tracer.to_vec();
        words.extend(["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--kill-child"]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(script).arg(self.dir.path());
        let trouble = fs::File::create(self.path("trouble")).unwrap();
        let unshare = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(trouble).spawn().unwrap();
        let mut parent = unshare.id();
        self.unshare = Some(unshare);
        if !tracer.is_empty() {
            // Tracers begin with children that only try things out.
            let is_it =
                |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "unshare\n");
            parent = self.wait_for("unshare", |_| children_of(parent).into_iter().find(is_it));
        }
        self.init = self.wait_for("PID 1", |_| child_of(parent));
    }

    pub fn start(&mut self) {
        self.start_under(&[]);
    }

    /// What the console and the host log say.
    pub fn said(&self) -> String {
        self.on_the_console() + &self.logged()
    }

    pub fn on_the_console(&self) -> String {
        if !fs::metadata(self.path("console")).is_ok_and(|console| console.is_file()) {
            // Reading a console that is a FIFO would take away what keeps it full.
            return String::new();
        }
        String::from_utf8_lossy(&fs::read(self.path("console")).unwrap_or_default()).into_owned()
    }

    /// The host log, which is gone with the machine.
    pub fn logged(&self) -> String {
        fs::read_to_string(format!("/proc/{}/root/var/log/gatepost/host.log", self.init)).unwrap_or_default()
    }

    /// Waits until `look` finds something.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let trouble = || fs::read_to_string(self.path("trouble")).unwrap_or_default();
            assert!(Instant::now() < end, "never came: {what}; the console says:\n{}{}", self.said(), trouble());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the console shows `text`.
    pub fn until(&self, text: &str) {
        self.wait_for(text, |machine| machine.said().contains(text).then_some(()));
    }

    /// Waits until a supervisor answers.
    pub fn until_supervised(&self) {
        self.wait_for("an answer of the supervisor", |machine| {
            machine.run(&["/init-binary", "get", "pods", "-A"]).status.success().then_some(())
        });
    }

    /// Runs a command inside.
    pub fn run(&self, words: &[&str]) -> Output {
        self.enter(words).output().unwrap()
    }

    /// A command that will run inside.
    pub fn enter(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--pid", "--mount", "--uts", "--ipc", "--net", "--"]);
        command.args(words).stdin(Stdio::null());
        command
    }

    pub fn shell(&self, script: &str) -> String {
        let output = self.run(&["/bin/sh", "-c", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn pods(&self) -> Vec<serde_json::Value> {
        let output = self.run(&["/init-binary", "get", "pods", "-A", "-o", "json"]);
        let list: serde_json::Value = gatepost::json::from_slice(&output.stdout).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.init), signal).unwrap();
    }

    /// A child of PID 1 whose command line has this word.
    pub fn child(&self, word: &str) -> Option<u32> {
        children_of(self.init).into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|given| given == word.as_bytes())
        })
    }

    /// The signal that reboot(2) ended PID 1 with: SIGHUP for a restart, SIGINT for halt and poweroff.
    pub fn ended_by(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            let unshare = self.unshare.as_mut().unwrap();
            if let Some(status) = unshare.try_wait().unwrap() {
                self.unshare = None;
                // A tracer says it with its exit status.
                return status.signal().or_else(|| status.code().map(|code| code - 128));
            }
            assert!(Instant::now() < end, "it does not go down; the console says:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The report of the shutdown.
    pub fn report(&self) -> serde_json::Value {
        let text = fs::read(self.path("data/gatepost/state/last-boot"));
        gatepost::json::from_slice(&text.expect("there is no report of the shutdown")).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut unshare) = self.unshare.take() {
            // With PID 1 the kernel ends the whole namespace.
            if self.init != 0 {
                let _ = kill_process(pid(self.init), Signal::KILL);
            }
            let _ = unshare.kill();
            let _ = unshare.wait();
        }
        if let Ok(cgroups) = gatepost::sys::cgroup::Cgroups::detect() {
            for path in [format!("gatepost/{}", self.cgroup_root), self.cgroup_root.clone()] {
                let _ = cgroups.remove(&path);
            }
        }
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

pub fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

pub fn children_of(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn child_of(parent: u32) -> Option<u32> {
    children_of(parent).first().copied()
}

/// Processes below `init` that have ended and are not reaped.
pub fn zombies(init: u32) -> usize {
    children_of(init).into_iter().filter(|pid| process::stat(*pid).is_ok_and(|stat| stat.state == 'Z')).count()
}

/// Whether this machine lets limits be raised.
pub fn may_raise_limits() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let limits = fs::read_to_string("/proc/self/status").unwrap();
        let line = limits.lines().find(|line| line.starts_with("CapEff")).unwrap();
        let bits = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // CAP_SYS_RESOURCE
        bits & (1 << 24) != 0
    })
}
