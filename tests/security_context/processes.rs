//! `shareProcessNamespace`: one pid namespace, whose first process is gatepost's own and outlives supervisors.

use std::fs;

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::gateway::manifest::{WAIT, container, pod, push};
use super::gateway::pods::{container as status, is_ready};

fn shared(name: &str) -> Value {
    let mut pod = pod(name, WAIT);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    push(&mut pod["spec"]["containers"], container("second", WAIT));
    pod
}

fn pause_pid(gateway: &Gateway, pod: &Value) -> u32 {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let record = fs::read_to_string(gateway.run_dir().join("pods").join(uid).join("pause")).unwrap();
    record.split(' ').next().unwrap().parse().unwrap()
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().to_owned()
}

#[test]
fn containers_see_and_signal_each_other_and_orphans_are_reaped() {
    let gateway = Gateway::start("");
    gateway.apply(&shared("pair"));
    let pod = gateway.ready("pair");
    assert_eq!(gateway.exec("pair", "cat /proc/1/comm").trim(), "pause");
    let names = gateway.exec("pair", "cat /proc/[0-9]*/cgroup | grep -c second-");
    assert!(names.trim().parse::<u32>().unwrap() >= 1, "the other container's processes are seen");

    // An orphan that ends leaves no zombie.
    gateway.exec("pair", "sh -c 'sh -c \"exit 0\" & exec sleep 0' ; sh -c '(sleep 0.05 &)'");
    let zombies = gateway.exec("pair", "sleep 0.2; cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true");
    assert_eq!(zombies.trim(), "0");

    let pause = pause_pid(&gateway, &pod);
    assert_eq!(field(pause, "CapBnd").trim_start_matches('0'), "");
    assert_eq!((field(pause, "Seccomp").as_str(), field(pause, "NoNewPrivs").as_str()), ("1", "1"));
    assert_eq!(field(pause, "Uid"), "65535\t65535\t65535\t65535");
    let cgroups = fs::read_to_string(format!("/proc/{pause}/cgroup")).unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    assert!(cgroups.contains(&format!("/pod{uid}/pause")), "{cgroups}");
    assert_eq!(fs::read_dir(format!("/proc/{pause}/root/")).unwrap().count(), 0, "its root directory is empty");
    let kib: u64 = field(pause, "RssAnon").split(' ').next().unwrap().parse().unwrap();
    assert!(kib < 1024, "{kib} KiB of its own");

    // Nobody inside can end it, whatever they send.
    gateway.exec("pair", "kill -TERM 1; kill -KILL 1; kill -INT 1; true");
    assert_eq!(pause_pid(&gateway, &gateway.ready("pair")), pause);

    // The other container's first process can be ended from here: it restarts, this one goes on.
    gateway.exec("pair", "for p in /proc/[0-9]*; do grep -q second- $p/cgroup && kill -TERM ${p#/proc/}; done; true");
    gateway.until("the other to be restarted", |pods| {
        pods.get("pair").is_some_and(|pod| is_ready(pod) && status(pod, "second")["restartCount"] == 1)
    });
    let pod = gateway.ready("pair");
    assert_eq!(status(&pod, "app")["restartCount"], 0);
    assert_eq!(pause_pid(&gateway, &pod), pause);

    // With the pod it goes.
    gateway.remove("pair.yaml");
    gateway.gone("pair");
    assert!(!fs::exists(format!("/proc/{pause}")).unwrap());
}

#[test]
fn the_shared_namespace_outlives_supervisors_and_is_made_anew_when_its_first_process_is_killed() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 1s}");
    gateway.apply(&shared("pair"));
    let pod = gateway.ready("pair");
    let pause = pause_pid(&gateway, &pod);
    let before = gateway.exec("pair", "readlink /proc/self/ns/pid");

    let supervisor = gateway.supervisor_pid();
    let kill = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    kill(supervisor);
    gateway.until("another supervisor", |_| gateway.supervisor_pid() != supervisor);
    let pod = gateway.ready("pair");
    assert_eq!(status(&pod, "app")["restartCount"], 0);
    assert_eq!(gateway.exec("pair", "readlink /proc/self/ns/pid"), before);

    // Its end is the end of every process in the namespace; the next start makes another one.
    kill(pause);
    gateway.until("both to be restarted", |pods| {
        pods.get("pair").is_some_and(|pod| {
            is_ready(pod) && ["app", "second"].iter().all(|name| status(pod, name)["restartCount"] != 0)
        })
    });
    // The kernel may give the new one the number of the old one.
    assert_ne!(pause_pid(&gateway, &gateway.ready("pair")), pause);
    assert_eq!(gateway.exec("pair", "cat /proc/1/comm").trim(), "pause");
}

#[test]
fn users_and_processes_of_the_pods_own_go_together() {
    let gateway = Gateway::prepare("");
    gateway.open_the_way();
    let mut gateway = gateway;
    gateway.run(true);
    let mut pod = shared("both");
    pod["spec"]["hostUsers"] = json!(false);
    gateway.apply(&pod);
    gateway.ready("both");
    assert_eq!(gateway.exec("both", "cat /proc/1/comm").trim(), "pause");
    assert_ne!(gateway.exec("both", "cat /proc/self/uid_map").split_whitespace().nth(1).unwrap(), "0");
}
