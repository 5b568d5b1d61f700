//! Containers that end: restart policies, backoff, and what people do about it.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container as container_manifest, mount_host, pod, push, run_once};
use crate::gateway::pods::{container, restarts, text, waits};

#[test]
fn always_restarts_after_success_and_failure() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 100ms, maxContainerRestartPeriod: 1s}\n");
    gateway.apply(&pod("good", "exit 0"));
    gateway.apply(&pod("bad", "exit 3"));
    for (name, code, reason) in [("good", 0, "Completed"), ("bad", 3, "Error")] {
        let pod = gateway.wait_for("three restarts", |pods| pods.get(name).filter(|pod| restarts(pod) >= 3).cloned());
        let last = &container(&pod, "app")["lastState"]["terminated"];
        assert_eq!((last["exitCode"].as_i64(), text(last, "/reason")), (Some(code), reason), "{:#}", pod["status"]);
        assert_eq!(text(&pod, "/status/phase"), "Running");
    }
}

#[test]
fn on_failure_restarts_until_it_succeeds() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 100ms, maxContainerRestartPeriod: 1s}\n");
    let mut pod = pod("job", "echo x >> /host/tries; [ $(wc -l < /host/tries) = 3 ]");
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    let pod = gateway.finished("job");
    assert_eq!(text(&pod, "/status/phase"), "Succeeded");
    assert_eq!(restarts(&pod), 2);
    assert!(gateway.ok(&["get", "pods"]).contains("Completed"));
}

#[test]
fn never_runs_once_also_over_a_new_supervisor_and_a_new_gatepost() {
    let mut gateway = Gateway::prepare("");
    let mut failing = run_once("failing", "echo x >> /host/failing; exit 4");
    let mut long = run_once("long", &format!("echo x >> /host/long; {WAIT}"));
    mount_host(&mut failing, &gateway.path("host"));
    mount_host(&mut long, &gateway.path("host"));
    gateway.apply(&failing);
    gateway.apply(&long);
    gateway.run(false);
    let pod = gateway.finished("failing");
    assert_eq!(text(&pod, "/status/phase"), "Failed");
    assert_eq!(container(&pod, "app")["state"]["terminated"]["exitCode"], 4);
    gateway.ready("long");

    let supervisor = gateway.supervisor_pid();
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    gateway.until("both after a kill of the supervisor", |pods| {
        pods.ready("long").is_some() && pods.get("failing").is_some_and(|pod| text(pod, "/status/phase") == "Failed")
    });
    assert_ne!(gateway.supervisor_pid(), supervisor);

    gateway.stop();
    gateway.run(true);
    gateway.until("both after a new start", |pods| {
        pods.ready("long").is_some() && pods.get("failing").is_some_and(|pod| text(pod, "/status/phase") == "Failed")
    });
    assert_eq!((gateway.host_file("failing").as_str(), gateway.host_file("long").as_str()), ("x\n", "x\n"));
}

#[test]
fn a_crash_loop_backs_off_as_the_node_says_and_tells_when_it_tries_again() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("bad", "echo ouch >&2; exit 3"));
    let pod =
        gateway.wait_for("the backoff", |pods| pods.get("bad").filter(|pod| waits(pod) == "CrashLoopBackOff").cloned());
    // The first restart is at once, the second waits.
    assert_eq!(restarts(&pod), 1);
    let app = container(&pod, "app");
    let message = text(app, "/state/waiting/message");
    assert!(message.starts_with("back-off 10s restarting failed container=app pod=bad-"), "{message}");
    assert!(message.contains("next try"), "{message}");
    assert_eq!(text(app, "/lastState/terminated/reason"), "Error");
    assert_eq!(app["lastState"]["terminated"]["exitCode"], 3);
    let table = gateway.ok(&["get", "pods"]);
    assert!(table.contains("CrashLoopBackOff") && table.contains("1 ("), "{table}");
    gateway.event("bad", "Back-off restarting failed container app in pod bad-");
    let described = gateway.ok(&["describe", "pod", "bad"]);
    for part in ["Reason:       CrashLoopBackOff", "Exit Code:    3", "Restart Count:  1", "BackOff"] {
        assert!(described.contains(part), "no {part:?} in\n{described}");
    }
    assert_eq!(gateway.ok(&["logs", "bad", "--previous"]), "ouch\n");
}

#[test]
fn the_nodes_settings_give_the_first_and_the_longest_backoff() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 1s, maxContainerRestartPeriod: 1500ms}\n");
    gateway.apply(&pod("bad", "exit 3"));
    for backoff in ["1s", "1.5s"] {
        let start = format!("back-off {backoff} restarting failed container=app");
        gateway.until(&start, |pods| {
            pods.get("bad").is_some_and(|pod| text(container(pod, "app"), "/state/waiting/message").starts_with(&start))
        });
    }
}

#[test]
fn annotations_set_the_backoff_of_a_pod_and_of_a_container() {
    let gateway = Gateway::start("");
    let mut quick = pod("quick", "exit 1");
    quick["metadata"]["annotations"] =
        json!({"gatepost.io/backoff-initial": "50ms", "gatepost.io/backoff-max": "200ms"});
    gateway.apply(&quick);
    let mut slow = pod("slow", "exit 1");
    slow["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "50ms", "gatepost.io/backoff-initial.app": "1h", "gatepost.io/backoff-max": "2h"});
    gateway.apply(&slow);
    // With the node's own backoff the sixth restart comes after 150 s.
    gateway.until("six restarts", |pods| pods.get("quick").is_some_and(|pod| restarts(pod) >= 6));
    let pod = gateway
        .wait_for("the slow one", |pods| pods.get("slow").filter(|pod| waits(pod) == "CrashLoopBackOff").cloned());
    assert!(
        text(container(&pod, "app"), "/state/waiting/message").starts_with("back-off 1h0m0s"),
        "{:#}",
        pod["status"]
    );
    assert_eq!(restarts(&pod), 1);
}

#[test]
fn no_restart_comes_before_its_backoff_is_over() {
    let gateway = Gateway::start("");
    // Hundredths of a second since the machine came up, as the container itself sees them.
    let now = "read up idle < /proc/uptime; echo $up >> /host/diary";
    let mut bad = pod("bad", &format!("{now}; {now}; exit 1"));
    bad["metadata"]["annotations"] =
        json!({"gatepost.io/backoff-initial": "300ms", "gatepost.io/backoff-max": "1000ms"});
    mount_host(&mut bad, &gateway.path("host"));
    gateway.apply(&bad);
    let diary = gateway.host_file_where("diary", "six runs long", |text| text.lines().count() >= 12);
    let moments: Vec<u64> = diary.lines().map(|line| line.replace('.', "").parse().unwrap()).collect();
    for (run, least) in [0, 30, 60, 100, 100].into_iter().enumerate() {
        let waited = moments[2 * run + 2] - moments[2 * run + 1];
        // Both ends are cut to hundredths.
        assert!(waited + 1 >= least, "restart {}: after {waited} of {least} hundredths, in\n{diary}", run + 1);
    }
}

#[test]
fn restart_delete_and_a_changed_manifest_clear_the_backoff() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 1h, maxContainerRestartPeriod: 1h}\n");
    let mut bad = pod("bad", "echo x >> /host/tries; exit 1");
    mount_host(&mut bad, &gateway.path("host"));
    gateway.apply(&bad);
    let backs_off = |uid: &str, tries: usize| {
        gateway.wait_for(&format!("{tries} tries"), |pods| {
            let pod =
                pods.get("bad").filter(|pod| waits(pod) == "CrashLoopBackOff" && text(pod, "/metadata/uid") != uid)?;
            let message = text(container(pod, "app"), "/state/waiting/message");
            assert!(message.starts_with("back-off 1h0m0s restarting failed container=app"), "{message}");
            (gateway.host_file("tries").lines().count() == tries).then(|| text(pod, "/metadata/uid").to_owned())
        })
    };
    let uid = backs_off("", 2);
    gateway.ok(&["restart", "pod", "bad"]);
    // The first wait comes after the next exit again.
    backs_off("", 3);
    gateway.ok(&["delete", "pod", "bad"]);
    backs_off("", 5);
    bad["metadata"]["labels"] = json!({"version": "2"});
    gateway.apply(&bad);
    backs_off(&uid, 7);
}

#[test]
fn restart_stops_a_running_container_gracefully_and_starts_it_again() {
    let gateway = Gateway::start("");
    let mut pod =
        pod("web", "trap 'echo stop >> /host/diary; exit 0' TERM; echo start >> /host/diary; sleep 1000000 & wait");
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    gateway.host_file_is("diary", "start\n");
    gateway.ready("web");
    assert!(gateway.ok(&["restart", "pod", "web"]).contains("restarted"));
    gateway.host_file_is("diary", "start\nstop\nstart\n");
    gateway.until("it to be ready", |pods| pods.ready("web").is_some_and(|pod| restarts(pod) == 1));
}

#[test]
fn one_container_of_a_pod_is_restarted_by_name_and_the_others_run_on() {
    let gateway = Gateway::start("");
    let mut two = pod("two", WAIT);
    push(&mut two["spec"]["containers"], container_manifest("side", WAIT));
    gateway.apply(&two);
    let before = gateway.ready("two");
    gateway.ok(&["restart", "pod", "two", "-c", "side"]);
    let after = gateway.wait_for("the restart", |pods| {
        pods.ready("two").filter(|pod| container(pod, "side")["restartCount"] == 1).cloned()
    });
    let id = |pod: &Value, name: &str| text(container(pod, name), "/containerID").to_owned();
    assert_eq!(container(&after, "app"), container(&before, "app"), "it ran on");
    assert_ne!(id(&after, "side"), id(&before, "side"));
    assert!(gateway.fails(&["restart", "pod", "two", "-c", "sid"]).contains("side"));
}

#[test]
fn a_failed_init_container_is_tried_again_before_anything_else_runs() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 100ms, maxContainerRestartPeriod: 1s}\n");
    let mut pod = pod("web", &format!("echo app >> /host/tries; {WAIT}"));
    pod["spec"]["initContainers"] =
        json!([crate::gateway::manifest::container("setup", "echo x >> /host/tries; [ $(wc -l < /host/tries) = 3 ]")]);
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    gateway.ready("web");
    gateway.host_file_is("tries", "x\nx\nx\napp\n");
}

#[test]
fn a_container_that_ignores_the_stop_signal_is_killed_when_its_grace_is_over() {
    let gateway = Gateway::start("");
    let mut pod = pod("stubborn", "trap '' TERM; echo up; while :; do sleep 1; done");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    gateway.apply(&pod);
    gateway.wait_for_ready_log("stubborn", "up");
    gateway.remove("stubborn.yaml");
    gateway.gone("stubborn");
    gateway.event("stubborn", "Stopping container app");
}
