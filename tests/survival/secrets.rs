//! What lies of Secrets on the disk, and what becomes of it without its key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod};
use crate::reboot::cut_power;

const FILE: &str = "data/state/manifests.json";

/// A pod that has a Secret in its environment.
fn with_secret(gateway: &Gateway) {
    let mut web = pod("web", &format!("echo $WORD; {WAIT}"));
    web["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "word"}}]);
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"}, "stringData": {"WORD": "geheim"}});
    gateway.write("web.yaml", format!("{web}\n---\n{secret}\n"));
}

/// What is on the disk of the last good manifests.
fn on_disk(gateway: &Gateway) -> Vec<u8> {
    fs::read(gateway.path(FILE)).unwrap_or_default()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn until_saved(gateway: &Gateway, wanted: impl Fn(&[u8]) -> bool) {
    gateway.until("the last good manifests on disk", |_| wanted(&on_disk(gateway)));
}

fn take_manifests_away(gateway: &Gateway) {
    fs::rename(gateway.path("manifests"), gateway.path("elsewhere")).unwrap();
}

fn bring_manifests_back(gateway: &Gateway) {
    fs::rename(gateway.path("elsewhere"), gateway.path("manifests")).unwrap();
}

#[test]
fn what_is_last_good_is_for_root_only() {
    let gateway = Gateway::start("");
    with_secret(&gateway);
    // `geheim` in base64.
    until_saved(&gateway, |bytes| contains(bytes, "Z2VoZWlt"));
    let mode = |path: &str| fs::metadata(gateway.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(FILE), mode("data/state")), (0o600, 0o700));
}

#[test]
fn with_a_key_it_is_encrypted_and_comes_back_with_that_key_only() {
    let mut gateway = Gateway::prepare("stateKey: BASE/host/key\n");
    let (key, other) = (gateway.path("host/key"), gateway.path("host/other"));
    fs::write(&key, "0b".repeat(32)).unwrap();
    gateway.run(true);
    with_secret(&gateway);
    gateway.ready("web");
    let sealed = |bytes: &[u8]| bytes.starts_with(b"gatepost sealed 1\n");
    until_saved(&gateway, |bytes| sealed(bytes) && bytes.len() > 500);
    for word in ["geheim", "Z2VoZWlt", "web", "WORD"] {
        assert!(!contains(&on_disk(&gateway), word), "{word}");
    }
    assert_eq!(fs::metadata(gateway.path(FILE)).unwrap().permissions().mode() & 0o777, 0o600);

    cut_power(&mut gateway);
    take_manifests_away(&gateway);
    gateway.run(true);
    gateway.ready("web");
    // Its log has both runs.
    gateway.until("its word", |_| gateway.logs("web") == "geheim\ngeheim\n");

    // No key: what was sealed is neither read nor touched, and what is delivered runs.
    cut_power(&mut gateway);
    fs::rename(&key, &other).unwrap();
    let before = on_disk(&gateway);
    gateway.run(true);
    gateway.until("a word of it", |_| gateway.ok(&["get", "events", "-A"]).contains("StateNotSealed"));
    assert!(gateway.ok(&["get", "events", "-A"]).contains("host/key: No such file"));
    assert!(gateway.pods().get("web").is_none());
    bring_manifests_back(&gateway);
    gateway.write("more.yaml", pod("more", WAIT).to_string());
    gateway.ready("web");
    gateway.ready("more");
    assert_eq!(on_disk(&gateway), before);

    // Another key: it is set aside, and found when the right one is back.
    cut_power(&mut gateway);
    fs::write(&key, "0c".repeat(32)).unwrap();
    gateway.run(true);
    gateway.ready("more");
    until_saved(&gateway, |bytes| bytes != before);
    assert!(gateway.ok(&["get", "events", "-A"]).contains("another key, or the file was altered"));
    cut_power(&mut gateway);
    fs::rename(&other, &key).unwrap();
    take_manifests_away(&gateway);
    gateway.run(true);
    gateway.ready("web");
    bring_manifests_back(&gateway);
    gateway.ready("more");
}

#[test]
fn without_offline_mode_nothing_is_kept_and_nothing_runs_before_its_manifest_is_there() {
    let mut gateway = Gateway::prepare("offlineMode: false\n");
    gateway.run(true);
    with_secret(&gateway);
    gateway.ready("web");
    until_saved(&gateway, |bytes| !bytes.is_empty());
    assert!(!contains(&on_disk(&gateway), "web"));
    cut_power(&mut gateway);
    take_manifests_away(&gateway);
    gateway.run(true);
    gateway.until("the missing directory", |pods| !pods.warnings.is_empty());
    assert!(gateway.pods().items.is_empty());
    bring_manifests_back(&gateway);
    gateway.ready("web");
}
