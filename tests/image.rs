//! The image build: the same input gives the same bytes, whoever builds it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Builds a board's image from the gatepost and the samples of the last `make image`, and takes its files' digests.
fn build(board: &str, debian: &str, gatepost: &Path) -> BTreeMap<String, String> {
    let built = Command::new(Path::new(TOP).join("rootfs/image.sh"))
        .arg(board)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("GATEPOST", gatepost)
        .env("IMAGES", Path::new(TOP).join(".build").join(format!("images-{debian}")))
        .env("OUT", Path::new(TOP).join(".build/image/reproduced"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let digests = fs::read_dir(Path::new(TOP).join(".build/image/reproduced")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let digest = Sha256::digest(fs::read(&path).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (path.file_name().unwrap().to_string_lossy().into_owned(), hex)
    });
    digests.collect()
}

/// A board with a bootloader, so that all parts are there.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let gatepost = Path::new(TOP).join(".build/bin/armv7/gatepost");
    let first = build("orangepi-pc", "armhf", &gatepost);
    let second = build("orangepi-pc", "armhf", &gatepost);
    for name in
        ["disk.img", "kernel", "initramfs", "dtb", "u-boot", "root.squashfs", "flash.squashfs", "packages", "cmdline"]
    {
        assert!(first.contains_key(name), "{name} is missing");
    }
    let differs: Vec<&String> = first.keys().filter(|name| first[*name] != second[*name]).collect();
    assert!(differs.is_empty(), "these differ: {differs:?}");
}
