//! What 200 restarts leave: nothing.

use std::fs;

use serde_json::json;

use crate::gateway::Gateway;
use crate::gateway::manifest::{container as container_manifest, mount_host, pod, push};
use crate::node::{Traces, eventually};

const CONTAINERS: usize = 8;

/// Ends while the file is not there.
const CRASHES: &str = "echo run >> /host/runs; while [ -e /host/stay ]; do sleep 0.1; done; exit 1";

/// The resident set of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// Lets the containers crash until they have had `more` runs more, and come to rest.
fn crash(gateway: &Gateway, more: usize) {
    let host = gateway.path("host");
    let runs = || gateway.host_file("runs").lines().count();
    let aim = runs() + more;
    fs::remove_file(host.join("stay")).unwrap();
    eventually("the runs", || (runs() >= aim).then_some(()));
    fs::write(host.join("stay"), "").unwrap();
    gateway.ready("crashes");
}

#[test]
fn two_hundred_restarts_leave_no_descriptor_directory_or_memory_behind() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    fs::write(host.join("stay"), "").unwrap();
    let mut pod = pod("crashes", CRASHES);
    for number in 1..CONTAINERS {
        push(&mut pod["spec"]["containers"], container_manifest(&format!("c{number}"), CRASHES));
    }
    pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
    pod["metadata"]["annotations"] =
        json!({"gatepost.io/backoff-initial": "100ms", "gatepost.io/backoff-max": "100ms"});
    mount_host(&mut pod, &host);
    gateway.apply(&pod);
    gateway.ready("crashes");
    // A first time, so that tables and logs have their size.
    crash(&gateway, 60);
    let before = at_rest(&gateway);
    crash(&gateway, 200);
    let after = at_rest(&gateway);
    println!("before: {before:?}\nafter: {after:?}");
    let (mut counts, supervisor) = (after.0, before.0[1]);
    // It keeps a cgroup open for each helper that ever ran at the same time as others: a few, whatever the number of restarts.
    assert!(counts[1] <= supervisor + 8, "the supervisor has {} descriptors", counts[1]);
    counts[1] = supervisor;
    assert_eq!(counts, before.0);
    assert!(after.1.0 <= before.1.0 + 1024, "the supervisor grew");
    assert!(after.1.1 <= before.1.1 + 64, "init grew");
}

/// Counts, since every restart has new names: init's, the supervisor's and the log writer's descriptors; children of init;
/// mounts; cgroups; entries under `/run`. And the resident sets of supervisor and init.
fn at_rest(gateway: &Gateway) -> ([usize; 7], (u64, u64)) {
    let info = gateway.info();
    let mut last = [0; 7];
    let counts = eventually("everything to rest", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let traces = Traces::of(gateway);
        let now = [
            traces.init_descriptors,
            traces.supervisor_descriptors,
            traces.log_writer_descriptors,
            traces.children.values().sum(),
            traces.mounts.len(),
            traces.cgroups.len(),
            traces.directories.len(),
        ];
        let rests = now == last
            && traces.directories.iter().filter(|name| name.starts_with("containers/")).count() == CONTAINERS;
        last = now;
        rests.then_some(now)
    });
    (counts, (resident(info.pid), resident(info.init_pid)))
}
