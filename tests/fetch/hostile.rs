//! Pulls from servers that are not what they should be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::text;
use crate::gateway::{Gateway, fetching};
use crate::registry::{
    Registry, assert_store_is_valid, failure, flood, of_image, received, send, send_for_ever, serve,
};

const MANIFEST: &str = "200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json";

fn manifest(layer: &str) -> Vec<u8> {
    let blob = |digit: &str, kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", digit.repeat(64)), "size": 10});
    json!({"schemaVersion": 2, "config": blob("1", "config.v1+json"), "layers": [blob("2", layer)]}).to_string().into()
}

#[test]
fn hostile_registries_end_in_a_clear_reason_and_leave_the_store_as_it_was() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let elsewhere = serve(Box::new(move |asked, stream| {
        ears.lock().unwrap().push(format!("{} {}", asked.path, asked.header("Authorization")));
        send(stream, "404 Not Found", b"");
    }));
    let server = serve(Box::new(move |asked, stream| {
        let kind = asked.path.split('/').nth(2).unwrap_or_default();
        let who = asked.header("Authorization");
        match (kind, asked.path.contains("/manifests/")) {
            ("huge", _) => send_for_ever(stream, MANIFEST, &[b' '; 8192], Duration::ZERO),
            ("drip", _) => send_for_ever(stream, MANIFEST, b" ", Duration::from_millis(100)),
            ("head", _) => flood(stream, "HTTP/1.1 200 OK\r\nX: y", &[b'x'; 8192], Duration::ZERO),
            ("slow", _) => flood(stream, "HTTP/1.1 200 OK\r\nX: y", b"x", Duration::from_millis(100)),
            ("type", _) => send(stream, "200 OK\r\nContent-Type: text/html", b"<html>"),
            ("json", _) => send(stream, MANIFEST, b"{\"layers\": 5}"),
            ("both", _) => send(stream, INDEX, b"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}"),
            ("layer", true) => send(stream, MANIFEST, &manifest("layer.nondistributable.v1.tar")),
            ("loop", _) => send(stream, &format!("302 There\r\nLocation: {}", asked.path), b""),
            ("file", _) => send(stream, "302 There\r\nLocation: file:///etc/shadow", b""),
            ("away", _) if who.is_empty() => send(stream, "401 No\r\nWWW-Authenticate: Basic realm=\"x\"", b""),
            ("away", _) => send(stream, &format!("307 There\r\nLocation: http://{elsewhere}/stolen"), b""),
            ("token", _) => send(
                stream,
                &format!(
                    "401 No\r\nWWW-Authenticate: Bearer realm=\"http://localhost:{}/token\",service=\"x\"",
                    elsewhere.rsplit(':').next().unwrap()
                ),
                b"",
            ),
            ("broken", _) => send(stream, "500 Sorry", b""),
            ("talk", _) => send_for_ever(stream, "banana", &[0; 8192], Duration::ZERO),
            (_, true) => send(stream, MANIFEST, &manifest("layer.v1.tar")),
            ("endless", _) => send_for_ever(stream, "200 OK", &[0; 8192], Duration::ZERO),
            ("chunks", _) => send_for_ever(stream, "200 OK\r\nTransfer-Encoding: chunked", b"zzz\r\n", Duration::ZERO),
            ("short", _) => send(stream, "200 OK", b"01234"),
            _ => send(stream, "200 OK", b"0123456789"),
        }
    }));
    let auths = json!({"auths": {&server: {"username": "user", "password": "secret"}}}).to_string();
    let mut gateway = Gateway::prepare(&fetching(&format!(
        "imagePullProgressDeadline: 2s\nregistries: {{'{server}': {{auth: BASE/auth.json}}}}"
    )));
    std::fs::write(gateway.path("auth.json"), auths).unwrap();
    gateway.run(true);
    gateway.apply(&pod("runs", WAIT));
    let before = gateway.ready("runs");
    let cases = [
        ("huge", "the answer is longer than 4194304 bytes"),
        ("drip", "no progress for 2 s"),
        ("head", "response headers exceeded"),
        ("slow", "no progress for 2 s"),
        ("type", "media type \"text/html\", which is no image"),
        ("json", "a manifest that cannot be read"),
        ("both", "says to be both an image and an index"),
        ("layer", "must be fetched elsewhere"),
        ("loop", "stopped after 10 redirects"),
        ("file", "neither http nor https"),
        ("away", "not found (404)"),
        ("token", "without TLS; refused"),
        ("broken", "unexpected status (500)"),
        ("talk", "no answer of HTTP"),
        ("wrong", "has the wrong digest"),
        ("endless", "is longer than the 10 bytes that the manifest says"),
        ("chunks", "malformed chunked encoding"),
        ("short", "unexpected EOF"),
    ];
    for (name, _) in cases {
        gateway.apply(&of_image(name, &format!("{server}/{name}/image:1")));
    }
    for (name, why) in cases {
        let told = failure(&gateway, name);
        assert!(told.contains(why), "{name}: {told}");
    }
    let shown = gateway.ok(&["get", "pods"]);
    assert!(shown.lines().any(|line| line.starts_with("wrong-") && line.contains("ImagePull")), "{shown}");
    assert!(gateway.ok(&["describe", "pod", "wrong"]).contains("has the wrong digest"));
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty() && heard.iter().all(|request| request == "/stolen "), "{heard:?}");
    assert_store_is_valid(&gateway);
    assert_eq!(gateway.ok(&["image", "ls"]).lines().count(), 2);
    let after = gateway.ready("runs");
    let id = |pod: &serde_json::Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    assert_eq!(id(&before), id(&after));
}

/// A file system of its own at this place, for as long as the test runs.
struct Mounted(PathBuf);

impl Mounted {
    fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) {
    assert!(Command::new("mount").args(arguments).arg(at).status().unwrap().success(), "mount {arguments:?}");
}

#[test]
fn a_full_disk_and_a_read_only_one_are_told_and_the_pull_goes_on_when_there_is_room() {
    let registry = Registry::start();
    registry.push("sample/busybox:2", &["--format", "v2s2"]);
    let mut gateway = Gateway::without_images(&fetching(""));
    let images = gateway.path("data/images");
    std::fs::create_dir(&images).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=800k", "tmpfs"], &images);
    let mounted = Mounted(images);
    gateway.run(true);
    gateway.apply(&of_image("web", &registry.image()));
    let told = failure(&gateway, "web");
    assert!(told.contains("storing ") && told.contains("no space left on device"), "{told}");
    mounted.remount("size=16m");
    gateway.ready("web");
    let told = gateway.event("web", "Successfully pulled");
    assert!(received(&told) < 500_000, "what had come was thrown away: {told}");
    assert_store_is_valid(&gateway);
    mounted.remount("ro");
    gateway.apply(&of_image("other", &format!("{}/sample/busybox:2", registry.address)));
    let told = failure(&gateway, "other");
    assert!(told.contains("read-only file system"), "{told}");
    gateway.ready("web");
    mounted.remount("rw");
    gateway.ready("other");
    assert_store_is_valid(&gateway);
}
