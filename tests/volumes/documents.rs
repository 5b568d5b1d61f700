//! Volumes that show documents and fields, and follow them.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container, mount_host, pod};
use crate::gateway::pods::{restarts, text};
use crate::{add, add_mount};

fn config_map(data: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}).to_string()
}

fn secret(value: &str) -> String {
    let metadata = json!({"name": "token"});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}).to_string()
}

#[test]
fn fields_and_resources_of_the_pod_are_files() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    pod["metadata"]["labels"] = json!({"app": "web", "tier": "front"});
    pod["metadata"]["annotations"] = json!({"note": "two\nlines, \"so\""});
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "250m", "memory": "64Mi"}});
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let resource = |path: &str, resource: &str, divisor: &str| json!({"path": path, "resourceFieldRef": {"containerName": "app", "resource": resource, "divisor": divisor}});
    let items = json!([
        field("labels", "metadata.labels"),
        field("notes/all", "metadata.annotations"),
        field("app", "metadata.labels['app']"),
        field("seen", "metadata.annotations['kubernetes.io/config.seen']"),
        field("name", "metadata.name"),
        {"path": "ns", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.namespace"}},
        resource("cpu", "limits.cpu", "1m"),
        resource("memory", "limits.memory", "1Mi"),
    ]);
    add(&mut pod, "info", json!({"downwardAPI": {"items": items, "defaultMode": 0o440}}), "/info", json!({}));
    gateway.apply(&pod);
    gateway.ready("web");
    let name = format!("web-{}", gateway.node);
    assert_eq!(gateway.exec("web", "cat /info/labels"), "app=\"web\"\ntier=\"front\"");
    let notes = gateway.exec("web", "cat /info/notes/all");
    assert!(notes.lines().any(|line| line == r#"note="two\nlines, \"so\"""#), "{notes}");
    assert_eq!(
        gateway.exec("web", "for f in app name ns cpu memory; do cat /info/$f; echo; done"),
        format!("web\n{name}\ndefault\n250\n64\n")
    );
    assert_eq!(
        gateway.exec("web", "stat -Lc %a /info/app /info/ns; readlink /info/app; stat -fc %T /info"),
        "440\n400\n..data/app\ntmpfs\n"
    );
    // As kubelet marks a static pod; that it is one is for those who see it from outside.
    let shown = &gateway.ready("web")["metadata"];
    let annotation = |name: &str| text(shown, &format!("/annotations/kubernetes.io~1config.{name}")).to_owned();
    let uid = text(shown, "/uid");
    assert_eq!([annotation("hash"), annotation("source"), annotation("mirror")], [uid, "file", uid]);
    assert_eq!(gateway.exec("web", "cat /info/seen"), annotation("seen"));
    assert_eq!(annotation("seen")[..19], text(shown, "/creationTimestamp")[..19]);
    assert!(!notes.contains("config.mirror"), "{notes}");
    assert_eq!(gateway.exec("web", "touch /info/x 2>/dev/null || echo read-only"), "read-only\n");
}

#[test]
fn projected_sources_share_a_directory_and_later_ones_win() {
    let gateway = Gateway::start("");
    gateway.write("a.yaml", config_map(&json!({"a": "1\n", "b": "2\n"})));
    gateway.write("b.yaml", secret("s3cret\n"));
    let mut pod = pod("web", WAIT);
    let sources = json!([
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "token", "items": [{"key": "token", "path": "b", "mode": 0o400}]}},
        {"configMap": {"name": "absent", "optional": true}},
        {"downwardAPI": {"items": [{"path": "sub/ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]);
    add(&mut pod, "all", json!({"projected": {"sources": sources, "defaultMode": 0o444}}), "/all", json!({}));
    gateway.apply(&pod);
    gateway.ready("web");
    assert_eq!(gateway.exec("web", "cat /all/a /all/b /all/sub/ns; ls /all"), "1\ns3cret\ndefaulta\nb\nsub\n");
    assert_eq!(gateway.exec("web", "stat -Lc %a /all/a /all/b; stat -fc %T /all"), "444\n400\ntmpfs\n");
}

#[test]
fn a_changed_document_changes_its_volumes_but_restarts_nothing() {
    let gateway = Gateway::start("");
    gateway.write("a.yaml", config_map(&json!({"key": "old", "stays": "1", "goes": "1"})));
    gateway.write("b.yaml", secret("old"));
    let script = "until [ \"$(cat /config/key /all/key /secret/token)\" = newnewnew ]; do sleep 0.1; done; \
                  echo \"$KEY $(cat /one) $(ls /config | tr '\\n' ' ')\" > /host/seen; ";
    let mut pod = pod("web", &format!("{script}{WAIT}"));
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}}]);
    add(&mut pod, "config", json!({"configMap": {"name": "settings"}}), "/config", json!({}));
    add_mount(&mut pod, "config", "/one", json!({"subPath": "key"}));
    add(&mut pod, "secret", json!({"secret": {"secretName": "token"}}), "/secret", json!({}));
    let sources = json!([{"configMap": {"name": "settings"}}]);
    add(&mut pod, "all", json!({"projected": {"sources": sources}}), "/all", json!({}));
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    let before = gateway.ready("web");
    let started = |pod: &Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    let data = gateway.exec("web", "readlink /config/..data");
    // What is not shown by it wakes nobody.
    gateway.write("c.yaml", config_map(&json!({"key": "old"})).replace("settings", "other"));
    gateway.write("a.yaml", config_map(&json!({"key": "new", "stays": "1", "comes": "1"})));
    gateway.write("b.yaml", secret("new"));
    gateway.host_file_is("seen", "old old comes key stays \n");
    assert_ne!(gateway.exec("web", "readlink /config/..data"), data);
    let after = gateway.ready("web");
    assert_eq!((restarts(&after), started(&after)), (0, started(&before)));
    // The next start takes the new value everywhere.
    gateway.ok(&["restart", "pod", "web"]);
    gateway.host_file_is("seen", "new new comes key stays \n");
}

#[test]
fn a_document_that_goes_leaves_what_it_showed_and_is_an_event() {
    let gateway = Gateway::start("");
    gateway.write("a.yaml", config_map(&json!({"key": "old"})));
    let mut pod = pod("web", WAIT);
    add(&mut pod, "config", json!({"configMap": {"name": "settings"}}), "/config", json!({}));
    gateway.apply(&pod);
    gateway.ready("web");
    gateway.remove("a.yaml");
    let event = gateway.event("web", "configmap \"settings\" not found");
    assert_eq!(text(&event, "/reason"), "FailedMount");
    assert_eq!(gateway.exec("web", "cat /config/key"), "old");
    gateway.write("a.yaml", config_map(&json!({"key": "new"})));
    let waits = "until grep -q new /config/key; do sleep 0.1; done; cat /config/key";
    assert_eq!(gateway.exec("web", waits), "new");
}

#[test]
fn a_change_while_nobody_supervised_is_caught_up_with() {
    let mut gateway = Gateway::prepare("");
    gateway.write("a.yaml", config_map(&json!({"key": "old"})));
    let mut pod = pod("web", WAIT);
    add(&mut pod, "config", json!({"configMap": {"name": "settings"}}), "/config", json!({}));
    gateway.apply(&pod);
    gateway.run(false);
    gateway.ready("web");
    gateway.stop();
    gateway.write("a.yaml", config_map(&json!({"key": "new"})));
    gateway.run(true);
    let after = gateway.ready("web");
    let waits = "until grep -q new /config/key; do sleep 0.1; done; cat /config/key";
    assert_eq!(gateway.exec("web", waits), "new");
    assert_eq!(restarts(&after), 0);
}

#[test]
fn variables_come_from_a_file_that_an_init_container_wrote() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", &format!("echo \"$HOST/${{NONE-unset}}/$PLAIN\" > /host/env; {WAIT}"));
    let of = |key: &str, optional: bool| json!({"fileKeyRef": {"volumeName": "shared", "path": "app.env", "key": key, "optional": optional}});
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "HOST", "valueFrom": of("HOST", false)},
        {"name": "NONE", "valueFrom": of("NONE", true)},
        {"name": "PLAIN", "valueFrom": of("PLAIN", false)},
    ]);
    let write = "printf \"# made\\nHOST='a b'\\nPLAIN=word\\n\" > /shared/app.env; ln -s /etc/passwd /shared/out";
    let mut init = container("init", write);
    init["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    pod["spec"]["initContainers"] = json!([init]);
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    gateway.host_file_is("env", "a b/unset/word\n");
    // A link that leads out is as good as no file.
    pod["metadata"]["name"] = json!("bad");
    pod["spec"]["containers"][0]["env"][0]["valueFrom"]["fileKeyRef"]["path"] = json!("out");
    gateway.apply(&pod);
    gateway.event("bad", "environment variable file \"out\" not found in volume \"shared\"");
}
