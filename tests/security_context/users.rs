//! `hostUsers: false`: users of the pod's own, whose files have the owners inside that the image and the manifest say.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::check_bundles;
use super::gateway::Gateway;
use super::gateway::manifest::{WAIT, container, mount, mount_host, pod, push};
use super::gateway::pods::text;

fn own_users(name: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["hostUsers"] = json!(false);
    pod
}

/// The host's id of root of a pod's containers, by the kernel's map of the container's first process.
fn first_id(gateway: &Gateway, name: &str) -> u32 {
    let map = gateway.exec(name, "cat /proc/self/uid_map");
    let fields: Vec<u32> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
    assert_eq!((fields[0], fields[2]), (0, 65_536), "{map}");
    assert!(fields[1] >= 65_536 && fields[1].is_multiple_of(65_536), "{map}");
    fields[1]
}

#[test]
fn owners_are_those_of_the_manifest_inside_and_on_disk_and_processes_are_nobodys_on_the_host() {
    let gateway = Gateway::keeping_bundles("");
    gateway.open_the_way();
    let mut gateway = gateway;
    gateway.run(true);
    let host = gateway.path("host");
    fs::write(host.join("of-1000"), "x").unwrap();
    std::os::unix::fs::chown(host.join("of-1000"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&host, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();

    let mut pod = own_users(
        "own",
        &format!("touch /host/by-root /disk/by-root /memory/by-root /root-file; echo key >>/etc/hosts; {WAIT}"),
    );
    mount_host(&mut pod, &host);
    mount(&mut pod, "/disk", json!({ "emptyDir": {} }));
    mount(&mut pod, "/memory", json!({ "emptyDir": { "medium": "Memory" } }));
    mount(&mut pod, "/config", json!({ "configMap": { "name": "settings" } }));
    let settings =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "k": "v" } });
    gateway.write("settings.yaml", settings.to_string());
    gateway.apply(&pod);
    let seen = gateway.ready("own");
    let first = first_id(&gateway, "own");

    // Inside: the image's own files, and those of volumes, have the owners they have on disk.
    let owner = |path: &str| gateway.exec("own", &format!("stat -c %u:%g {path}")).trim().to_owned();
    for (path, expected) in [
        ("/bin/busybox", "0:0"),
        ("/root-file", "0:0"),
        ("/host/of-1000", "1000:1000"),
        ("/host/by-root", "0:0"),
        ("/disk/by-root", "0:0"),
        ("/memory/by-root", "0:0"),
        ("/config/k", "0:0"),
        ("/etc/hosts", "0:0"),
        ("/dev/shm", "0:0"),
    ] {
        assert_eq!(owner(path), expected, "{path}");
    }
    assert_eq!(gateway.exec("own", "cat /config/k").trim(), "v");
    assert!(gateway.exec("own", "hostname").starts_with("own-"));

    // On the host: what root wrote into the volume is root's on disk, its process is nobody special.
    let by_root = host.join("by-root").metadata().unwrap();
    assert_eq!((by_root.uid(), by_root.gid()), (0, 0));
    let id = text(&seen["status"]["containerStatuses"][0], "/containerID").rsplit_once("//").unwrap().1.to_owned();
    let state = fs::read(gateway.run_dir().join("runtime").join(&id).join("state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let process = fs::metadata(format!("/proc/{}", state["init_process_pid"])).unwrap();
    assert_eq!(process.uid(), first);
    // Its capabilities are those of its own namespace: it may not even change the host's name.
    assert_ne!(gateway.exec("own", "hostname stranger 2>&1; hostname").trim(), "stranger");
    check_bundles(&gateway);
}

#[test]
fn no_two_pods_share_ids_and_containers_of_one_pod_do() {
    let gateway = Gateway::prepare("");
    gateway.open_the_way();
    let mut gateway = gateway;
    gateway.run(true);
    let mut both = own_users("both", WAIT);
    push(&mut both["spec"]["containers"], container("second", WAIT));
    gateway.apply(&both);
    gateway.apply(&own_users("other", WAIT));
    gateway.ready("both");
    gateway.ready("other");
    let first = first_id(&gateway, "both");
    assert_ne!(first, first_id(&gateway, "other"));
    let second = gateway.ok(&["exec", "both", "-c", "second", "--", "cat", "/proc/self/uid_map"]);
    assert!(second.contains(&first.to_string()), "{second}");

    // A container that is started again is in the same namespace.
    let before = gateway.exec("both", "readlink /proc/self/ns/user");
    gateway.ok(&["restart", "pod", "both", "-c", "app"]);
    gateway.until("the restart", |pods| pods.ready("both").is_some_and(|pod| super::gateway::pods::restarts(pod) == 1));
    assert_eq!(gateway.exec("both", "readlink /proc/self/ns/user"), before);
}

#[test]
fn a_directory_that_strangers_cannot_pass_is_named() {
    let gateway = Gateway::start("");
    fs::set_permissions(gateway.run_dir().parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    gateway.apply(&own_users("shut", WAIT));
    let event = gateway.event("shut", "cannot pass through");
    assert!(text(&event, "/message").contains("chmod o+x"), "{event}");
}

#[test]
fn proc_is_unmasked_only_on_request() {
    let gateway = Gateway::prepare("");
    gateway.open_the_way();
    let mut gateway = gateway;
    gateway.run(true);
    let script = format!("grep -c ' /proc/' /proc/mounts | sed 's/^/below proc: /'; {WAIT}");
    let mut open = own_users("open", &script);
    open["spec"]["containers"][0]["securityContext"] = json!({ "procMount": "Unmasked" });
    gateway.apply(&open);
    gateway.apply(&own_users("masked", &script));
    gateway.wait_for_ready_log("open", "below proc: 0");
    gateway.ready("masked");
    let masked = gateway.wait_for_log(&["masked"], "below proc: ");
    assert_ne!(masked, "below proc: 0");
}

#[test]
fn images_paths_within_volumes_and_read_only_trees_have_their_owners_too() {
    let gateway = Gateway::prepare("");
    gateway.open_the_way();
    let mut gateway = gateway;
    gateway.run(true);
    let mut pod = own_users("own", WAIT);
    pod["spec"]["volumes"] = json!([
        { "name": "tools", "image": { "reference": "sample/busybox:1" } },
        { "name": "disk", "emptyDir": {} },
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        { "name": "tools", "mountPath": "/tools" },
        { "name": "tools", "mountPath": "/programs", "subPath": "bin" },
        { "name": "disk", "mountPath": "/part", "subPath": "part" },
        { "name": "disk", "mountPath": "/fixed", "readOnly": true, "recursiveReadOnly": "Enabled" },
    ]);
    gateway.apply(&pod);
    gateway.ready("own");
    gateway.exec("own", "touch /part/file");
    for path in ["/tools/bin/busybox", "/programs/busybox", "/part", "/part/file", "/fixed/part/file"] {
        assert_eq!(gateway.exec("own", &format!("stat -c %u:%g {path}")).trim(), "0:0", "{path}");
    }
    for path in ["/tools/file", "/programs/file", "/fixed/file"] {
        assert_eq!(
            gateway.exec("own", &format!("touch {path} 2>/dev/null || echo refused")).trim(),
            "refused",
            "{path}"
        );
    }
}
