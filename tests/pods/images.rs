//! Images: there, not there, imported while a pod waits.

use serde_json::json;

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{Gateway, sample_images};

#[test]
fn an_image_that_is_not_there_is_told_and_the_pod_starts_once_it_is_imported() {
    let gateway = Gateway::without_images("");
    let mut gateway = gateway;
    gateway.run(true);
    gateway.apply(&pod("web", WAIT));
    let mut never = pod("never", WAIT);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    gateway.apply(&never);
    let message = gateway.wait_for("ErrImagePull", |pods| {
        let pod = pods.get("web").filter(|pod| ["ErrImagePull", "ImagePullBackOff"].contains(&waits(pod)))?;
        Some(text(container(pod, "app"), "/state/waiting/message").to_owned())
    });
    assert!(message.contains("no registry is configured"), "{message}");
    gateway.event("web", "no registry is configured");
    gateway.until("ErrImageNeverPull", |pods| pods.get("never").is_some_and(|pod| waits(pod) == "ErrImageNeverPull"));

    let archive = sample_images().join("busybox.tar");
    let done = gateway.ok(&["image", "import", archive.to_str().unwrap()]);
    assert!(done.contains("sample/busybox:1"), "{done}");
    gateway.ready("web");
    gateway.ready("never");

    let list = gateway.ok(&["image", "ls"]);
    assert!(list.starts_with("IMAGE") && list.contains("sample/busybox:1"), "{list}");
    let refused = gateway.fails(&["image", "rm", "sample/busybox:1"]);
    assert!(refused.contains("is used by a container"), "{refused}");
    gateway.remove("web.yaml");
    gateway.remove("never.yaml");
    gateway.until("no pods", |pods| pods.items.is_empty());
    gateway.ok(&["image", "rm", "sample/busybox:1"]);
    assert!(!gateway.ok(&["image", "ls"]).contains("busybox"));
}

#[test]
fn an_image_name_that_does_not_parse_is_told() {
    let gateway = Gateway::start("");
    let mut bad = pod("web", WAIT);
    bad["spec"]["containers"][0]["image"] = json!("UPPER/case:::1");
    gateway.apply(&bad);
    gateway.until("InvalidImageName", |pods| pods.get("web").is_some_and(|pod| waits(pod) == "InvalidImageName"));
    assert!(gateway.ok(&["get", "pods"]).contains("InvalidImageName"));
}

#[test]
fn archives_in_the_preload_directories_are_imported_at_start() {
    let gateway = Gateway::without_images("imagePreloadPath: BASE/preload\n");
    let mut gateway = gateway;
    std::fs::create_dir(gateway.path("preload")).unwrap();
    std::fs::copy(sample_images().join("busybox.tar"), gateway.path("preload/busybox.tar")).unwrap();
    gateway.apply(&pod("web", WAIT));
    gateway.run(true);
    gateway.ready("web");
    // No attempt failed before: whoever starts first waits for the import.
    assert!(gateway.events().iter().all(|event| event["type"] == "Normal"), "{:#?}", gateway.events());
}
