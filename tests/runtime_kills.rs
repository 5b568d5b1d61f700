//! Helpers killed at random instants: what they leave is completed or removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod runtime_support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use gatepost::manifest::v1::{EmptyDirVolumeSource, Volume};
use gatepost::runtime::launch::Mode;
use gatepost::runtime::{list, observed};
use gatepost::sys::mount;
use runtime_support::{Node, pod};

/// Microseconds below `bound`, different each time; the seed is printed, though the instants it leads to are the machine's.
struct Delays(u64);

impl Delays {
    fn new() -> Self {
        let mut seed = [0_u8; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).unwrap();
        let seed = u64::from_le_bytes(seed) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn wait(&mut self, bound: u64) {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        std::thread::sleep(Duration::from_micros(self.0 % bound));
    }
}

fn launch_is_killed(runtime: &str, rounds: u32, uid: &str) {
    let mut node = Node::new(runtime);
    let pod = pod(uid, &[("c", "sleep 600")]);
    node.prepare(&pod);
    let helpers = node.confine_helpers();
    let mut delays = Delays::new();
    let (mut untouched, mut half, mut whole) = (0, 0, 0);
    for round in 0..rounds {
        let id = format!("c-{round}");
        let mut request = node.launch_request(&pod, "c", &id);
        request.mode = if round % 2 == 0 { Mode::Run } else { Mode::Create };
        let (mut child, _) = node.spawn_launch(&request);
        delays.wait(100_000);
        assert!(node.cgroups.kill(&helpers, Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        let root = node.layout.runtime_root();
        match (observed(&root, &id), list(&root).unwrap().contains(&id)) {
            (Some(_), _) => whole += 1,
            (None, true) => half += 1,
            (None, false) => untouched += 1,
        }
        node.helper_procs.take();
        node.cleanup(&pod, &id);
        node.confine_helpers();
    }
    println!("{runtime}: {untouched} not yet known to it, {half} half, {whole} whole");
    node.helper_procs = None;
    node.teardown(uid);
    assert_eq!(list(&node.layout.runtime_root()).unwrap(), Vec::<String>::new());
    assert!(!mount::mounts().unwrap().iter().any(|m| m.target.starts_with(node.layout.containers())));
}

#[test]
fn nothing_is_left_of_runc_killed_at_any_instant() {
    launch_is_killed("runc", 120, "bbbb0001");
}

#[test]
fn nothing_is_left_of_crun_killed_at_any_instant() {
    launch_is_killed("crun", 40, "bbbb0002");
}

#[test]
fn a_container_goes_although_commands_in_it_were_killed_half_way() {
    let node = Node::new("runc");
    let pod = pod("bbbb0004", &[("c", "sleep 600")]);
    node.prepare(&pod);
    node.launch(&node.launch_request(&pod, "c", "c-1")).unwrap();
    let root = node.layout.runtime_root();
    let mut delays = Delays::new();
    for _ in 0..40 {
        let program = ["/bin/true".into()];
        let mut child = node.runtime.exec(&root, "c-1", false, &program).stdin(Stdio::null()).spawn().unwrap();
        delays.wait(30_000);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let state = root.join("c-1");
    let left = mount::mounts().unwrap().iter().filter(|m| m.target.starts_with(&state)).count();
    println!("{left} of 40 killed commands left a mount");
    // The moment is short: it is made here if none was hit.
    let copy = state.join("runc.copy");
    fs::write(&copy, "").unwrap();
    mount::bind(Path::new("/proc/self/exe"), &copy).unwrap();
    node.cleanup(&pod, "c-1");
    node.teardown("bbbb0004");
    assert!(!state.exists());
    assert!(!mount::mounts().unwrap().iter().any(|m| m.target.starts_with(&root)));
}

#[test]
fn a_sandbox_killed_at_any_instant_is_completed_or_undone() {
    let mut node = Node::new("runc");
    let mut delays = Delays::new();
    for round in 0..60 {
        let uid = format!("cccc{round:0>4}");
        let mut pod =
            pod(&uid, &[("c", "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ip -o addr show lo")]);
        let memory = EmptyDirVolumeSource { medium: "Memory".into(), size_limit: Some("1Mi".into()) };
        pod.spec.volumes = vec![
            Volume { name: "mem".into(), empty_dir: Some(memory), ..Volume::default() },
            Volume { name: "disk".into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
        ];
        let helpers = node.confine_helpers();
        let request = node.prepare_request(&pod);
        for _ in 0..2 {
            let (mut child, _) =
                node.spawn("sandbox", &request, std::process::Stdio::null(), std::process::Stdio::null());
            delays.wait(12_000);
            assert!(node.cgroups.kill(&helpers, Duration::from_secs(10)).unwrap());
            child.wait().unwrap();
        }
        if round % 2 == 0 {
            node.helper_procs.take();
            node.prepare(&pod);
            node.launch(&node.launch_request(&pod, "c", "c-1")).unwrap();
            node.wait_for_end(&pod, "c-1");
            let output = node.output("c-1");
            assert!(output.starts_with("pod-test\n0\n") && output.contains("127.0.0.1/8"), "{output}");
            node.cleanup(&pod, "c-1");
            node.confine_helpers();
        }
        // The undoing is killed, too.
        let request = node.teardown_request(&uid);
        let (mut child, _) = node.spawn("sandbox", &request, std::process::Stdio::null(), std::process::Stdio::null());
        delays.wait(8_000);
        assert!(node.cgroups.kill(&helpers, Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        node.helper_procs.take();
        node.teardown(&uid);
        assert!(!node.layout.pod(&uid).exists() && !node.layout.pod_data(&uid).exists());
        assert!(!mount::mounts().unwrap().iter().any(|m| m.target.starts_with(node.layout.pods())));
        assert!(node.cgroups.directories(&format!("{}/besteffort/pod{uid}", node.cgroup_root)).unwrap().is_empty());
    }
}
