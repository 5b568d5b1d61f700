//! Images that run from flash: made of an archive, found, mounted, shared, and what is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, mount, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{Gateway, eventually, sample_images};

/// Two images in a layout: busybox, and the same with two layers more, which add a file and take one away.
fn layout(gateway: &Gateway) -> PathBuf {
    let layout = gateway.path("box");
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(gateway.path("")).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    let archive = format!("oci-archive:{}", sample_images().join("busybox.tar").display());
    run("skopeo", &["copy", "--quiet", &archive, "oci:box:base"]);
    fs::write(gateway.path("hello"), "hello").unwrap();
    run("umoci", &["insert", "--image", "box:base", "--tag", "more", "hello", "/hello"]);
    run("umoci", &["insert", "--image", "box:more", "--whiteout", "/etc/passwd"]);
    layout
}

fn build(gateway: &Gateway, arguments: &[&str], archive: &Path) -> String {
    let (archive, out) = (archive.display().to_string(), gateway.path("preload").display().to_string());
    gateway.ok(&[&["image", "build-flash"], arguments, &[&archive, &out]].concat())
}

fn with_image(name: &str, image: &str, policy: &str) -> Value {
    let mut pod = pod(name, WAIT);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
    pod
}

/// Files below a directory that are shown by loop devices, one entry a device.
fn devices_of(directory: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    let mut files: Vec<_> =
        files.filter(|file| Path::new(file.trim()).starts_with(directory)).map(|file| file.trim().to_owned()).collect();
    files.sort();
    files
}

fn names_of(directory: &Path, end: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(end));
    names.sort();
    names
}

fn images_run_from_flash_in(kind: &str) {
    let mut gateway = Gateway::without_images("imagePreloadPath: BASE/preload\n");
    let told = build(&gateway, &["--format", kind], &layout(&gateway));
    assert_eq!(told.lines().count(), 2, "{told}");
    let preload = gateway.path("preload");
    let end = format!(".{kind}");
    assert_eq!(names_of(&preload, &end).len(), 3, "the layer of both is there once");
    assert_eq!(names_of(&preload, "").len(), 5, "nothing else is left");

    gateway.open_the_way();
    let mut base = with_image("base", "box:base", "Never");
    base["spec"]["hostUsers"] = json!(false);
    gateway.apply(&base);
    let mut more = with_image("more", "box:more", "IfNotPresent");
    mount(&mut more, "/volume", json!({"image": {"reference": "box:more"}}));
    gateway.apply(&more);
    gateway.run(true);
    gateway.ready("base");
    let more = gateway.ready("more");
    assert_eq!(
        gateway.exec("more", "cat /hello /volume/hello; ls /etc /volume/etc"),
        "hellohello/etc:\ngroup\nhostname\nhosts\nresolv.conf\n\n/volume/etc:\ngroup\n"
    );
    assert!(gateway.exec("base", "cat /etc/passwd").contains("root"));
    assert_eq!(gateway.exec("base", "echo x > /etc/written && cat /etc/written"), "x\n");

    // Nothing was imported, unpacked, or mounted where others see it.
    assert!(!gateway.path("data/images/index.json").exists());
    assert_eq!(names_of(&gateway.path("data/images/blobs/sha256"), ""), [""; 0]);
    assert_eq!(names_of(&gateway.path("data/layers"), "").iter().filter(|name| name.len() == 64).count(), 0);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.lines().any(|line| line.contains(gateway.run_dir().to_str().unwrap()) && line.contains(kind)));
    // A layer has one device, whoever uses it.
    let used: Vec<String> =
        names_of(&preload, &end).iter().map(|name| preload.join(name).display().to_string()).collect();
    assert_eq!(devices_of(&preload), used);

    let list: Value = serde_json::from_str(&gateway.ok(&["image", "ls", "-o", "json"])).unwrap();
    let listed =
        list.as_array().unwrap().iter().find(|image| image["names"][0] == "docker.io/library/box:more").unwrap();
    assert!(text(container(&more, "app"), "/imageID").ends_with(text(listed, "/manifestDigest")), "{listed}");
    assert!(gateway.ok(&["image", "ls"]).lines().skip(1).all(|line| line.ends_with("(flash)")));
    let refused = gateway.fails(&["image", "rm", "box:more"]);
    assert!(refused.contains("on flash, where nothing is changed"), "{refused}");

    gateway.remove("more.yaml");
    gateway.gone("more");
    eventually("the devices of one pod to go", || (devices_of(&preload).len() == 1).then_some(()));
    gateway.remove("base.yaml");
    gateway.gone("base");
    eventually("all devices to go", || devices_of(&preload).is_empty().then_some(()));
}

#[test]
fn images_run_from_squashfs_with_nothing_written_to_the_store() {
    images_run_from_flash_in("squashfs");
}

#[test]
fn images_run_from_erofs_with_nothing_written_to_the_store() {
    images_run_from_flash_in("erofs");
}

type Damage = fn(&mut Value);

#[test]
fn what_is_wrong_with_an_image_on_flash_is_told_and_the_pod_starts_once_it_is_mended() {
    let mut gateway = Gateway::without_images("imagePreloadPath: BASE/preload\n");
    let archive = sample_images().join("busybox.tar");
    let preload = gateway.path("preload");
    // What is done to the description, and what is said of it.
    let cases: [(&str, Damage, &str); 6] = [
        ("noconfig", |d| drop(d.as_object_mut().unwrap().remove("config")), "the description is not valid"),
        ("other", |d| d["config"] = json!("{}"), "its configuration has the digest"),
        ("newer", |d| d["version"] = json!(2), "is of version 2, and this gatepost reads version 1"),
        ("short", |d| d["layers"][0]["size"] = json!(1_u64 << 40), "was it copied whole?"),
        ("gone", |d| d["layers"][0]["file"] = json!("gone.squashfs"), "No such file"),
        ("outside", |d| d["layers"][0]["file"] = json!("../outside"), "is no plain file name"),
    ];
    for (name, damage, _) in &cases {
        let image = format!("flash/{name}:1");
        build(&gateway, &["--name", &image], &archive);
        let path = preload.join(format!("docker.io-flash-{name}-1.flash.json"));
        let mut description: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        damage(&mut description);
        fs::write(&path, description.to_string()).unwrap();
        gateway.apply(&with_image(name, &image, "Never"));
    }
    // One that is no file system, though it has the size of one.
    build(&gateway, &["--name", "flash/noise:1"], &archive);
    let path = preload.join("docker.io-flash-noise-1.flash.json");
    let mut description: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    description["layers"][0]["file"] = json!("noise.squashfs");
    let size = usize::try_from(description["layers"][0]["size"].as_u64().unwrap()).unwrap();
    fs::write(&path, description.to_string()).unwrap();
    fs::write(preload.join("noise.squashfs"), vec![7; size]).unwrap();
    gateway.apply(&with_image("noise", "flash/noise:1", "Never"));
    gateway.run(true);

    for (name, _, said) in &cases {
        gateway.until("ImageInspectError", |pods| {
            pods.get(name).is_some_and(|pod| ["ImageInspectError", "ImagePullBackOff"].contains(&waits(pod)))
        });
        let event = gateway.event(name, said);
        assert!(text(&event, "/message").contains(&format!("docker.io-flash-{name}-1.flash.json")), "{event}");
        assert!(gateway.ok(&["describe", "pod", name]).contains(said));
    }
    gateway.event("noise", "noise.squashfs is neither squashfs nor erofs");
    let list = gateway.gatepost(&["image", "ls"]);
    assert!(String::from_utf8_lossy(&list.stderr).contains("was it copied whole?"), "{list:?}");

    build(&gateway, &["--name", "flash/short:1"], &archive);
    gateway.ready("short");
}

#[test]
fn an_image_whose_flash_is_away_is_told_and_runs_once_that_is_back() {
    let mut gateway = Gateway::without_images("imagePreloadPath: BASE/preload\n");
    let [preload, away] = ["preload", "away"].map(|name| gateway.path(name));
    build(&gateway, &["--name", "flash/one:1"], &sample_images().join("busybox.tar"));
    // As if it was mounted late.
    fs::rename(&preload, &away).unwrap();
    gateway.apply(&with_image("late", "flash/one:1", "Never"));
    gateway.run(true);
    gateway.event("late", "is not present with pull policy of Never");
    fs::rename(&away, &preload).unwrap();
    gateway.ready("late");
    // And pulled out later. What runs goes on.
    fs::rename(&preload, &away).unwrap();
    gateway.apply(&with_image("next", "flash/one:1", "Never"));
    gateway.event("next", "image flash/one:1 is neither in the store any more nor on flash");
    gateway.exec("late", "cat /etc/group");
    fs::rename(&away, &preload).unwrap();
    gateway.ready("next");
}

#[test]
fn a_policy_that_wants_a_digest_takes_no_image_that_runs_from_flash() {
    let mut gateway = Gateway::without_images(
        "imagePreloadPath: BASE/preload\nimagePolicy:\n- {match: docker.io/library/box, require: digest}\n",
    );
    build(&gateway, &[], &layout(&gateway));
    let description =
        fs::read_to_string(gateway.path("preload").join(&names_of(&gateway.path("preload"), ".flash.json")[0]))
            .unwrap();
    let digest = serde_json::from_str::<Value>(&description).unwrap()["manifestDigest"].as_str().unwrap().to_owned();
    gateway.apply(&with_image("pinned", &format!("box@{digest}"), "Never"));
    gateway.run(true);
    gateway.event("pinned", "runs from flash");
}
