//! Hooks, sidecars, restart rules and deadlines, with real containers that write a diary.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container as manifest, mount_host, pod, push, run_once};
use crate::gateway::pods::{container, restarts, text, waits};

/// Runs until it is told to end, and notes that.
fn noting(name: &str) -> String {
    format!(
        "trap 'echo {name} stops >> /host/diary; exit 0' TERM; echo {name} runs >> /host/diary; sleep 1000000 & wait"
    )
}

fn write(text: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", format!("echo {text} >> /host/diary")]}})
}

#[test]
fn a_post_start_command_comes_before_the_next_container_and_a_pre_stop_command_before_the_signal() {
    let gateway = Gateway::start("");
    let mut two = pod("two", &noting("app"));
    two["spec"]["containers"][0]["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["sh", "-c", "until grep -q runs /host/diary; do sleep 0.1; done; echo post >> /host/diary"]}},
        "preStop": write("pre"),
    });
    push(&mut two["spec"]["containers"], manifest("next", &format!("echo next runs >> /host/diary; {WAIT}")));
    mount_host(&mut two, &gateway.path("host"));
    gateway.apply(&two);
    gateway.ready("two");
    gateway.host_file_is("diary", "app runs\npost\nnext runs\n");
    gateway.remove("two.yaml");
    gateway.gone("two");
    gateway.host_file_is("diary", "app runs\npost\nnext runs\npre\napp stops\n");
}

#[test]
fn a_post_start_hook_that_fails_kills_its_container_and_one_that_hangs_is_no_ones_but_its_own() {
    let gateway = Gateway::start("");
    let mut bad = pod("bad", WAIT);
    bad["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["false"]}}});
    gateway.apply(&bad);
    let mut hangs = pod("hangs", WAIT);
    hangs["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["sleep", "100000"]}}});
    gateway.apply(&hangs);
    gateway.apply(&pod("other", WAIT));
    gateway.event("bad", "PostStartHook failed");
    gateway.until("a restart", |pods| pods.get("bad").is_some_and(|pod| restarts(pod) >= 1));
    gateway.ready("other");
    let pods = gateway.pods();
    assert_eq!(waits(pods.get("hangs").unwrap()), "ContainerCreating");
    // It can be stopped all the same.
    gateway.remove("hangs.yaml");
    gateway.gone("hangs");
}

#[test]
fn a_pre_stop_hook_that_takes_too_long_or_fails_only_costs_its_grace() {
    let gateway = Gateway::start("");
    for (name, command) in [("fails", "false"), ("hangs", "sleep 10000"), ("pauses", "")] {
        let mut pod = pod(name, &noting(name));
        let hook = if command.is_empty() {
            json!({"sleep": {"seconds": 1}})
        } else {
            json!({"exec": {"command": ["sh", "-c", command]}})
        };
        pod["spec"]["containers"][0]["lifecycle"] = json!({"preStop": hook});
        pod["spec"]["terminationGracePeriodSeconds"] = json!(3);
        mount_host(&mut pod, &gateway.path("host"));
        gateway.apply(&pod);
    }
    for name in ["fails", "hangs", "pauses"] {
        gateway.ready(name);
        gateway.host_file_where("diary", "running", |text| text.contains(&format!("{name} runs")));
        gateway.remove(&format!("{name}.yaml"));
    }
    for name in ["fails", "hangs", "pauses"] {
        gateway.gone(name);
        gateway.host_file_where("diary", "stopped", |text| text.contains(&format!("{name} stops")));
    }
    gateway.event("fails", "PreStopHook failed");
}

#[test]
fn an_http_hook_is_content_with_any_answer() {
    let gateway = Gateway::start("");
    let answer = "printf '#!/bin/sh\\nprintf \"HTTP/1.1 500 No\\\\r\\\\n\\\\r\\\\n\"\\n' > /tmp/a; chmod +x /tmp/a; nc -ll -p 80 -e /tmp/a &";
    let mut web = pod("web", &format!("{answer} {WAIT}"));
    // The server needs a moment, which a pause before another container's hook gives it.
    web["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"sleep": {"seconds": 2}}});
    let mut second = manifest("second", WAIT);
    second["lifecycle"] = json!({"postStart": {"httpGet": {"port": 80}}});
    push(&mut web["spec"]["containers"], second);
    gateway.apply(&web);
    gateway.ready("web");
    let pods = gateway.pods();
    assert_eq!(container(pods.get("web").unwrap(), "second")["restartCount"], 0);
}

#[test]
fn the_stop_signal_of_the_manifest_is_sent() {
    let gateway = Gateway::start("");
    let script = "trap 'echo usr2 >> /host/diary; exit 0' USR2; echo up >> /host/diary; sleep 1000000 & wait";
    let mut web = pod("web", script);
    web["spec"]["containers"][0]["lifecycle"] = json!({"stopSignal": "SIGUSR2"});
    mount_host(&mut web, &gateway.path("host"));
    gateway.apply(&web);
    gateway.host_file_is("diary", "up\n");
    gateway.ready("web");
    gateway.remove("web.yaml");
    gateway.gone("web");
    gateway.host_file_is("diary", "up\nusr2\n");
}

#[test]
fn a_sidecar_starts_before_the_app_outlives_it_and_restarts_alone() {
    let gateway = Gateway::start("");
    let mut web = pod("web", &noting("app"));
    let mut side = manifest("side", &noting("side"));
    side["restartPolicy"] = json!("Always");
    side["startupProbe"] = json!({"exec": {"command": ["grep", "-q", "side runs", "/host/diary"]}, "periodSeconds": 1});
    web["spec"]["initContainers"] = json!([side, manifest("setup", "echo setup >> /host/diary")]);
    mount_host(&mut web, &gateway.path("host"));
    gateway.apply(&web);
    let before = gateway.ready("web");
    gateway.host_file_is("diary", "side runs\nsetup\napp runs\n");
    assert!(gateway.ok(&["get", "pods"]).contains("2/2"));
    gateway.ok(&["restart", "pod", "web", "-c", "side"]);
    let after = gateway.wait_for("the restart", |pods| {
        pods.ready("web").filter(|pod| container(pod, "side")["restartCount"] == 1).cloned()
    });
    assert_eq!(container(&after, "app"), container(&before, "app"));
    gateway.host_file_is("diary", "side runs\nsetup\napp runs\nside stops\nside runs\n");
    gateway.remove("web.yaml");
    gateway.gone("web");
    gateway.host_file_is("diary", "side runs\nsetup\napp runs\nside stops\nside runs\napp stops\nside stops\n");
}

#[test]
fn a_pod_that_runs_once_completes_although_its_sidecar_would_go_on() {
    let gateway = Gateway::start("");
    let mut job = run_once("job", "exit 0");
    let mut side = manifest("side", WAIT);
    side["restartPolicy"] = json!("Always");
    job["spec"]["initContainers"] = json!([side]);
    gateway.apply(&job);
    let job = gateway.finished("job");
    assert_eq!(text(&job, "/status/phase"), "Succeeded");
    gateway.until("the sidecar's end", |pods| {
        pods.get("job").is_some_and(|pod| container(pod, "side")["state"]["terminated"].is_object())
    });
}

#[test]
fn exit_codes_decide_by_the_containers_rules() {
    let gateway = Gateway::start("crashLoopBackOff: {initialRestartPeriod: 100ms, maxContainerRestartPeriod: 1s}\n");
    let mut job = run_once("job", "echo x >> /host/tries; [ $(wc -l < /host/tries) = 3 ] || exit 42; exit 7");
    job["spec"]["containers"][0]["restartPolicy"] = json!("Never");
    job["spec"]["containers"][0]["restartPolicyRules"] =
        json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    mount_host(&mut job, &gateway.path("host"));
    gateway.apply(&job);
    let job = gateway.finished("job");
    assert_eq!(gateway.host_file("tries"), "x\nx\nx\n");
    assert_eq!((text(&job, "/status/phase"), restarts(&job)), ("Failed", 2));
}

#[test]
fn a_rule_that_restarts_all_containers_says_so_and_begins_with_the_init_containers() {
    let gateway = Gateway::start("");
    let once = "echo app >> /host/diary; [ $(grep -c app /host/diary) -gt 1 ] || exit 88";
    let mut web = pod("web", &format!("{once}; {WAIT}"));
    web["spec"]["containers"][0]["restartPolicy"] = json!("Never");
    web["spec"]["containers"][0]["restartPolicyRules"] =
        json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}]);
    // It takes its whole grace, of which two seconds are left.
    push(&mut web["spec"]["containers"], manifest("other", "trap '' TERM; sleep 1000000 & wait; sleep 1000000"));
    web["spec"]["initContainers"] = json!([manifest("setup", "echo setup >> /host/diary")]);
    mount_host(&mut web, &gateway.path("host"));
    web["spec"]["initContainers"][0]["volumeMounts"] = web["spec"]["containers"][0]["volumeMounts"].clone();
    gateway.apply(&web);
    let condition = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let found = conditions.filter(|c| c["type"] == "AllContainersRestarting");
        found.map(|c| format!("{} {} {}", text(c, "/status"), text(c, "/reason"), text(c, "/message"))).next()
    };
    let under_way = "True RestartAllContainersStarted container exited with restart policy rule";
    gateway.until("the restart of all", |pods| pods.get("web").and_then(condition).as_deref() == Some(under_way));
    gateway.until("its end", |pods| pods.ready("web").and_then(condition).as_deref() == Some("False  "));
    assert_eq!(gateway.host_file("diary"), "setup\napp\nsetup\napp\n");
    assert_eq!(container(&gateway.ready("web"), "other")["restartCount"], 1);
}

#[test]
fn a_pod_that_is_active_for_too_long_is_stopped_and_fails() {
    let gateway = Gateway::start("");
    let mut web = pod("web", WAIT);
    web["spec"]["activeDeadlineSeconds"] = json!(3);
    gateway.apply(&web);
    let web = gateway.finished("web");
    assert_eq!((text(&web, "/status/phase"), text(&web, "/status/reason")), ("Failed", "DeadlineExceeded"));
    gateway.event("web", "Pod was active on the node longer than the specified deadline");
}

#[test]
fn hooks_probes_and_readiness_survive_the_supervisor() {
    let gateway = Gateway::start("");
    let mut web = pod("web", &noting("app"));
    web["spec"]["containers"][0]["lifecycle"] = json!({"postStart": write("post"), "preStop": write("pre")});
    let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1});
    web["spec"]["containers"][0]["startupProbe"] = exec("echo startup >> /host/startup");
    web["spec"]["containers"][0]["readinessProbe"] = exec("[ ! -e /host/broken ]");
    web["spec"]["containers"][0]["readinessProbe"]["failureThreshold"] = json!(1);
    mount_host(&mut web, &gateway.path("host"));
    gateway.apply(&web);
    gateway.ready("web");
    let startups = gateway.host_file("startup");
    let before = gateway.supervisor_pid();
    let pid = rustix::process::Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // The first thing the new one says of it.
    gateway.until("a new supervisor", |pods| {
        assert!(pods.ready("web").is_some(), "{:?}", pods.summary());
        true
    });
    assert_ne!(gateway.supervisor_pid(), before);
    // Its probes go on.
    std::fs::write(gateway.path("host").join("broken"), "").unwrap();
    gateway.until("it to be unready", |pods| pods.ready("web").is_none());
    std::fs::remove_file(gateway.path("host").join("broken")).unwrap();
    gateway.ready("web");
    assert_eq!(gateway.host_file("startup"), startups, "the startup probe was over");
    gateway.remove("web.yaml");
    gateway.gone("web");
    gateway.host_file_where("diary", "the one life", |text| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines == ["app runs", "app stops", "post", "pre"]
    });
}
