//! `kill -9` of the supervisor, again and again, at random instants.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::manifest::{mount_host, pod};
use crate::gateway::pods::{container, restarts, text};
use crate::gateway::{Gateway, Pods};
use crate::log;
use crate::node::{self, Traces};
use crate::random::Random;

const ROUNDS: u32 = 500;
/// A new `Never` pod comes every so many rounds, and goes some rounds later.
const EVERY: u32 = 25;
const STAYS: u32 = 60;

/// Numbered lines on both streams, about 60 a second each, until told to end; what was printed is told at the end.
const STEADY: &str =
    "i=0; while [ ! -e /host/stop ]; do i=$((i+1)); echo \"out $i\"; echo \"err $i\" >&2; sleep 0.01; done
echo $i > /host/steady; exec sleep 1000000";

/// 500 lines at once, twice a second.
const BURSTS: &str =
    "i=0; while [ ! -e /host/stop ]; do seq $((i+1)) $((i+500)) | sed 's/^/out /'; i=$((i+500)); sleep 0.5; done
echo $i > /host/bursts; exec sleep 1000000";

fn crashing(name: &str, end: &str, code: i64) -> (String, Value, i64) {
    let script = format!(
        "echo run >> /host/{name}; echo \"out $(wc -l < /host/{name})\"; [ -e /host/stop ] && exec sleep 1000000; {end}"
    );
    let mut pod = pod(name, &script);
    pod["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "200ms", "gatepost.io/backoff-max": "1s"});
    (name.to_owned(), pod, code)
}

/// What must be the same at the end: which process it is, and since when.
fn identity(pod: &Value, pid: u32) -> (Value, u32, u64) {
    let started = container(pod, "app")["state"]["running"]["startedAt"].clone();
    (started, pid, gatepost::sys::process::stat(pid).unwrap().start_time)
}

#[test]
fn killing_the_supervisor_five_hundred_times_loses_nothing() {
    let rounds = std::env::var("GATEPOST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut random = Random::seeded();
    let mut gateway = Gateway::prepare("containerLogMaxSize: 256Ki\ncontainerLogMaxFiles: 1000\n");
    gateway.run(true);
    let host = gateway.path("host");
    gateway.until("an answer", |_| true);
    let before = quiet(&gateway);

    let crashing = [
        crashing("exits", "exit 3", 3),
        crashing("lingers", "sleep 0.3; exit 4", 4),
        crashing("fails", "sleep 0.05; exit 255", 255),
    ];
    let long = [("steady", STEADY), ("bursts", BURSTS)];
    for (name, script) in long {
        let mut pod = pod(name, script);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        if name == "steady" {
            // Whoever is killed over its hook or its probes, it runs on.
            let hook = json!({"exec": {"command": ["sh", "-c", "echo hook >> /host/hooks"]}});
            pod["spec"]["containers"][0]["lifecycle"] = json!({"postStart": hook});
            pod["spec"]["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
            pod["spec"]["containers"][0]["readinessProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
        }
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
    }
    for (_, pod, _) in &crashing {
        let mut pod = pod.clone();
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
    }
    let identities: Vec<_> = long
        .map(|(name, _)| {
            let pod = gateway.ready(name);
            let pid = pid_of(&gateway, &pod);
            (name, pod.clone(), identity(&pod, pid))
        })
        .into();

    let never = kill_again_and_again(&gateway, rounds, &mut random);
    // Whoever still waits for its turn has it now; then all come to rest.
    for (name, code) in never.iter().rev().take(2) {
        assert_ran_once(&gateway, name, &gateway.finished(name), *code);
        assert_eq!(said(&gateway.logs(name)), ["out"], "{name}");
    }
    fs::write(host.join("stop"), "").unwrap();
    for (name, _, code) in &crashing {
        let runs = assert_every_run_is_accounted_for(&gateway, name, *code);
        assert!(runs > u64::from(rounds) / 50, "{name} crashed {runs} times only");
    }
    let ran: Vec<usize> = never.iter().map(|(name, _)| gateway.host_file(name).lines().count()).collect();
    println!("pods with restartPolicy Never ran so often: {ran:?}");
    assert!(ran.iter().all(|runs| *runs <= 1), "restartPolicy Never: {ran:?}");
    for (name, pod, identity_before) in &identities {
        assert_untouched(&gateway, name, pod, identity_before);
    }
    assert_eq!(gateway.host_file("hooks"), "hook\n", "one life, one postStart hook");
    assert_nobody_is_unknown(&gateway.pods());
    assert!(!gateway.run_dir().join("crashes.json").exists(), "somebody is called guilty of a crash");

    for entry in fs::read_dir(gateway.path("manifests")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    gateway.until("all pods to be gone", |pods| pods.items.is_empty());
    let mut after = quiet(&gateway);
    // It keeps a cgroup open for each helper that ever ran at the same time as others.
    assert!(after.supervisor_descriptors <= before.supervisor_descriptors + 8, "before: {before:?}\nafter: {after:?}");
    after.supervisor_descriptors = before.supervisor_descriptors;
    let info = gateway.info();
    let log_writer = node::log_writer(info.pid).map(node::open_files);
    assert_eq!(after, before, "init holds {:#?}, its log writer {log_writer:#?}", node::open_files(info.init_pid));
}

/// Gives the names and exit codes of the pods that came, and mostly went, meanwhile: each with `restartPolicy: Never`.
fn kill_again_and_again(gateway: &Gateway, rounds: u32, random: &mut Random) -> Vec<(String, i64)> {
    let host = gateway.path("host");
    let init = gateway.info().init_pid;
    let started = Instant::now();
    let mut last = 0;
    let (mut answered, mut waited, mut slowest) = (0_u32, Duration::ZERO, Duration::ZERO);
    let mut never = Vec::new();
    let (mut removed, mut ran_once) = (0, 0);
    let mut round = 0;
    while round < rounds {
        if round % EVERY == 0 && never.len() == (round / EVERY) as usize {
            let name = format!("once-{round}");
            let code = round % 7;
            let script = format!("echo run >> /host/{name}; echo out; sleep 0.{}; exit {code}", random.below(10));
            let mut pod = pod(&name, &script);
            pod["spec"]["restartPolicy"] = json!("Never");
            mount_host(&mut pod, &host);
            gateway.apply(&pod);
            never.push((name, i64::from(code)));
        }
        if round >= STAYS && (round - STAYS) / EVERY >= removed {
            let (name, code) = &never[removed as usize];
            let pods = node::eventually("an answer", || node::try_pods(gateway));
            if let Some(pod) = pods.get(name).filter(|pod| is_finished(pod)) {
                assert_ran_once(gateway, name, pod, *code);
                ran_once += 1;
            }
            gateway.remove(&format!("{name}.yaml"));
            removed += 1;
        }
        let supervisor = node::next_supervisor(init, last);
        // A third of them die before they answer.
        if random.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(100)));
        } else {
            let start = Instant::now();
            let pods = node::eventually("an answer", || node::try_pods(gateway));
            let took = start.elapsed();
            answered += 1;
            waited += took;
            slowest = slowest.max(took);
            assert_nobody_is_unknown(&pods);
            std::thread::sleep(Duration::from_millis(random.below(400)));
        }
        // What looked like a supervisor may have been a helper of one, not yet executed: that counts for nothing.
        round += u32::from(node::send(supervisor, Signal::KILL));
        last = supervisor;
    }
    let mean = waited.checked_div(answered).unwrap_or_default();
    println!(
        "{rounds} kills in {:?}; a supervisor answers after {mean:?} on average, {slowest:?} at most",
        started.elapsed()
    );
    println!("of {removed} removed pods with restartPolicy Never {ran_once} had ended, after one run each");
    assert!(ran_once > 0 || removed == 0, "none of {removed} pods had its run in the time it was there");
    never
}

/// What the program said. A runtime's process that was to become it, and was left alone by a killed one, has had the same stderr.
fn said(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.starts_with("out")).collect()
}

fn is_finished(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// It had its one run, which ended as it should, and is told so.
fn assert_ran_once(gateway: &Gateway, name: &str, pod: &Value, code: i64) {
    let app = container(pod, "app");
    assert_eq!(app["state"]["terminated"]["exitCode"], code, "{name}: {}", pod["status"]);
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    assert_eq!((text(pod, "/status/phase"), restarts(pod)), (phase, 0), "{name}: {}", pod["status"]);
    assert_eq!(gateway.host_file(name), "run\n", "{name}");
}

/// Its restart count, last exit and log are those of the runs it has counted itself; gives how many these are.
fn assert_every_run_is_accounted_for(gateway: &Gateway, name: &str, code: i64) -> u64 {
    let pod = gateway.ready(name);
    // Running is what it is before its first command has had its turn.
    let counted = || Some(gateway.host_file(name).lines().count() as u64);
    let runs = node::eventually("its last run", || counted().filter(|runs| *runs > restarts(&pod)));
    println!("{name}: {runs} runs");
    assert_eq!(restarts(&pod) + 1, runs, "{name} says how often it ran: {}", pod["status"]);
    let ended = &container(&pod, "app")["lastState"]["terminated"];
    assert_eq!(ended["exitCode"], code, "{name}: {ended}");
    // The logs of this run and of the one before are exactly theirs.
    gateway.wait_for_log(&[name], &format!("out {runs}"));
    assert_eq!(said(&gateway.logs(name)), [format!("out {runs}")], "{name}");
    assert_eq!(said(&gateway.ok(&["logs", name, "--previous"])), [format!("out {}", runs - 1)], "{name}");
    runs
}

/// It is the same process as before, and its log holds all it has printed, once.
fn assert_untouched(gateway: &Gateway, name: &str, pod: &Value, before: &(Value, u32, u64)) {
    let now = gateway.ready(name);
    assert_eq!(restarts(&now), 0, "{name}");
    assert_eq!(&identity(&now, pid_of(gateway, &now)), before, "{name} is another process");
    let printed: u64 = node::eventually("the number printed", || gateway.host_file(name).trim().parse().ok());
    gateway.wait_for_log(&[name, "--tail", "10"], &format!("out {printed}"));
    let lines = log_of(gateway, pod);
    println!("{name}: {} lines", lines.len());
    assert_eq!(log::assert_gapless(&lines, "stdout", "out "), printed, "{name}");
    if name == "steady" {
        node::eventually("the last line on stderr", || {
            log_of(gateway, pod).iter().any(|line| line.text == format!("err {printed}")).then_some(())
        });
        assert_eq!(log::assert_gapless(&log_of(gateway, pod), "stderr", "err "), printed, "{name}");
    }
}

/// What a gateway without pods has, once its helpers have ended.
pub fn quiet(gateway: &Gateway) -> Traces {
    gateway.until("no pod", |pods| pods.items.is_empty());
    let mut last = Traces::of(gateway);
    // The same twice in a row, half a second apart: nothing goes on any more.
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(500));
        let now = Traces::of(gateway);
        if now == last && now.directories.is_empty() && now.log_writer_descriptors > 0 {
            return now;
        }
        last = now;
    }
    last
}

fn assert_nobody_is_unknown(pods: &Pods) {
    for pod in &pods.items {
        let status = pod["status"].to_string();
        assert!(!status.contains("ContainerStatusUnknown"), "{}: {status}", text(pod, "/metadata/name"));
        assert_ne!(text(pod, "/status/reason"), "Quarantined");
    }
}

/// The first process of the container `app`, as the runtime's state says.
pub fn pid_of(gateway: &Gateway, pod: &Value) -> u32 {
    let id = text(container(pod, "app"), "/containerID").rsplit('/').next().unwrap().to_owned();
    let state = gateway.run_dir().join("runtime").join(id).join("state.json");
    let state: Value = gatepost::json::from_slice(&fs::read(&state).unwrap()).unwrap();
    u32::try_from(state["init_process_pid"].as_u64().unwrap()).unwrap()
}

/// The lines a pod's container `app` has logged.
pub fn log_of(gateway: &Gateway, pod: &Value) -> Vec<log::Line> {
    let (name, uid) = (text(pod, "/metadata/name"), text(pod, "/metadata/uid"));
    log::lines(&log::directory(&gateway.path("logs"), name, uid).join("app"))
}
