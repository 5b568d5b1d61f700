//! The data and log file systems stand still.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crashes::dropped;
use crate::gateway::manifest::{mount_host, pod, push, run_once};
use crate::gateway::pods::{restarts, text};
use crate::gateway::{Gateway, Pods};
use crate::kills::{log_of, pid_of};
use crate::log::assert_gapless;
use crate::node;
use crate::stall::{Disk, Stalled, run};

const FROZEN: Duration = Duration::from_secs(30);
/// The backoff of the crashing pod.
const BACKOFF: f64 = 3.0;

/// Nothing is read from the disk, and nothing that writes to its file system gets on.
struct Frozen<'a>(&'a Disk, Option<Stalled>);

impl<'a> Frozen<'a> {
    fn new(disk: &'a Disk) -> Self {
        run("sync", &["-f"], &[&disk.at]);
        run("fsfreeze", &["-f"], &[&disk.at]);
        Self(disk, Some(disk.stall()))
    }
}

/// Thawed when dropped: nobody could stop what waits for it.
impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Thawing writes.
        self.1 = None;
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0.at).status();
    }
}

const COUNTS: &str =
    "i=0; while [ ! -e /host/stop ]; do i=$((i+1)); echo \"out $i\"; echo $i > /host/count; sleep 0.05; done
echo $i > /host/counted; exec sleep 1000000";

/// Floods its log and tells when each 64 KiB were taken.
const FLOODS: &str = "line=$(head -c 1023 /dev/zero | tr '\\0' x); block=$(for i in $(seq 64); do echo $line; done)
while [ ! -e /host/stop ]; do echo \"$block\"; cut -d' ' -f1 /proc/uptime >> /host/beats; sleep 0.1; done; exec sleep 1000000";

/// What the probes of [`probed`] are noted in, one line each.
const PROBES: [&str; 3] = ["http", "tcp", "exec"];

/// A probe of each kind, once a second; the container notes each.
fn probed(pod: &mut Value) {
    let every_second = |mut probe: Value| {
        probe["periodSeconds"] = json!(1);
        probe["timeoutSeconds"] = json!(5);
        probe
    };
    let container = &mut pod["spec"]["containers"][0];
    let script = container["command"][2].as_str().unwrap();
    // Each connection gets a process of its own; what was asked is read to its end, or closing would be a reset.
    let http = "while read -r line && [ ${#line} -gt 1 ]; do :; done; printf \"HTTP/1.1 200 OK\\r\\n\\r\\n\"; echo >> /host/http";
    let serve = format!(
        "printf '#!/bin/sh\\n%s\\n' '{http}' > /tmp/http; printf '#!/bin/sh\\necho >> /host/tcp\\n' > /tmp/tcp; chmod +x /tmp/http /tmp/tcp
nc -ll -p 8080 -e /tmp/http & nc -ll -p 8081 -e /tmp/tcp &
{script}"
    );
    container["command"][2] = json!(serve);
    container["readinessProbe"] = every_second(json!({"httpGet": {"port": 8080}}));
    container["livenessProbe"] = every_second(json!({"tcpSocket": {"port": 8081}, "failureThreshold": 100}));
    let mut side = container.clone();
    side["name"] = json!("side");
    side["command"] = json!(["sleep", "1000000"]);
    side["readinessProbe"] = every_second(json!({"exec": {"command": ["sh", "-c", "echo >> /host/exec"]}}));
    side.as_object_mut().unwrap().remove("livenessProbe");
    push(&mut pod["spec"]["containers"], side);
}

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
fn a_path_on_a_dead_disk_is_waited_for_by_nobody_else() {
    let mut gateway = Gateway::prepare("staticPodPath: [BASE/manifests, BASE/current]\n");
    // Never looked at since the disk was mounted, so that whoever wants to look has to read it.
    let cold = pod("cold", "trap 'exit 0' TERM; sleep 1000000 & wait");
    let disk = Disk::new(&gateway.path(""), |at| {
        for deep in ["devices/far/away", "manifests/of/another/day"] {
            fs::create_dir_all(at.join(deep)).unwrap();
        }
        fs::write(at.join("devices/far/away/tty"), "").unwrap();
        fs::write(at.join("manifests/of/another/day/cold.yaml"), cold.to_string()).unwrap();
    });
    fs::create_dir(gateway.path("empty")).unwrap();
    symlink("empty", gateway.path("current")).unwrap();
    gateway.run(true);
    let mut crashes = pod("crashes", "exit 1");
    crashes["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "2s", "gatepost.io/backoff-max": "2s"});
    gateway.apply(&crashes);
    let count = |pods: &Pods| pods.get("crashes").map_or(0, restarts);
    gateway.until("a crash", |pods| count(pods) >= 1);
    let supervisor = gateway.supervisor_pid();

    let stalled = disk.stall();
    let path = disk.at.join("devices/far/away/tty");
    let mut waits = pod("waits", "trap 'exit 0' TERM; sleep 1000000 & wait");
    waits["metadata"]["annotations"] =
        json!({"gatepost.io/start-after": format!("path:{}", path.display()), "gatepost.io/start-after-timeout": "0"});
    gateway.apply(&waits);
    gateway.until("the wait for the path", |pods| pods.summary().iter().any(|pod| pod.contains("WaitingFor: path:")));
    stands_still(supervisor, "look");
    // The manifests now lie where nobody has looked yet.
    symlink(disk.at.join("manifests/of/another/day"), gateway.path("next")).unwrap();
    fs::rename(gateway.path("next"), gateway.path("current")).unwrap();
    stands_still(supervisor, "read-manifests");
    let before = count(&gateway.pods());
    gateway.until("the crashes to go on", |pods| count(pods) >= before + 2);
    assert!(gateway.pods().get("cold").is_none() && gateway.pods().ready("waits").is_none());
    drop(stalled);

    gateway.ready("waits");
    gateway.ready("cold");
    assert_eq!(gateway.supervisor_pid(), supervisor, "the same supervisor");
}

/// Waits until a helper of the supervisor waits for the disk, uninterruptibly.
fn stands_still(supervisor: u32, role: &str) {
    node::eventually(&format!("{role} to wait for the disk"), || {
        let mut helpers = node::children_of(supervisor).into_iter();
        helpers.any(|pid| node::state(pid) == 'D' && node::command(pid) == format!("gatepost {role}")).then_some(())
    });
}

#[test]
fn while_the_disk_stands_still_everything_else_goes_on() {
    // A container's start needs no disk then: its writable layer is in memory.
    let mut gateway = Gateway::prepare("writableLayer: {medium: memory, size: 4Mi}\ncontainerLogMaxSize: 50Mi\n");
    let own = ["data", "logs"].map(|name| (name, gateway.path(name)));
    let mut disk = Disk::new(&gateway.path(""), |at| {
        for (name, own) in &own {
            run("cp", &["-a"], &[own, &at.join(name)]);
        }
    });
    for (name, own) in &own {
        disk.bind(name, own);
    }
    gateway.run(true);
    let host = gateway.path("host");
    for (name, script) in
        [("counts", COUNTS), ("floods", FLOODS), ("crashes", "cut -d' ' -f1 /proc/uptime >> /host/runs; exit 1")]
    {
        let mut pod = pod(name, script);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        pod["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": format!("{BACKOFF}s"), "gatepost.io/backoff-max": format!("{BACKOFF}s")});
        if name == "counts" {
            probed(&mut pod);
        }
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
    }
    let mut fails = pod("fails", "");
    fails["spec"]["containers"][0]["command"] = json!(["/nowhere"]);
    fails["metadata"]["annotations"] =
        json!({"gatepost.io/backoff-initial": format!("{BACKOFF}s"), "gatepost.io/backoff-max": format!("{BACKOFF}s")});
    gateway.apply(&fails);
    let failures = |gateway: &Gateway| {
        let of_it = |event: &&Value| event["reason"] == "Failed" && event["message"].to_string().contains("/nowhere");
        gateway.events().iter().filter(of_it).map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    node::eventually("some starts that fail", || (failures(&gateway) >= 2).then_some(()));
    let counts = gateway.ready("counts");
    let floods = gateway.ready("floods");
    gateway.until("some crashes", |pods| pods.get("crashes").is_some_and(|pod| restarts(pod) >= 2));
    let pids = (gateway.info().pid, pid_of(&gateway, &counts));

    let probes = || PROBES.map(|name| gateway.host_file(name).lines().count());
    node::eventually("some probes of each kind", || probes().iter().all(|count| *count >= 2).then_some(()));

    let frozen = Frozen::new(&disk);
    let failed_before = failures(&gateway);
    let probes_before = probes();
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
    let failed = failures(&gateway) - failed_before;
    let probes_after = probes();
    let unready = gateway.pods().ready("counts").is_none();
    drop(frozen);
    let probed: Vec<usize> = probes_after.iter().zip(probes_before).map(|(after, before)| after - before).collect();
    println!(
        "frozen for {:.1} s: longest answer {slowest:?}, longest time between two runs of a pod with {BACKOFF} s of backoff \
         {restarted:.2} s, {failed} further starts of one that cannot start, longest pause of a container that floods its log {flooded:.2} s, \
         probes by {PROBES:?}, each every second: {probed:?}",
        to - from
    );
    assert!(probed.iter().all(|count| *count >= 15), "of 30 probes of each kind ({PROBES:?}) there were {probed:?}");
    assert!(!unready, "a pod whose probes succeed was called unready");
    assert!(slowest < Duration::from_secs(2), "`get pods` took {slowest:?}");
    assert!(restarted < BACKOFF + 3.0, "a restart came {restarted} s after the one before");
    assert!(failed >= 5, "a container that cannot start was tried {failed} times");
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

#[test]
fn a_start_whose_disk_says_nothing_answers_people_and_begins_the_pods_when_it_does() {
    let mut gateway = Gateway::prepare("writableLayer: {medium: memory, size: 4Mi}\n");
    let mut once = run_once("once", "echo x >> /host/once");
    mount_host(&mut once, &gateway.path("host"));
    gateway.run(true);
    gateway.apply(&once);
    gateway.finished("once");
    node::eventually("its mark and its end to be on disk", || {
        let text = fs::read_to_string(gateway.path("data/state/pods.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["pods"]
            .as_object()?
            .values()
            .any(|pod| pod["completed"].is_object())
            .then_some(())
    });
    gateway.lose_its_memory();
    let data = gateway.path("data");
    let mut disk = Disk::new(&gateway.path(""), |at| run("cp", &["-a"], &[&data, &at.join("data")]));
    disk.bind("data", &data);

    let stalled = disk.stall();
    gateway.run(true);
    gateway.said("does not answer");
    let supervisor = gateway.supervisor_pid();
    assert!(gateway.events().iter().any(|event| event["reason"] == "StateNotRead"));
    gateway.apply(&pod("web", "trap 'exit 0' TERM; sleep 1000000 & wait"));
    gateway.ok(&["get", "pods"]);
    assert!(gateway.pods().get("once").is_none() && gateway.pods().get("web").is_none());
    drop(stalled);

    gateway.ready("web");
    assert_eq!(text(gateway.pods().get("once").unwrap(), "/status/phase"), "Succeeded");
    assert_eq!(gateway.host_file("once"), "x\n", "it ran again");
    assert_ne!(gateway.supervisor_pid(), supervisor, "one that knows");
    gateway.stop();
    drop(disk);
}
