//! The data and log file systems stand still.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crashes::dropped;
use crate::gateway::Gateway;
use crate::gateway::manifest::{mount_host, pod};
use crate::gateway::pods::restarts;
use crate::kills::{log_of, pid_of};
use crate::log::assert_gapless;
use crate::node;

const FROZEN: Duration = Duration::from_secs(30);
/// The backoff of the crashing pod.
const BACKOFF: f64 = 3.0;

/// An ext4 file system of its own below the gateway's data and logs.
struct Disk {
    at: PathBuf,
    below: Vec<PathBuf>,
}

impl Disk {
    fn below(gateway: &Gateway) -> Self {
        let (image, at) = (gateway.path("disk.img"), gateway.path("disk"));
        fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        run("mkfs.ext4", &["-q", "-F"], &[&image]);
        run("mount", &["-o", "loop"], &[&image, &at]);
        let mut disk = Self { at, below: Vec::new() };
        for name in ["data", "logs"] {
            let (own, on_disk) = (gateway.path(name), disk.at.join(name));
            run("cp", &["-a"], &[&own, &on_disk]);
            run("mount", &["--bind"], &[&on_disk, &own]);
            disk.below.push(own);
        }
        disk
    }

    fn freeze(&self) -> Frozen<'_> {
        run("sync", &["-f"], &[&self.at]);
        run("fsfreeze", &["-f"], &[&self.at]);
        Frozen(self)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for at in self.below.iter().chain([&self.at]) {
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

/// Thawed when dropped: nobody could stop what waits for it.
struct Frozen<'a>(&'a Disk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0.at).status();
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let status = Command::new(program).args(options).args(paths).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program} {options:?} {paths:?}");
}

const COUNTS: &str =
    "i=0; while [ ! -e /host/stop ]; do i=$((i+1)); echo \"out $i\"; echo $i > /host/count; sleep 0.05; done
echo $i > /host/counted; exec sleep 1000000";

/// Floods its log and tells when each 64 KiB were taken.
const FLOODS: &str = "line=$(head -c 1023 /dev/zero | tr '\\0' x); block=$(for i in $(seq 64); do echo $line; done)
while [ ! -e /host/stop ]; do echo \"$block\"; cut -d' ' -f1 /proc/uptime >> /host/beats; sleep 0.1; done; exec sleep 1000000";

fn numbers(text: &str) -> Vec<f64> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn uptime() -> f64 {
    numbers(&fs::read_to_string("/proc/uptime").unwrap().replace(' ', "\n"))[0]
}

fn longest_gap(times: &[f64], from: f64, to: f64) -> f64 {
    let within: Vec<f64> =
        [from].into_iter().chain(times.iter().copied().filter(|at| (from..to).contains(at))).chain([to]).collect();
    within.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

#[test]
fn while_the_disk_stands_still_everything_else_goes_on() {
    // A container's start needs no disk then: its writable layer is in memory.
    let mut gateway = Gateway::prepare("writableLayer: {medium: memory, size: 4Mi}\ncontainerLogMaxSize: 50Mi\n");
    let disk = Disk::below(&gateway);
    gateway.run(true);
    let host = gateway.path("host");
    for (name, script) in
        [("counts", COUNTS), ("floods", FLOODS), ("crashes", "cut -d' ' -f1 /proc/uptime >> /host/runs; exit 1")]
    {
        let mut pod = pod(name, script);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        pod["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": format!("{BACKOFF}s"), "gatepost.io/backoff-max": format!("{BACKOFF}s")});
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
    }
    let counts = gateway.ready("counts");
    let floods = gateway.ready("floods");
    gateway.until("some crashes", |pods| pods.get("crashes").is_some_and(|pod| restarts(pod) >= 2));
    let pids = (gateway.info().pid, pid_of(&gateway, &counts));

    let frozen = disk.freeze();
    let (start, from) = (Instant::now(), uptime());
    let mut slowest = Duration::ZERO;
    let mut changed = false;
    while start.elapsed() < FROZEN {
        let asked = Instant::now();
        gateway.pods();
        slowest = slowest.max(asked.elapsed());
        if !changed && start.elapsed() > FROZEN / 3 {
            changed = true;
            // The manifests lie elsewhere, so a new pod is noticed, too.
            gateway.apply(&pod("late", "trap 'exit 0' TERM; sleep 1000000 & wait"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let to = uptime();
    let restarted = longest_gap(&numbers(&gateway.host_file("runs")), from, to);
    let flooded = longest_gap(&numbers(&gateway.host_file("beats")), from, to);
    let late = gateway.pods().ready("late").is_some();
    drop(frozen);
    println!(
        "frozen for {:.1} s: longest answer {slowest:?}, longest time between two runs of a pod with {BACKOFF} s of backoff \
         {restarted:.2} s, longest pause of a container that floods its log {flooded:.2} s",
        to - from
    );
    assert!(slowest < Duration::from_secs(2), "`get pods` took {slowest:?}");
    assert!(restarted < BACKOFF + 3.0, "a restart came {restarted} s after the one before");
    assert!(flooded < 5.0, "a container waited {flooded} s for its log");
    assert!(late, "a pod whose manifest came while the disk stood still was not started");
    assert_eq!((gateway.info().pid, pid_of(&gateway, &gateway.ready("counts"))), pids, "the same processes");

    fs::write(host.join("stop"), "").unwrap();
    let counted: u64 = node::eventually("the last number", || gateway.host_file("counted").trim().parse().ok());
    gateway.wait_for_log(&["counts"], &format!("out {counted}"));
    // What it said meanwhile fits into its pipe.
    assert_eq!(assert_gapless(&log_of(&gateway, &counts), "stdout", "out "), counted);
    dropped(&gateway, &floods);
    gateway.stop();
    drop(disk);
}
