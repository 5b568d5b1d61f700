//! mountPropagation and recursiveReadOnly.

use std::fs;

use serde_json::json;

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod};
use crate::{Mounted, add, add_mount};

#[test]
fn mounts_of_the_host_come_into_a_container_that_asks_for_them_only() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let _shared = Mounted::shared(&host);
    fs::create_dir(host.join("sub")).unwrap();
    let mut pod = pod("web", WAIT);
    let source = json!({"hostPath": {"path": host}});
    add(&mut pod, "host", source, "/follows", json!({"mountPropagation": "HostToContainer"}));
    add_mount(&mut pod, "host", "/stays", json!({}));
    add_mount(&mut pod, "host", "/below", json!({"mountPropagation": "HostToContainer", "subPath": "sub"}));
    gateway.apply(&pod);
    gateway.ready("web");
    let _later = Mounted::new(&["-t", "tmpfs", "tmpfs"], &host.join("sub"));
    fs::write(host.join("sub/later"), "").unwrap();
    assert_eq!(gateway.exec("web", "ls /follows/sub; ls /stays/sub"), "later\n");
    // Nothing comes out.
    gateway.exec("web", "mount -t tmpfs x /follows 2>/dev/null || true");
    assert!(host.join("sub/later").exists());
}

#[test]
fn what_a_privileged_container_mounts_is_seen_by_the_host() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let _shared = Mounted::shared(&host);
    fs::create_dir(host.join("inner")).unwrap();
    let mut pod = pod("web", WAIT);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let source = json!({"hostPath": {"path": host}});
    add(&mut pod, "host", source, "/v", json!({"mountPropagation": "Bidirectional"}));
    gateway.apply(&pod);
    gateway.ready("web");
    gateway.exec("web", "mount -t tmpfs x /v/inner && echo 1 > /v/inner/f");
    assert_eq!(gateway.host_file("inner/f"), "1\n");
    gateway.exec("web", "umount /v/inner");
    assert_eq!(gateway.host_file("inner/f"), "");
}

#[test]
fn a_source_that_passes_no_mounts_on_is_refused_with_its_path() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let private = Mounted::shared(&host);
    rustix::mount::mount_change(&private.0, rustix::mount::MountPropagationFlags::PRIVATE).unwrap();
    let mut pod = pod("web", WAIT);
    let source = json!({"hostPath": {"path": host}});
    add(&mut pod, "host", source, "/v", json!({"mountPropagation": "HostToContainer"}));
    gateway.apply(&pod);
    gateway.event("web", "but it is not a shared or slave mount");
}

#[test]
fn read_only_reaches_what_is_mounted_below_only_when_it_is_to() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    fs::create_dir(host.join("inner")).unwrap();
    let _inner = Mounted::new(&["-t", "tmpfs", "tmpfs"], &host.join("inner"));
    let mut pod = pod("web", WAIT);
    add(&mut pod, "host", json!({"hostPath": {"path": host}}), "/disabled", json!({"readOnly": true}));
    add_mount(&mut pod, "host", "/enabled", json!({"readOnly": true, "recursiveReadOnly": "Enabled"}));
    add_mount(&mut pod, "host", "/possible", json!({"readOnly": true, "recursiveReadOnly": "IfPossible"}));
    gateway.apply(&pod);
    gateway.ready("web");
    let script = "for d in disabled enabled possible; do for f in f inner/f; do \
                  touch /$d/$f 2>/dev/null && echo $d/$f; done; done";
    assert_eq!(gateway.exec("web", &format!("{script}; true")), "disabled/inner/f\n");
    // The host itself may still write.
    fs::write(host.join("inner/g"), "").unwrap();
}
