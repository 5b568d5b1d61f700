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
fn a_command_that_needs_the_worker_finds_the_running_one_or_says_what_is_missing() {
    let gateway = Gateway::start(&format!("workerBinary: {WORKER}\n"));
    let alone = gateway.path("alone");
    fs::create_dir(&alone).unwrap();
    // By another name of the same file its neighbours are others.
    fs::hard_link(GATEPOST, alone.join("gatepost"))
        .or_else(|_| fs::copy(GATEPOST, alone.join("gatepost")).map(drop))
        .unwrap();
    let run = |run_dir: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(alone.join("gatepost"));
        command.args(arguments).env("GATEPOST_RUN_DIR", run_dir).output().unwrap()
    };
    let list = run(&gateway.run_dir(), &["image", "ls"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("sample/busybox:1"), "{list:?}");

    let archive = sample_images().join("busybox.tar").display().to_string();
    let data = gateway.path("other").display().to_string();
    for arguments in [&["image", "import", &archive, "--data-dir", &data][..], &["validate", "web.yaml"]] {
        let told = run("/nonexistent".as_ref(), arguments);
        let error = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(
            !told.status.success()
                && error.contains(&format!("cannot start {}", alone.join("gatepost-worker").display())),
            "{error}"
        );
        assert!(error.contains("put it there"), "{error}");
    }

    let other = Command::new(WORKER).args(["validate", "0.0.1", "baseline", "", "", "web.yaml"]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("install both of one release"), "{other:?}");
    assert_eq!(Command::new(WORKER).arg("supervise").output().unwrap().status.code(), Some(2));
}
