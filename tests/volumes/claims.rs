//! persistentVolumeClaim and ephemeral volumes, and fsGroup on them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::{Value, json};

use crate::add;
use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, mount_host, pod, run_once};
use crate::gateway::pods::text;

fn claim(name: &str, spec: &Value) -> String {
    let mut claim =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec});
    claim["spec"]["resources"] = json!({"requests": {"storage": "1Gi"}});
    claim.to_string()
}

fn volume(name: &str, source: &Value) -> String {
    let mut volume =
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": source});
    volume["spec"]["capacity"] = json!({"storage": "2Gi"});
    volume["spec"]["accessModes"] = json!(["ReadWriteOnce", "ReadWriteMany"]);
    volume.to_string()
}

fn uses(pod: &mut Value, name: &str, read_only: bool) {
    let source = json!({"persistentVolumeClaim": {"claimName": name, "readOnly": read_only}});
    add(pod, name, source, &format!("/{name}"), json!({}));
}

#[test]
fn a_claim_is_a_named_directory_that_pods_share_and_that_outlives_them() {
    let gateway = Gateway::start("");
    gateway.write("claim.yaml", claim("data", &json!({"accessModes": ["ReadWriteMany"]})));
    let mut writer = pod("writer", &format!("id -u > /data/by; echo 1 > /undeclared/x; {WAIT}"));
    writer["spec"]["securityContext"] = json!({"runAsUser": 1000});
    uses(&mut writer, "data", false);
    uses(&mut writer, "undeclared", false);
    gateway.apply(&writer);
    gateway.ready("writer");
    gateway.event("writer", "claim data asks for 1Gi");
    let mut reader = pod("reader", WAIT);
    uses(&mut reader, "data", true);
    gateway.apply(&reader);
    gateway.ready("reader");
    assert_eq!(
        gateway.exec("reader", "cat /data/by; touch /data/x 2>/dev/null || echo read-only"),
        "1000\nread-only\n"
    );
    for name in ["writer", "reader"] {
        gateway.remove(&format!("{name}.yaml"));
        gateway.gone(name);
    }
    assert_eq!(fs::read_to_string(gateway.path("data/claims/default/data/by")).unwrap(), "1000\n");
    gateway.apply(&reader);
    gateway.ready("reader");
    assert_eq!(gateway.exec("reader", "cat /data/by"), "1000\n");
}

#[test]
fn a_claim_is_bound_to_a_volume_that_suits_it_and_stays_bound() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let (local, path) = (host.join("local"), host.join("path"));
    gateway.write("local.yaml", volume("disk", &json!({"local": {"path": local}, "storageClassName": "fast", "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}}})));
    gateway.write("path.yaml", volume("share", &json!({"hostPath": {"path": path, "type": "DirectoryOrCreate"}})));
    gateway.write("fast.yaml", claim("fast", &json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"})));
    gateway.write(
        "named.yaml",
        claim("named", &json!({"accessModes": ["ReadWriteOnce"], "volumeName": "share", "storageClassName": ""})),
    );
    let mut pod = pod("web", WAIT);
    uses(&mut pod, "fast", false);
    uses(&mut pod, "named", false);
    gateway.apply(&pod);
    // A local volume is never made: the disk may not be mounted yet.
    let event = gateway.event("web", "does not exist");
    assert_eq!(text(&event, "/reason"), "FailedMount");
    fs::create_dir(&local).unwrap();
    gateway.ready("web");
    gateway.exec("web", "echo 1 > /fast/f; echo 2 > /named/f");
    assert_eq!((gateway.host_file("local/f"), gateway.host_file("path/f")), ("1\n".into(), "2\n".into()));
    // Another volume that would suit better changes nothing for who is bound.
    gateway
        .write("a.yaml", volume("a", &json!({"hostPath": {"path": host.join("other")}, "storageClassName": "fast"})));
    pod["metadata"]["labels"] = json!({"version": "2"});
    gateway.apply(&pod);
    gateway.wait_for("the new pod", |pods| {
        pods.ready("web").filter(|pod| pod["metadata"]["labels"]["version"] == "2").cloned()
    });
    assert_eq!(gateway.exec("web", "cat /fast/f"), "1\n");
}

#[test]
fn read_write_once_pod_means_one_pod() {
    let gateway = Gateway::start("");
    gateway.write("claim.yaml", claim("data", &json!({"accessModes": ["ReadWriteOncePod"]})));
    let mut first = pod("first", WAIT);
    uses(&mut first, "data", false);
    gateway.apply(&first);
    gateway.ready("first");
    let mut second = pod("second", WAIT);
    uses(&mut second, "data", false);
    gateway.apply(&second);
    gateway.event("second", "ReadWriteOncePod access mode and is already in use by another pod");
    gateway.remove("first.yaml");
    gateway.ready("second");
}

#[test]
fn an_ephemeral_claim_lives_as_long_as_its_pod() {
    let gateway = Gateway::start("");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    gateway.assert_the_pod_keeps(json!({"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}));
}

#[test]
fn the_pods_group_owns_its_volumes_and_every_process_is_in_it() {
    let gateway = Gateway::start("");
    let kept = gateway.path("data/claims/default/kept");
    fs::create_dir_all(kept.join("sub")).unwrap();
    fs::write(kept.join("sub/file"), "").unwrap();
    fs::set_permissions(kept.join("sub/file"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", kept.join("link")).unwrap();
    let before = fs::metadata("/etc/hostname").unwrap().gid();
    let mut pod = run_once(
        "web",
        "id -G; stat -c '%g %a' /empty /kept /kept/sub /kept/sub/file; touch /empty/new; stat -c %g /empty/new; stat -Lc '%g %a' /info/name; stat -c %g /host",
    );
    pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000], "fsGroupChangePolicy": "OnRootMismatch"});
    add(&mut pod, "empty", json!({"emptyDir": {}}), "/empty", json!({}));
    let items = json!([{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]);
    add(&mut pod, "info", json!({"downwardAPI": {"items": items, "defaultMode": 0o400}}), "/info", json!({}));
    uses(&mut pod, "kept", false);
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    gateway.finished("web");
    let logs = gateway.logs("web");
    let lines: Vec<&str> = logs.lines().collect();
    let mut groups: Vec<&str> = lines[0].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["2000", "3000", "4000"]);
    assert_eq!(lines[1..], ["2000 2777", "2000 2775", "2000 2775", "2000 660", "2000", "2000 440", "0"], "{logs}");
    assert_eq!(fs::metadata("/etc/hostname").unwrap().gid(), before);
    // The root is right, so what is below is not looked at; with Always it is.
    fs::set_permissions(kept.join("sub/file"), fs::Permissions::from_mode(0o600)).unwrap();
    for (policy, mode) in [("OnRootMismatch", "600"), ("Always", "660")] {
        let mut again = pod.clone();
        let name = policy.to_lowercase();
        again["metadata"]["name"] = json!(name);
        again["spec"]["securityContext"]["fsGroupChangePolicy"] = json!(policy);
        again["spec"]["containers"][0]["command"] = json!(["stat", "-c", "%a", "/kept/sub/file"]);
        gateway.apply(&again);
        gateway.finished(&name);
        assert_eq!(gateway.logs(&name), format!("{mode}\n"), "{policy}");
    }
}

#[test]
fn a_claim_in_use_keeps_its_group_and_the_second_pod_is_told() {
    let gateway = Gateway::start("");
    let grouped = |name: &str, group: u32| {
        let mut pod = pod(name, WAIT);
        pod["spec"]["securityContext"] = json!({"fsGroup": group});
        uses(&mut pod, "kept", false);
        pod
    };
    for (name, group) in [("first", 2000), ("other", 3000), ("same", 2000)] {
        gateway.apply(&grouped(name, group));
        gateway.ready(name);
        assert_eq!(gateway.exec(name, "stat -c %g /kept"), "2000\n", "{name}");
    }
    let told = gateway.told("other", "AlreadyMountedVolume");
    let expected = "The requested fsGroup is 3000, but the volume kept has GID 2000. The volume may not be shareable.";
    assert_eq!(told.as_deref(), Some(expected));
    assert_eq!(
        [gateway.told("first", "AlreadyMountedVolume"), gateway.told("same", "AlreadyMountedVolume")],
        [None, None]
    );
}
