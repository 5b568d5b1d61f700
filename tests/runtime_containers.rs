//! Containers through the real runtime: sandbox, launch, exit, clean-up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod runtime_support;

use gatepost::sorted::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use gatepost::config::WritableLayer;
use gatepost::manifest::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Volume, VolumeMount};
use gatepost::runtime::launch::{Mode, RootSource};
use gatepost::runtime::sandbox::termination_log;
use gatepost::runtime::{Status, list, observed};
use gatepost::sys::mount;
use runtime_support::{Node, pod, wait_until};
use rustix::process::{Resource, Rlimit};

/// Starts one container, waits for its end and returns what it wrote.
fn run(node: &Node, pod: &gatepost::manifest::v1::Pod, container: &str, id: &str) -> String {
    node.launch(&node.launch_request(pod, container, id)).unwrap_or_else(|failure| panic!("{failure}"));
    node.wait_for_end(pod, id);
    node.output(id)
}

#[test]
fn two_containers_of_a_pod_share_its_namespaces_and_nothing_is_left_of_them() {
    let node = Node::new("runc");
    let script = "for n in net ipc uts; do readlink /proc/self/ns/$n; done; hostname; cat /etc/hostname; \
                  ip -o addr show lo; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; pwd; id -G; \
                  echo last words > /dev/termination-log; ping -c1 127.0.0.1 >/dev/null && echo lo-works";
    let pod = pod("aaaa0001", &[("one", script), ("two", script)]);
    node.prepare(&pod);
    let one = run(&node, &pod, "one", "one-1");
    let two = run(&node, &pod, "two", "two-2");
    assert_eq!(one, two);
    let lines: Vec<&str> = one.lines().collect();
    assert_eq!(lines[3..5], ["pod-test", "pod-test"]);
    assert!(lines[5].contains("127.0.0.1/8"), "{one}");
    assert!(one.contains("\n0\n/work\n0\n"), "{one}");
    assert!(one.contains("lo-works"), "{one}");
    for (line, kind) in lines.iter().zip(["net", "ipc", "uts"]) {
        assert_ne!(*line, fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap());
    }
    assert_eq!(fs::read_to_string(termination_log(&node.layout, "aaaa0001", "one-1")).unwrap(), "last words\n");
    node.cleanup(&pod, "one-1");
    node.cleanup(&pod, "two-2");
    node.cleanup(&pod, "two-2");
    node.teardown("aaaa0001");
    assert!(!node.layout.pod("aaaa0001").exists() && !node.layout.pod_data("aaaa0001").exists());
    assert!(!mount::mounts().unwrap().iter().any(|m| m.target.starts_with(node.layout.pods())));
    node.teardown("aaaa0001");
}

#[test]
fn a_host_network_pod_has_the_host_s_network_and_name() {
    let node = Node::new("runc");
    let mut pod = pod("aaaa0002", &[("c", "readlink /proc/self/ns/net; readlink /proc/self/ns/uts; cat /etc/hosts")]);
    pod.spec.host_network = true;
    node.prepare(&pod);
    let output = run(&node, &pod, "c", "c-1");
    let host = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned();
    assert!(output.starts_with(&format!(
        "{}\n{}\n# Kubernetes-managed hosts file (host network).",
        host("net"),
        host("uts")
    )));
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0002");
}

#[test]
fn volumes_are_visible_and_an_empty_dir_outlives_the_container() {
    let node = Node::new("runc");
    let shared = node.dir.path().join("host");
    fs::create_dir(&shared).unwrap();
    let mut pod = pod(
        "aaaa0003",
        &[(
            "c",
            "cat /keep/n; echo more >> /keep/n; echo hi > /host/f; stat -f -c %T /mem; dd if=/dev/zero of=/mem/x bs=64k count=3 2>&1",
        )],
    );
    let volume = |name: &str| Volume { name: name.into(), ..Volume::default() };
    pod.spec.volumes = vec![
        Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..volume("keep") },
        Volume {
            empty_dir: Some(EmptyDirVolumeSource { medium: "Memory".into(), size_limit: Some("128Ki".into()) }),
            ..volume("mem")
        },
        Volume {
            host_path: Some(HostPathVolumeSource { path: shared.to_str().unwrap().into(), kind: "Directory".into() }),
            ..volume("host")
        },
    ];
    pod.spec.containers[0].volume_mounts = ["keep", "mem", "host"]
        .map(|name| VolumeMount { name: name.into(), mount_path: format!("/{name}"), ..VolumeMount::default() })
        .to_vec();
    node.prepare(&pod);
    run(&node, &pod, "c", "c-1");
    let second = run(&node, &pod, "c", "c-2");
    assert!(second.starts_with("more\ntmpfs\n"), "{second}");
    assert!(second.contains("No space left on device"), "{second}");
    assert_eq!(fs::read_to_string(shared.join("f")).unwrap(), "hi\n");
    for id in ["c-1", "c-2"] {
        node.cleanup(&pod, id);
    }
    node.teardown("aaaa0003");
    assert!(shared.join("f").exists());
}

#[test]
fn limits_stand_in_the_cgroups_of_pod_and_container() {
    let node = Node::new("runc");
    let mut pod = pod("aaaa0004", &[("c", "sleep 600")]);
    pod.spec.containers[0].resources.limits =
        BTreeMap::from([("memory".to_owned(), "64Mi".to_owned()), ("cpu".to_owned(), "500m".to_owned())]);
    let prepared = node.prepare(&pod);
    assert_eq!(prepared.cgroup, format!("/{}/podaaaa0004", node.cgroup_root));
    node.launch(&node.launch_request(&pod, "c", "c-1")).unwrap();
    let found = observed(&node.layout.runtime_root(), "c-1").unwrap();
    assert_eq!(found.status, Status::Running);
    assert_eq!(fs::read_to_string(node.layout.container("c-1").join("pid")).unwrap().trim(), found.pid.to_string());
    assert_eq!(list(&node.layout.runtime_root()).unwrap(), ["c-1"]);
    let container = node.container_cgroup(&pod, "c-1");
    let value = |cgroup: &str, v1: &str, v2: &str| {
        let dirs = node.cgroups.directories(cgroup).unwrap();
        dirs.iter()
            .find_map(|dir| fs::read_to_string(dir.join(v1)).or_else(|_| fs::read_to_string(dir.join(v2))).ok())
            .unwrap_or_else(|| panic!("no {v1} or {v2} in {dirs:?}"))
            .trim()
            .to_owned()
    };
    for cgroup in [&prepared.cgroup, &container] {
        assert_eq!(value(cgroup, "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
        assert!(["50000", "50000 100000"].contains(&value(cgroup, "cpu.cfs_quota_us", "cpu.max").as_str()));
    }
    assert_eq!(value(&prepared.cgroup, "pids.max", "pids.max"), "100");
    assert_eq!(node.cgroups.processes(&container).unwrap(), [found.pid]);
    // Clean-up of a container that runs ends it first.
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0004");
    assert!(node.cgroups.directories(&prepared.cgroup).unwrap().is_empty());
}

#[test]
fn a_process_killed_for_memory_is_counted() {
    let node = Node::new("runc");
    let mut pod =
        pod("aaaa0005", &[("c", "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x); echo survived")]);
    pod.spec.containers[0].resources.limits = BTreeMap::from([("memory".to_owned(), "16Mi".to_owned())]);
    node.prepare(&pod);
    let output = run(&node, &pod, "c", "c-1");
    assert!(!output.contains("survived"), "{output}");
    assert!(node.cgroups.oom_kills(&node.container_cgroup(&pod, "c-1")).unwrap() > 0);
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0005");
}

#[test]
fn a_container_has_the_limit_of_open_files_that_gatepost_has_not_its_runtimes() {
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(1000), maximum: hard }).unwrap();
    let hard = hard.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    for (runtime, uid) in [("runc", "aaaa0015"), ("crun", "aaaa0016")] {
        let node = Node::new(runtime);
        let pod = pod(uid, &[("c", "ulimit -Sn; ulimit -Hn")]);
        node.prepare(&pod);
        assert_eq!(run(&node, &pod, "c", "c-1"), format!("1000\n{hard}\n"), "{runtime}");
        node.cleanup(&pod, "c-1");
        node.teardown(uid);
    }
}

#[test]
fn a_program_that_is_not_there_is_told_from_a_mount_that_fails() {
    let node = Node::new("runc");
    let mut pod = pod("aaaa0006", &[("c", "true")]);
    pod.spec.containers[0].command = vec!["/nope".into()];
    node.prepare(&pod);
    let failure = node.launch(&node.launch_request(&pod, "c", "c-1")).unwrap_err();
    assert_eq!(failure.reason, "RunContainerError");
    assert!(failure.message.contains("/nope"), "{failure}");
    node.cleanup(&pod, "c-1");

    pod.spec.containers[0].security_context =
        Some(gatepost::manifest::v1::SecurityContext { run_as_non_root: Some(true), ..Default::default() });
    let failure = node.launch(&node.launch_request(&pod, "c", "c-2")).unwrap_err();
    assert_eq!(failure.reason, "CreateContainerConfigError");
    node.cleanup(&pod, "c-2");
    node.teardown("aaaa0006");
}

#[test]
fn a_created_container_waits_for_its_start() {
    let node = Node::new("runc");
    let pod = pod("aaaa0007", &[("c", "echo began")]);
    node.prepare(&pod);
    let mut request = node.launch_request(&pod, "c", "c-1");
    request.mode = Mode::Create;
    node.launch(&request).unwrap();
    let root = node.layout.runtime_root();
    assert_eq!(observed(&root, "c-1").unwrap().status, Status::Created);
    assert_eq!(node.output("c-1"), "");
    let log = node.layout.container("c-1").join("runtime.log");
    assert!(node.runtime.start(&root, &log, "c-1").stdin(Stdio::null()).status().unwrap().success());
    node.wait_for_end(&pod, "c-1");
    assert_eq!(node.output("c-1"), "began\n");
    wait_until("the state to say so", || observed(&root, "c-1").unwrap().status == Status::Stopped);
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0007");
}

#[test]
fn a_command_can_be_executed_in_a_running_container() {
    let node = Node::new("runc");
    let pod = pod("aaaa0008", &[("c", "sleep 600")]);
    node.prepare(&pod);
    node.launch(&node.launch_request(&pod, "c", "c-1")).unwrap();
    let program = ["/bin/hostname".into()];
    let output =
        node.runtime.exec(&node.layout.runtime_root(), "c-1", false, &program).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "pod-test\n", "{output:?}");
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0008");
}

#[test]
fn a_writable_layer_in_memory_is_bounded_and_a_read_only_root_still_starts() {
    let mut node = Node::new("runc");
    node.writable_layer = WritableLayer::Memory(1 << 20);
    let script = "dd if=/dev/zero of=/big bs=1M count=4 2>&1";
    let mut pod = pod("aaaa0009", &[("full", script), ("ro", "echo x > /f; echo done")]);
    pod.spec.containers[1].security_context = Some(gatepost::manifest::v1::SecurityContext {
        read_only_root_filesystem: Some(true),
        run_as_user: Some(1000),
        ..Default::default()
    });
    node.prepare(&pod);
    assert!(run(&node, &pod, "full", "full-1").contains("No space left on device"));
    let output = run(&node, &pod, "ro", "ro-1");
    assert!(output.contains("Read-only file system") && output.contains("done"), "{output}");
    assert!(!node.layout.container_data("full-1").exists());
    for id in ["full-1", "ro-1"] {
        node.cleanup(&pod, id);
    }
    node.teardown("aaaa0009");
}

#[test]
fn a_hundred_and_twenty_seven_layers_make_one_root() {
    let mut node = Node::new("runc");
    let links = node.dir.path().join("l");
    fs::create_dir(&links).unwrap();
    let mut lower = Vec::new();
    for number in (0..126).rev() {
        let name = format!("l/{number:0>24}");
        let layer = node.dir.path().join(&name);
        fs::create_dir(&layer).unwrap();
        fs::write(layer.join("which"), format!("layer {number}\n")).unwrap();
        lower.push(name.into());
    }
    lower.push("lower".into());
    node.lower = lower;
    let pod = pod("aaaa0010", &[("c", "cat /which")]);
    node.prepare(&pod);
    assert_eq!(run(&node, &pod, "c", "c-1"), "layer 125\n");
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0010");
}

#[test]
fn an_image_without_layers_and_an_id_that_is_a_path_are_refused() {
    let node = Node::new("runc");
    let pod = pod("aaaa0011", &[("c", "true")]);
    node.prepare(&pod);
    let mut request = node.launch_request(&pod, "c", "c-1");
    if let RootSource::Unpacked(unpacked) = &mut request.root {
        unpacked.lower.clear();
    }
    assert!(node.launch(&request).unwrap_err().message.contains("no layers"));
    node.cleanup(&pod, "c-1");
    let mut request = node.cleanup_request(&pod, "c-1");
    request.id = "../escape".into();
    assert!(!node.helper("cleanup", &request).0.success());
    assert!(!node.helper("cleanup", &serde_json::json!({ "version": 99 })).0.success());
    node.teardown("aaaa0011");
}

#[test]
fn a_volume_that_cannot_be_made_fails_the_sandbox_and_recovers() {
    let node = Node::new("runc");
    let path = node.dir.path().join("later");
    let mut pod = pod("aaaa0012", &[("c", "true")]);
    let source = HostPathVolumeSource { path: path.to_str().unwrap().into(), kind: "Directory".into() };
    pod.spec.volumes = vec![Volume { name: "v".into(), host_path: Some(source), ..Volume::default() }];
    let (status, report) = node.try_prepare(&pod);
    assert!(!status.success());
    let failure = report.failure.unwrap();
    assert_eq!(failure.reason, "FailedMount");
    assert!(failure.message.contains(&format!("hostPath type check failed: {} is not a directory", path.display())));
    fs::create_dir(&path).unwrap();
    node.prepare(&pod);
    node.teardown("aaaa0012");
    assert!(path.exists());
}

#[test]
fn crun_runs_the_same_containers() {
    let node = Node::new("crun");
    let pod = pod("aaaa0013", &[("c", "hostname; cat /proc/self/cgroup"), ("long", "sleep 600"), ("bad", "x")]);
    node.prepare(&pod);
    let output = run(&node, &pod, "c", "c-1");
    assert!(output.starts_with("pod-test\n") && output.contains("/c-1"), "{output}");
    node.launch(&node.launch_request(&pod, "long", "long-2")).unwrap();
    assert_eq!(observed(&node.layout.runtime_root(), "long-2").unwrap().status, Status::Running);
    assert_eq!(list(&node.layout.runtime_root()).unwrap(), ["c-1", "long-2"]);
    let mut bad = pod.clone();
    bad.spec.containers[2].command = vec!["/nope".into()];
    assert_eq!(node.launch(&node.launch_request(&bad, "bad", "bad-3")).unwrap_err().reason, "RunContainerError");
    for id in ["c-1", "long-2", "bad-3"] {
        node.cleanup(&pod, id);
    }
    node.teardown("aaaa0013");
    let unified = node.cgroups.unified().map(Path::to_owned);
    assert!(unified.is_none_or(|path| mount::is_mount_point(&path).unwrap()), "the host's cgroup2 mount is gone");
}

/// A docker-archive with one busybox layer, made by hand.
fn docker_archive(root: &Path, archive: &Path) {
    use sha2::Digest as _;
    let hex = |bytes: &[u8]| {
        sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    layer.append_dir_all(".", root).unwrap();
    let layer = layer.into_inner().unwrap();
    let config = gatepost::json::to_vec(&serde_json::json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", "id; echo from the store"], "User": "app" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] }, "history": []
    }))
    .unwrap();
    let config_name = format!("{}.json", hex(&config));
    let manifest = serde_json::json!([{ "Config": config_name, "RepoTags": ["demo:1"], "Layers": ["layer.tar"] }]);
    let mut out = tar::Builder::new(fs::File::create(archive).unwrap());
    for (name, content) in [
        ("manifest.json", gatepost::json::to_vec(&manifest).unwrap()),
        (config_name.as_str(), config),
        ("layer.tar", layer),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        out.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    out.into_inner().unwrap();
}

#[test]
fn a_container_starts_from_an_image_of_the_store() {
    let node = Node::new("runc");
    let archive = node.dir.path().join("demo.tar");
    docker_archive(&node.lower[0], &archive);
    let request = serde_json::json!({
        "version": 1, "layout": gatepost::json::to_value(&node.layout).unwrap(), "command": { "import": { "path": archive, "name": null, "remember": false } }
    });
    let (status, report) = node.helper("image-worker", &request);
    assert!(status.success(), "{}", String::from_utf8_lossy(&report));
    let mut pod = pod("aaaa0014", &[("c", "")]);
    pod.spec.containers[0].command.clear();
    node.prepare(&pod);
    let mut request = node.launch_request(&pod, "c", "c-1");
    request.root = RootSource::Stored("demo:1".into());
    node.launch(&request).unwrap_or_else(|failure| panic!("{failure}"));
    node.wait_for_end(&pod, "c-1");
    assert_eq!(node.output("c-1"), "uid=1000(app) gid=1000(app) groups=1000(app),1001(extra)\nfrom the store\n");
    node.cleanup(&pod, "c-1");
    request.root = RootSource::Stored("absent:1".into());
    assert!(node.launch(&request).unwrap_err().message.contains("neither in the store"));
    node.cleanup(&pod, "c-1");
    node.teardown("aaaa0014");
}
