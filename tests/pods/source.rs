//! Where pods come from: manifests that appear, change, break and go.

use std::fs;
use std::os::unix::fs::symlink;

use gatepost::sys::mount;
use serde_json::json;

use crate::gateway::manifest::{WAIT, mount_host, pod, run_once};
use crate::gateway::pods::text;
use crate::gateway::{Gateway, Pods, put};

/// Writes down when it starts and when it is told to end.
const DIARY: &str =
    "trap 'echo stop $NAME >> /host/diary; exit 0' TERM; echo start $NAME >> /host/diary; sleep 1000000 & wait";

fn diary(gateway: &Gateway, name: &str, version: &str) -> serde_json::Value {
    let mut pod = pod(name, DIARY);
    pod["spec"]["containers"][0]["env"] = json!([{"name": "NAME", "value": version}]);
    mount_host(&mut pod, &gateway.path("host"));
    pod
}

#[test]
fn a_manifest_that_appears_runs_and_one_that_goes_stops_gracefully() {
    let gateway = Gateway::start("");
    gateway.apply(&diary(&gateway, "web", "one"));
    let pod = gateway.ready("web");
    assert_eq!(text(&pod, "/metadata/name"), format!("web-{}", gateway.node));
    assert_eq!(text(&pod, "/spec/nodeName"), gateway.node);
    assert_eq!(text(&pod, "/metadata/uid").len(), 32);
    gateway.host_file_is("diary", "start one\n");
    gateway.remove("web.yaml");
    gateway.gone("web");
    gateway.host_file_is("diary", "start one\nstop one\n");
}

#[test]
fn a_changed_manifest_stops_the_old_pod_gracefully_and_then_starts_the_new_one() {
    let gateway = Gateway::start("");
    gateway.apply(&diary(&gateway, "web", "one"));
    let first = gateway.ready("web");
    gateway.host_file_is("diary", "start one\n");
    gateway.apply(&diary(&gateway, "web", "two"));
    gateway.until("the new pod", |pods| {
        pods.ready("web").is_some_and(|p| p["metadata"]["uid"] != first["metadata"]["uid"])
    });
    gateway.host_file_is("diary", "start one\nstop one\nstart two\n");
}

#[test]
fn a_broken_replacement_leaves_the_last_good_pod_running_and_says_so_until_it_is_good_again() {
    let gateway = Gateway::start("");
    gateway.apply(&diary(&gateway, "web", "one"));
    let first = gateway.ready("web");
    let mut broken = diary(&gateway, "web", "two");
    broken["spec"]["containers"][0]["imagePullPolicy"] = json!("Sometimes");
    gateway.apply(&broken);
    gateway.until("the warning", |pods| {
        pods.warnings.iter().any(|w| w.contains("web.yaml") && w.contains("imagePullPolicy"))
    });
    let pod = gateway.ready("web");
    assert_eq!(pod["metadata"]["uid"], first["metadata"]["uid"]);
    assert!(text(&pod, "/metadata/annotations/gatepost.io~1manifest-error").contains("imagePullPolicy"), "{pod:#}");
    let told = gateway.gatepost(&["get", "pods"]);
    let [out, err] = [told.stdout, told.stderr].map(|t| String::from_utf8(t).unwrap());
    assert!(out.contains("Running"), "{out}");
    assert!(err.contains("web.yaml:1") && err.contains("spec.containers[0].imagePullPolicy"), "{err}");
    gateway.event("web", "imagePullPolicy");
    assert!(gateway.ok(&["get", "events"]).contains("FailedValidation"));

    gateway.apply(&diary(&gateway, "web", "one"));
    gateway.until("the warning to go", |pods| pods.warnings.is_empty());
    let pod = gateway.ready("web");
    assert!(pod.pointer("/metadata/annotations/gatepost.io~1manifest-error").is_none(), "{pod:#}");
    gateway.host_file_is("diary", "start one\n");
}

#[test]
fn a_half_written_file_changes_nothing_until_it_is_whole() {
    let gateway = Gateway::start("");
    gateway.apply(&diary(&gateway, "web", "one"));
    gateway.ready("web");
    gateway.host_file_is("diary", "start one\n");
    let next = diary(&gateway, "web", "two").to_string();
    let file = gateway.path("manifests/web.yaml");
    fs::write(&file, &next[..next.len() / 2]).unwrap();
    gateway.until("the warning", |pods| !pods.warnings.is_empty());
    gateway.host_file_is("diary", "start one\n");
    fs::write(&file, &next).unwrap();
    gateway.host_file_is("diary", "start one\nstop one\nstart two\n");
}

#[test]
fn an_object_of_a_later_directory_replaces_that_of_an_earlier_one() {
    let gateway = Gateway::prepare("staticPodPath: [BASE/manifests, BASE/site]\n");
    let mut gateway = gateway;
    fs::create_dir(gateway.path("site")).unwrap();
    gateway.apply(&diary(&gateway, "web", "shipped"));
    put(&gateway.path("site"), "mine.yaml", diary(&gateway, "web", "site").to_string());
    gateway.run(true);
    gateway.ready("web");
    gateway.host_file_is("diary", "start site\n");
    fs::remove_file(gateway.path("site/mine.yaml")).unwrap();
    gateway.host_file_is("diary", "start site\nstop site\nstart shipped\n");
}

#[test]
fn lists_several_documents_and_json_are_read() {
    let gateway = Gateway::start("");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod("a", WAIT), pod("b", WAIT)]});
    gateway.write("list.json", list.to_string());
    gateway.write("documents.yaml", format!("---\n# two\n{}\n---\n---\n{}\n", pod("c", WAIT), pod("d", WAIT)));
    for name in ["a", "b", "c", "d"] {
        gateway.ready(name);
    }
}

#[test]
fn an_unmounted_or_covered_manifest_directory_leaves_its_pods_running() {
    let mut gateway = Gateway::prepare("staticPodPath: [BASE/manifests, BASE/stick]\n");
    let [disk, stick] = ["manifests", "stick"].map(|name| gateway.path(name));
    fs::create_dir(&stick).unwrap();
    mount::tmpfs(&stick, None, 0o755, false).unwrap();
    gateway.apply(&diary(&gateway, "disk", "disk"));
    put(&stick, "stick.yaml", diary(&gateway, "stick", "stick").to_string());
    gateway.run(true);
    let both = |pods: &Pods| pods.ready("disk").is_some() && pods.ready("stick").is_some();
    gateway.until("both", both);
    // Something empty is mounted over it: not the file system that the manifests came from.
    mount::tmpfs(&disk, None, 0o755, false).unwrap();
    gateway
        .until("a word about it", |pods| pods.warnings.iter().any(|w| w.contains("nothing is removed") && both(pods)));
    mount::detach(&disk).unwrap();
    gateway.until("the word to go", |pods| pods.warnings.is_empty() && both(pods));
    mount::detach(&stick).unwrap();
    gateway.until("a word about the unmount", |pods| pods.warnings.iter().any(|w| w.contains("stick")) && both(pods));
    // What is changed elsewhere counts all the same.
    gateway.remove("disk.yaml");
    gateway.gone("disk");
    assert!(gateway.pods().ready("stick").is_some());
    assert!(!gateway.host_file("diary").contains("stop stick"));
}

#[test]
fn a_link_to_the_manifests_may_be_swapped() {
    let gateway = Gateway::prepare("staticPodPath: BASE/current\n");
    let mut gateway = gateway;
    for (directory, version) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(gateway.path(directory)).unwrap();
        put(&gateway.path(directory), "web.yaml", diary(&gateway, "web", version).to_string());
    }
    symlink("v1", gateway.path("current")).unwrap();
    gateway.run(true);
    gateway.host_file_is("diary", "start one\n");
    symlink("v2", gateway.path("next")).unwrap();
    fs::rename(gateway.path("next"), gateway.path("current")).unwrap();
    gateway.host_file_is("diary", "start one\nstop one\nstart two\n");
}

#[test]
fn a_generated_name_is_the_same_after_gatepost_was_started_again() {
    let mut gateway = Gateway::prepare("");
    let mut generated = pod("x", WAIT);
    generated["metadata"] = json!({"generateName": "worker-"});
    gateway.write("worker.yaml", generated.to_string());
    gateway.run(false);
    let found = |gateway: &Gateway| {
        gateway.wait_for("the worker", |pods| {
            let pod = pods.items.iter().find(|p| text(p, "/metadata/name").starts_with("worker-"))?;
            crate::gateway::pods::is_ready(pod).then(|| {
                (
                    pod["metadata"]["name"].clone(),
                    pod["metadata"]["uid"].clone(),
                    pod["status"]["containerStatuses"][0]["containerID"].clone(),
                )
            })
        })
    };
    let before = found(&gateway);
    let suffix = format!("-{}", gateway.node);
    let name = before.0.as_str().unwrap();
    assert_eq!(name.strip_prefix("worker-").and_then(|n| n.strip_suffix(&suffix)).map(str::len), Some(5), "{name}");
    gateway.stop();
    gateway.run(true);
    assert_eq!(found(&gateway), before, "the same container runs on");
}

#[test]
fn deployments_daemon_sets_and_jobs_run_as_one_pod_of_their_template() {
    let gateway = Gateway::start("");
    let workload = |version: &str, kind: &str, name: &str, template: &serde_json::Value| {
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]}}})
    };
    let lasting = pod("x", WAIT);
    let mut web = workload("apps/v1", "Deployment", "web", &lasting);
    web["spec"]["replicas"] = json!(3);
    gateway.write("web.yaml", web.to_string());
    gateway.write("agent.yaml", workload("apps/v1", "DaemonSet", "agent", &lasting).to_string());
    gateway.write("once.yaml", workload("batch/v1", "Job", "once", &run_once("x", "echo done")).to_string());
    for name in ["web", "agent"] {
        let pod = gateway.ready(&format!("{name}-pod"));
        assert_eq!(text(&pod, "/metadata/labels/app"), name);
    }
    assert_eq!(text(&gateway.finished("once-pod"), "/status/phase"), "Succeeded");
    assert_eq!(gateway.logs("once-pod"), "done\n");
    let pods = gateway.pods();
    assert_eq!(pods.items.len(), 3, "{:#?}", pods.summary());
    assert!(pods.warnings.iter().any(|warning| warning.contains("spec.replicas")), "{:#?}", pods.warnings);
}
