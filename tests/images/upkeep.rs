//! What is kept and what goes: collection on a full disk, pruning, leftovers, repair, saving, layers kept unpacked only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use gatepost::image::command::{import_command, save_command};
use gatepost::image::worker::{Command, Report};
use gatepost::image::{Bounds, Keep};
use rustix::mount::{UnmountFlags, unmount};

use super::Node;
use super::make::{Layer, gzip_layout, layout, sha256, tool, umoci_image};
use super::tree::{Mounted, assert_same};

/// A node whose data lie on a file system of 64 MiB.
struct Small(Node);

impl Small {
    fn new() -> Self {
        let node = Node::new();
        fs::create_dir_all(&node.layout.data).unwrap();
        tool("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs", &node.layout.data.display().to_string()]);
        Self(node)
    }

    /// An image that takes twice its `mib`, as a blob and unpacked, over a shared layer of 1 MiB; last used so many hours ago.
    fn image(&self, name: &str, mib: usize, hours: u64) {
        let at = self.0.path(name);
        let plain = |layer: Layer| (layer.bytes(), sha256(&layer.bytes()), "");
        let own = Layer::new().file(&format!("own-{name}"), &name.repeat((mib << 20) / name.len()));
        let shared = Layer::new().file("shared", &"s".repeat(1 << 20));
        layout(&at, &format!("example.com/{name}:1"), &[plain(shared), plain(own)]);
        self.0.import(&at);
        let manifest = self.0.resolve(&format!("example.com/{name}:1")).manifest_digest;
        let blob = blob(&self.0, &manifest);
        tool("touch", &["-d", &format!("{hours} hours ago"), &blob.display().to_string()]);
    }

    fn collect(&self, bounds: Bounds, keep: Keep) -> Report {
        self.0.call(Command::Collect { bounds, keep, used: Vec::new(), known: true })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0.layout.data, UnmountFlags::DETACH);
    }
}

fn blob(node: &Node, digest: &str) -> PathBuf {
    node.layout.images().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn names(report: &Report) -> Vec<String> {
    report.images.iter().flat_map(|image| image.names.clone()).collect()
}

fn wants(names: &[&str]) -> Keep {
    Keep { wanted: names.iter().map(|name| (*name).to_owned()).collect(), in_use: Vec::new() }
}

const BOUNDS: Bounds = Bounds { high: 85, low: 50, min_age: 120 };

#[test]
fn on_a_full_disk_the_least_recently_used_go_that_nobody_wants_and_shared_layers_stay() {
    let node = Small::new();
    // 2 + 12 × 2 + 6 × 2 + 5 × 2 + 5 × 2 of 64 MiB.
    for (name, mib, hours) in [("oldest", 12, 90), ("old", 6, 80), ("new", 5, 5), ("wanted", 5, 99)] {
        node.image(name, mib, hours);
    }
    // A manifest names it in short; another one wants a digest.
    let keep = wants(&["example.com/wanted:1"]);
    let kept = node.collect(Bounds { high: 95, ..BOUNDS }, keep.clone());
    assert!(kept.ok && kept.images.len() == 4, "below the threshold nothing goes: {kept:?}");
    assert!(!node.0.layout.images().join(".staging").exists());
    let used = fs::metadata(blob(&node.0, &node.0.resolve("example.com/wanted:1").manifest_digest)).unwrap();
    assert!(used.modified().unwrap().elapsed().unwrap().as_secs() < 3600, "that it is used was noted");
    let report = node.collect(BOUNDS, keep.clone());
    assert!(report.ok, "{}", report.message);
    assert_eq!(names(&report), ["example.com/new:1", "example.com/wanted:1"], "{report:?}");
    let collected = report.collected.unwrap();
    assert!(!collected.full && collected.freed >= collected.wanted && collected.freed >= 24 << 20, "{collected:?}");
    assert!(report.images.iter().all(|image| image.unpacked), "the shared layer is there");
    assert!(node.0.call(Command::Verify).warnings.is_empty());
    // What cannot come free is said; and what is young stays.
    let tight = Bounds { high: 30, low: 1, min_age: 120 };
    node.image("young", 5, 0);
    let report = node.collect(tight, keep);
    assert_eq!(names(&report), ["example.com/wanted:1", "example.com/young:1"]);
    let collected = report.collected.unwrap();
    assert!(collected.full && collected.freed < collected.wanted, "{collected:?}");
}

#[test]
fn nothing_goes_while_it_is_not_known_what_is_wanted() {
    let node = Small::new();
    node.image("one", 28, 50);
    let command = Command::Collect { bounds: BOUNDS, keep: Keep::default(), used: Vec::new(), known: false };
    let report = node.0.call(command);
    assert!(!report.ok && report.message.contains("manifests are in error"), "{report:?}");
    assert_eq!(node.0.call(Command::List).images.len(), 1);
}

#[test]
fn what_imports_and_pulls_have_left_goes_and_what_is_wanted_or_just_being_copied_stays() {
    let node = Node::new();
    node.import(&gzip_layout(&node.path("one"), "example.com/one:1", &[Layer::new().file("a", "1")]));
    let images = node.layout.images();
    let stray = blob(&node, &format!("sha256:{}", "ab".repeat(32)));
    fs::write(&stray, "nobody names it").unwrap();
    fs::create_dir_all(images.join(".staging/half")).unwrap();
    fs::create_dir_all(node.layout.layers().join("cd".repeat(32)).join("dir")).unwrap();
    std::os::unix::fs::symlink("../gone", node.layout.layers().join("l/0123")).unwrap();
    fs::create_dir_all(images.join(".pull/forgotten/blobs/sha256")).unwrap();
    fs::write(images.join(".pull/forgotten/blobs/sha256/x.part"), "half").unwrap();
    let collect = || {
        let keep = wants(&["example.com/one:1"]);
        let bounds = Bounds { high: 100, low: 0, min_age: 0 };
        node.call(Command::Collect { bounds, keep, used: Vec::new(), known: true })
    };
    let report = collect();
    assert!(report.ok, "{}", report.message);
    assert!(stray.exists(), "another tool may be about to name it");
    assert!(images.join(".pull/forgotten").exists(), "it was begun a moment ago");
    assert!(!images.join(".staging").exists() && !node.layout.layers().join("cd".repeat(32)).exists());
    assert!(fs::symlink_metadata(node.layout.layers().join("l/0123")).is_err());
    tool("touch", &["-d", "2 hours ago", &images.join(".pull/forgotten/blobs/sha256/x.part").display().to_string()]);
    for directory in ["", "/blobs", "/blobs/sha256"] {
        let path = format!("{}/.pull/forgotten{directory}", images.display());
        tool("touch", &["-d", "2 hours ago", &path]);
    }
    collect();
    assert!(!images.join(".pull/forgotten").exists());
    let pruned = node.call(Command::Prune { all: false, keep: Keep::default() });
    assert!(pruned.ok && !stray.exists(), "a person says when: {pruned:?}");
    assert_eq!(names(&pruned), ["example.com/one:1"]);
    // An index that was lost says nothing about what containers use.
    let in_use = vec![node.resolve("example.com/one:1").manifest_digest];
    fs::remove_file(images.join("index.json")).unwrap();
    let report = node.call(Command::Prune { all: true, keep: Keep { wanted: Vec::new(), in_use } });
    assert!(report.ok && report.done.is_empty(), "{report:?}");
}

#[test]
fn prune_takes_what_has_no_name_and_with_all_what_nobody_wants() {
    let node = Node::new();
    node.import(&gzip_layout(&node.path("old"), "example.com/app:1", &[Layer::new().file("v", "old")]));
    let old = node.resolve("example.com/app:1").manifest_digest;
    node.import(&gzip_layout(&node.path("new"), "example.com/app:1", &[Layer::new().file("v", "new")]));
    node.import(&gzip_layout(&node.path("other"), "example.com/other:1", &[Layer::new().file("v", "other")]));
    let in_use = Keep { wanted: Vec::new(), in_use: vec![old] };
    assert_eq!(node.call(Command::Prune { all: false, keep: in_use }).images.len(), 3, "a container still uses it");
    let usage = node.call(Command::Usage { keep: wants(&["example.com/app:1"]) });
    let (images, usage) = (usage.images, usage.usage.unwrap());
    assert!(images.iter().all(|image| image.own.unwrap() > 0), "{images:?}");
    assert!(usage.unwanted > 0 && usage.layers.count == 3 && usage.leftovers.count == 0, "{usage:?}");
    let report = node.call(Command::Prune { all: false, keep: Keep::default() });
    assert_eq!(names(&report), ["example.com/app:1", "example.com/other:1"]);
    assert!(report.collected.unwrap().freed > 0);
    let report = node.call(Command::Prune { all: true, keep: wants(&["example.com/app"]) });
    assert_eq!(names(&report), Vec::<String>::new(), "`app` is `app:latest`");
    assert_eq!(fs::read_dir(node.layout.images().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn damaged_and_missing_blobs_are_brought_from_archives_and_no_name_changes() {
    let node = Node::new();
    let layers = || [Layer::new().file("a", "1"), Layer::new().file("b", "2")];
    let archive = gzip_layout(&node.path("archive"), "example.com/app:1", &layers());
    node.import(&archive);
    let image = node.resolve("example.com/app:1");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(blob(&node, &image.manifest_digest)).unwrap()).unwrap();
    let digest = |at: usize| manifest["layers"][at]["digest"].as_str().unwrap().to_owned();
    // Meanwhile the name is another image's here.
    node.import(&gzip_layout(&node.path("newer"), "example.com/app:1", &[Layer::new().file("a", "newer")]));
    let newer = node.resolve("example.com/app:1").manifest_digest;
    let length = fs::metadata(blob(&node, &digest(0))).unwrap().len();
    fs::write(blob(&node, &digest(0)), vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
    fs::remove_file(blob(&node, &digest(1))).unwrap();
    fs::write(blob(&node, &image.manifest_digest), "{}").unwrap();
    let broken = node.call(Command::Verify);
    assert_eq!(broken.damaged, [image.manifest_digest.as_str()], "{broken:?}");
    let repaired = node.call(Command::Repair { paths: vec![archive.clone()] });
    assert!(repaired.ok && repaired.damaged.is_empty(), "{repaired:?}");
    assert_eq!(repaired.done.iter().filter(|line| line.starts_with("repaired blob")).count(), 3, "{repaired:?}");
    assert_eq!(node.resolve("example.com/app:1").manifest_digest, newer);
    assert!(node.call(Command::Verify).warnings.is_empty());
    // A layer that is not unpacked any more comes from its blob, and what nothing brings is said.
    fs::remove_dir_all(node.layout.layers().join(image.layers[1].trim_start_matches("sha256:"))).unwrap();
    let repaired = node.call(Command::Repair { paths: Vec::new() });
    assert!(repaired.ok && repaired.damaged.is_empty(), "{repaired:?}");
    fs::write(blob(&node, &digest(0)), "bad").unwrap();
    let failed = node.call(Command::Repair { paths: vec![node.path("newer")] });
    assert_eq!(failed.damaged, [image.manifest_digest.as_str()], "{failed:?}");
    assert!(!blob(&node, &digest(0)).exists(), "so that a pull brings it");
}

#[test]
fn a_saved_image_is_what_skopeo_and_another_node_read() {
    let source = tempfile::tempdir().unwrap();
    let from = umoci_image(source.path());
    let archive = source.path().join("real.tar");
    let image = format!("oci:{}:v1", from.display());
    tool("skopeo", &["copy", "-q", &image, &format!("oci-archive:{}:example.com/real:v1", archive.display())]);
    let node = Node::new();
    node.import(&archive);
    let saved = node.path("saved.tar");
    let worker = Path::new(env!("CARGO_BIN_EXE_gatepost-worker"));
    let save = |name: &str| {
        let file = fs::File::create(&saved).unwrap();
        save_command(worker, &node.layout, name, file.into(), |_| ()).unwrap()
    };
    let report = save("example.com/real:v1");
    assert!(report.ok, "{}", report.message);
    tool("skopeo", &["inspect", &format!("oci-archive:{}", saved.display())]);
    tool(
        "skopeo",
        &[
            "copy",
            "-q",
            &format!("oci-archive:{}:example.com/real:v1", saved.display()),
            &format!("dir:{}", node.path("dir").display()),
        ],
    );
    let other = Node::new();
    let report = other.import(&saved);
    assert_eq!(names(&report), ["example.com/real:v1"]);
    assert_eq!(report.images[0].manifest_digest, node.resolve("example.com/real:v1").manifest_digest);
    let manifest = report.images[0].manifest_digest.clone();
    assert!(save(&manifest).ok, "by digest");
    let unknown = save("example.com/none:1");
    assert_eq!((unknown.ok, unknown.reason.as_str()), (false, "ImageNotFound"));
    let text = fs::read_to_string(blob(&node, &manifest)).unwrap();
    let layer =
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["layers"][0]["digest"].as_str().unwrap().to_owned();
    fs::write(blob(&node, &layer), "bad").unwrap();
    let damaged = save("example.com/real:v1");
    assert_eq!((damaged.ok, damaged.reason.as_str()), (false, "CorruptImage"), "{damaged:?}");
}

#[test]
fn layers_kept_unpacked_only_take_no_more_than_the_image_and_are_known_to_be_so() {
    let source = tempfile::tempdir().unwrap();
    let from = umoci_image(source.path());
    let theirs = source.path().join("bundle");
    tool("umoci", &["unpack", "--image", &format!("{}:v1", from.display()), &theirs.display().to_string()]);
    for kind in ["docker-archive", "oci-archive"] {
        let archive = source.path().join(kind);
        let to = format!("{kind}:{}:example.com/real:v1", archive.display());
        tool("skopeo", &["copy", "-q", &format!("oci:{}:v1", from.display()), &to]);
        let node = Node::new();
        let worker = Path::new(env!("CARGO_BIN_EXE_gatepost-worker"));
        let import = |discard| import_command(worker, &node.layout, &archive, None, discard, |_| ()).unwrap();
        let report = import(true);
        assert!(report.ok, "{}", report.message);
        let image = node.resolve("example.com/real:v1");
        let mounted = Mounted::new(&node.layout, &image, &node.path("mount"));
        assert_same(&mounted.at, &theirs.join("rootfs"));
        drop(mounted);
        // Manifest and configuration.
        assert_eq!(fs::read_dir(node.layout.images().join("blobs/sha256")).unwrap().count(), 2, "{kind}");
        let bytes = |path: &Path| {
            let measured = Process::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
            String::from_utf8(measured.stdout).unwrap().split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let (images, layers) = (bytes(&node.layout.images()), bytes(&node.layout.layers()));
        assert!(images * 20 <= layers, "{images} bytes beside {layers} of unpacked layers");
        let verified = node.call(Command::Verify);
        assert!(verified.warnings.is_empty() && verified.damaged.is_empty(), "{verified:?}");
        assert!(verified.done[0].ends_with("layers are kept unpacked only"), "{verified:?}");
        let file = fs::File::create(node.path("saved")).unwrap();
        let saved = save_command(worker, &node.layout, "example.com/real:v1", file.into(), |_| ()).unwrap();
        assert!(!saved.ok && saved.message.contains("kept unpacked only"), "{saved:?}");
        // Once more, of nothing; then with blobs, which are then there.
        assert!(import(true).ok);
        let report = import(false);
        assert!(report.ok, "{}", report.message);
        assert!(node.call(Command::Verify).done[0].ends_with("blobs"), "{report:?}");
        tool("skopeo", &["inspect", &format!("oci:{}:example.com/real:v1", node.layout.images().display())]);
        // One whose layer is gone is not here any more.
        let other = Node::new();
        import_command(worker, &other.layout, &archive, None, true, |_| ()).unwrap();
        let image = other.resolve("example.com/real:v1");
        fs::remove_dir_all(other.layout.layers().join(image.layers[1].trim_start_matches("sha256:"))).unwrap();
        let listed = other.call(Command::List);
        assert!(listed.images.is_empty() && listed.warnings[0].contains("import it again"), "{listed:?}");
        assert!(import_command(worker, &other.layout, &archive, None, true, |_| ()).unwrap().ok);
        assert!(other.resolve("example.com/real:v1").unpacked);
    }
}
