//! A node of its own for each test: private run, data and log roots, own cgroups, a busybox image of plain directories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unreachable_pub)]

use gatepost::sorted::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gatepost::config::{Layout, WritableLayer};
use gatepost::manifest::v1::{Container, Pod};
use gatepost::oci::NodeFacts;
use gatepost::runtime::cleanup::CleanupRequest;
use gatepost::runtime::launch::{LaunchRequest, Mode, RootSource, Unpacked};
use gatepost::runtime::protocol::{Report, VERSION};
use gatepost::runtime::sandbox::{
    Caps, PrepareRequest, Prepared, SandboxRequest, TeardownRequest, Verb, pod_cgroup, termination_log,
};
use gatepost::runtime::{Runtime, node};
use gatepost::sys::cgroup::Cgroups;
use gatepost::sys::mount;
use gatepost::volume::Objects;

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Node {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub cgroup_root: String,
    pub cgroups: Cgroups,
    pub runtime: Runtime,
    pub facts: NodeFacts,
    pub lower: Vec<PathBuf>,
    pub writable_layer: WritableLayer,
    /// `cgroup.procs` of the cgroup that helpers are started in.
    pub helper_procs: Option<PathBuf>,
}

impl Node {
    pub fn new(runtime: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            run: dir.path().join("run"),
            data: dir.path().join("data"),
            logs: dir.path().join("logs"),
            preload: Vec::new(),
        };
        for path in [&layout.run, &layout.data, &layout.logs] {
            fs::create_dir(path).unwrap();
        }
        mount::tmpfs(&layout.run, None, 0o755, true).expect("root may mount");
        mount::make_private(&layout.run).unwrap();
        let cgroups = Cgroups::detect().unwrap();
        let facts = node::facts("test", vec!["192.0.2.1".into()], &layout.data, &cgroups);
        let cgroup_root = format!("gatepost-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lower = vec![busybox(&dir.path().join("lower"))];
        let runtime = Runtime::find(runtime).expect("the runtime is installed");
        let writable_layer = WritableLayer::Data;
        Self { dir, layout, cgroup_root, cgroups, runtime, facts, lower, writable_layer, helper_procs: None }
    }

    pub fn try_prepare(&self, pod: &Pod) -> (ExitStatus, Report<Option<Prepared>>) {
        let (status, report) = self.helper("sandbox", &self.prepare_request(pod));
        (status, gatepost::json::from_slice(&report).unwrap_or_else(|e| panic!("{e}: {status} {report:?}")))
    }

    pub fn prepare(&self, pod: &Pod) -> Prepared {
        let (status, report) = self.try_prepare(pod);
        assert_eq!(report.failure, None);
        assert!(status.success());
        report.result.unwrap().unwrap()
    }

    pub fn prepare_request(&self, pod: &Pod) -> SandboxRequest {
        let request = PrepareRequest {
            pod: Rc::new(pod.clone()),
            objects: Objects::default(),
            node: self.facts.clone(),
            layout: self.layout.clone(),
            cgroup_root: self.cgroup_root.clone(),
            caps: Caps::default(),
            pod_pids_limit: 100,
            host_name: self.facts.host_name.clone(),
            resolv_conf: "/etc/resolv.conf".into(),
            network: gatepost::network::Setting::default(),
            allowed_sysctls: Vec::new(),
            cgroups: None,
        };
        SandboxRequest { version: VERSION, verb: Verb::Prepare(Box::new(request)) }
    }

    pub fn teardown_request(&self, uid: &str) -> SandboxRequest {
        let request = TeardownRequest {
            uid: uid.to_owned(),
            layout: self.layout.clone(),
            cgroup_root: self.cgroup_root.clone(),
            discard_volumes: true,
            cgroups: None,
        };
        SandboxRequest { version: VERSION, verb: Verb::Teardown(request) }
    }

    pub fn teardown(&self, uid: &str) {
        let (status, report) = self.helper("sandbox", &self.teardown_request(uid));
        assert!(status.success(), "{}", String::from_utf8_lossy(&report));
    }

    pub fn launch_request(&self, pod: &Pod, container: &str, id: &str) -> LaunchRequest {
        let config = gatepost::json::from_value(serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": { "Env": ["PATH=/bin"], "WorkingDir": "/work" },
            "rootfs": { "type": "layers", "diff_ids": [] }, "history": []
        }))
        .unwrap();
        LaunchRequest {
            version: VERSION,
            mode: Mode::Run,
            id: id.into(),
            pod: Rc::new(pod.clone()),
            container: container.into(),
            root: RootSource::Unpacked(Box::new(Unpacked {
                base: self.dir.path().to_owned(),
                lower: self.lower.clone(),
                config,
            })),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            pod_ips: Vec::new(),
            service_links: Vec::new(),
            layout: self.layout.clone(),
            runtime: self.runtime.clone(),
            writable_layer: self.writable_layer,
            node: self.facts.clone(),
            seccomp_root: self.layout.data.join("seccomp"),
            cgroup_root: self.cgroup_root.clone(),
            console_socket: None,
            devices: Vec::new(),
            time_runtime: false,
        }
    }

    /// Starts the container; its output goes to `<container>/stdout` and `stderr`, plain files here.
    pub fn spawn_launch(&self, request: &LaunchRequest) -> (Child, PathBuf) {
        let dir = self.layout.container(&request.id);
        fs::create_dir_all(&dir).unwrap();
        let out = |name: &str| Stdio::from(fs::File::create(dir.join(name)).unwrap());
        self.spawn("launch", request, out("stdout"), out("stderr"))
    }

    pub fn launch(&self, request: &LaunchRequest) -> Result<Vec<String>, gatepost::runtime::Failure> {
        let (mut child, report) = self.spawn_launch(request);
        let status = child.wait().unwrap();
        let text = fs::read(report).unwrap();
        let report: Option<Report<()>> = (!text.is_empty()).then(|| gatepost::json::from_slice(&text).unwrap());
        match report {
            Some(Report { failure: Some(failure), .. }) => Err(failure),
            _ if !status.success() => Err(gatepost::runtime::log_failure(&self.layout.container(&request.id))),
            report => Ok(report.map(|report| report.warnings).unwrap_or_default()),
        }
    }

    pub fn output(&self, id: &str) -> String {
        let dir = self.layout.container(id);
        ["stdout", "stderr"].map(|name| fs::read_to_string(dir.join(name)).unwrap()).concat()
    }

    /// Waits for the end of the container's processes.
    pub fn wait_for_end(&self, pod: &Pod, id: &str) {
        let cgroup = self.container_cgroup(pod, id);
        wait_until("the container to end", || self.cgroups.is_empty(&cgroup).unwrap());
    }

    pub fn container_cgroup(&self, pod: &Pod, id: &str) -> String {
        format!("{}/{id}", pod_cgroup(&self.cgroup_root, pod))
    }

    pub fn cleanup_request(&self, pod: &Pod, id: &str) -> CleanupRequest {
        CleanupRequest {
            version: VERSION,
            id: id.into(),
            uid: pod.metadata.uid.clone(),
            layout: self.layout.clone(),
            runtime: self.runtime.clone(),
            cgroup: self.container_cgroup(pod, id),
            cgroups: None,
        }
    }

    pub fn cleanup(&self, pod: &Pod, id: &str) {
        let (status, report) = self.helper("cleanup", &self.cleanup_request(pod, id));
        assert!(status.success(), "{}", String::from_utf8_lossy(&report));
        self.assert_no_trace(pod, id);
    }

    /// Nothing of a container is left: no directory, mount, cgroup or process.
    pub fn assert_no_trace(&self, pod: &Pod, id: &str) {
        let paths = [
            self.layout.container(id),
            self.layout.container_data(id),
            self.layout.runtime_root().join(id),
            termination_log(&self.layout, &pod.metadata.uid, id),
        ];
        for path in paths {
            assert!(!path.exists(), "{} is left", path.display());
        }
        assert_eq!(self.cgroups.directories(&self.container_cgroup(pod, id)).unwrap(), Vec::<PathBuf>::new());
        // No process has the container on its command line, nor a mount of it in its namespace; this one is among them.
        let dirs = [self.layout.container(id), self.layout.container_data(id)].map(|dir| format!("{}/", dir.display()));
        let state_root = self.layout.runtime_root().display().to_string();
        for pid in pids() {
            let read = |file: &str| {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&text).into_owned()
            };
            let (command, mounts) = (read("cmdline"), read("mountinfo"));
            assert!(!dirs.iter().any(|dir| mounts.contains(dir)), "{pid} {command:?} has mounts of {id}: {mounts}");
            let ours = command.contains(&state_root) && command.contains(&format!("{id}\0"));
            assert!(!ours, "{pid} is left: {command}");
        }
    }

    pub fn helper(&self, role: &str, request: &impl gatepost::json::Serialize) -> (ExitStatus, Vec<u8>) {
        let (mut child, report) = self.spawn(role, request, Stdio::null(), Stdio::inherit());
        let status = child.wait().unwrap();
        (status, fs::read(report).unwrap())
    }

    /// From now on helpers run in a cgroup of their own, as the supervisor starts them; returns its name.
    pub fn confine_helpers(&mut self) -> String {
        let cgroup = format!("{}/helpers/1", self.cgroup_root);
        self.cgroups.create_bare(&cgroup).unwrap();
        let dir = self.cgroups.directories(&cgroup).unwrap().remove(0);
        self.helper_procs = Some(dir.join("cgroup.procs"));
        cgroup
    }

    pub fn spawn(
        &self,
        role: &str,
        request: &impl gatepost::json::Serialize,
        out: Stdio,
        err: Stdio,
    ) -> (Child, PathBuf) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [input, report] = ["request", "report"].map(|name| self.dir.path().join(format!("{name}-{number}")));
        fs::write(&input, gatepost::json::to_vec(request).unwrap()).unwrap();
        fs::write(&report, "").unwrap();
        // The shell moves into the helper's cgroup, opens descriptor 3 and becomes the helper.
        let script = r#"if [ -n "$3" ]; then echo $$ > "$3"; fi; exec "$0" "$1" 3>"$2""#;
        let program = match role {
            "image-worker" => env!("CARGO_BIN_EXE_gatepost-worker"),
            _ => env!("CARGO_BIN_EXE_gatepost"),
        };
        let child = Command::new("/bin/sh")
            .args(["-c", script, program, role])
            .arg(&report)
            .arg(self.helper_procs.clone().unwrap_or_default())
            .stdin(fs::File::open(&input).unwrap())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        (child, report)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for id in gatepost::runtime::list(&self.layout.runtime_root()).unwrap_or_default() {
            if let Some(found) = gatepost::runtime::observed(&self.layout.runtime_root(), &id) {
                eprintln!("ending {id} ({found:?}), which its test has left");
            }
        }
        let _ = self.cgroups.kill(&self.cgroup_root, Duration::from_secs(10));
        let _ = self.cgroups.remove(&self.cgroup_root);
        let _ = mount::detach_below(self.dir.path());
    }
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn pids() -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// A pod whose containers run these shell scripts.
pub fn pod(uid: &str, scripts: &[(&str, &str)]) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = "pod-test".into();
    pod.metadata.namespace = "default".into();
    pod.metadata.uid = uid.into();
    pod.spec.dns_policy = "Default".into();
    pod.spec.containers = scripts
        .iter()
        .map(|(name, script)| Container {
            name: (*name).into(),
            image: "busybox".into(),
            command: vec!["/bin/sh".into(), "-c".into(), (*script).into()],
            termination_message_path: "/dev/termination-log".into(),
            ..Container::default()
        })
        .collect();
    pod
}

fn busybox(root: &Path) -> PathBuf {
    for dir in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in [
        "sh", "cat", "sleep", "echo", "hostname", "ls", "id", "readlink", "ip", "ping", "dd", "stat", "mount", "head",
        "tr", "true",
    ] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1000:\nextra:x:1001:app\n").unwrap();
    root.to_owned()
}
