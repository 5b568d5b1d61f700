//! Objects that are brought to the node by hand: apply, delete -f, rollback, and what `get manifests` says of them.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, pod, run_once};
use crate::gateway::{Gateway, put};

/// A node whose manifests are delivered in one directory, with another for what is applied.
fn start() -> Gateway {
    let mut gateway = Gateway::prepare("staticPodPath: [BASE/manifests, BASE/data/manifests]\n");
    fs::create_dir(gateway.path("data/manifests")).unwrap();
    gateway.run(true);
    gateway
}

fn file(gateway: &Gateway, name: &str, content: impl AsRef<[u8]>) -> String {
    put(&gateway.path("host"), name, content);
    gateway.path("host").join(name).to_str().unwrap().to_owned()
}

/// The pod web of this version, told so by its ConfigMap, is ready.
fn runs(gateway: &Gateway, line: &str) {
    gateway.until(line, |pods| {
        let said = || gateway.gatepost(&["logs", "web"]).stdout;
        pods.ready("web").is_some() && String::from_utf8(said()).unwrap() == format!("{line}\n")
    });
}

fn settings(mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"MODE": mode}})
}

fn web(version: &str) -> Value {
    let mut web = pod("web", &format!("echo {version} $MODE; {WAIT}"));
    web["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "web"}}]);
    web
}

fn both(version: &str, mode: &str) -> String {
    format!("{}\n---\n{}\n", settings(mode), web(version))
}

/// Lines of `get manifests`, without the header and the directories of the test.
fn manifests(gateway: &Gateway) -> Vec<String> {
    let all = gateway.ok(&["get", "manifests", "--no-headers"]);
    let base = format!("{}/", gateway.path("").display()).replace("//", "/");
    all.lines().map(|line| line.replace(&base, "").split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn what_is_applied_replaces_what_was_delivered_until_it_is_rolled_back() {
    let gateway = start();
    gateway.write("web.yaml", both("delivered", "a"));
    runs(&gateway, "delivered a");
    let changed = file(&gateway, "web.yaml", both("applied", "b"));
    assert_eq!(gateway.ok(&["apply", "-f", &changed]), "configmap/web created\npod/web created\n");
    runs(&gateway, "applied b");
    let name = format!("web-{}", gateway.node);
    assert_eq!(
        manifests(&gateway),
        [
            "default ConfigMap web Replaced manifests/web.yaml".to_owned(),
            format!("default Pod {name} Replaced manifests/web.yaml"),
            "default ConfigMap web InEffect data/manifests/applied.yaml".to_owned(),
            format!("default Pod {name} InEffect data/manifests/applied.yaml"),
        ]
    );
    // The same again changes nothing, and only what differs is configured.
    let uid = gateway.ready("web")["metadata"]["uid"].clone();
    assert_eq!(gateway.ok(&["apply", "-f", &changed]), "configmap/web unchanged\npod/web unchanged\n");
    let again = file(&gateway, "web.yaml", both("applied", "c"));
    assert_eq!(gateway.ok(&["apply", "-f", &again]), "configmap/web configured\npod/web unchanged\n");
    assert_eq!(gateway.ok(&["rollback"]), "configmap/web configured\n");
    assert_eq!(gateway.ready("web")["metadata"]["uid"], uid);
    assert_eq!(gateway.ok(&["rollback"]), "configmap/web deleted\npod/web deleted\n");
    runs(&gateway, "delivered a");
    assert!(gateway.fails(&["rollback"]).contains("no change is left to be taken back"));
}

#[test]
fn what_was_applied_goes_again_by_its_file_and_its_pods_with_it() {
    let gateway = start();
    let named = file(&gateway, "web.yaml", both("applied", "b"));
    gateway.ok(&["apply", "-f", &named]);
    gateway.ready("web");
    assert_eq!(gateway.ok(&["delete", "-f", &named]), "configmap/web deleted\npod/web deleted\n");
    gateway.gone("web");
    assert_eq!(manifests(&gateway), [""; 0]);
    let said = gateway.fails(&["delete", "-f", &named]);
    assert!(said.contains("configmap/web is not among what was applied"), "{said}");
    gateway.ok(&["rollback"]);
    gateway.ready("web");
}

#[test]
fn documents_come_from_standard_input_and_a_dry_run_writes_nothing() {
    let gateway = start();
    for (arguments, said) in [
        (&["apply", "--dry-run", "-f", "-"][..], "pod/once created (dry run)\n"),
        (&["apply", "-f", "-"], "pod/once created\n"),
    ] {
        let mut child = gateway.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(run_once("once", "echo done").to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), said);
        assert_eq!(gateway.path("data/manifests/applied.yaml").exists(), !arguments.contains(&"--dry-run"));
    }
    gateway.finished("once");
}

#[test]
fn a_change_of_which_any_part_would_be_refused_is_not_made_at_all() {
    let gateway = start();
    gateway.write(
        "limits.yaml",
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "8Mi"}}]}})
        .to_string(),
    );
    gateway.write("first.yaml", {
        let mut first = pod("first", WAIT);
        first["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "4Mi"}});
        first["metadata"]["annotations"] = json!({"gatepost.io/start-after": "clock"});
        first.to_string()
    });
    gateway.until("the manifests", |pods| pods.get("first").is_some());
    let mut wrong = web("x");
    wrong["spec"]["containers"][0]["imagePullPolicy"] = json!("Sometimes");
    let mut large = web("x");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "64Mi"}});
    let mut nameless = web("x");
    nameless["metadata"] = json!({"generateName": "x-"});
    for (name, pod, said) in [
        ("wrong", &wrong, "spec.containers[0].imagePullPolicy"),
        ("large", &large, "maximum memory usage per Container is 8Mi"),
        ("nameless", &nameless, "a Pod without a name"),
    ] {
        let path = file(&gateway, name, format!("{}\n---\n{pod}\n", settings("a")));
        let told = gateway.fails(&["apply", "-f", &path]);
        assert!(told.contains(said) && told.contains("nothing was"), "{told}");
    }
    assert!(!gateway.path("data/manifests/applied.yaml").exists());
    assert_eq!(manifests(&gateway).len(), 2, "{}", gateway.ok(&["get", "manifests", "-o", "wide"]));
}

#[test]
fn a_node_with_one_directory_says_what_is_missing() {
    let gateway = Gateway::start("");
    let path = file(&gateway, "web.yaml", both("a", "b"));
    let told = gateway.fails(&["apply", "-f", &path]);
    assert!(told.contains("name a second, writable one in the setting staticPodPath"), "{told}");
    assert_eq!(fs::read_dir(gateway.path("manifests")).unwrap().count(), 0);
}

#[test]
fn get_manifests_shows_what_is_refused_and_which_version_counts_instead() {
    let gateway = start();
    gateway.write("web.yaml", both("good", "a"));
    gateway.ready("web");
    let mut wrong = web("x");
    wrong["spec"]["containers"][0]["imagePullPolicy"] = json!("Sometimes");
    gateway.write("web.yaml", format!("{}\n---\n{wrong}\n", settings("a")));
    gateway.write("new.yaml", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"}}).to_string());
    gateway.write("torn.yaml", "a: [");
    let name = |name: &str| format!("{name}-{}", gateway.node);
    let wanted = [
        "default ConfigMap web InEffect manifests/web.yaml".to_owned(),
        format!("default Pod {} LastGood manifests/web.yaml", name("web")),
        format!("default Pod {} Refused manifests/new.yaml", name("new")),
        "<none> <none> <none> Refused manifests/torn.yaml".to_owned(),
    ];
    gateway.until("all of it", |_| {
        let mut found = manifests(&gateway);
        found.sort();
        let mut wanted = wanted.to_vec();
        wanted.sort();
        found == wanted
    });
    let wide = gateway.ok(&["get", "manifests", "-o", "wide"]);
    assert!(wide.contains("web.yaml:3: spec.containers[0].imagePullPolicy"), "{wide}");
}
