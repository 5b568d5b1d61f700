//! Every blob is what it is named by: layers, manifests, configurations and indexes of layouts, and what docker-archives hold.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Node;
use super::make::{Layer, go_arch, gzip, gzip_layout, layout, sha256, tool};

fn one_file(content: &str) -> Layer {
    Layer::new().file("a", content)
}

fn good(node: &Node, name: &str) -> PathBuf {
    gzip_layout(&node.path(name), "example.com/bad:1", &[one_file("1")])
}

fn read(path: &Path) -> Value {
    gatepost::json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hex(digest: &Value) -> String {
    digest.as_str().unwrap().trim_start_matches("sha256:").to_owned()
}

fn blob(layout: &Path, hex: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex)
}

/// Replaces a word of a blob by another of the same length, so that only the digest is wrong.
fn tamper(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no {from} in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn assert_refused(node: &Node, layout: &Path, digest: &str) {
    let (reason, message) = node.refused(layout);
    assert_eq!(reason, "CorruptImage", "{message}");
    assert!(message.contains(digest) && message.contains("wrong digest"), "{message}");
}

#[test]
fn a_wrong_layer_is_refused_with_the_blob_named() {
    let node = Node::new();
    let path = good(&node, "bad");
    let wanted = sha256(&gzip(&one_file("1").bytes()));
    std::fs::write(blob(&path, &wanted), gzip(&one_file("2").bytes())).unwrap();
    assert_refused(&node, &path, &wanted);
}

#[test]
fn a_wrong_manifest_is_refused_with_the_blob_named() {
    let node = Node::new();
    let path = good(&node, "bad");
    let manifest = hex(&read(&path.join("index.json"))["manifests"][0]["digest"]);
    tamper(&blob(&path, &manifest), "\"size\"", "\"Size\"");
    assert_refused(&node, &path, &manifest);
}

#[test]
fn a_wrong_configuration_is_refused_with_the_blob_named() {
    let node = Node::new();
    let path = good(&node, "bad");
    let manifest = hex(&read(&path.join("index.json"))["manifests"][0]["digest"]);
    let config = hex(&read(&blob(&path, &manifest))["config"]["digest"]);
    tamper(&blob(&path, &config), "/bin/sh", "/bin/ex");
    assert_refused(&node, &path, &config);
}

/// Puts an index between `index.json` and the manifest it names; gives its digest.
fn nest(path: &Path) -> String {
    let mut top = read(&path.join("index.json"));
    let mut inner = top["manifests"][0].take();
    inner["annotations"] = Value::Null;
    inner["platform"] = json!({"os": "linux", "architecture": go_arch()});
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [inner]});
    let index = index.to_string();
    let digest = sha256(index.as_bytes());
    std::fs::write(blob(path, &digest), &index).unwrap();
    top["manifests"] = json!([{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": format!("sha256:{digest}"),
        "size": index.len(), "annotations": {"org.opencontainers.image.ref.name": "example.com/nested:1"}}]);
    std::fs::write(path.join("index.json"), top.to_string()).unwrap();
    digest
}

#[test]
fn a_wrong_nested_index_is_refused_with_the_blob_named() {
    let node = Node::new();
    let path = good(&node, "bad");
    let index = nest(&path);
    tamper(&blob(&path, &index), "\"linux\"", "\"Linux\"");
    assert_refused(&node, &path, &index);
    // As it was made it is taken.
    let path = good(&node, "good");
    nest(&path);
    node.import(&path);
    assert_eq!(node.resolve("example.com/nested:1").layers.len(), 1);
}

#[test]
fn a_wrong_size_is_refused_although_the_digest_is_right() {
    let node = Node::new();
    let path = good(&node, "bad");
    let mut index = read(&path.join("index.json"));
    index["manifests"][0]["size"] = json!(index["manifests"][0]["size"].as_u64().unwrap() + 1);
    std::fs::write(path.join("index.json"), index.to_string()).unwrap();
    let (reason, message) = node.refused(&path);
    assert!(reason == "CorruptImage" && message.contains("wrong size"), "{message}");
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let node = Node::new();
    let layer = one_file("1");
    let path = layout(&node.path("bad"), "example.com/bad:1", &[(gzip(&layer.bytes()), "0".repeat(64), "+gzip")]);
    let (reason, message) = node.refused(&path);
    assert!(reason == "CorruptImage" && message.contains("diff id"), "{message}");
}

#[test]
fn a_layer_that_claims_another_images_content_is_refused_whether_its_blob_is_new_or_known() {
    let node = Node::new();
    let (known, other) = (Layer::new().file("a", "1").bytes(), Layer::new().file("a", "2").bytes());
    for (name, bytes) in [("known", &known), ("other", &other)] {
        node.import(&layout(
            &node.path(name),
            &format!("example.com/{name}:1"),
            &[(gzip(bytes), sha256(bytes), "+gzip")],
        ));
    }
    let fresh = Layer::new().file("a", "3").bytes();
    for (name, bytes) in [("fresh", &fresh), ("swapped", &other)] {
        let lie = layout(&node.path(name), "example.com/bad:1", &[(gzip(bytes), sha256(&known), "+gzip")]);
        let (reason, message) = node.refused(&lie);
        assert!(reason == "CorruptImage" && message.contains("diff id"), "{message}");
    }
}

/// A docker-archive whose configuration speaks of `promised` and which holds `layer`; `name` may be of another configuration.
fn docker_archive(node: &Node, promised: &Layer, layer: &Layer, name: Option<&str>) -> PathBuf {
    let dir = node.path("docker");
    std::fs::create_dir_all(&dir).unwrap();
    let config = json!({"architecture": go_arch(), "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&promised.bytes()))]}});
    let config = config.to_string();
    let config_file = format!("{}.json", name.map_or_else(|| sha256(config.as_bytes()), str::to_owned));
    let manifest = json!([{"Config": config_file, "RepoTags": ["example.com/docker:1"], "Layers": ["layer.tar"]}]);
    std::fs::write(dir.join(&config_file), config).unwrap();
    std::fs::write(dir.join("layer.tar"), layer.bytes()).unwrap();
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = node.path("docker.tar");
    let words =
        ["-C", dir.to_str().unwrap(), "-cf", archive.to_str().unwrap(), "manifest.json", &config_file, "layer.tar"];
    tool("tar", &words);
    archive
}

#[test]
fn a_docker_archive_with_a_wrong_configuration_is_refused_by_its_name() {
    let node = Node::new();
    let wrong = "0123456789abcdef".repeat(4);
    let archive = docker_archive(&node, &one_file("1"), &one_file("1"), Some(&wrong));
    assert_refused(&node, &archive, &format!("{wrong}.json"));
}

#[test]
fn a_docker_archive_with_a_wrong_layer_is_refused_by_its_name() {
    let node = Node::new();
    let archive = docker_archive(&node, &one_file("1"), &one_file("2"), None);
    let (reason, message) = node.refused(&archive);
    assert_eq!(reason, "CorruptImage", "{message}");
    assert!(message.contains("layer.tar") && message.contains("diff id"), "{message}");
    // As it should be it is taken.
    node.import(&docker_archive(&node, &one_file("1"), &one_file("1"), None));
    node.resolve("example.com/docker:1");
}
