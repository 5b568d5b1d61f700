//! A supervisor that crashes over a pod, and one that hangs.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;

use crate::gateway::manifest::{container as container_manifest, mount_host, pod, push};
use crate::gateway::pods::{container, restarts, text};
use crate::gateway::{Gateway, put};
use crate::kills::{log_of, pid_of};
use crate::node;

/// Counts to a file on the host, ten times a second.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i > /host/count; sleep 0.1; done";

/// Waits until a number in a host file has grown.
fn grows(gateway: &Gateway, file: &str) {
    let number = || gateway.host_file(file).trim().parse::<u64>().ok();
    let before = node::eventually("a number", number);
    node::eventually("a greater number", || number().filter(|now| *now > before + 1));
}

#[test]
fn a_pod_over_which_the_supervisor_crashed_twice_is_quarantined_and_the_others_go_on() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let mut guilty = pod("guilty", "echo run >> /host/guilty; exit 1");
    push(&mut guilty["spec"]["containers"], container_manifest("beside", COUNTS));
    guilty["spec"]["terminationGracePeriodSeconds"] = json!(0);
    guilty["metadata"]["annotations"] =
        json!({"gatepost.io/backoff-initial": "100ms", "gatepost.io/backoff-max": "200ms"});
    mount_host(&mut guilty, &host);
    gateway.apply(&guilty);
    let mut innocent = pod("innocent", "trap 'exit 0' TERM; sleep 1000000 & wait");
    innocent["spec"]["terminationGracePeriodSeconds"] = json!(0);
    gateway.apply(&innocent);
    gateway.ready("innocent");
    let uid = text(gateway.pods().get("guilty").unwrap(), "/metadata/uid").to_owned();
    grows(&gateway, "count");

    let mut last = 0;
    for _ in 0..2 {
        let supervisor = node::answering(&gateway, last);
        crash_over(&gateway, supervisor, &uid);
        last = supervisor;
    }
    node::answering(&gateway, last);
    let quarantined = gateway.wait_for("quarantine", |pods| {
        pods.get("guilty").filter(|pod| text(pod, "/status/reason") == "Quarantined").cloned()
    });
    assert!(text(&quarantined, "/status/message").contains("2 times"), "{}", quarantined["status"]);
    assert!(gateway.ok(&["get", "pods"]).contains("Quarantined"), "{}", gateway.ok(&["get", "pods"]));

    // Its containers are left alone: the one that runs goes on, the one that crashed is not started again.
    // A start that was under way may still come to its end first.
    grows(&gateway, "count");
    let runs = gateway.host_file("guilty").lines().count();
    // The others are served: a crashed container of theirs is back at once.
    let before = gateway.ready("innocent");
    node::send(pid_of(&gateway, &before), Signal::TERM);
    gateway.until("the restart of the innocent", |pods| pods.ready("innocent").is_some_and(|pod| restarts(pod) == 1));
    grows(&gateway, "count");
    assert_eq!(gateway.host_file("guilty").lines().count(), runs, "a quarantined pod's container was started");

    // A changed manifest is another pod.
    guilty["metadata"]["labels"] = json!({"changed": "yes"});
    gateway.apply(&guilty);
    node::eventually("another run", || (gateway.host_file("guilty").lines().count() > runs).then_some(()));
    assert_ne!(text(gateway.pods().get("guilty").unwrap(), "/status/reason"), "Quarantined");
}

/// Ends the supervisor with SIGABRT while it acts on the pod: stopped first, then looked at, so that it is certain.
fn crash_over(gateway: &Gateway, supervisor: u32, uid: &str) {
    let note = gateway.run_dir().join("acting-on");
    let noted = || fs::read(&note).is_ok_and(|text| text == uid.as_bytes());
    node::eventually("the supervisor to act on the pod", || {
        let seen = (0..20_000).any(|_| noted());
        if !seen {
            return None;
        }
        assert!(node::send(supervisor, Signal::STOP));
        node::eventually("it to be stopped", || (node::state(supervisor) == 'T').then_some(()));
        let certain = noted();
        if certain {
            assert!(node::send(supervisor, Signal::ABORT));
        }
        assert!(node::send(supervisor, Signal::CONT));
        certain.then_some(())
    });
}

/// Floods its log and tells when each 64 KiB were taken.
const FLOODS: &str = "line=$(head -c 1023 /dev/zero | tr '\\0' x); block=$(for i in $(seq 64); do echo $line; done)
while [ ! -e /host/stop ]; do echo \"$block\"; cut -d' ' -f1 /proc/uptime >> /host/beats; sleep 0.1; done; exec sleep 1000000";

/// Waits until a pod's log says that some of it was dropped.
pub fn dropped(gateway: &Gateway, pod: &Value) {
    node::eventually("the log to say what was dropped", || {
        let note =
            log_of(gateway, pod).into_iter().find(|line| line.text.contains("nobody read the log for over 1 s"))?;
        println!("in the log: {}", note.text);
        Some(())
    });
}

fn uptime() -> f64 {
    fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_wedged_supervisor_is_replaced_and_a_flooding_container_does_not_wait_for_it() {
    let gateway = Gateway::start("containerLogMaxSize: 100Mi\n");
    let host = gateway.path("host");
    let mut crashes = pod("crashes", "exit 1");
    // It gives the supervisor a deadline to miss.
    crashes["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "3s", "gatepost.io/backoff-max": "3s"});
    gateway.apply(&crashes);
    let mut floods = pod("floods", FLOODS);
    floods["spec"]["terminationGracePeriodSeconds"] = json!(0);
    mount_host(&mut floods, &host);
    gateway.apply(&floods);
    let before = gateway.ready("floods");
    let pid = pid_of(&gateway, &before);
    gateway.until("the backoff", |pods| {
        pods.get("crashes")
            .is_some_and(|pod| text(container(pod, "app"), "/state/waiting/reason") == "CrashLoopBackOff")
    });

    let info = gateway.info();
    let from = uptime();
    for child in node::children_of(info.pid) {
        if node::command(child).contains("log-writer") {
            assert!(node::send(child, Signal::STOP));
        }
    }
    assert!(node::send(info.pid, Signal::STOP));
    gateway.said("the supervisor is wedged");
    node::answering(&gateway, info.pid);
    gateway.until("an answer", |pods| pods.ready("floods").is_some());
    let to = uptime();
    assert_eq!(pid_of(&gateway, &gateway.ready("floods")), pid);
    // A container that crashed meanwhile, or has yet to, is restarted.
    let restarts_then = restarts(gateway.pods().get("crashes").unwrap());
    gateway.until("another restart", |pods| pods.get("crashes").is_some_and(|pod| restarts(pod) > restarts_then));

    let beats: Vec<f64> = gateway
        .host_file("beats")
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|at| (from..=to).contains(at))
        .collect();
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    println!(
        "wedged for {:.1} s; the flooding container took {} steps, the longest {longest:.2} s",
        to - from,
        beats.len()
    );
    assert!(to - from > 10.0, "the supervisor has 10 s of patience");
    // The promise is 2 s; the rest is for a busy machine.
    assert!(longest < 5.0, "the container waited for {longest} s");
    fs::write(host.join("stop"), "").unwrap();
    dropped(&gateway, &before);
}

#[test]
fn a_supervisor_that_crashes_again_and_again_is_always_started_again() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("waits", "trap 'exit 0' TERM; sleep 1000000 & wait"));
    let before = gateway.ready("waits");
    let pid = pid_of(&gateway, &before);
    let mut last = 0;
    for _ in 0..3 {
        let supervisor = node::answering(&gateway, last);
        assert!(node::send(supervisor, Signal::ABORT));
        last = supervisor;
    }
    assert_eq!(pid_of(&gateway, &gateway.ready("waits")), pid);
    // It acted on nobody, so nobody is to blame.
    let events = gateway.events();
    assert!(!events.iter().any(|event| event.to_string().contains("Quarantine")), "{events:?}");
}

#[test]
fn crashes_without_a_guilty_pod_lead_to_safe_mode_until_somebody_reloads() {
    let gateway = Gateway::start("");
    let mut first = pod("first", "trap 'exit 0' TERM; sleep 1000000 & wait");
    first["spec"]["terminationGracePeriodSeconds"] = json!(0);
    gateway.apply(&first);
    let before = gateway.ready("first");
    let mut supervisor = node::answering(&gateway, 0);
    let mut crash = |crashes_before: u64| {
        let now = gatepost::sys::clock::boottime_ms();
        let times: Vec<_> = (0..crashes_before).map(|n| now - n).collect();
        let record = json!({"version": 1, "body": {"pods": {}, "unexplained": times}});
        put(&gateway.run_dir(), "crashes.json", record.to_string());
        assert!(node::send(supervisor, Signal::ABORT));
        supervisor = node::answering(&gateway, supervisor);
    };

    // The fourth crash: pods are supervised, manifests are not read.
    crash(3);
    let event = gateway.event("", "safe mode");
    assert_eq!(text(&event, "/reason"), "SafeMode");
    gateway.apply(&pod("second", "sleep 1000000"));
    node::send(pid_of(&gateway, &before), Signal::TERM);
    gateway.until("a restart in safe mode", |pods| pods.ready("first").is_some_and(|pod| restarts(pod) == 1));
    assert!(gateway.pods().get("second").is_none());

    // The seventh: nothing is acted on, and nothing that runs is touched.
    crash(6);
    let pods = gateway.pods();
    let alone = pods.get("first").unwrap();
    assert_eq!(text(alone, "/status/reason"), "Quarantined");
    assert!(text(alone, "/status/message").contains("all pods are left alone"), "{}", alone["status"]);
    let pid = pid_of(&gateway, alone);

    gateway.ok(&["reload"]);
    gateway.ready("second");
    let after = gateway.ready("first");
    assert_eq!((pid_of(&gateway, &after), restarts(&after)), (pid, 1));
}
