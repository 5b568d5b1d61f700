//! Sparse files as GNU tar writes them, in each of its formats: the same content, and holes stay holes.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::Node;
use super::make::{gzip, layout, sha256, tool};
use super::tree::Mounted;

/// An eighth of a file.
const MIB: u64 = 1 << 20;

/// Data where nothing else is: at the start, in the middle, in many small pieces, before the end; and a hole at the end.
fn make(tree: &Path) {
    let long = "n".repeat(150);
    let files: [(&str, &[(u64, u64)]); 5] = [
        ("begins", &[(0, 100_000)]),
        ("middle", &[(4 * MIB, 10_000)]),
        ("ends", &[(8 * MIB - 5_000, 5_000)]),
        ("nothing", &[]),
        (&long, &[(4096, 1), (MIB, 1), (2 * MIB, 70_000), (5 * MIB, 4096)]),
    ];
    for (name, regions) in files {
        let file = fs::File::create(tree.join(name)).unwrap();
        file.set_len(8 * MIB).unwrap();
        for (offset, length) in regions {
            let data: Vec<u8> = (0..*length).map(|n| u8::try_from(n % 251).unwrap() + 1).collect();
            file.write_all_at(&data, *offset).unwrap();
        }
    }
    // More regions than a header of the old format holds, and than one of its extensions does.
    let pieces = fs::File::create(tree.join("pieces")).unwrap();
    pieces.set_len(8 * MIB).unwrap();
    for piece in 0..60 {
        pieces.write_all_at(format!("piece {piece}").as_bytes(), piece * (MIB / 8)).unwrap();
    }
}

#[test]
fn sparse_files_of_every_format_of_gnu_tar_keep_content_and_holes() {
    let node = Node::new();
    let tree = node.path("tree");
    fs::create_dir(&tree).unwrap();
    make(&tree);
    let formats: [(&str, &[&str]); 4] = [
        ("gnu", &["--format=gnu"]),
        ("pax-0.0", &["--format=posix", "--sparse-version=0.0"]),
        ("pax-0.1", &["--format=posix", "--sparse-version=0.1"]),
        ("pax-1.0", &["--format=posix", "--sparse-version=1.0"]),
    ];
    for (name, options) in formats {
        let file = node.path(&format!("{name}.tar"));
        let mut words = vec!["--sparse", "-C", tree.to_str().unwrap(), "-cf", file.to_str().unwrap()];
        words.extend_from_slice(options);
        words.push(".");
        tool("tar", &words);
        let tar = fs::read(&file).unwrap();
        assert!((tar.len() as u64) < MIB, "{name}: tar wrote the holes");
        let image = format!("example.com/{name}:1");
        node.import(&layout(&node.path(name), &image, &[(gzip(&tar), sha256(&tar), "+gzip")]));
        let image = node.resolve(&image);
        let mounted = Mounted::new(&node.layout, &image, &node.path(&format!("mount-{name}")));
        let mut seen = 0;
        for entry in fs::read_dir(&tree).unwrap().map(Result::unwrap) {
            let (theirs, ours) = (entry.path(), mounted.at.join(entry.file_name()));
            assert!(fs::read(&theirs).unwrap() == fs::read(&ours).unwrap(), "{name}: {} differs", ours.display());
            let (theirs, ours) = (theirs.metadata().unwrap().blocks(), ours.metadata().unwrap().blocks());
            assert!(ours <= theirs, "{name}: {:?} has {ours} blocks instead of {theirs}", entry.file_name());
            seen += 1;
        }
        assert_eq!(seen, 6);
    }
}
