//! Archives that no honest tool makes: refused by name, nothing outside touched, nothing half there.

use tar::EntryType;

use super::Node;
use super::make::{Layer, gzip, gzip_layout, layout, sha256};
use super::tree::Mounted;

fn refused(layers: &[Layer]) -> (String, String) {
    let node = Node::new();
    let path = gzip_layout(&node.path("bad"), "example.com/bad:1", layers);
    node.refused(&path)
}

#[test]
fn a_path_with_dot_dot_is_refused_by_name() {
    let (reason, message) = refused(&[Layer::new().file("a/../../../etc/evil", "x")]);
    assert_eq!(reason, "UnsafeImage");
    assert!(message.contains("a/../../../etc/evil"), "{message}");
}

#[test]
fn absolute_paths_and_symbolic_links_stay_inside() {
    let node = Node::new();
    let outside = node.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.display().to_string();
    let layer = Layer::new()
        .symlink("link", &target)
        .file("link/through", "x")
        .symlink("up", "../../../../../../..")
        .file("up/escaped", "x")
        .file("/absolute", "x");
    node.import(&gzip_layout(&node.path("image"), "example.com/links:1", &[layer]));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    let image = node.resolve("example.com/links:1");
    let top = node.layout.layers().join(image.layers.last().unwrap().trim_start_matches("sha256:"));
    assert!(top.join("absolute").is_file());
    assert!(top.join("escaped").is_file());
    assert!(top.join(target.trim_start_matches('/')).join("through").is_file());
}

#[test]
fn a_hard_link_to_outside_is_refused_by_name() {
    for target in ["/etc/passwd", "../../../../../../etc/passwd"] {
        let (reason, message) = refused(&[Layer::new().hard_link("stolen", target)]);
        assert!(["CorruptImage", "UnsafeImage"].contains(&reason.as_str()), "{reason}");
        assert!(message.contains("stolen") && message.contains(target), "{message}");
    }
}

#[test]
fn a_hard_link_through_a_symbolic_link_finds_what_is_inside_and_nothing_else() {
    let node = Node::new();
    let outside = node.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "of the host").unwrap();
    let to_outside = outside.display().to_string();
    for (target, file) in
        [("/etc", "d/passwd"), ("../../../../../../etc", "d/passwd"), (to_outside.as_str(), "d/secret")]
    {
        let (reason, message) = refused(&[Layer::new().symlink("d", target).hard_link("x", file)]);
        assert_eq!(reason, "CorruptImage", "{message}");
        assert!(message.contains('x') && message.contains(file), "{message}");
    }
    // The same names lead to the image's own file once it has one.
    let own = Layer::new().symlink("d", "/etc").file("etc/passwd", "of the image").hard_link("x", "d/passwd");
    node.import(&gzip_layout(&node.path("image"), "example.com/own:1", &[own]));
    let image = node.resolve("example.com/own:1");
    let top = node.layout.layers().join(image.layers.last().unwrap().trim_start_matches("sha256:"));
    assert_eq!(std::fs::read_to_string(top.join("x")).unwrap(), "of the image");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "of the host");
}

#[test]
fn symbolic_links_in_a_circle_are_refused() {
    let (reason, _) = refused(&[Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "x")]);
    assert_eq!(reason, "UnsafeImage");
}

#[test]
fn a_whiteout_of_the_directory_itself_is_refused() {
    for name in ["d/.wh.", "d/.wh..", "d/.wh..."] {
        assert_eq!(refused(&[Layer::new().file(name, "")]).0, "UnsafeImage", "{name}");
    }
}

#[test]
fn truncated_and_damaged_data_is_refused_in_words() {
    let node = Node::new();
    let layer = Layer::new().file("a", &"text ".repeat(100_000));
    let mut cut = gzip(&layer.bytes());
    cut.truncate(cut.len() / 2);
    let path = layout(&node.path("cut"), "example.com/bad:1", &[(cut, sha256(&layer.bytes()), "+gzip")]);
    let (_, message) = node.refused(&path);
    assert!(message.contains("truncated"), "{message}");
    let mut broken = gzip(&layer.bytes());
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    let path = layout(&node.path("broken"), "example.com/bad:1", &[(broken, sha256(&layer.bytes()), "+gzip")]);
    assert_eq!(node.refused(&path).0, "CorruptImage");
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let path = layout(&node.path("garbage"), "example.com/bad:1", &[(garbage.clone(), sha256(&garbage), "")]);
    assert!(node.refused(&path).1.contains("checksum"));
    for (name, bytes) in [("garbage.tar", garbage), ("empty.tar", Vec::new()), ("zeros.tar", vec![0; 4096])] {
        std::fs::write(node.path(name), bytes).unwrap();
        node.refused(&node.path(name));
    }
    let whole = gzip(&std::fs::read("/bin/true").unwrap());
    std::fs::write(node.path("cut.tar.gz"), &whole[..whole.len() / 2]).unwrap();
    node.refused(&node.path("cut.tar.gz"));
}

#[test]
fn odd_but_legal_layers_give_the_right_tree() {
    let node = Node::new();
    let sparse = |h: &mut tar::Header| {
        let gnu = h.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 30);
        gnu.sparse[0].set_offset(512 << 20);
        gnu.sparse[0].set_length(4);
        gnu.sparse[1].set_offset(1 << 30);
        gnu.sparse[1].set_length(0);
    };
    let base = Layer::new()
        .dir("d", 0o711)
        .file("d/removed", "x")
        .file("d/kept", "x")
        .dir("opaque", 0o755)
        .file("opaque/old", "x")
        .dir("opaque/sub", 0o755)
        .file("opaque/sub/old", "x")
        .dir("becomes-file", 0o755)
        .file("becomes-file/x", "x")
        .file("becomes-dir", "x")
        .dir("real/lib", 0o755)
        .symlink("lib", "real/lib")
        .file("link-target", "lower");
    let top = Layer::new()
        .file("d/.wh.removed", "")
        .file("d/.wh.never-was", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "x")
        .file("opaque/sub/new", "x")
        .file("becomes-file", "x")
        .dir("becomes-dir", 0o700)
        .file("becomes-dir/x", "x")
        .file("lib/through-link", "x")
        .hard_link("linked", "link-target")
        .file("twice", "first")
        .file("twice", "second")
        .file("missing/parents/file", "x")
        .raw(EntryType::GNUSparse, "sparse", "", b"data", sparse)
        .pax(&[
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("mtime", b"1.5"),
        ])
        .file("attributes", "x")
        .file(&format!("{}/{}", "p".repeat(120), "q".repeat(120)), "long");
    let report = node.import(&gzip_layout(&node.path("odd"), "example.com/odd:1", &[base, top]));
    assert!(report.warnings.iter().any(|w| w.contains("2 extended attributes")), "{:?}", report.warnings);
    let image = node.resolve("example.com/odd:1");
    let mounted = Mounted::new(&node.layout, &image, &node.path("mount"));
    let at = |name: &str| mounted.at.join(name);
    let names = |name: &str| {
        let mut names: Vec<_> =
            std::fs::read_dir(at(name)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("d"), ["kept"]);
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&at("d").metadata().unwrap()) & 0o777,
        0o711,
        "as in the layer below"
    );
    assert_eq!(names("opaque"), ["new", "sub"]);
    assert_eq!(names("opaque/sub"), ["new"]);
    assert!(at("becomes-file").is_file() && at("becomes-dir/x").is_file());
    assert_eq!(names("real/lib"), ["through-link"]);
    assert!(at("lib").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(at("linked")).unwrap(), "lower");
    assert_eq!(std::fs::read_to_string(at("twice")).unwrap(), "second");
    assert!(at("missing/parents/file").is_file());
    let sparse = at("sparse").metadata().unwrap();
    assert_eq!(sparse.len(), 1 << 30);
    assert!(std::os::unix::fs::MetadataExt::blocks(&sparse) < 64, "holes are kept");
    assert_eq!(std::os::unix::fs::MetadataExt::mtime_nsec(&at("attributes").metadata().unwrap()), 500_000_000);
    assert!(at(&"p".repeat(120)).join("q".repeat(120)).is_file());
}
