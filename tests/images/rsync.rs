//! The store is copied by rsync as it is, while images come.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::Node;
use super::make::{Layer, gzip_layout, sha256, tool};

/// The recipe of docs/images.md: what the index names was there when it was copied, so the index is copied first and named last.
fn copy(images: &Path, to: &Path) {
    let (from, to) = (images.display().to_string(), to.display().to_string());
    tool("rsync", &["-a", &format!("{from}/index.json"), &format!("{to}/.index.json.new")]);
    tool("rsync", &["-a", "--exclude=/index.json", "--exclude=/.*", &format!("{from}/"), &format!("{to}/")]);
    fs::rename(format!("{to}/.index.json.new"), format!("{to}/index.json")).unwrap();
}

/// Everything that the index leads to is there and is what its name says; gives the names.
fn names_of(copy: &Path) -> Vec<String> {
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let bytes = fs::read(copy.join("blobs/sha256").join(&hex)).expect("what the index leads to is there");
        assert_eq!(sha256(&bytes), hex);
        bytes
    };
    let index: Value = serde_json::from_slice(&fs::read(copy.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    for entry in entries {
        let manifest: Value = serde_json::from_slice(&blob(&entry["digest"])).unwrap();
        blob(&manifest["config"]["digest"]);
        manifest["layers"].as_array().unwrap().iter().for_each(|layer| drop(blob(&layer["digest"])));
    }
    entries.iter().map(|e| e["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_copy_made_while_images_are_imported_is_whole_and_usable() {
    let node = Node::new();
    let archives: Vec<_> = (0..12)
        .map(|n| {
            let layers: Vec<_> = (0..4).map(|l| Layer::new().file("f", &format!("{n} {l} ").repeat(150_000))).collect();
            gzip_layout(&node.path(&format!("archive{n}")), &format!("example.com/app{n}:1"), &layers)
        })
        .collect();
    node.import(&archives[0]);
    let done = AtomicBool::new(false);
    let mut sizes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            archives[1..].iter().for_each(|archive| drop(node.import(archive)));
            done.store(true, Ordering::Relaxed);
        });
        loop {
            let last = done.load(Ordering::Relaxed);
            let to = node.path("copy");
            fs::create_dir_all(&to).unwrap();
            copy(&node.layout.images(), &to);
            sizes.push(names_of(&to).len());
            if last {
                break;
            }
        }
    });
    assert!(sizes.iter().any(|size| *size < 12), "no copy was made while images came: {sizes:?}");
    assert_eq!(sizes.last(), Some(&12));
    let copied = node.path("copy");
    tool("skopeo", &["inspect", &format!("oci:{}:example.com/app7:1", copied.display())]);
    let to = format!("oci-archive:{}", node.path("seven.tar").display());
    tool("skopeo", &["copy", "-q", &format!("oci:{}:example.com/app7:1", copied.display()), &to]);
    let other = Node::new();
    let report = other.import(&copied);
    assert_eq!(report.images.len(), 12);
    assert!(report.images.iter().all(|image| image.unpacked));
    // Nothing but what is part of the layout was copied.
    let mut found: Vec<_> = fs::read_dir(&copied).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["blobs", "index.json", "oci-layout"]);
}
