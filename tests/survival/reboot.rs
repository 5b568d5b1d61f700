//! Power cuts: every process ends at once and `/run` is lost; only the data directory is there the next time.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, mount_host, pod, run_once};
use crate::gateway::pods::{container, restarts, text};
use crate::node;
use crate::random::Random;

/// Power cuts around the start of pods that run once.
const ROUNDS: u32 = 12;
/// Pods a round.
const PODS: u32 = 3;

/// Everything below a process, itself first; those that can fork stand still meanwhile.
fn family(pid: u32, all: &mut BTreeSet<u32>) {
    node::send(pid, Signal::STOP);
    if all.insert(pid) {
        for child in node::children_of(pid) {
            family(child, all);
        }
    }
}

pub(super) fn cut_power(gateway: &mut Gateway) {
    let mut all = BTreeSet::new();
    let init = gateway.pid();
    family(init, &mut all);
    // Init last: nobody is to see what ends.
    all.remove(&init);
    for pid in all {
        node::send(pid, Signal::KILL);
    }
    node::send(init, Signal::KILL);
    gateway.lose_everything_but_its_disk();
}

/// What is on disk of the pods' lives.
fn on_disk(gateway: &Gateway) -> Value {
    let text = fs::read_to_string(gateway.path("data/state/pods.json")).unwrap_or_default();
    gatepost::json::from_str(&text).unwrap_or_default()
}

#[test]
fn after_a_power_cut_pods_go_on_from_what_is_on_disk_even_without_their_manifests() {
    let mut gateway = Gateway::prepare("");
    gateway.run(true);
    let host = gateway.path("host");
    let mut counts =
        pod("counts", &format!("echo x >> /host/counts; [ $(wc -l < /host/counts) -gt 2 ] || exit 1; {WAIT}"));
    counts["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "50ms"});
    let mut job = pod("job", "echo x >> /host/job");
    job["spec"]["restartPolicy"] = json!("OnFailure");
    let mut pods = [
        counts,
        job,
        run_once("failed", "echo x >> /host/failed; exit 3"),
        run_once("cut", &format!("echo x >> /host/cut; {WAIT}")),
    ];
    for pod in &mut pods {
        mount_host(pod, &host);
        gateway.apply(pod);
        // The count reaches the disk with the next mark, if not before.
        gateway.until("its turn", |pods| pods.ready("counts").is_some_and(|pod| restarts(pod) == 2));
    }
    let job = gateway.finished("job");
    let failed = gateway.finished("failed");
    let cut = gateway.ready("cut");
    gateway.host_file_is("cut", "x\n");
    let [job_uid, failed_uid, cut_uid] = [&job, &failed, &cut].map(|pod| text(pod, "/metadata/uid").to_owned());
    node::eventually("all of it to be on disk", || {
        let pods = &on_disk(&gateway)["pods"];
        let completed = |uid: &str| pods[uid]["completed"].is_object();
        (completed(&job_uid) && completed(&failed_uid) && pods[&cut_uid]["marks"] == json!(["app"])).then_some(())
    });

    cut_power(&mut gateway);
    fs::rename(gateway.path("manifests"), gateway.path("elsewhere")).unwrap();
    gateway.run(true);
    gateway.until("the pod that always runs", |pods| pods.ready("counts").is_some());
    gateway.until("the end of the pod that was cut", |pods| {
        pods.get("cut").is_some_and(|pod| text(pod, "/status/phase") == "Failed")
    });
    let assert_unchanged = |gateway: &Gateway| {
        let pods = gateway.pods();
        let now = |name: &str| pods.get(name).unwrap_or_else(|| panic!("{name} in {:#?}", pods.summary()));
        assert_eq!(now("job")["status"], job["status"]);
        assert_eq!(now("failed")["status"], failed["status"]);
        assert_eq!((text(now("cut"), "/status/phase"), text(now("cut"), "/status/reason")), ("Failed", "Interrupted"));
        let end = &container(now("cut"), "app")["state"]["terminated"];
        assert_eq!((&end["exitCode"], &end["reason"]), (&json!(137), &json!("ContainerStatusUnknown")), "{end}");
        for (name, uid) in [("job", &job_uid), ("failed", &failed_uid), ("cut", &cut_uid)] {
            assert_eq!(text(now(name), "/metadata/uid"), uid);
            assert_eq!(gateway.host_file(name), "x\n", "{name} ran again");
        }
        assert_eq!(restarts(now("counts")), 3, "the count goes on");
        assert_eq!(gateway.host_file("counts").lines().count(), 4);
    };
    assert_unchanged(&gateway);
    // Their manifests, when they are there again, are nothing new.
    fs::rename(gateway.path("elsewhere"), gateway.path("manifests")).unwrap();
    gateway.apply(&pod("more", WAIT));
    gateway.ready("more");
    assert_unchanged(&gateway);
}

#[test]
fn after_a_power_cut_what_has_succeeded_in_a_pod_does_not_run_again_and_what_was_told_to_end_does() {
    let mut gateway = Gateway::prepare("");
    gateway.run(true);
    let host = gateway.path("host");
    let mut half = pod("half", "echo x >> /host/job");
    half["spec"]["restartPolicy"] = json!("OnFailure");
    half["spec"]["containers"][0]["name"] = json!("job");
    let mut service = half["spec"]["containers"][0].clone();
    service["name"] = json!("service");
    service["command"] = json!(["/bin/sh", "-c", format!("echo x >> /host/service; {WAIT}")]);
    half["spec"]["containers"].as_array_mut().unwrap().push(service);
    mount_host(&mut half, &host);
    gateway.apply(&half);
    let until_half_done = |gateway: &Gateway| {
        gateway.wait_for("a job that is done beside a service that runs", |pods| {
            let pod = pods.get("half")?;
            let job = &container(pod, "job")["state"]["terminated"];
            (container(pod, "service")["state"]["running"].is_object() && job["exitCode"] == 0).then(|| job.clone())
        })
    };
    let job = until_half_done(&gateway);
    node::eventually("its success to be on disk", || {
        let pods = &on_disk(&gateway)["pods"];
        pods.as_object()?.values().any(|pod| pod["succeeded"]["job"].is_number()).then_some(())
    });

    cut_power(&mut gateway);
    gateway.run(true);
    assert_eq!(until_half_done(&gateway)["finishedAt"], job["finishedAt"]);
    // Also after a stop of all pods, at which the service ends with 0.
    gateway.stop();
    gateway.run(true);
    until_half_done(&gateway);
    assert_eq!((gateway.host_file("job"), gateway.host_file("service").lines().count()), ("x\n".to_owned(), 3));

    // A person may want it to run again.
    let name = gateway.pods().get("half").map(|pod| text(pod, "/metadata/name").to_owned()).unwrap();
    gateway.ok(&["restart", "pod", &name, "-c", "job"]);
    gateway.host_file_is("job", "x\nx\n");
}

#[test]
fn a_pod_that_runs_once_runs_at_most_once_whenever_power_goes() {
    let mut random = Random::seeded();
    let mut gateway = Gateway::prepare("");
    gateway.run(true);
    let host = gateway.path("host");
    let mut names = Vec::new();
    let mut ended = 0;
    for round in 0..ROUNDS {
        for number in 0..PODS {
            let name = format!("once-{round}-{number}");
            let mut pod = run_once(&name, &format!("echo x >> /host/{name}; exec sleep 0.0{}", random.below(10)));
            mount_host(&mut pod, &host);
            gateway.apply(&pod);
            names.push(name);
        }
        let newest = names.last().unwrap().clone();
        // One of the instants of a start, and a little later.
        let instances = || fs::read_dir(gateway.run_dir().join("containers")).into_iter().flatten().flatten();
        match random.below(5) {
            0 => node::eventually("an instance", || instances().next().map(|_| ())),
            1 => node::eventually("one that is created", || {
                instances().any(|instance| instance.path().join("pid").exists()).then_some(())
            }),
            2 | 3 => node::eventually("a mark on disk", || {
                let marks = on_disk(&gateway)["pods"]
                    .as_object()?
                    .values()
                    .filter(|pod| pod["marks"] == json!(["app"]))
                    .count();
                (marks > ended).then_some(())
            }),
            _ => _ = gateway.host_file_where(&newest, "there", |text| !text.is_empty()),
        }
        std::thread::sleep(Duration::from_micros(random.below(30_000)));
        cut_power(&mut gateway);
        gateway.run(true);
        if random.below(2) == 0 {
            // Also with nothing under way but what the cut has left.
            for name in &names {
                gateway.finished(name);
            }
        }
        ended = on_disk(&gateway)["pods"]
            .as_object()
            .map_or(0, |pods| pods.values().filter(|pod| pod["marks"] == json!(["app"])).count());
    }
    let mut interrupted = 0;
    for name in &names {
        let pod = gateway.finished(name);
        let runs = gateway.host_file(name).lines().count();
        assert!(runs <= 1, "{name} ran {runs} times: {}", pod["status"]);
        if text(&pod, "/status/reason") == "Interrupted" {
            interrupted += 1;
        } else {
            assert_eq!((text(&pod, "/status/phase"), runs), ("Succeeded", 1), "{name}: {}", pod["status"]);
        }
    }
    println!("{interrupted} of {} were interrupted", names.len());
}
