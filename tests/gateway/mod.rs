//! [`Gateway`]: the real binary with directories, cgroups and images of its own, so that tests run beside each other and beside
//! whatever else the machine does. Dropped, it stops its pods and looks that nothing is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unreachable_pub)]

pub mod manifest;
pub mod pods;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use gatepost::control::{Call, Client, Info, Reply};
use gatepost::sys::cgroup::Cgroups;
use gatepost::sys::mount;
use serde_json::Value;

pub use pods::Pods;

pub const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");

/// Longest wait for anything: far above what is ever needed, since other work may share the machine.
const PATIENCE: Duration = Duration::from_mins(2);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One gatepost, running.
pub struct Gateway {
    /// Manifests, data, logs, and whatever a test puts there.
    dir: tempfile::TempDir,
    /// Short, since the paths of sockets below it are bounded.
    run: tempfile::TempDir,
    /// The node's name.
    pub node: String,
    pub cgroup_root: String,
    process: Option<Child>,
    /// A program and its arguments that become gatepost by execve(2), such as `setpriv`; empty for none.
    pub through: Vec<String>,
    stops_pods: bool,
    /// How often it was started.
    runs: u32,
    said: Arc<Said>,
}

/// What gatepost wrote to its standard error.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Gateway {
    /// A running gatepost with the busybox image; `settings` are lines of the configuration file.
    pub fn start(settings: &str) -> Self {
        let mut gateway = Self::prepare(settings);
        gateway.run(true);
        gateway
    }

    /// Everything but the process, so that manifests can be there before it.
    pub fn prepare(settings: &str) -> Self {
        let gateway = Self::without_images(settings);
        let mut copy = Command::new("cp");
        let copied = copy.arg("-al").args([images().join("images"), images().join("layers")]).arg(gateway.path("data"));
        assert!(status(copied).success(), "the image store could not be copied");
        gateway
    }

    /// The same, with the configuration of every container that is started kept for [`Self::bundles`].
    pub fn keeping_bundles(settings: &str) -> Self {
        let gateway = Self::prepare(&format!("runtime: BASE/runc\n{settings}"));
        let bundles = gateway.path("bundles");
        fs::create_dir(&bundles).unwrap();
        let script = format!(
            "#!/bin/sh\nwas=\nfor word; do\n    case $was in --bundle) cp \"$word/config.json\" {}/$$.json ;; esac\n    was=$word\ndone\n\
             exec runc \"$@\"\n",
            bundles.display()
        );
        fs::write(gateway.path("runc"), script).unwrap();
        fs::set_permissions(gateway.path("runc"), fs::Permissions::from_mode(0o755)).unwrap();
        gateway
    }

    /// The configurations that containers were started with. One asks for what only a newer specification knows: it is gatepost's own,
    /// which wants to know whether the runtime does.
    pub fn bundles(&self) -> Vec<Value> {
        let files = fs::read_dir(self.path("bundles")).unwrap().map(|entry| entry.unwrap().path());
        let all = files.map(|path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap());
        all.filter(|bundle| bundle["ociVersion"] == "1.0.2").collect()
    }

    /// Lets others pass through the directories of the test, as a node's users can through `/run`.
    pub fn open_the_way(&self) {
        for dir in [self.run.path(), self.dir.path()] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The same with an empty image store.
    pub fn without_images(settings: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{number}", std::process::id());
        let dir = tempfile::Builder::new().prefix("gateway-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let run = tempfile::Builder::new().prefix("gp-").tempdir().unwrap();
        let gateway = Self {
            node: format!("gw{number}"),
            cgroup_root: format!("gp-test-{unique}"),
            process: None,
            through: Vec::new(),
            stops_pods: true,
            runs: 0,
            said: Arc::default(),
            dir,
            run,
        };
        for directory in ["manifests", "data", "logs", "host", "cni"] {
            fs::create_dir(gateway.path(directory)).unwrap();
        }
        let base = gateway.dir.path().display();
        let mut config = format!(
            "nodeName: {}\ncgroupRoot: {}\nrunDir: {}\ndataDir: {base}/data\nlogDir: {base}/logs\n",
            gateway.node,
            gateway.cgroup_root,
            gateway.run_dir().display(),
        );
        if !settings.contains("staticPodPath:") {
            config = config + "staticPodPath: " + gateway.path("manifests").to_str().unwrap() + "\n";
        }
        if !settings.contains("fetchBinary:") {
            // Whether it was built before may make no difference.
            config = config + "fetchBinary: " + gateway.path("no-fetch").to_str().unwrap() + "\n";
        }
        if !settings.contains("imageGCHighThresholdPercent:") {
            // However full this machine's disk is.
            config += "imageGCHighThresholdPercent: 100\n";
        }
        if !settings.contains("cniConfDir:") {
            // Not what this machine has.
            config = config + "cniConfDir: " + gateway.path("cni").to_str().unwrap() + "\n";
        }
        config.push_str(&settings.replace("BASE", &base.to_string()));
        fs::write(gateway.path("config.yaml"), config).unwrap();
        gateway
    }

    /// Starts the process and waits until it answers. Without `stop_pods` containers outlive it.
    pub fn run(&mut self, stop_pods: bool) {
        assert!(self.process.is_none(), "it runs already");
        self.stops_pods = stop_pods;
        let words: Vec<&str> = self.through.iter().map(String::as_str).chain([GATEPOST, "run", "--config"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.path("config.yaml"));
        if stop_pods {
            command.arg("--stop-pods");
        }
        let from = self.said.lines.lock().unwrap().len();
        self.runs += 1;
        let end = format!("(end of run {})", self.runs);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stderr.take().unwrap());
        let said = Arc::clone(&self.said);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                said.lines.lock().unwrap().push(line);
                said.more.notify_all();
            }
            said.lines.lock().unwrap().push(end);
            said.more.notify_all();
        });
        self.process = Some(process);
        self.said_since(from, "supervising ");
    }

    /// Waits until gatepost has written a line with `needle`, and gives the line.
    pub fn said(&self, needle: &str) -> String {
        self.said_since(0, needle)
    }

    fn said_since(&self, from: usize, needle: &str) -> String {
        let mut lines = self.said.lines.lock().unwrap();
        let start = Instant::now();
        loop {
            if let Some(line) = lines[from..].iter().find(|line| line.contains(needle)) {
                return line.clone();
            }
            let ended = lines[from..].iter().any(|line| *line == format!("(end of run {})", self.runs));
            assert!(!ended && start.elapsed() < PATIENCE, "gatepost never said {needle:?}");
            lines = self.said.more.wait_timeout(lines, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        // Our own child, not waited for yet: the pid is its own.
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        process.wait().unwrap()
    }

    /// The process that was started, which is init.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Stops it, and forgets what is under /run, as a reboot does.
    pub fn lose_its_memory(&mut self) {
        self.stop();
        mount::detach_below(&self.run_dir()).unwrap();
    }

    /// What a power cut leaves, once the process itself is killed: no container, no helper, nothing under /run.
    pub fn lose_everything_but_its_disk(&mut self) {
        self.process.take().expect("it ran").wait().unwrap();
        let cgroups = Cgroups::detect().unwrap();
        for root in [format!("gatepost/{}", self.cgroup_root), self.cgroup_root.clone()] {
            assert!(cgroups.kill(&root, PATIENCE).unwrap(), "processes are left in {root}");
            cgroups.remove(&root).unwrap();
        }
        mount::detach_below(&self.run_dir()).unwrap();
        let left = fs::read_dir(self.run_dir()).unwrap().count();
        assert_eq!(left, 0, "{} is no mount of its own", self.run_dir().display());
    }

    /// A path among the gateway's own files; `host` is a directory for hostPath volumes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run_dir(&self) -> PathBuf {
        self.run.path().join("r")
    }

    /// Puts a file into the manifest directory as one should: under a name with a dot, then renamed.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        put(&self.path("manifests"), file, content);
    }

    /// Writes a pod, named after itself.
    pub fn apply(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().expect("a pod has a name");
        self.write(&format!("{name}.yaml"), pod.to_string());
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path("manifests").join(file)).unwrap();
    }

    /// The content of a file in the directory for hostPath volumes; empty when it is not there.
    pub fn host_file(&self, name: &str) -> String {
        fs::read_to_string(self.path("host").join(name)).unwrap_or_default()
    }

    /// Waits until a file in that directory has this content.
    pub fn host_file_is(&self, name: &str, content: &str) {
        self.host_file_where(name, &format!("{content:?}"), |text| text == content);
    }

    /// A pod with this volume at `/data` finds there what it wrote before its container was restarted, and nothing of it after
    /// a change of the manifest.
    pub fn assert_the_pod_keeps(&self, volume: serde_json::Value) {
        let script = "echo run >> /data/runs; cat /data/runs > /host/runs; trap 'exit 0' TERM; sleep 1000000 & wait";
        let mut pod = manifest::pod("web", script);
        manifest::mount_host(&mut pod, &self.path("host"));
        manifest::mount(&mut pod, "/data", volume);
        self.apply(&pod);
        self.host_file_is("runs", "run\n");
        self.ready("web");
        self.ok(&["restart", "pod", "web"]);
        self.host_file_is("runs", "run\nrun\n");
        pod["metadata"]["labels"] = serde_json::json!({"version": "2"});
        self.apply(&pod);
        self.host_file_is("runs", "run\n");
    }

    /// Waits until a file in that directory is as wanted, and gives its content.
    pub fn host_file_where(&self, name: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
        let changes = inotify::init(CreateFlags::NONBLOCK).unwrap();
        let content = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE | WatchFlags::MOVE;
        inotify::add_watch(&changes, self.path("host"), content).unwrap();
        let start = Instant::now();
        loop {
            let text = self.host_file(name);
            if wanted(&text) {
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {name} to be {what}; it is {text:?}");
            let mut fds = [PollFd::new(&changes, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
            while rustix::io::read(&changes, &mut [0u8; 4096]).is_ok_and(|count| count > 0) {}
        }
    }

    /// Runs a command against this gateway.
    pub fn gatepost<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(GATEPOST);
        command.args(arguments).env("GATEPOST_RUN_DIR", self.run_dir()).stdin(Stdio::null());
        command
    }

    /// The output of a command that must succeed.
    pub fn ok<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, arguments: &[S]) -> String {
        let output = self.gatepost(arguments);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
        out
    }

    /// What a command that must fail says.
    pub fn fails<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, arguments: &[S]) -> String {
        let output = self.gatepost(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What the first container of a pod has written.
    pub fn logs(&self, pod: &str) -> String {
        self.ok(&["logs", pod])
    }

    /// Runs a shell script in a running container.
    pub fn exec(&self, pod: &str, script: &str) -> String {
        self.ok(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Follows a log until a line has `needle`.
    pub fn wait_for_log(&self, arguments: &[&str], needle: &str) -> String {
        let mut following =
            self.command(&[&["logs", "-f"], arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(following.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut seen = String::new();
        let start = Instant::now();
        let found = loop {
            match lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok(line) if line.contains(needle) => break Some(line),
                Ok(line) => seen = seen + &line + "\n",
                Err(_) => break None,
            }
        };
        following.kill().unwrap();
        following.wait().unwrap();
        found.unwrap_or_else(|| panic!("logs of {arguments:?} never have {needle:?}, only:\n{seen}"))
    }

    /// All pods now.
    pub fn pods(&self) -> Pods {
        self.pods_of(self.client().ask(Call::Pods).unwrap())
    }

    fn pods_of(&self, reply: Reply) -> Pods {
        match reply {
            Reply::Pods { items, warnings } => Pods { node: self.node.clone(), items, warnings },
            other => panic!("no pods: {other:?}"),
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.run_dir().join("control.sock")).unwrap()
    }

    pub fn info(&self) -> Info {
        match self.client().ask(Call::Info).unwrap() {
            Reply::Info(info) => *info,
            other => panic!("no info: {other:?}"),
        }
    }

    pub fn supervisor_pid(&self) -> u32 {
        self.info().pid
    }

    /// All recorded events.
    pub fn events(&self) -> Vec<Value> {
        match self.client().ask(Call::Events).unwrap() {
            Reply::Events { items } => items,
            other => panic!("no events: {other:?}"),
        }
    }

    /// The latest message of an event about that pod.
    pub fn told(&self, pod: &str, reason: &str) -> Option<String> {
        let of_pod = |event: &&Value| pods::text(event, "/involvedObject/name").starts_with(&format!("{pod}-"));
        let events = self.events();
        let found = events.iter().filter(of_pod).rfind(|event| event["reason"] == reason);
        found.map(|event| pods::text(event, "/message").to_owned())
    }

    /// Looks at the pods now and after each change until `found` gives something. A supervisor that is replaced is asked again.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Pods) -> Option<T>) -> T {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < PATIENCE {
            let socket = self.run_dir().join("control.sock");
            let Ok(mut client) = Client::connect(&socket) else {
                // Between two supervisors nobody can be waited for.
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            if client.send(Call::Watch).is_err() {
                continue;
            }
            while let Ok(Some(reply)) = client.next(PATIENCE.saturating_sub(start.elapsed())) {
                let pods = self.pods_of(reply);
                if let Some(value) = found(&pods) {
                    return value;
                }
                last = Some(pods);
            }
        }
        panic!("waited in vain for {what}; last seen: {:#?}", last.map(|pods| (pods.summary(), pods.warnings)));
    }

    /// Waits until something holds of the pods.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Pods) -> bool) {
        self.wait_for(what, |pods| holds(pods).then_some(()));
    }

    /// Waits until a pod is Ready, and gives it.
    pub fn ready(&self, name: &str) -> Value {
        self.wait_for(&format!("{name} to be ready"), |pods| pods.ready(name).cloned())
    }

    /// Waits until a pod is Ready and has said so.
    pub fn wait_for_ready_log(&self, name: &str, line: &str) {
        self.ready(name);
        self.wait_for_log(&[name], line);
    }

    /// Waits until a pod has run to its end and its log is stored, and gives it.
    pub fn finished(&self, name: &str) -> Value {
        let pod = self.wait_for(&format!("{name} to end"), |pods| {
            pods.get(name).filter(|pod| ["Succeeded", "Failed"].contains(&pods::text(pod, "/status/phase"))).cloned()
        });
        // The status is told before the log is; an instance's directory goes when its log is stored to the end.
        let mark = format!("-{}-", &pods::text(&pod, "/metadata/uid")[..8]);
        let start = Instant::now();
        while std::fs::read_dir(self.run_dir().join("containers"))
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains(&mark)))
        {
            assert!(start.elapsed() < PATIENCE, "the instances of {name} are never removed");
            std::thread::sleep(Duration::from_millis(5));
        }
        pod
    }

    /// Waits until a pod is gone.
    pub fn gone(&self, name: &str) {
        self.until(&format!("{name} to be gone"), |pods| pods.get(name).is_none());
    }

    /// Waits for an event about `pod` whose reason or message has `needle`.
    pub fn event(&self, pod: &str, needle: &str) -> Value {
        let is_it = |event: &Value| {
            pods::text(event, "/involvedObject/name").starts_with(pod)
                && ["/reason", "/message"].iter().any(|field| pods::text(event, field).contains(needle))
        };
        self.wait_for(&format!("an event of {pod:?} about {needle:?}"), |_| self.events().into_iter().find(is_it))
    }

    /// Stops everything and looks for what is left.
    fn end(&mut self) -> Vec<String> {
        if self.process.is_some() && !self.stops_pods {
            self.stop();
        }
        if self.process.is_none() && !self.stops_pods {
            self.run(true);
        }
        let mut left = Vec::new();
        if self.process.is_some() {
            let status = self.stop();
            if !status.success() {
                left.push(format!("gatepost ended with {status}"));
            }
        }
        let cgroups = Cgroups::detect().unwrap();
        for root in [self.cgroup_root.clone(), format!("gatepost/{}", self.cgroup_root)] {
            for pid in cgroups.processes(&root).unwrap_or_default() {
                let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
                left.push(format!("process {pid} in cgroup {root}: {command}"));
            }
            for child in cgroups.children(&root).unwrap_or_default() {
                let empty_qos = ["burstable", "besteffort"].contains(&&*child)
                    && cgroups.children(&format!("{root}/{child}")).is_ok_and(|below| below.is_empty());
                if !empty_qos && !root.starts_with("gatepost/") {
                    left.push(format!("cgroup {root}/{child}"));
                }
            }
            let _ = cgroups.kill(&root, Duration::from_secs(10));
            let _ = cgroups.remove(&root);
        }
        let _ = mount::detach(&self.run_dir());
        for entry in mount::mounts().unwrap() {
            let below = |dir: &Path| entry.target.starts_with(dir);
            if below(self.dir.path()) || below(self.run.path()) {
                left.push(format!("mount {}", entry.target.display()));
            }
        }
        for dir in [self.dir.path(), self.run.path()] {
            let _ = mount::detach_below(dir);
        }
        let mine = [self.dir.path(), self.run.path()].map(|dir| dir.display().to_string());
        for pid in pids() {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if mine.iter().any(|dir| command.contains(dir)) {
                left.push(format!("process {pid}: {command}"));
            }
        }
        left
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            eprintln!("--- gatepost said:");
            // What a panicking thread held is readable all the same.
            let lines = self.said.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for line in lines.iter() {
                eprintln!("{line}");
            }
            eprintln!("---");
        }
        let left = self.end();
        if panicking {
            eprintln!("left over: {left:#?}");
        } else {
            assert!(left.is_empty(), "left over: {left:#?}");
        }
    }
}

/// Writes a file under a name with a dot and renames it.
pub fn put(directory: &Path, file: &str, content: impl AsRef<[u8]>) {
    let temporary = directory.join(format!(".{file}"));
    fs::write(&temporary, content).unwrap();
    fs::rename(temporary, directory.join(file)).unwrap();
}

/// The directory of the sample images.
pub fn sample_images() -> PathBuf {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join(".build/images");
    assert!(
        images.join(".stamp").exists(),
        "there are no sample images in {}: build them with `make images`",
        images.display()
    );
    images
}

/// A data directory with the busybox image, imported once by this test program.
fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Those of earlier runs, which nobody could remove: a static is never dropped.
        for entry in fs::read_dir(tmp).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            let of_dead = |pid: &str| !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("images-").is_some_and(of_dead) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let data = tmp.join(format!("images-{}", std::process::id()));
        let mut import = Command::new(GATEPOST);
        import.args(["image", "import"]).arg(sample_images().join("busybox.tar")).arg("--data-dir").arg(&data);
        import.env("GATEPOST_RUN_DIR", "/nonexistent").stdout(Stdio::null());
        assert!(status(&mut import).success(), "busybox is not imported");
        data
    })
}

fn status(command: &mut Command) -> ExitStatus {
    command.status().unwrap()
}

fn pids() -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// The same settings with the second binary, which is built: cargo builds only a test's own package along.
pub fn fetching(settings: &str) -> String {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--offline", "--package", "gatepost-fetch", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "gatepost-fetch could not be built");
    });
    format!("fetchBinary: {GATEPOST}-fetch\n{settings}\n")
}

/// Looks again and again for what nobody tells of.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
