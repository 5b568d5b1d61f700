//! Image volumes.

use serde_json::json;

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{text, waits};
use crate::{add, add_mount};

#[test]
fn the_files_of_an_image_are_mounted_read_only() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    add(&mut pod, "tools", json!({"image": {"reference": "sample/busybox:1"}}), "/tools", json!({}));
    add_mount(&mut pod, "tools", "/only-bin", json!({"subPath": "bin"}));
    gateway.apply(&pod);
    gateway.ready("web");
    assert_eq!(gateway.exec("web", "/tools/bin/busybox echo ran; ls /only-bin/busybox"), "ran\n/only-bin/busybox\n");
    assert_eq!(
        gateway.exec("web", "touch /tools/x 2>/dev/null || echo read-only; ls -d /tools/.wh* 2>/dev/null; true"),
        "read-only\n"
    );
    // Two containers never share what they write.
    gateway.exec("web", "echo own > /bin/own");
    assert_eq!(gateway.exec("web", "ls /tools/bin/own 2>/dev/null || echo untouched"), "untouched\n");
}

#[test]
fn an_image_that_is_not_there_keeps_who_mounts_it_from_starting() {
    let gateway = Gateway::start("");
    for (name, policy, reason) in
        [("pull", "IfNotPresent", "ImagePullBackOff"), ("never", "Never", "ErrImageNeverPull")]
    {
        let mut pod = pod(name, WAIT);
        add(&mut pod, "v", json!({"image": {"reference": "sample/absent:1", "pullPolicy": policy}}), "/v", json!({}));
        gateway.apply(&pod);
        gateway.until(reason, |pods| {
            pods.get(name).is_some_and(|pod| waits(pod) == reason || (name == "pull" && waits(pod) == "ErrImagePull"))
        });
    }
    let event = gateway.event("pull", "sample/absent:1");
    assert_eq!(text(&event, "/type"), "Warning");
}
