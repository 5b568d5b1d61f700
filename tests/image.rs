//! The image build: the same input gives the same bytes, whoever builds it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// What every image has.
const NAMES: [&str; 7] = ["disk.img", "kernel", "initramfs", "root.squashfs", "flash.squashfs", "packages", "cmdline"];
const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The digests of an image's files.
fn digests(image: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(image).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let digest = Sha256::digest(fs::read(&path).ok()?);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Some((path.file_name().unwrap().to_string_lossy().into_owned(), hex))
    });
    files.collect()
}

/// Once more what `make vm-images` has built, from the same gatepost and the same sample images, elsewhere.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let built = Path::new(TOP).join(".build/image/qemu-armv7");
    let elsewhere = TempDir::new_in(Path::new(TOP).join(".build")).unwrap();
    let run = Command::new(Path::new(TOP).join("rootfs/image.sh"))
        .arg("qemu-armv7")
        .env("GATEPOST", Path::new(TOP).join(".build/bin/armv7/gatepost"))
        .env("OUT", elsewhere.path())
        .env("SOURCE_DATE_EPOCH", fs::read_to_string(built.join("epoch")).unwrap().trim())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (first, second) = (digests(&built), digests(elsewhere.path()));
    for name in NAMES {
        assert!(first.contains_key(name), "{name} is missing");
    }
    let differs: Vec<&String> = second.keys().filter(|name| first.get(*name) != second.get(*name)).collect();
    assert!(differs.is_empty(), "these differ: {differs:?}");
}
