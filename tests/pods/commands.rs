//! What people type, against a running node.

use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container, pod, push, run_once};
use crate::gateway::pods::text;

#[test]
fn get_gives_valid_v1_objects_and_kubectls_columns() {
    let gateway = Gateway::start("");
    let mut web = pod("web", WAIT);
    web["metadata"]["labels"] = json!({"app": "web"});
    gateway.apply(&web);
    let mut other = pod("other", WAIT);
    other["metadata"]["namespace"] = json!("site");
    gateway.apply(&other);
    gateway.ready("web");
    gateway.ready("other");

    let list: Value = serde_json::from_str(&gateway.ok(&["get", "pods", "-A", "-o", "json"])).unwrap();
    assert_eq!(list["kind"], "List");
    for item in list["items"].as_array().unwrap() {
        let parsed: Pod = serde_json::from_value(item.clone()).unwrap();
        let status = parsed.status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert_eq!(status.container_statuses.unwrap().len(), 1);
        assert!(status.start_time.is_some());
    }
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let yaml = gateway.ok(&["get", "pod", "web", "-o", "yaml"]);
    assert!(yaml.starts_with("apiVersion: v1\nkind: Pod\n"), "{yaml}");
    // Both forms are the same object, and everything in it is the API's.
    let from_yaml = |yaml: &str| {
        let read = gatepost::document::parse(yaml.as_bytes()).unwrap();
        assert!(read.warnings.is_empty() && read.documents.len() == 1, "{read:?}");
        read.documents[0].to_json()
    };
    let one: Value = serde_json::from_str(&gateway.ok(&["get", "pod", "web", "-o", "json"])).unwrap();
    assert_eq!(from_yaml(&yaml), one);
    assert_eq!(from_yaml(&gateway.ok(&["get", "pods", "-A", "-o", "yaml"])), list);
    let typed: Pod = serde_json::from_value(from_yaml(&yaml)).unwrap();
    assert_nothing_is_lost(&one, &serde_json::to_value(&typed).unwrap(), "");
    // What comes out can go in again.
    let file = gateway.path("out.yaml");
    std::fs::write(&file, &yaml).unwrap();
    gateway.ok(&["validate", file.to_str().unwrap()]);

    let table = gateway.ok(&["get", "pods", "-A", "-o", "wide", "--show-labels"]);
    let header: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        [
            "NAMESPACE",
            "NAME",
            "READY",
            "STATUS",
            "RESTARTS",
            "AGE",
            "IP",
            "NODE",
            "NOMINATED",
            "NODE",
            "READINESS",
            "GATES",
            "LABELS"
        ]
    );
    assert!(table.contains("app=web") && table.contains("1/1") && table.contains("Running"), "{table}");
    assert_eq!(gateway.ok(&["get", "pods", "-l", "app=web", "-o", "name"]), format!("pod/web-{}\n", gateway.node));
    assert!(gateway.ok(&["get", "pods", "-n", "site", "--no-headers"]).starts_with("other-"));

    for event in gateway.events() {
        let _: Event = serde_json::from_value(event).unwrap();
    }
    let events = gateway.ok(&["get", "events", "-A"]);
    for part in ["LAST SEEN", "Started", "Pulled", &format!("pod/web-{}", gateway.node)] {
        assert!(events.contains(part), "no {part:?} in\n{events}");
    }
    let described = gateway.ok(&["describe", "pod", "web"]);
    for part in ["Name:", "Containers:", "Conditions:", "Events:", "Started"] {
        assert!(described.contains(part), "no {part:?} in\n{described}");
    }
}

/// Whatever an object says is still there when the API's own types have read and written it.
fn assert_nothing_is_lost(ours: &Value, theirs: &Value, path: &str) {
    match ours {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, ours)| assert_nothing_is_lost(ours, &theirs[name], &format!("{path}/{name}")));
        }
        Value::Array(items) => {
            assert_eq!(items.len(), theirs.as_array().map_or(0, Vec::len), "{path}");
            items
                .iter()
                .enumerate()
                .for_each(|(at, ours)| assert_nothing_is_lost(ours, &theirs[at], &format!("{path}/{at}")));
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

#[test]
fn logs_are_cut_followed_and_kept_of_the_run_before() {
    let gateway = Gateway::start("");
    gateway.apply(&run_once("count", "for n in 1 2 3 4 5; do echo line $n; done; echo error >&2"));
    gateway.finished("count");
    let all = gateway.logs("count");
    // Two streams have no order between them.
    assert_eq!(
        all.lines().filter(|line| line.starts_with("line")).collect::<Vec<_>>(),
        ["line 1", "line 2", "line 3", "line 4", "line 5"]
    );
    assert!(all.contains("error"));
    assert_eq!(gateway.ok(&["logs", "count", "--tail", "2"]).lines().count(), 2);
    assert_eq!(gateway.ok(&["logs", "count", "--since", "1h"]).lines().count(), 6);
    assert_eq!(gateway.ok(&["logs", "count", "--since", "1ms"]), "", "all of it was said longer ago");
    let stamped = gateway.ok(&["logs", "count", "--timestamps", "--tail", "1"]);
    assert!(stamped.contains('T') && stamped.contains(':'), "{stamped}");
    // Following ends with the container.
    assert_eq!(gateway.ok(&["logs", "-f", "count"]).lines().count(), 6);
    let none = gateway.fails(&["logs", "count", "--previous"]);
    assert!(none.contains("previous"), "{none}");

    gateway.apply(&pod("web", "echo run $(cat /data/n 2>/dev/null); trap 'exit 0' TERM; sleep 1000000 & wait"));
    gateway.ready("web");
    gateway.wait_for_log(&["web"], "run");
    gateway.ok(&["restart", "pod", "web"]);
    gateway.until("the restart", |pods| pods.ready("web").is_some_and(|pod| crate::gateway::pods::restarts(pod) == 1));
    assert_eq!(gateway.ok(&["logs", "web", "--previous"]).trim(), "run");
}

#[test]
fn logs_of_one_of_several_containers_are_asked_for_by_name() {
    let gateway = Gateway::start("");
    let mut pod = run_once("two", "echo from app");
    push(&mut pod["spec"]["containers"], container("side", "echo from side"));
    gateway.apply(&pod);
    gateway.finished("two");
    assert_eq!(gateway.ok(&["logs", "two", "-c", "side"]), "from side\n");
    assert_eq!(gateway.logs("two"), "from app\n");
    assert!(gateway.fails(&["logs", "two", "-c", "sid"]).contains("side"));
}

#[test]
fn exec_passes_the_exit_status_and_the_input_on() {
    use std::io::Write as _;
    use std::process::Stdio;
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let status = gateway.gatepost(&["exec", "web", "--", "sh", "-c", "exit 42"]).status;
    assert_eq!(status.code(), Some(42));
    let mut cat = gateway.command(&["exec", "-i", "web", "--", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"through\n");
}

#[test]
fn an_unknown_pod_is_told_with_what_to_do() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    for command in
        [&["logs", "wbe"][..], &["describe", "pod", "wbe"], &["restart", "pod", "wbe"], &["exec", "wbe", "--", "ls"]]
    {
        let told = gateway.fails(command);
        assert!(told.contains("wbe") && told.contains("not found"), "{command:?}: {told}");
    }
    assert!(gateway.fails(&["get", "pod", "wbe"]).contains("not found"));
}

#[test]
fn delete_makes_the_pod_anew_from_its_manifest() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    let before = gateway.ready("web");
    gateway.ok(&["delete", "pod", "web"]);
    let id = |pod: &Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    gateway.until("another container", |pods| pods.ready("web").is_some_and(|pod| id(pod) != id(&before)));
    gateway.event("web", "Stopping container app");
}

#[test]
fn a_second_gatepost_with_the_same_cgroup_root_or_run_directory_is_refused() {
    let gateway = Gateway::start("");
    let config = gateway.path("config.yaml");
    let config = config.to_str().unwrap();
    let told = gateway.fails(&["run", "--config", config]);
    assert!(told.contains("another gatepost runs here"), "{told}");

    let elsewhere = gateway.path("elsewhere");
    let told = gateway.fails(&["run", "--config", config, "--set", &format!("runDir={}", elsewhere.display())]);
    assert!(told.contains("another cgroupRoot"), "{told}");
    assert!(!elsewhere.exists(), "it was refused before it touched anything");

    let other = format!("other-{}", std::process::id());
    let told = gateway.fails(&["run", "--config", config, "--set", &format!("cgroupRoot={other}")]);
    assert!(told.contains("another runDir"), "{told}");
    gatepost::sys::cgroup::Cgroups::detect().unwrap().remove(&format!("gatepost/{other}")).unwrap();
}

#[test]
fn the_boot_chart_shows_the_start_of_each_container_and_the_runtimes_share() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.apply(&run_once("once", "true"));
    gateway.ready("web");
    gateway.finished("once");
    let file = gateway.path("boot.svg");
    let output = gateway.gatepost(&["boot-chart", "-o", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.starts_with("From the supervisor's start to the first container"),
        "{said}"
    );
    let picture = std::fs::read_to_string(file).unwrap();
    assert_eq!(gateway.ok(&["boot-chart"]), picture);
    assert!(picture.contains(said.trim().replace('\'', "&#39;").as_str()), "{said}\n{picture}");
    for (room, pod) in [("sandbox", ""), ("container", " app"), ("runtime", " app")] {
        for name in ["web", "once"] {
            let label = format!(">{room}: default/{name}-{}{pod} (", gateway.node);
            assert!(picture.contains(&label), "no {label} in\n{picture}");
        }
    }
    assert!(picture.contains(">images: list (") && picture.contains(">supervisor: start ("), "{picture}");
}
