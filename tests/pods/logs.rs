//! Logs over rotation, of former runs, and under a flood.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, mount_host, pod};
use crate::gateway::pods::{restarts, text};
use crate::gateway::{Gateway, Pods, eventually};

/// The log files of the container `app` of a pod, with their sizes.
fn files(gateway: &Gateway, pod: &Value) -> Vec<(PathBuf, u64)> {
    let directory = format!("default_{}_{}", text(pod, "/metadata/name"), text(pod, "/metadata/uid"));
    let entries = fs::read_dir(gateway.path("logs").join(directory).join("app")).unwrap().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
}

/// Bytes of all logs of the node; a file that goes meanwhile counts for nothing.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn log_writer_of(supervisor: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    let is_it = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains("log-writer"));
    children.split_whitespace().map(|pid| pid.parse().unwrap()).find(is_it).expect("there is a log writer")
}

/// What a process has read and written so far, from and to whatever it was.
fn bytes_moved(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let value = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap();
    value("rchar:") + value("wchar:")
}

/// Lines `<word> <n>` up to `last` without a gap; gives the first number.
fn assert_ends_gapless(log: &str, word: &str, last: u64) -> u64 {
    let numbers: Vec<u64> = log
        .lines()
        .map(|line| line.strip_prefix(word).and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| panic!("{line:?}")))
        .collect();
    assert_eq!(numbers.last(), Some(&last));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap");
    numbers[0]
}

#[test]
fn a_log_is_rotated_bounded_and_read_over_its_files_also_that_of_the_run_before() {
    let gateway = Gateway::start("containerLogMaxSize: 64Ki\ncontainerLogMaxFiles: 3\n");
    let script = format!("echo run >> /host/runs; seq 8000 | sed \"s/^/run$(wc -l < /host/runs) /\"; {WAIT}");
    let mut long = pod("long", &script);
    mount_host(&mut long, &gateway.path("host"));
    gateway.apply(&long);
    gateway.wait_for_ready_log("long", "run1 8000");

    let pod = gateway.ready("long");
    let kept = files(&gateway, &pod);
    assert!(kept.len() == 3 && kept.iter().all(|(_, size)| *size <= 64 << 10), "{kept:?}");
    // About 50 bytes a line: the oldest are gone, more than one file is left.
    let whole = gateway.logs("long");
    let first = assert_ends_gapless(&whole, "run1 ", 8000);
    assert!((2000..6600).contains(&first), "the log begins at {first}");
    let tail = gateway.ok(&["logs", "long", "--tail", "2000"]);
    assert_eq!(assert_ends_gapless(&tail, "run1 ", 8000), 6001);

    gateway.ok(&["restart", "pod", "long"]);
    gateway.until("the restart", |pods| pods.ready("long").is_some_and(|pod| restarts(pod) == 1));
    gateway.wait_for_log(&["long"], "run2 8000");
    assert_ends_gapless(&gateway.logs("long"), "run2 ", 8000);
    // Each run has the bound for itself, and only the one before is kept.
    assert_eq!(assert_ends_gapless(&gateway.ok(&["logs", "long", "--previous"]), "run1 ", 8000), first);
    let kept = files(&gateway, &pod);
    assert!(kept.len() == 6 && kept.iter().all(|(_, size)| *size <= 64 << 10), "{kept:?}");

    gateway.apply(&{
        let mut brief = pod_named("brief", "[ -e /host/again ] || seq 2000 | sed 's/^/before /'; touch /host/again");
        mount_host(&mut brief, &gateway.path("host"));
        brief
    });
    gateway.wait_for_ready_log("brief", "before 2000");
    gateway.ok(&["restart", "pod", "brief"]);
    gateway.until("the restart", |pods| pods.ready("brief").is_some_and(|pod| restarts(pod) == 1));
    let previous = gateway.ok(&["logs", "brief", "--previous"]);
    assert_eq!(assert_ends_gapless(&previous, "before ", 2000), 1);
    let previous = gateway.ok(&["logs", "brief", "--previous", "--tail", "1500"]);
    assert_eq!(assert_ends_gapless(&previous, "before ", 2000), 501);
}

fn pod_named(name: &str, script: &str) -> Value {
    pod(name, &format!("{script}; {WAIT}"))
}

#[test]
fn a_flood_costs_the_flooder_its_oldest_lines_and_nobody_else_anything() {
    const TOTAL: u64 = 1 << 20;
    // One batch may be on its way into a file while room is made for it.
    const BATCH: u64 = 256 << 10;
    const FLOOD: u64 = 32 << 20;
    let settings = format!("containerLogMaxSize: 128Ki\ncontainerLogMaxFiles: 1000\nlogsMaxTotal: {TOTAL}\n");
    let gateway = Gateway::start(&settings);
    let host = gateway.path("host");
    let quiet = "seq 500 | sed 's/^/quiet /'; n=500; while :; do while [ ! -e /host/more ]; do sleep 0.05; done; \
                 rm /host/more; n=$((n+1)); echo quiet $n; done";
    for (name, script) in [("quiet", quiet), ("crashes", "exit 1"), ("floods", "while :; do seq 100000; done")] {
        let mut pod = pod(name, script);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        pod["metadata"]["annotations"] =
            json!({"gatepost.io/backoff-initial": "200ms", "gatepost.io/backoff-max": "200ms"});
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
        if name == "quiet" {
            gateway.wait_for_ready_log(name, "quiet 500");
        }
    }
    let floods = gateway.ready("floods");
    let supervisor = gateway.supervisor_pid();
    let log_writer = log_writer_of(supervisor);
    let before = [supervisor, log_writer].map(bytes_moved);
    let count = |pods: &Pods| pods.get("crashes").map_or(0, restarts);
    for round in 1..=5 {
        let before = count(&gateway.pods());
        gateway.until("the crashes to go on", |pods| count(pods) > before);
        fs::write(host.join("more"), "").unwrap();
        gateway.wait_for_log(&["quiet", "--tail", "1"], &format!("quiet {}", 500 + round));
        let bytes = bytes_below(&gateway.path("logs"));
        assert!(bytes <= TOTAL + BATCH, "all logs together have {bytes} bytes");
    }
    assert!(files(&gateway, &floods).len() > 3, "the flood has not filled what it may");
    // The loop has no part in it: what comes through the log writer does not come through the supervisor.
    eventually("a flood", || (bytes_moved(log_writer) > before[1] + FLOOD).then_some(()));
    let moved = bytes_moved(supervisor) - before[0];
    assert!(moved < FLOOD / 8, "the supervisor has moved {moved} bytes itself");
    assert_eq!((gateway.supervisor_pid(), log_writer_of(supervisor)), (supervisor, log_writer));
    assert_eq!(assert_ends_gapless(&gateway.logs("quiet"), "quiet ", 505), 1, "the quiet one has all its lines");
}
