//! Limits: bombs, windows, a full disk, deep trees.

use std::process::{Command as Process, Stdio};

use gatepost::image::worker::Command;

use super::Node;
use super::make::{Layer, gzip, gzip_layout, layout, sha256, tool};

#[test]
fn a_decompression_bomb_stops_at_the_stated_limit() {
    let node = Node::new();
    // 1 GiB of zeros in about 1 MiB.
    let script = "head -c 1073741824 /dev/zero | gzip -9";
    let bomb = Process::new("sh").args(["-c", script]).stderr(Stdio::inherit()).output().unwrap().stdout;
    let path = layout(&node.path("bomb"), "example.com/bomb:1", &[(bomb, "0".repeat(64), "+gzip")]);
    let (reason, message) = node.refused(&path);
    // Zeros are the end mark of a tar stream; the bomb is found while the rest is hashed.
    assert_eq!(reason, "ImageLimitExceeded", "{message}");
    assert!(message.contains("decompression bomb"), "{message}");
}

#[test]
fn a_zstd_window_above_the_limit_is_refused_in_words() {
    let node = Node::new();
    let layer = Layer::new().file("a", &"0123456789".repeat(2_000_000)).bytes();
    std::fs::write(node.path("layer"), &layer).unwrap();
    let input = node.path("layer").display().to_string();
    tool("zstd", &["-q", "--long=27", &input, "-o", &format!("{input}.zst")]);
    let blob = std::fs::read(node.path("layer.zst")).unwrap();
    let path = layout(&node.path("wide"), "example.com/wide:1", &[(blob, sha256(&layer), "+zstd")]);
    let (reason, message) = node.refused(&path);
    assert_eq!(reason, "ImageLimitExceeded", "{message}");
    assert!(message.contains("8 MiB"), "{message}");
}

#[test]
fn a_full_disk_in_mid_import_leaves_nothing() {
    let node = Node::new();
    std::fs::create_dir_all(&node.layout.data).unwrap();
    tool("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs", &node.layout.data.display().to_string()]);
    let noise: String =
        (0..3_000_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 26)).collect();
    let path = gzip_layout(&node.path("large"), "example.com/large:1", &[Layer::new().file("noise", &noise)]);
    let (reason, message) = node.refused(&path);
    let left = std::fs::read_dir(node.layout.layers()).unwrap().flatten().filter(|e| e.file_name().len() == 64).count();
    rustix::mount::unmount(&node.layout.data, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!((reason.as_str(), left), ("NoSpace", 0), "{message}");
    assert!(message.contains("make room"), "{message}");
}

#[test]
fn a_deep_tree_and_its_links_are_deleted_without_leaving_it() {
    let node = Node::new();
    let tree = node.layout.data.join("containers/x-1/upper");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(node.path("outside"), "stays").unwrap();
    std::os::unix::fs::symlink(node.dir.path(), tree.join("link")).unwrap();
    let script = "import os,sys\nos.chdir(sys.argv[1])\nfor i in range(3000):\n os.mkdir('d'); open('f','w').close(); os.chdir('d')";
    tool("python3", &["-c", script, &tree.display().to_string()]);
    let report = node.call(Command::RemoveTree { path: node.layout.data.join("containers/x-1") });
    assert!(report.ok, "{}", report.message);
    assert!(!node.layout.data.join("containers/x-1").exists());
    assert!(node.path("outside").exists());
    for bad in [
        node.path("outside"),
        node.layout.data.clone(),
        node.layout.data.join("containers/../../outside"),
        node.layout.images(),
    ] {
        assert_eq!(node.call(Command::RemoveTree { path: bad }).reason, "UnsafeImage");
    }
}

#[test]
fn leftovers_of_an_interrupted_import_go_at_the_next_one() {
    let node = Node::new();
    let left = node.layout.layers().join(".staging/1/etc");
    std::fs::create_dir_all(&left).unwrap();
    let path = gzip_layout(&node.path("a"), "example.com/a:1", &[Layer::new().file("a", "1")]);
    node.import(&path);
    assert!(!left.exists());
}

#[test]
fn deep_zeros_do_not_fool_the_ratio() {
    // 100 MiB of zeros is no bomb.
    let node = Node::new();
    let layer = Layer::new().file("zeros", &"\0".repeat(100 << 20)).bytes();
    let path = layout(&node.path("zeros"), "example.com/zeros:1", &[(gzip(&layer), sha256(&layer), "+gzip")]);
    node.import(&path);
}
