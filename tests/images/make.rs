//! Makes images with the tools people use, and layer tars with exact entries.

use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Runs a tool that must succeed.
pub(crate) fn tool(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, b| format!("{text}{b:02x}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// Entries of a layer, written exactly as told.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) tar: Vec<u8>,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One entry with raw path bytes; nothing is checked or cleaned.
    pub(crate) fn raw(
        mut self,
        kind: tar::EntryType,
        path: &str,
        link: &str,
        data: &[u8],
        change: impl Fn(&mut tar::Header),
    ) -> Self {
        if path.len() > 100 {
            self.push(tar::EntryType::GNULongName, "././@LongLink", "", &[path.as_bytes(), b"\0"].concat(), |_| ());
        }
        self.push(kind, path, link, data, change);
        self
    }

    fn push(&mut self, kind: tar::EntryType, path: &str, link: &str, data: &[u8], change: impl Fn(&mut tar::Header)) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        let name = path.as_bytes();
        let short = &name[..name.len().min(100)];
        header.as_gnu_mut().unwrap().name[..short.len()].copy_from_slice(short);
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(data);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Self {
        self.raw(tar::EntryType::Regular, path, "", data.as_bytes(), |_| ())
    }

    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        self.raw(tar::EntryType::Directory, path, "", b"", move |h| h.set_mode(mode))
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Symlink, path, target, b"", |_| ())
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Link, path, target, b"", |_| ())
    }

    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.push(tar::EntryType::XHeader, "pax", "", &data, |_| ());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        tar.resize(tar.len() + 1024, 0);
        tar
    }
}

/// Writes an OCI layout of these layers (already packed as blobs, with the diff id of each) with one name.
pub(crate) fn layout(dir: &Path, name: &str, layers: &[(Vec<u8>, String, &str)]) -> PathBuf {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let hex = sha256(bytes);
        std::fs::write(blobs.join(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    };
    let diff_ids: Vec<String> = layers.iter().map(|(_, diff, _)| format!("sha256:{diff}")).collect();
    let config = serde_json::json!({"architecture": go_arch(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {"Cmd": ["/bin/sh"]}});
    let config = config.to_string();
    let described: Vec<_> = layers
        .iter()
        .map(|(blob, _, kind)| serde_json::json!({"mediaType": format!("application/vnd.oci.image.layer.v1.tar{kind}"), "digest": put(blob), "size": blob.len()}))
        .collect();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config.as_bytes()), "size": config.len()}, "layers": described});
    let manifest = manifest.to_string();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": put(manifest.as_bytes()), "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": name}}]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    dir.to_owned()
}

/// A layout of plain layers, each gzipped.
pub(crate) fn gzip_layout(dir: &Path, name: &str, layers: &[Layer]) -> PathBuf {
    let packed: Vec<_> = layers.iter().map(|l| (gzip(&l.bytes()), sha256(&l.bytes()), "+gzip")).collect();
    layout(dir, name, &packed)
}

pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A real image: trees of this machine, inserted by umoci as layers, with the file types images have.
pub(crate) fn umoci_image(dir: &Path) -> PathBuf {
    let layout = dir.join("umoci");
    let path = layout.display().to_string();
    let image = format!("{path}:v1");
    tool("umoci", &["init", "--layout", &path]);
    tool("umoci", &["new", "--image", &image]);
    let tree = dir.join("rootfs");
    for (name, mode) in
        [("etc/deep/er", 0o755), ("tmp", 0o1777), ("var/spool", 0o2750), ("opt/gone", 0o755), ("usr/share", 0o755)]
    {
        let at = tree.join(name);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    std::fs::write(tree.join("etc/deep/er/file"), "content").unwrap();
    std::fs::write(tree.join("opt/gone/file"), "to be removed").unwrap();
    std::fs::hard_link(tree.join("etc/deep/er/file"), tree.join("etc/linked")).unwrap();
    std::os::unix::fs::symlink("/etc/linked", tree.join("etc/symlinked")).unwrap();
    std::fs::write(tree.join("etc/owned"), "by somebody").unwrap();
    std::os::unix::fs::chown(tree.join("etc/owned"), Some(3_000_000_000), Some(70_000)).unwrap();
    std::fs::copy("/bin/true", tree.join("opt/setuid")).unwrap();
    std::fs::set_permissions(tree.join("opt/setuid"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    let p = |name: &str| tree.join(name).display().to_string();
    tool("mkfifo", &[&p("etc/fifo")]);
    tool("mknod", &[&p("etc/null"), "c", "1", "3"]);
    tool("mknod", &[&p("etc/block"), "b", "7", "300"]);
    tool("setfattr", &["-n", "user.note", "-v", "hello", &p("etc/owned")]);
    tool("setcap", &["cap_net_raw+ep", &p("opt/setuid")]);
    std::fs::write(tree.join("etc").join("n".repeat(200)), "long name").unwrap();
    tool("umoci", &["insert", "--image", &image, &tree.display().to_string(), "/"]);
    tool("umoci", &["insert", "--image", &image, "/usr/share/perl5", "/usr/share/perl5"]);
    std::fs::create_dir(dir.join("empty")).unwrap();
    tool("umoci", &["insert", "--image", &image, "--whiteout", "/opt/gone"]);
    tool("umoci", &["insert", "--image", &image, "--opaque", &dir.join("empty").display().to_string(), "/var/spool"]);
    tool("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "A=b"]);
    layout
}
