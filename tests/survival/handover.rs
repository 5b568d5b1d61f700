//! What happens while nobody supervises: between two supervisors, and between two runs of gatepost.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container as container_manifest, mount_host, pod, push};
use crate::gateway::pods::{container, restarts, text, waits};
use crate::kills::{log_of, pid_of};
use crate::log::assert_gapless;
use crate::node;
use crate::random::Random;

/// Ends with its number as soon as a file is there.
fn ending(number: u32) -> Value {
    let name = if number == 0 { "app".to_owned() } else { format!("c{number}") };
    container_manifest(&name, &format!("while [ ! -e /host/go ]; do sleep 0.01; done; echo end; exit {number}"))
}

#[test]
fn containers_that_end_while_supervisors_change_are_all_accounted_for() {
    let mut random = Random::seeded();
    let gateway = Gateway::start("");
    for round in 0..6 {
        let name = format!("ends-{round}");
        let host = gateway.path("host");
        let _ = fs::remove_file(host.join("go"));
        let mut pod = pod(&name, "");
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["spec"]["containers"] = json!([]);
        for number in 0..6 {
            push(&mut pod["spec"]["containers"], ending(number));
        }
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
        let running = gateway.ready(&name);
        let info = gateway.info();
        if round % 2 == 0 {
            // Stopped first, so that every exit lies in init's pipe when it is killed.
            assert!(node::send(info.pid, Signal::STOP));
            fs::write(host.join("go"), "").unwrap();
            let pid = pid_of(&gateway, &running);
            node::eventually("the end of the container", || (node::state(pid) == 'X').then_some(()));
        } else {
            fs::write(host.join("go"), "").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(random.below(30)));
        }
        assert!(node::send(info.pid, Signal::KILL));
        let ended = gateway.finished(&name);
        for number in 0..6 {
            let name = if number == 0 { "app".to_owned() } else { format!("c{number}") };
            let terminated = &container(&ended, &name)["state"]["terminated"];
            assert_eq!(terminated["exitCode"], number, "{name}: {terminated}");
            assert_eq!(terminated["reason"], if number == 0 { "Completed" } else { "Error" }, "{name}");
            gateway.wait_for_log(&[&ended_name(&ended), "-c", &name], "end");
        }
        gateway.remove(&format!("ends-{round}.yaml"));
        gateway.gone(&format!("ends-{round}"));
    }
}

fn ended_name(pod: &Value) -> String {
    text(pod, "/metadata/name").to_owned()
}

const STEADY: &str = "i=0; while [ ! -e /host/stop ]; do i=$((i+1)); echo \"out $i\"; sleep 0.02; done
echo $i > /host/steady; exec sleep 1000000";

#[test]
fn containers_outlive_gatepost_and_the_next_one_adopts_them() {
    let mut gateway = Gateway::prepare("");
    gateway.run(false);
    let host = gateway.path("host");
    let mut steady = pod("steady", STEADY);
    steady["spec"]["terminationGracePeriodSeconds"] = json!(0);
    mount_host(&mut steady, &host);
    gateway.apply(&steady);
    let mut dies = pod(
        "dies",
        "echo run >> /host/runs; [ -e /host/die ] && exec sleep 1000000; while [ ! -e /host/die ]; do sleep 0.05; done; exit 5",
    );
    dies["spec"]["terminationGracePeriodSeconds"] = json!(0);
    mount_host(&mut dies, &host);
    gateway.apply(&dies);
    let (steady, dies) = (gateway.ready("steady"), gateway.ready("dies"));
    let [steady_pid, dies_pid] = [&steady, &dies].map(|pod| pid_of(&gateway, pod));

    assert!(gateway.stop().success());
    assert_ne!(node::state(steady_pid), 'X');
    fs::write(host.join("die"), "").unwrap();
    node::eventually("its end while nobody looks", || ['X', 'Z'].contains(&node::state(dies_pid)).then_some(()));

    gateway.run(false);
    let again = gateway.ready("steady");
    assert_eq!(pid_of(&gateway, &again), steady_pid);
    assert_eq!(restarts(&again), 0);
    let dies = gateway.wait_for("the restart", |pods| pods.ready("dies").filter(|pod| restarts(pod) == 1).cloned());
    let ended = &container(&dies, "app")["lastState"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("ContainerStatusUnknown")), "{ended}");
    node::eventually("its second run", || (gateway.host_file("runs").lines().count() == 2).then_some(()));

    // Its next end is seen, although it was adopted from nobody's child.
    fs::write(host.join("stop"), "").unwrap();
    let printed: u64 = node::eventually("the number printed", || gateway.host_file("steady").trim().parse().ok());
    gateway.wait_for_log(&["steady", "--tail", "5"], &format!("out {printed}"));
    assert_eq!(assert_gapless(&log_of(&gateway, &steady), "stdout", "out "), printed);
    assert!(node::send(steady_pid, Signal::KILL));
    gateway.until("the restart of an adopted container", |pods| {
        pods.ready("steady").is_some_and(|pod| restarts(pod) == 1)
    });
}

#[test]
fn when_init_is_killed_the_supervisor_ends_too_and_the_next_gatepost_adopts_what_runs() {
    let mut gateway = Gateway::prepare("");
    gateway.run(false);
    let mut steady = pod("steady", STEADY);
    steady["spec"]["terminationGracePeriodSeconds"] = json!(0);
    mount_host(&mut steady, &gateway.path("host"));
    gateway.apply(&steady);
    let pid = pid_of(&gateway, &gateway.ready("steady"));
    let supervisor = gateway.supervisor_pid();
    assert!(node::send(gateway.pid(), Signal::KILL));
    assert!(!gateway.stop().success());
    node::eventually("the supervisor's end", || ['X', 'Z'].contains(&node::state(supervisor)).then_some(()));

    gateway.run(true);
    let again = gateway.ready("steady");
    assert_eq!((pid_of(&gateway, &again), restarts(&again)), (pid, 0));
}

#[test]
fn a_terminal_outlives_supervisors_but_hangs_up_with_gatepost_and_its_container_starts_anew() {
    let mut gateway = Gateway::prepare("");
    gateway.run(false);
    let host = gateway.path("host");
    let script = "echo run >> /host/runs; trap 'echo hung up >> /host/hup; exit 9' HUP; i=0
while :; do i=$((i+1)); echo out $i; echo $i > /host/terminal; sleep 0.02; done";
    let mut terminal = pod("terminal", script);
    terminal["spec"]["terminationGracePeriodSeconds"] = json!(0);
    terminal["spec"]["containers"][0]["tty"] = json!(true);
    mount_host(&mut terminal, &host);
    gateway.apply(&terminal);
    let before = gateway.ready("terminal");
    let pid = pid_of(&gateway, &before);
    let printed = || gateway.host_file("terminal").trim().parse::<u64>().unwrap_or(0);

    // Init holds the master: a new supervisor goes on with it, and no line is missing.
    let supervisor = gateway.supervisor_pid();
    let at = printed();
    assert!(node::send(supervisor, Signal::KILL));
    node::answering(&gateway, supervisor);
    node::eventually("more lines", || (printed() > at + 20).then_some(()));
    let at = printed();
    gateway.wait_for_log(&["terminal"], &format!("out {at}"));
    assert!(assert_gapless(&log_of(&gateway, &before), "stdout", "out ") >= at);
    assert_eq!(pid_of(&gateway, &gateway.ready("terminal")), pid);

    // With init its last descriptor goes, as when a modem hangs up.
    assert!(gateway.stop().success());
    node::eventually("its end", || ['X', 'Z'].contains(&node::state(pid)).then_some(()));
    assert_eq!(gateway.host_file("hup"), "hung up\n");
    gateway.run(false);
    let after = gateway.wait_for("the restart", |pods| pods.ready("terminal").filter(|p| restarts(p) == 1).cloned());
    let ended = &container(&after, "app")["lastState"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("ContainerStatusUnknown")), "{ended}");
    node::eventually("its second run", || (gateway.host_file("runs").lines().count() == 2).then_some(()));
    gateway.wait_for_log(&["terminal"], "out 1");
}

#[test]
fn the_second_supervisor_after_a_boot_takes_over_like_any_other() {
    let mut gateway = Gateway::start("");
    let host = gateway.path("host");
    let mut steady = pod("steady", WAIT);
    let mut once = pod("once", "echo run >> /host/once; exit 0");
    once["spec"]["restartPolicy"] = json!("Never");
    for pod in [&mut steady, &mut once] {
        mount_host(pod, &host);
        gateway.apply(pod);
    }
    gateway.ready("steady");
    gateway.finished("once");
    assert!(gateway.stop().success());
    // What a boot does to /run.
    gatepost::sys::mount::detach(&gateway.run_dir()).unwrap();
    gateway.run(true);
    let pid = pid_of(&gateway, &gateway.ready("steady"));
    let mut last = 0;
    // The manifests are those of before, and nothing ends: nothing new is to be remembered.
    for _ in 0..2 {
        let supervisor = node::answering(&gateway, last);
        assert!(node::send(supervisor, Signal::KILL));
        last = supervisor;
    }
    node::answering(&gateway, last);
    gateway.apply(&pod("later", WAIT));
    gateway.ready("later");
    assert_eq!(pid_of(&gateway, &gateway.ready("steady")), pid, "the same process");
    assert_eq!(text(gateway.pods().get("once").unwrap(), "/status/phase"), "Succeeded");
    // Nor has it forgotten for the boots to come what has had its run.
    assert!(gateway.stop().success());
    gatepost::sys::mount::detach(&gateway.run_dir()).unwrap();
    gateway.run(true);
    gateway.ready("steady");
    gateway.finished("once");
    assert_eq!(gateway.host_file("once"), "run\n", "restartPolicy Never");
}

#[test]
fn without_its_notes_under_run_a_new_supervisor_takes_what_runs_for_what_it_is() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let mut pods = [
        pod("steady", WAIT),
        pod("crashes", "echo run >> /host/crashes; exit 3"),
        pod("once", "echo run >> /host/once; exit 0"),
        pod("still", "echo run >> /host/still; exec sleep 1000000"),
    ];
    for pod in &mut pods {
        mount_host(pod, &host);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
        pod["metadata"]["annotations"] = json!({"gatepost.io/backoff-initial": "1h", "gatepost.io/backoff-max": "1h"});
    }
    for pod in pods.iter_mut().skip(2) {
        pod["spec"]["restartPolicy"] = json!("Never");
    }
    for pod in &pods {
        gateway.apply(pod);
    }
    gateway.finished("once");
    let pids = ["steady", "still"].map(|name| pid_of(&gateway, &gateway.ready(name)));
    gateway.until("the backoff", |pods| pods.get("crashes").is_some_and(|pod| waits(pod) == "CrashLoopBackOff"));
    let before = gateway.pods().get("crashes").unwrap()["status"]["containerStatuses"].clone();

    // Without both it looks as after a boot.
    for file in ["manifests.json", "durable.json"] {
        fs::remove_file(gateway.run_dir().join(file)).unwrap();
    }
    let supervisor = gateway.supervisor_pid();
    assert!(node::send(supervisor, Signal::KILL));
    node::answering(&gateway, supervisor);
    gateway.apply(&pod("later", WAIT));
    gateway.ready("later");
    assert_eq!(["steady", "still"].map(|name| pid_of(&gateway, &gateway.ready(name))), pids, "the same processes");
    let after = gateway.pods();
    assert_eq!(after.get("crashes").unwrap()["status"]["containerStatuses"], before);
    assert_eq!(text(after.get("once").unwrap(), "/status/phase"), "Succeeded");
    for name in ["once", "still"] {
        assert_eq!(gateway.host_file(name), "run\n", "restartPolicy Never");
    }
}

#[test]
fn stopped_with_its_pods_gatepost_stops_the_least_important_first_and_starts_them_again_the_next_time() {
    let mut gateway = Gateway::prepare("");
    gateway.run(true);
    let host = gateway.path("host");
    for (name, priority) in [("low", 1), ("middle", 5), ("high", 9)] {
        let script = format!("trap 'sleep 0.2; echo {name} >> /host/order; exit 0' TERM; sleep 1000000 & wait");
        let mut pod = pod(name, &script);
        pod["spec"]["priority"] = json!(priority);
        mount_host(&mut pod, &host);
        gateway.apply(&pod);
    }
    for name in ["low", "middle", "high"] {
        gateway.ready(name);
    }
    assert!(gateway.stop().success());
    assert_eq!(gateway.host_file("order"), "low\nmiddle\nhigh\n");
    gateway.run(true);
    for name in ["low", "middle", "high"] {
        gateway.ready(name);
    }
}

#[test]
fn what_pods_left_that_nobody_knows_any_more_is_removed() {
    let mut gateway = Gateway::prepare("");
    gateway.run(false);
    let mut known = pod("known", WAIT);
    crate::gateway::manifest::mount(&mut known, "/data", json!({"emptyDir": {}}));
    let mut lost = pod("lost", "echo here; trap 'exit 0' TERM; sleep 1000000 & wait");
    crate::gateway::manifest::mount(&mut lost, "/data", json!({"emptyDir": {}}));
    gateway.apply(&known);
    gateway.apply(&lost);
    let known = gateway.ready("known");
    let lost = gateway.ready("lost");
    let (uid, name) = (text(&lost, "/metadata/uid").to_owned(), text(&lost, "/metadata/name").to_owned());
    let (known_pid, pid) = (pid_of(&gateway, &known), pid_of(&gateway, &lost));
    gateway.wait_for_log(&["lost"], "here");
    assert!(gateway.stop().success());

    let run = gateway.run_dir();
    gateway.remove("lost.yaml");
    for file in [
        run.join("pods").join(&uid).join("state.json"),
        run.join("manifests.json"),
        gateway.path("data/state/manifests.json"),
    ] {
        fs::remove_file(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let id = text(container(&lost, "app"), "/containerID").rsplit('/').next().unwrap().to_owned();
    fs::remove_dir_all(run.join("containers").join(&id)).unwrap();
    let places = [
        run.join("pods").join(&uid),
        run.join("runtime").join(&id),
        gateway.path("data/pods").join(&uid),
        gateway.path("data/containers").join(&id),
        crate::log::directory(&gateway.path("logs"), &name, &uid),
    ];
    for place in &places {
        assert!(place.exists(), "{}", place.display());
    }

    gateway.run(true);
    node::eventually("everything to be gone", || places.iter().all(|place| !place.exists()).then_some(()));
    node::eventually("its process to be gone", || ['X', 'Z'].contains(&node::state(pid)).then_some(()));
    let known = gateway.ready("known");
    assert_eq!(pid_of(&gateway, &known), known_pid, "what is wanted is left alone");
    assert!(gateway.path("data/pods").join(text(&known, "/metadata/uid")).exists());
}
