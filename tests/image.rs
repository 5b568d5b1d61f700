//! The image build: the same input gives the same bytes, whoever builds it; and the command line that boots it in QEMU.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// What every image has.
const NAMES: [&str; 7] = ["disk.img", "kernel", "initramfs", "root.squashfs", "flash.squashfs", "packages", "cmdline"];
/// The user of the second build.
const NOBODY: u32 = 65534;
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
    // By somebody who is nobody, elsewhere, and with another idea of who may read what.
    std::os::unix::fs::chown(elsewhere.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let run = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "sh", "-c"])
        .args(["umask 077; exec rootfs/image.sh qemu-armv7"])
        .current_dir(TOP)
        .env("HOME", "/nonexistent")
        .env("TZ", "Asia/Tokyo")
        .env("GATEPOST", Path::new(TOP).join(".build/bin/armv7/gatepost"))
        .env("IMAGES", Path::new(TOP).join(".build/images-armhf"))
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

/// A board whose QEMU is echo: what would be run.
fn qemu_words(board: &str, qemu: &str, files: &[&str]) -> String {
    let image = Path::new(TOP).join(".build/image").join(board);
    fs::create_dir_all(&image).unwrap();
    for file in ["disk.img", "cmdline", "qemu-cmdline"].iter().chain(files) {
        fs::write(image.join(file), "").unwrap();
    }
    if !files.contains(&"u-boot") {
        fs::write(image.join("qemu-cmdline"), "only-here=1\n").unwrap();
    }
    fs::write(image.join("qemu"), format!("echo {qemu}\n")).unwrap();
    let run = Command::new(Path::new(TOP).join("rootfs/run.sh")).arg(board).output().unwrap();
    fs::remove_dir_all(&image).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn qemu_is_given_the_device_tree_of_a_board_without_a_boot_loader_of_its_own() {
    let words = qemu_words("test-dtb", "-serial null DISK", &["dtb"]);
    assert!(words.contains("-dtb .build/image/test-dtb/dtb") && words.contains("-kernel "), "{words}");
    assert!(words.find("-serial null") < words.find("-serial mon:stdio"), "the board's own ports come first: {words}");
    let words = qemu_words("test-virt", "DISK", &[]);
    assert!(!words.contains("-dtb") && words.contains("-kernel "), "{words}");
    assert!(words.contains("only-here=1"), "what only the emulation needs: {words}");
    let words = qemu_words("test-u-boot", "DISK", &["dtb", "u-boot"]);
    assert!(!words.contains("-dtb") && !words.contains("-kernel "), "{words}");
}
