//! Images: there, not there, imported while a pod waits.

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{Gateway, eventually, sample_images};

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
    assert!(message.contains("gatepost-fetch is not installed"), "{message}");
    gateway.event("web", "gatepost-fetch is not installed");
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
    let known = |event: &Value| event["type"] == "Normal" || event["reason"] == "NetworkNotConfigured";
    assert!(gateway.events().iter().all(known), "{:#?}", gateway.events());
}

#[test]
fn an_image_with_a_damaged_layer_says_why_and_is_tried_again_with_backoff_only() {
    let mut gateway = Gateway::prepare("");
    std::fs::remove_dir_all(gateway.path("data/layers")).unwrap();
    let blobs = gateway.path("data/images/blobs/sha256");
    let largest = std::fs::read_dir(&blobs).unwrap().map(Result::unwrap).max_by_key(|e| e.metadata().unwrap().len());
    // Made anew: the file itself is shared with other tests.
    let layer = largest.unwrap().path();
    std::fs::remove_file(&layer).unwrap();
    std::fs::write(&layer, "damaged").unwrap();
    let mut two = pod("web", WAIT);
    let mut second = two["spec"]["containers"][0].clone();
    second["name"] = json!("second");
    two["spec"]["containers"].as_array_mut().unwrap().push(second);
    gateway.apply(&two);
    gateway.run(true);
    gateway.until("ImageInspectError", |pods| pods.get("web").is_some_and(|pod| waits(pod) == "ImageInspectError"));
    let why = gateway.event("web", "InspectFailed");
    assert!(text(&why, "/message").contains("layer blob sha256:"), "{why}");
    let again = gateway.wait_for("a second try", |_| {
        let told = |e: &serde_json::Value| {
            e["message"] == "Error: ImageInspectError" && text(e, "/involvedObject/fieldPath").contains("{app}")
        };
        gateway.events().into_iter().find(|event| told(event) && event["count"].as_u64() >= Some(2))
    });
    let second_of = |key| {
        let time = again[key].as_str().unwrap();
        time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).unwrap().unix_timestamp()
    };
    let waited = second_of("lastTimestamp") - second_of("firstTimestamp");
    assert!(waited >= 9, "tried again after {waited} s");
}

#[test]
fn images_that_nobody_wants_go_when_the_disk_is_full_and_come_back_from_their_archive_when_wanted() {
    // Every disk is fuller than one percent.
    let settings = "imagePreloadPath: BASE/preload\nimageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\nimageMinimumGCAge: 0s\n";
    let mut gateway = Gateway::without_images(settings);
    std::fs::create_dir(gateway.path("preload")).unwrap();
    std::fs::copy(sample_images().join("busybox.tar"), gateway.path("preload/busybox.tar")).unwrap();
    gateway.apply(&pod("web", WAIT));
    gateway.run(true);
    gateway.ready("web");
    // It cannot come to so little, and says so.
    let event = eventually("FreeDiskSpaceFailed", || {
        gateway.events().into_iter().find(|event| event["reason"] == "FreeDiskSpaceFailed")
    });
    assert_eq!((&event["involvedObject"]["kind"], &event["type"]), (&json!("Node"), &json!("Warning")));
    assert!(gateway.ok(&["image", "ls"]).contains("sample/busybox:1"), "it is wanted");
    gateway.remove("web.yaml");
    eventually("the image is gone", || (!gateway.ok(&["image", "ls"]).contains("busybox")).then_some(()));
    gateway.apply(&pod("again", WAIT));
    gateway.ready("again");
    assert!(gateway.ok(&["image", "prune", "--all"]).contains("0B came free"));
    assert!(gateway.ok(&["image", "df"]).contains("unpacked layers"));
    gateway.ok(&["image", "verify", "--repair"]);
    let saved = gateway.path("saved.tar");
    gateway.ok(&["image", "save", "sample/busybox:1", "-o", saved.to_str().unwrap()]);
    assert!(std::fs::metadata(saved).unwrap().len() > 100_000);
}

#[test]
fn a_pull_secret_that_is_not_there_is_told_and_keeps_nothing_from_starting() {
    let gateway = Gateway::start("");
    let mut web = pod("web", WAIT);
    web["spec"]["imagePullSecrets"] = json!([{"name": "site"}, {"name": "other"}]);
    gateway.write(
        "other.yaml",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}})
        .to_string(),
    );
    gateway.apply(&web);
    gateway.ready("web");
    gateway.event(
        "web",
        "Unable to retrieve some image pull secrets (site); attempting to pull the image may not succeed.",
    );
    assert!(gateway.ok(&["get", "events"]).contains("FailedToRetrieveImagePullSecret"));
}
