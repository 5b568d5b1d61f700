//! The binary `gatepost-worker`: not there, of no use, there at last.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{GATEPOST, Gateway, sample_images};

const WORKER: &str = env!("CARGO_BIN_EXE_gatepost-worker");

#[test]
fn a_missing_worker_is_named_and_what_waits_begins_once_it_is_there() {
    let gateway = Gateway::start("workerBinary: BASE/worker\n");
    gateway.apply(&pod("web", WAIT));
    let path = gateway.path("worker").display().to_string();
    let missing = format!("cannot start {path}: No such file");
    gateway.until(&missing, |pods| pods.warnings.iter().any(|warning| warning.contains(&missing)));
    let warnings = gateway.pods().warnings.join("\n");
    assert!(warnings.contains("setting workerBinary") && warnings.contains("what ran keeps running"), "{warnings}");

    // Manifests are read, images are not.
    let half = format!("#!/bin/sh\ncase $1 in read-manifests) exec {WORKER} \"$@\" ;; esac\nexit 7\n");
    fs::write(gateway.path("half"), half).unwrap();
    fs::set_permissions(gateway.path("half"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(gateway.path("half"), gateway.path("worker")).unwrap();
    gateway.ok(&["reload"]);
    let message = gateway.wait_for("ImageInspectError", |pods| {
        let pod = pods.get("web").filter(|pod| waits(pod) == "ImageInspectError")?;
        Some(text(container(pod, "app"), "/state/waiting/message").to_owned())
    });
    assert!(message.contains("images are not known: it ended with status 7"), "{message}");

    symlink(WORKER, gateway.path("whole")).unwrap();
    fs::rename(gateway.path("whole"), gateway.path("worker")).unwrap();
    gateway.ready("web");
}

#[test]
fn gatepost_alone_reads_manifests_and_images() {
    let gateway = Gateway::prepare("");
    let alone = gateway.path("alone");
    fs::create_dir(&alone).unwrap();
    // By another name of the same file its neighbours are others.
    fs::hard_link(GATEPOST, alone.join("gatepost"))
        .or_else(|_| fs::copy(GATEPOST, alone.join("gatepost")).map(drop))
        .unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(alone.join("gatepost"));
        let output = command.args(arguments).env("GATEPOST_RUN_DIR", "/nonexistent").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let archive = sample_images().join("busybox.tar").display().to_string();
    let data = gateway.path("other").display().to_string();
    assert_eq!(run(&["image", "import", &archive, "--data-dir", &data]).0, Some(0));
    assert!(run(&["image", "ls", "--data-dir", &data]).1.contains("sample/busybox:1"));
    let manifest = gateway.path("web.yaml").display().to_string();
    fs::write(&manifest, pod("web", WAIT).to_string()).unwrap();
    let (status, said, _) = run(&["validate", &manifest]);
    assert_eq!((status, said), (Some(0), format!("{manifest}: Pod/web is valid (QoS class BestEffort)\n")));
}

#[test]
fn a_worker_does_as_gatepost_is_told_if_it_is_of_the_same_release() {
    let worker = |arguments: &[&str]| {
        let output = Command::new(WORKER).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = worker(&["validate", "0.0.1", "--strict", "--", "web.yaml"]);
    assert!(status == Some(1) && said.contains("install both of one release"), "{said}");
    let (status, said) =
        worker(&["validate", env!("CARGO_PKG_VERSION"), "--strict", "--output", "yaml", "--", "web.yaml"]);
    assert!(status == Some(2) && said.contains("unknown output format \"yaml\""), "{said}");
    for words in [&["supervise"][..], &[], &["get", "0.1.0"]] {
        assert_eq!(worker(words).0, Some(2), "{words:?}");
    }
}
