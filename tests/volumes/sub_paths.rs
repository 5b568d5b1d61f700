//! subPath and subPathExpr.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container, mount_host, pod, push};
use crate::gateway::pods::{container as status, text};
use crate::{add, add_mount};

#[test]
fn a_path_within_a_volume_is_mounted_whether_it_is_a_file_a_directory_or_not_there_yet() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    fs::create_dir(host.join("dir")).unwrap();
    fs::write(host.join("dir/file"), "inside\n").unwrap();
    std::os::unix::fs::symlink("dir", host.join("link")).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o750)).unwrap();
    let mut pod = pod("web", WAIT);
    pod["metadata"]["labels"] = json!({"app": "web"});
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]);
    add(&mut pod, "host", json!({"hostPath": {"path": host}}), "/dir", json!({"subPath": "dir"}));
    add_mount(&mut pod, "host", "/etc/one.conf", json!({"subPath": "dir/file"}));
    add_mount(&mut pod, "host", "/linked", json!({"subPath": "link", "readOnly": true}));
    add_mount(&mut pod, "host", "/made", json!({"subPath": "made/here"}));
    add_mount(&mut pod, "host", "/logs", json!({"subPathExpr": "logs/$(WHO)"}));
    add(&mut pod, "scratch", json!({"emptyDir": {}}), "/scratch", json!({"subPath": "a"}));
    add_mount(&mut pod, "scratch", "/whole", json!({}));
    gateway.apply(&pod);
    gateway.ready("web");
    assert_eq!(gateway.exec("web", "cat /dir/file /etc/one.conf /linked/file"), "inside\ninside\ninside\n");
    assert_eq!(gateway.exec("web", "touch /linked/x 2>/dev/null || echo read-only"), "read-only\n");
    gateway.exec("web", "echo 1 > /made/f; echo 2 > /logs/f; echo 3 > /scratch/f");
    assert_eq!((gateway.host_file("made/here/f"), gateway.host_file("logs/web/f")), ("1\n".into(), "2\n".into()));
    assert_eq!(gateway.exec("web", "cat /whole/a/f; stat -c %a /whole/a"), "3\n777\n");
    // As the root of the volume.
    assert_eq!(fs::metadata(host.join("made/here")).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn a_missing_variable_keeps_the_container_from_starting() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    add(&mut pod, "v", json!({"emptyDir": {}}), "/v", json!({"subPathExpr": "$(B)/$(A)"}));
    gateway.apply(&pod);
    gateway.until("the reason", |pods| {
        pods.get("web").is_some_and(|pod| {
            let waiting = &status(pod, "app")["state"]["waiting"];
            waiting["reason"] == "CreateContainerConfigError" && waiting["message"] == "missing value for A, B"
        })
    });
}

#[test]
fn a_hostile_container_that_puts_a_link_in_place_of_the_path_gets_nothing() {
    let gateway = Gateway::start("");
    // Relative, absolute, through a directory that is a link, and one that leads nowhere.
    let links = [("up", "../../../../../../../../.."), ("abs", "/etc"), ("deep", "/proc/self/root"), ("gone", "/gone")];
    let script = links.map(|(name, target)| format!("ln -s {target} /v/{name}; ")).concat();
    let paths = ["up", "abs", "deep/etc", "gone", "gone/x"];
    for (number, path) in paths.into_iter().enumerate() {
        let mut pod = pod(&format!("web{number}"), "ls -a /in > /host/seen");
        pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        let mut hostile = container("hostile", &script);
        hostile["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        pod["spec"]["initContainers"] = json!([hostile]);
        push(
            &mut pod["spec"]["containers"][0]["volumeMounts"],
            json!({"name": "v", "mountPath": "/in", "subPath": path}),
        );
        mount_host(&mut pod, &gateway.path("host"));
        gateway.apply(&pod);
    }
    for number in 0..paths.len() {
        let name = format!("web{number}");
        let pod = gateway.wait_for("the refusal", |pods| {
            let waits =
                |pod: &&Value| text(status(pod, "app"), "/state/waiting/reason") == "CreateContainerConfigError";
            pods.get(&name).filter(waits).cloned()
        });
        let message = text(status(&pod, "app"), "/state/waiting/message");
        assert!(message.contains("for volumeMount \"v\" of container \"app\""), "{message}");
    }
    assert_eq!(gateway.host_file("seen"), "");
}
