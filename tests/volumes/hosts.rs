//! hostPath: its types, and devices without privileges.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::add;
use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod, run_once};
use crate::gateway::pods::{text, waits};

fn node(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), makedev(major, minor)).unwrap();
}

#[test]
fn every_type_of_path_is_made_or_found() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    fs::create_dir(host.join("dir")).unwrap();
    fs::write(host.join("file"), "").unwrap();
    let _socket = UnixListener::bind(host.join("socket")).unwrap();
    let mut pod = run_once("web", "stat -c %F /unset /dirorcreate /dir /fileorcreate /file /socket");
    for (name, kind) in [
        ("unset", ""),
        ("dirorcreate", "DirectoryOrCreate"),
        ("dir", "Directory"),
        ("fileorcreate", "FileOrCreate"),
        ("file", "File"),
        ("socket", "Socket"),
    ] {
        let source = json!({"hostPath": {"path": host.join(name), "type": kind}});
        add(&mut pod, name, source, &format!("/{name}"), json!({}));
    }
    gateway.apply(&pod);
    gateway.finished("web");
    let kinds = "directory\ndirectory\ndirectory\nregular empty file\nregular empty file\nsocket\n";
    assert_eq!(gateway.logs("web"), kinds);
}

#[test]
fn a_path_of_the_wrong_kind_keeps_the_pod_waiting_until_it_is_right() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    let mut pod = pod("web", WAIT);
    let source = json!({"hostPath": {"path": host.join("late"), "type": "Directory"}});
    add(&mut pod, "v", source, "/v", json!({}));
    gateway.apply(&pod);
    let expected = format!("hostPath type check failed: {} is not a directory", host.join("late").display());
    let event = gateway.event("web", &expected);
    assert_eq!(text(&event, "/reason"), "FailedMount");
    gateway.until("ContainerCreating", |pods| pods.get("web").is_some_and(|pod| waits(pod) == "ContainerCreating"));
    fs::create_dir(host.join("late")).unwrap();
    gateway.ready("web");
}

#[test]
fn a_device_is_usable_without_privileges_where_its_type_says_so() {
    let gateway = Gateway::start("");
    let host = gateway.path("host");
    // loop-control and loop0, which no container may open by default; opening them does nothing.
    node(&host.join("char"), FileType::CharacterDevice, 10, 237);
    node(&host.join("block"), FileType::BlockDevice, 7, 0);
    let script = "for d in char block; do (exec 3<>/dev/$d) 2>/dev/null && echo $d || echo no $d; done";
    let mut pod = run_once("web", script);
    for (name, kind) in [("char", "CharDevice"), ("block", "BlockDevice")] {
        let source = json!({"hostPath": {"path": host.join(name), "type": kind}});
        add(&mut pod, name, source, &format!("/dev/{name}"), json!({}));
    }
    let script = "(exec 3<>/dev/plain) 2>/dev/null || echo no plain; (exec 3</dev/ro) && echo ro; \
                  (exec 3<>/dev/ro) 2>/dev/null || echo not written";
    let mut other = run_once("other", script);
    let plain = json!({"hostPath": {"path": host.join("block")}});
    add(&mut other, "plain", plain, "/dev/plain", json!({}));
    let ro = json!({"hostPath": {"path": host.join("char"), "type": "CharDevice"}});
    add(&mut other, "ro", ro, "/dev/ro", json!({"readOnly": true}));
    gateway.apply(&pod);
    gateway.apply(&other);
    gateway.finished("web");
    assert_eq!(gateway.logs("web"), "char\nblock\n");
    gateway.finished("other");
    assert_eq!(gateway.logs("other"), "no plain\nro\nnot written\n");
}
