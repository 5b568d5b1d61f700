//! emptyDir: its media, and that it stays within its limit.

use serde_json::json;

use crate::add;
use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod, run_once};
use crate::gateway::pods::text;

#[test]
fn memory_is_bounded_by_the_limit_of_the_volume_or_of_the_pod() {
    let gateway = Gateway::start("");
    let mut pod = run_once(
        "web",
        "stat -fc %T /own /pods; for d in own pods; do dd if=/dev/zero of=/$d/f bs=64k count=64 2>/dev/null || echo full; stat -c %s /$d/f; done; df -k /pods | tail -1 | awk '{print $2}'",
    );
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "32Mi"}});
    add(&mut pod, "own", json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}), "/own", json!({}));
    add(&mut pod, "pods", json!({"emptyDir": {"medium": "Memory"}}), "/pods", json!({}));
    gateway.apply(&pod);
    gateway.finished("web");
    assert_eq!(gateway.logs("web"), "tmpfs\ntmpfs\nfull\n1048576\n4194304\n32768\n");
}

#[test]
fn a_disk_volume_larger_than_its_limit_evicts_its_pod() {
    let gateway = Gateway::start("");
    let script = format!("dd if=/dev/zero of=/cache/f bs=64k count=64 2>/dev/null; {WAIT}");
    let mut web = pod("web", &script);
    add(&mut web, "cache", json!({"emptyDir": {"sizeLimit": "2Mi"}}), "/cache", json!({}));
    let mut small = pod("small", WAIT);
    add(&mut small, "cache", json!({"emptyDir": {"sizeLimit": "2Mi"}}), "/cache", json!({}));
    gateway.apply(&small);
    gateway.apply(&web);
    let evicted = gateway.finished("web");
    assert_eq!(text(&evicted, "/status/phase"), "Failed");
    assert_eq!(text(&evicted, "/status/reason"), "Evicted");
    let message = "Usage of EmptyDir volume \"cache\" exceeds the limit \"2Mi\". ";
    assert_eq!(text(&evicted, "/status/message"), message);
    assert_eq!(text(&gateway.event("web", "exceeds the limit"), "/reason"), "Evicted");
    let uid = text(&evicted, "/metadata/uid");
    gateway.until("its volumes to be gone", |_| !gateway.path("data/pods").join(uid).exists());
    gateway.ready("small");
    // A person may start it again.
    gateway.ok(&["restart", "pod", "web"]);
    gateway.ready("web");
}

#[test]
fn huge_pages_are_a_file_system_of_their_own() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    let resources = json!({"hugepages-2Mi": "4Mi", "memory": "32Mi", "cpu": "1"});
    pod["spec"]["containers"][0]["resources"] = json!({"limits": resources});
    add(&mut pod, "huge", json!({"emptyDir": {"medium": "HugePages-2Mi"}}), "/huge", json!({}));
    gateway.apply(&pod);
    gateway.ready("web");
    let mounts = gateway.exec("web", "grep ' /huge ' /proc/mounts");
    assert!(mounts.contains(" hugetlbfs ") && mounts.contains("pagesize=2M"), "{mounts}");
    assert_eq!(gateway.exec("web", "stat -c %a /huge"), "777\n");
}
