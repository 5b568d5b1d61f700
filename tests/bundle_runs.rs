//! Bundles of the room `oci` run by the real runc: what the kernel then says of the process is what the manifest asked for.
//!
//! Needs root, runc and a static busybox (Debian: runc, busybox-static).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost::sorted::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gatepost::manifest::v1;
use gatepost::oci::{
    BundleInput, CgroupVersion, Device, DeviceKind, GeneratedFiles, HostVolume, NodeFacts, PodNamespaces, bundle,
};
use gatepost::spec::image::ImageConfiguration;

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
const GROUP: &str = "extra:x:2000:app\n";

/// What a container printed and how it ended.
struct Outcome {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// A bundle directory with a busybox root file system, run under an id of its own.
struct Bench {
    dir: tempfile::TempDir,
    id: String,
    volumes: BTreeMap<String, HostVolume>,
    pod: v1::Pod,
    /// One at a time: the cgroup folders above a pod's are shared, and each bench removes them.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Bench {
    fn new(container: serde_json::Value) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test starts containers: run it as root");
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("no busybox to make a root file system of: install the Debian package busybox-static");
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "etc", "tmp", "proc", "dev", "sys"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "id", "env", "unshare", "grep", "ls", "hostname", "touch", "echo", "mount", "date", "head",
            "wc",
        ] {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), PASSWD).unwrap();
        fs::write(rootfs.join("etc/group"), GROUP).unwrap();
        let mut pod = v1::Pod::default();
        "bench".clone_into(&mut pod.metadata.name);
        "default".clone_into(&mut pod.metadata.namespace);
        pod.metadata.uid = format!("test{:x}", std::process::id());
        pod.spec.containers = vec![gatepost::json::from_value(container).unwrap()];
        let id = format!("gatepost-oci-{}", dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
        Self { dir, id, volumes: BTreeMap::new(), pod, _alone: alone }
    }

    fn shell(script: &str) -> Self {
        Self::new(serde_json::json!({ "name": "app", "command": ["/bin/sh", "-c", script] }))
    }

    fn run(&self) -> Outcome {
        let image: ImageConfiguration = gatepost::json::from_value(serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Env": ["FROM_IMAGE=yes"] }
        }))
        .unwrap();
        let node = node_facts();
        let made = bundle(&BundleInput {
            pod: &self.pod,
            container_name: "app",
            container_id: &self.id,
            rootfs: Path::new("rootfs"),
            image: &image,
            image_passwd: Some(PASSWD),
            image_group: Some(GROUP),
            config_maps: &BTreeMap::new(),
            secrets: &BTreeMap::new(),
            namespaces: &PodNamespaces::default(),
            pod_ips: &[],
            service_links: &[],
            volumes: &self.volumes,
            sources: &BTreeMap::new(),
            env_files: &BTreeMap::new(),
            files: &self.files(),
            host_devices: &[],
            localhost_seccomp: None,
            node: &node,
        })
        .unwrap();
        fs::write(self.dir.path().join("config.json"), gatepost::json::to_vec(&made.spec).unwrap()).unwrap();
        let output = self.runc(&["run", "--bundle", self.dir.path().to_str().unwrap(), &self.id]);
        Outcome {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    fn files(&self) -> GeneratedFiles {
        let file = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        GeneratedFiles {
            hosts: file("hosts", &gatepost::oci::etc_hosts(&self.pod, &[], "")),
            hostname: file("hostname", &gatepost::oci::etc_hostname(&self.pod, "node")),
            ..GeneratedFiles::default()
        }
    }

    fn runc(&self, args: &[&str]) -> std::process::Output {
        Command::new("runc")
            .arg("--root")
            .arg(self.dir.path().join("runtime"))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("runc cannot be run: install the Debian package runc")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runc(&["delete", "--force", &self.id]);
        // runc removes the container's cgroup, not the pod's, which the sandbox would.
        let parent = gatepost::oci::cgroup_parent(gatepost::manifest::qos_class(&self.pod), &self.pod.metadata.uid);
        let parent = parent.trim_start_matches('/');
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        roots.extend(fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path()));
        for root in roots {
            // A folder that others use is not empty and stays.
            for folder in Path::new(parent).ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
                let _ = fs::remove_dir(root.join(folder));
            }
        }
    }
}

fn status_field(file: &str, name: &str) -> String {
    file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn node_facts() -> NodeFacts {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = u64::from_str_radix(&status_field(&status, "CapBnd"), 16).unwrap();
    NodeFacts {
        node_name: "node".to_owned(),
        host_name: "node".to_owned(),
        host_ips: vec!["192.0.2.1".to_owned()],
        memory_bytes: 1 << 30,
        cpus: 2,
        ephemeral_storage_bytes: 1 << 30,
        may_lower_oom_score: bounding >> 24 & 1 == 1,
        oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap(),
        available_capabilities: bounding,
        seccomp: true,
        cgroups: if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            CgroupVersion::V2
        } else {
            CgroupVersion::V1
        },
        swap_accounting: false,
        page_sizes: Vec::new(),
        limits_huge_pages: false,
        single_process_oom_kill: false,
        app_armor: None,
        se_linux: false,
    }
}

#[track_caller]
fn assert_ended_well(outcome: &Outcome) {
    assert_eq!(outcome.code, Some(0), "stdout: {}\nstderr: {}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_plain_container_runs_as_root_with_the_default_capabilities_and_filter() {
    let outcome = Bench::shell("cat /proc/self/status; id -u; hostname; cat /etc/hosts /etc/hostname").run();
    assert_ended_well(&outcome);
    let text = &outcome.stdout;
    assert_eq!(status_field(text, "CapEff"), "00000000a80425fb", "containerd's fourteen");
    assert_eq!(status_field(text, "CapBnd"), "00000000a80425fb");
    assert_eq!(status_field(text, "CapInh"), "0000000000000000");
    assert_eq!(status_field(text, "CapAmb"), "0000000000000000");
    assert_eq!(status_field(text, "Seccomp"), "2", "a filter is installed");
    assert_eq!(status_field(text, "NoNewPrivs"), "0");
    assert!(text.contains("\n0\nbench\n# Kubernetes-managed hosts file.\n"), "{text}");
    assert!(text.ends_with("127.0.0.1\tbench\nbench\n"), "{text}");
}

#[test]
fn another_user_has_its_groups_and_no_effective_capabilities() {
    let mut bench = Bench::shell("cat /proc/self/status; id -u; id -g; id -G");
    bench.pod.spec.security_context = gatepost::json::from_value(serde_json::json!({
        "runAsUser": 1000, "runAsNonRoot": true, "fsGroup": 3000, "supplementalGroups": [4000]
    }))
    .unwrap();
    bench.pod.spec.containers[0].security_context =
        gatepost::json::from_value(serde_json::json!({ "allowPrivilegeEscalation": false })).unwrap();
    let outcome = bench.run();
    assert_ended_well(&outcome);
    assert!(
        outcome.stdout.ends_with("\n1000\n1001\n1001 2000 3000 4000\n")
            || outcome.stdout.ends_with("\n1000\n1001\n1001 2000 4000 3000\n"),
        "{}",
        outcome.stdout
    );
    assert_eq!(status_field(&outcome.stdout, "CapEff"), "0000000000000000");
    assert_eq!(status_field(&outcome.stdout, "CapBnd"), "00000000a80425fb");
    assert_eq!(status_field(&outcome.stdout, "NoNewPrivs"), "1");
}

#[test]
fn the_environment_is_the_images_and_the_manifests() {
    let bench = Bench::new(serde_json::json!({
        "name": "app", "command": ["/bin/sh", "-c", "env; echo arg=$0", "$(B) $$(B)"],
        "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "$(A)2" },
                { "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]
    }));
    let outcome = bench.run();
    assert_ended_well(&outcome);
    for line in ["FROM_IMAGE=yes", "A=1", "B=12", "WHO=bench", "HOSTNAME=bench", "HOME=/root", "arg=12 $(B)"] {
        assert!(outcome.stdout.lines().any(|known| known == line), "{line} in\n{}", outcome.stdout);
    }
}

#[test]
fn the_filter_refuses_what_escapes_use_and_lets_a_shell_work() {
    let script = "unshare -U true 2>&1; echo unshare=$?; mount -t tmpfs none /tmp 2>&1; echo mount=$?; ls / | wc -l";
    let outcome = Bench::shell(script).run();
    assert_ended_well(&outcome);
    assert!(outcome.stdout.contains("unshare=1") && outcome.stdout.contains("mount=1"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("Operation not permitted"), "{}", outcome.stdout);

    let mut open = Bench::shell("grep Seccomp: /proc/self/status; unshare -U true; echo unshare=$?");
    open.pod.spec.security_context.seccomp_profile =
        Some(v1::SeccompProfile { kind: "Unconfined".to_owned(), localhost_profile: None });
    assert_eq!(open.run().stdout, "Seccomp:\t0\nunshare=0\n");
}

#[test]
fn kernel_files_are_masked_or_read_only() {
    let script = "wc -c < /proc/timer_list; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo sys=$?; touch /sys/x; echo sysfs=$?; touch /file && echo root=$?";
    let outcome = Bench::shell(script).run();
    assert_ended_well(&outcome);
    assert_eq!(outcome.stdout, "0\n0\nsys=1\nsysfs=1\nroot=0\n", "{}", outcome.stderr);
}

#[test]
fn a_read_only_root_keeps_volumes_writable() {
    let mut bench = Bench::new(serde_json::json!({
        "name": "app", "command": ["/bin/sh", "-c", "touch /file; echo root=$?; touch /data/file; echo data=$?; touch /ro/file; echo ro=$?; echo x > /dev/shm/x && echo shm=$?"],
        "securityContext": { "readOnlyRootFilesystem": true },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "data", "mountPath": "/ro", "readOnly": true }]
    }));
    fs::create_dir_all(bench.dir.path().join("rootfs/data")).unwrap();
    fs::create_dir_all(bench.dir.path().join("rootfs/ro")).unwrap();
    let data = bench.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    bench.volumes.insert("data".to_owned(), HostVolume { path: data.clone(), device: None });
    let outcome = bench.run();
    assert_ended_well(&outcome);
    assert_eq!(outcome.stdout, "root=1\ndata=0\nro=1\nshm=0\n", "{}", outcome.stderr);
    assert!(data.join("file").exists());
}

#[test]
fn a_device_of_the_host_can_be_opened_only_when_its_type_says_so() {
    for (kind, code) in [("CharDevice", "kmsg=0"), ("", "kmsg=1")] {
        let mut bench = Bench::new(serde_json::json!({
            "name": "app", "command": ["/bin/sh", "-c", "head -c 0 < /dev/kernel; echo kmsg=$?"],
            // dmesg_restrict wants it, beside the device cgroup.
            "securityContext": { "capabilities": { "add": ["SYSLOG"] } },
            "volumeMounts": [{ "name": "kernel", "mountPath": "/dev/kernel" }]
        }));
        bench.pod.spec.volumes = gatepost::json::from_value(serde_json::json!([
            { "name": "kernel", "hostPath": { "path": "/dev/kmsg", "type": kind } }
        ]))
        .unwrap();
        // A node of our own: not every machine that runs tests has /dev/kmsg. 10:200 would need a module, 1:11 is built in.
        let node = bench.dir.path().join("kmsg");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &node,
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::from(0o666),
            rustix::fs::makedev(1, 11),
        )
        .unwrap();
        let device = Device { kind: DeviceKind::Char, major: 1, minor: 11 };
        bench.volumes.insert("kernel".to_owned(), HostVolume { path: node, device: Some(device) });
        let outcome = bench.run();
        assert_ended_well(&outcome);
        assert_eq!(outcome.stdout.trim(), code, "{}", outcome.stderr);
    }
}

#[test]
fn limits_reach_the_cgroup() {
    let mut bench = Bench::shell(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
         cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true",
    );
    bench.pod.spec.containers[0].resources.limits =
        BTreeMap::from([("memory".to_owned(), "64Mi".to_owned()), ("cpu".to_owned(), "500m".to_owned())]);
    let outcome = bench.run();
    assert_ended_well(&outcome);
    assert!(outcome.stdout.starts_with("67108864\n50000"), "{}\n{}", outcome.stdout, outcome.stderr);
}
