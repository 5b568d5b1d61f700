//! Archives made by skopeo, umoci and buildah give the file system that umoci unpacks.

use std::path::Path;
use std::process::Command as Process;

use gatepost::image::worker::Command;

use super::Node;
use super::make::{Layer, gzip_layout, tool, umoci_image};
use super::tree::{Mounted, assert_same};

fn unpacked_by_umoci(layout: &Path, to: &Path) -> std::path::PathBuf {
    tool("umoci", &["unpack", "--image", &format!("{}:v1", layout.display()), &to.display().to_string()]);
    to.join("rootfs")
}

#[test]
fn every_kind_of_archive_gives_the_tree_that_umoci_unpacks() {
    let source = tempfile::tempdir().unwrap();
    let layout = umoci_image(source.path());
    let theirs = unpacked_by_umoci(&layout, &source.path().join("bundle"));
    let from = format!("oci:{}:v1", layout.display());
    let at = |name: &str| source.path().join(name);
    let copy = |extra: &[&str], to: &str| {
        let mut args = vec!["copy", "-q"];
        args.extend_from_slice(extra);
        args.extend_from_slice(&[&from, to]);
        tool("skopeo", &args);
    };
    copy(&[], &format!("docker-archive:{}:example.com/real:v1", at("docker.tar").display()));
    copy(&[], &format!("oci-archive:{}:example.com/real:v1", at("oci.tar").display()));
    copy(&["--dest-compress-format", "zstd"], &format!("oci:{}:example.com/real:v1", at("zstd").display()));
    copy(&["--format", "v2s2"], &format!("oci:{}:example.com/real:v1", at("v2s2").display()));
    for name in ["docker.tar", "oci.tar"] {
        let path = at(name).display().to_string();
        tool("gzip", &["-1", "-k", &path]);
        tool("zstd", &["-q", "-1", "-k", &path]);
    }
    let archives =
        ["docker.tar", "docker.tar.gz", "docker.tar.zst", "oci.tar", "oci.tar.gz", "oci.tar.zst", "zstd", "v2s2"];
    for name in archives {
        let node = Node::new();
        let report = node.import(&at(name));
        assert_eq!(report.images[0].names, ["example.com/real:v1"], "{name}");
        let image = node.resolve("example.com/real:v1");
        assert!(image.unpacked, "{name}");
        assert_eq!(image.config.config().as_ref().unwrap().env().as_ref().unwrap(), &["A=b"], "{name}");
        let mounted = Mounted::new(&node.layout, &image, &node.path("mount"));
        assert_same(&mounted.at, &theirs);
        drop(mounted);
        let verified = node.call(Command::Verify);
        assert!(verified.ok && verified.warnings.is_empty(), "{name}: {:?}", verified.warnings);
        // Other tools read the store as the layout it is. skopeo finds no docker manifest in any OCI layout, not even
        // in the one it has written itself.
        if name != "v2s2" {
            let stored = format!("oci:{}:example.com/real:v1", node.layout.images().display());
            tool("skopeo", &["inspect", &stored]);
        }
    }
}

#[test]
fn a_buildah_image_is_imported_with_its_name() {
    let source = tempfile::tempdir().unwrap();
    let root = source.path().join("store").display().to_string();
    let run = source.path().join("run").display().to_string();
    let buildah = |args: &[&str]| {
        let mut all = vec!["--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
        all.extend_from_slice(args);
        let output = Process::new("buildah").args(&all).output().expect("buildah is needed");
        assert!(output.status.success(), "buildah {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    std::fs::write(source.path().join("hello"), "from buildah").unwrap();
    buildah(&["copy", &container, &source.path().join("hello").display().to_string(), "/etc/hello"]);
    buildah(&["commit", "-q", &container, "localhost/made:1"]);
    for kind in ["docker-archive", "oci-archive"] {
        let archive = source.path().join(kind);
        buildah(&["push", "-q", "localhost/made:1", &format!("{kind}:{}:localhost/made:1", archive.display())]);
        let node = Node::new();
        node.import(&archive);
        let image = node.resolve("localhost/made:1");
        let mounted = Mounted::new(&node.layout, &image, &node.path("mount"));
        assert_eq!(std::fs::read_to_string(mounted.at.join("etc/hello")).unwrap(), "from buildah");
    }
}

#[test]
fn an_image_of_127_layers_starts_on_one_mount() {
    let node = Node::new();
    let layers: Vec<Layer> =
        (0..127).map(|n| Layer::new().file("counter", &n.to_string()).file(&format!("dir/{n}"), "x")).collect();
    let layout = gzip_layout(&node.path("deep"), "example.com/deep:1", &layers);
    node.import(&layout);
    let image = node.resolve("example.com/deep:1");
    assert_eq!(image.lower_dirs().len(), 127);
    let mounted = Mounted::new(&node.layout, &image, &node.path("mount"));
    assert_eq!(std::fs::read_to_string(mounted.at.join("counter")).unwrap(), "126");
    assert_eq!(std::fs::read_dir(mounted.at.join("dir")).unwrap().count(), 127);
}

#[test]
fn an_archive_with_several_images_gives_them_all_and_shares_their_layers() {
    let source = tempfile::tempdir().unwrap();
    let layout = umoci_image(source.path());
    let archive = source.path().join("many.tar");
    let image = format!("{}:v1", layout.display());
    tool("umoci", &["tag", "--image", &image, "v2"]);
    tool("umoci", &["config", "--image", &format!("{}:v2", layout.display()), "--config.cmd", "/bin/other"]);
    tool("tar", &["-C", &layout.display().to_string(), "-cf", &archive.display().to_string(), "."]);
    let node = Node::new();
    let report = node.import(&archive);
    let names: Vec<_> = report.images.iter().flat_map(|i| i.names.clone()).collect();
    assert_eq!(names, ["docker.io/library/many:v1", "docker.io/library/many:v2"]);
    assert_eq!(report.images[0].layers, report.images[1].layers);
    assert!(report.warnings.iter().any(|w| w.contains("only by the tag")));
}

#[test]
fn what_was_preloaded_once_is_not_read_again() {
    let node = Node::new();
    gzip_layout(&node.path("flash/app"), "example.com/app:1", &[Layer::new().file("a", "1")]);
    std::fs::write(node.path("flash/broken.tar"), "no archive").unwrap();
    let preload = Command::Preload { paths: vec![node.path("flash"), node.path("missing")], missed: Vec::new() };
    let first = node.call(preload.clone());
    assert!(first.ok && first.done[0].starts_with("imported example.com/app:1"), "{first:?}");
    assert!(first.warnings.iter().any(|w| w.contains("broken.tar")), "the broken one is named: {first:?}");
    let second = node.call(preload);
    assert!(second.done[0].ends_with("was imported before"), "{second:?}");
}

#[test]
fn layers_of_a_copied_layout_are_unpacked_on_demand() {
    let node = Node::new();
    gzip_layout(
        &node.layout.images(),
        "example.com/copied:1",
        &[Layer::new().file("a", "1"), Layer::new().file("b", "2")],
    );
    let image = node.resolve("example.com/copied:1");
    assert!(!image.unpacked);
    let report = node.call(Command::Unpack { manifest_digest: image.manifest_digest.clone() });
    assert!(report.ok, "{}", report.message);
    assert!(node.resolve("example.com/copied:1").unpacked);
}

#[test]
fn an_image_goes_with_its_last_name_and_keeps_what_others_need() {
    let node = Node::new();
    let base = || Layer::new().file("base", "shared");
    node.import(&gzip_layout(&node.path("one"), "example.com/one:1", &[base(), Layer::new().file("one", "1")]));
    node.import(&gzip_layout(&node.path("two"), "example.com/two:1", &[base(), Layer::new().file("two", "2")]));
    let one = node.resolve("example.com/one:1");
    let used =
        node.call(Command::Remove { name: "example.com/one:1".into(), in_use: vec![one.manifest_digest.clone()] });
    assert_eq!((used.ok, used.reason.as_str()), (false, "ImageInUse"));
    let removed = node.call(Command::Remove { name: "example.com/one:1".into(), in_use: Vec::new() });
    assert!(removed.ok, "{}", removed.message);
    assert_eq!(removed.images.len(), 1);
    assert!(removed.images[0].unpacked);
    let left = std::fs::read_dir(node.layout.layers()).unwrap().flatten().filter(|e| e.file_name().len() == 64).count();
    assert_eq!(left, 2);
    assert!(node.call(Command::Verify).warnings.is_empty());
    assert_eq!(
        node.call(Command::Remove { name: "example.com/one:1".into(), in_use: Vec::new() }).reason,
        "ImageNotFound"
    );
}

#[test]
fn a_name_moves_to_the_newer_image_and_the_older_stays_without_one() {
    let node = Node::new();
    node.import(&gzip_layout(&node.path("old"), "example.com/app:1", &[Layer::new().file("v", "old")]));
    let old = node.resolve("example.com/app:1");
    let report = node.import(&gzip_layout(&node.path("new"), "example.com/app:1", &[Layer::new().file("v", "new")]));
    assert_eq!(report.images.len(), 2);
    assert!(report.images.iter().any(|i| i.names.is_empty() && i.manifest_digest == old.manifest_digest));
    assert_ne!(node.resolve("example.com/app:1").manifest_digest, old.manifest_digest);
}
