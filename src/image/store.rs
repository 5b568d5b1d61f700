//! [`Store`]: the images of this node, an OCI image layout, and their unpacked layers. Reading needs no lock:
//! `index.json` is replaced atomically and what it names is complete and synced before it is named.
//!
//! ```text
//! images/oci-layout  images/index.json  images/blobs/sha256/<hex>     the layout; other tools may copy or serve it
//! layers/<chain id hex>/                                              one unpacked layer, a lower directory for overlayfs
//! layers/l/<first 20 digits>  ->  ../<chain id hex>                   short names, so that 127 layers fit mount(2)'s page
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::{Error, Result};
use super::limits::{MAX_DOCUMENT, MAX_LAYERS};
use super::platform::Platform;
use super::reference::Reference;
use crate::config::Layout;
use crate::json::{self, Deserialize, Serialize};
use crate::spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

/// Annotation of an index entry: the full, normalised name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same, as containerd, docker and nerdctl read it.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Annotation of an index entry: digest of the multi-platform index the manifest was chosen from.
pub(crate) const INDEX_DIGEST: &str = "gatepost.io/index-digest";
/// Hex digits of a chain id in a short link name: 80 bits, and a clash is refused at import.
const LINK_DIGITS: usize = 20;

/// The images of this node.
#[derive(Debug)]
pub struct Store {
    pub(crate) images: OwnedFd,
    pub(crate) layers: OwnedFd,
}

/// One image as `image ls` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    /// Full names, sorted; none for an image whose name has moved on to a newer one.
    pub names: Vec<String>,
    /// `sha256:<hex>` of the manifest.
    pub manifest_digest: String,
    /// `sha256:<hex>` of the configuration: the image ID of docker and podman.
    pub config_digest: String,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// RFC 3339 time of its making, as the image says.
    pub created: Option<String>,
    /// Bytes of configuration and layers as stored.
    pub size: u64,
    /// Chain ids, bottom layer first.
    pub layers: Vec<String>,
    /// Whether every layer is unpacked, so that a container can start.
    pub unpacked: bool,
    /// `sha256:<hex>` of the index it was chosen from, if there was one: a reference by digest may name that.
    pub index_digest: Option<String>,
    /// The signal that stops it, as the image says.
    pub stop_signal: Option<String>,
    /// The description it runs from, if it is none of the store ([`super::flash`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flash: Option<String>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One image, ready to make a bundle of.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    /// Full names, sorted.
    pub names: Vec<String>,
    /// `sha256:<hex>` of the manifest.
    pub manifest_digest: String,
    /// `sha256:<hex>` of the configuration.
    pub config_digest: String,
    /// What to run and how.
    pub config: ImageConfiguration,
    /// Chain ids (`sha256:<hex>`), bottom layer first.
    pub layers: Vec<String>,
    /// Bytes of configuration and layers as stored.
    pub size: u64,
    /// Whether every layer is unpacked; if not, the worker's `Unpack` does it.
    pub unpacked: bool,
}

impl StoredImage {
    /// The lower directories for overlayfs, top layer first, relative to [`Layout::layers`]: mount(2) with that as the
    /// working directory, joined by `:`. Each is 22 bytes long.
    pub fn lower_dirs(&self) -> Vec<PathBuf> {
        self.layers.iter().rev().map(|chain| PathBuf::from(link_name(hex_of(chain)))).collect()
    }
}

impl Store {
    /// Opens the store, making its empty directories at the first time.
    pub fn open(layout: &Layout) -> Result<Self> {
        let open = |path: PathBuf, mode: u32| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mut fd = rustix::fs::open(&path, flags, Mode::empty());
            // Only then: mkdir(2) waits for a file system that stands still even when the directory is there.
            if matches!(fd, Err(rustix::io::Errno::NOENT)) {
                std::fs::create_dir_all(&path).map_err(|e| Error::io(format!("making {}", path.display()), e))?;
                fd = rustix::fs::open(&path, flags, Mode::empty());
            }
            let fd = fd.map_err(|e| Error::io(format!("opening {}", path.display()), e))?;
            let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
            if stat.st_mode & 0o7777 != mode {
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))
                    .map_err(|e| Error::io(format!("setting the mode of {}", path.display()), e))?;
            }
            Ok(fd)
        };
        // Layers hold setuid programs: nobody but root may enter.
        Ok(Self { images: open(layout.images(), 0o755)?, layers: open(layout.layers(), 0o700)? })
    }

    /// All images, sorted by name. What cannot be read is in the second list, as messages.
    pub fn list(&self) -> Result<(Vec<ImageSummary>, Vec<String>)> {
        let mut images: Vec<ImageSummary> = Vec::new();
        let mut problems = Vec::new();
        for entry in self.index()?.manifests() {
            let name = name_of(entry);
            let digest = entry.digest().clone();
            if let Some(known) = images.iter_mut().find(|image| image.manifest_digest == digest) {
                known.names.extend(name);
                continue;
            }
            match self.load(&digest) {
                Ok((manifest, config, layers)) => images.push(ImageSummary {
                    names: name.into_iter().collect(),
                    config_digest: manifest.config().digest().clone(),
                    platform: Platform::of_config(&config).to_string(),
                    created: config.created().clone(),
                    size: size_of(&manifest),
                    unpacked: layers.iter().all(|chain| self.has_layer(hex_of(chain))),
                    index_digest: annotation(entry, INDEX_DIGEST).map(str::to_owned),
                    stop_signal: config.config().as_ref().and_then(|c| c.stop_signal().clone()),
                    layers,
                    manifest_digest: digest,
                    flash: None,
                    problem: None,
                }),
                Err(error) => problems.push(format!("image {}: {error}", name.unwrap_or(digest))),
            }
        }
        for image in &mut images {
            image.names.sort();
            image.names.dedup();
        }
        images.sort_by(|a, b| {
            (a.names.is_empty(), &a.names, &a.manifest_digest).cmp(&(b.names.is_empty(), &b.names, &b.manifest_digest))
        });
        Ok((images, problems))
    }

    /// The image a reference names: by digest when it has one (of the manifest, or of the index it was chosen from),
    /// else by name and tag.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<StoredImage>> {
        let index = self.index()?;
        let wanted = reference.to_string();
        let found = index.manifests().iter().find(|entry| match reference.digest() {
            Some(digest) => entry.digest() == digest || annotation(entry, INDEX_DIGEST) == Some(digest),
            None => name_of(entry).is_some_and(|name| name == wanted),
        });
        let Some(entry) = found else { return Ok(None) };
        let digest = entry.digest().clone();
        let (manifest, config, layers) = self.load(&digest).map_err(|e| e.within(format!("image {wanted}")))?;
        let mut names: Vec<String> =
            index.manifests().iter().filter(|other| other.digest() == entry.digest()).filter_map(name_of).collect();
        names.sort();
        names.dedup();
        Ok(Some(StoredImage {
            names,
            config_digest: manifest.config().digest().clone(),
            size: size_of(&manifest),
            unpacked: layers.iter().all(|chain| self.has_layer(hex_of(chain))),
            manifest_digest: digest,
            config,
            layers,
        }))
    }

    /// The index; empty where there is none yet.
    pub(crate) fn index(&self) -> Result<ImageIndex> {
        let failed = |e: Errno| Error::io("reading the image store's index.json", e);
        let file = match rustix::fs::openat(&self.images, "index.json", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => {
                let mut empty = ImageIndex::default();
                empty.set_schema_version(2);
                return Ok(empty);
            }
            Err(error) => return Err(failed(error)),
        };
        let bytes = read_limited(file, MAX_DOCUMENT).map_err(|e| e.within("the image store's index.json"))?;
        json::from_slice(&bytes).map_err(|e| {
            Error::Corrupt(format!(
                "the image store's index.json is damaged ({e}); remove it and import the images again"
            ))
        })
    }

    /// Manifest, configuration and chain ids, digests checked.
    pub(crate) fn load(&self, digest: &str) -> Result<(ImageManifest, ImageConfiguration, Vec<String>)> {
        let manifest: ImageManifest = parse(&self.read_blob(digest)?, "manifest")?;
        let config: ImageConfiguration = parse(&self.read_blob(manifest.config().digest())?, "image configuration")?;
        let layers = chain_ids(config.rootfs().diff_ids())?;
        if layers.len() != manifest.layers().len() {
            return Err(Error::Corrupt("manifest and configuration do not have the same number of layers".into()));
        }
        Ok((manifest, config, layers))
    }

    /// Whether an image here has this layer with this content: it was checked when that image came.
    pub(crate) fn has_checked(&self, blob: &str, diff_id: &str) -> bool {
        let index = self.index().unwrap_or_default();
        index.manifests().iter().filter_map(|entry| self.load(entry.digest()).ok()).any(|(manifest, config, _)| {
            let mut layers = manifest.layers().iter().zip(config.rootfs().diff_ids());
            layers.any(|(layer, content)| layer.digest() == blob && content == diff_id)
        })
    }

    /// A small blob, digest checked.
    pub(crate) fn read_blob(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes =
            read_limited(self.open_blob(digest)?, MAX_DOCUMENT).map_err(|e| e.within(format!("blob {digest}")))?;
        let found = sha256_of(&bytes);
        if found != digest {
            return Err(Error::Corrupt(format!("blob {digest}: its content has the digest {found}")));
        }
        Ok(bytes)
    }

    pub(crate) fn open_blob(&self, digest: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.images, blob_path(digest)?, flags, Mode::empty())
            .map(File::from)
            .map_err(|e| Error::io(format!("opening blob {digest} of the image store"), e))
    }

    /// Size of a blob that is there.
    pub(crate) fn blob_size(&self, digest: &str) -> Option<u64> {
        let stat = rustix::fs::statat(&self.images, blob_path(digest).ok()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    /// Whether a layer is unpacked; by name alone, since a layer gets its name only when it is complete and synced.
    pub(crate) fn has_layer(&self, hex: &str) -> bool {
        rustix::fs::statat(&self.layers, hex, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            && rustix::fs::readlinkat(&self.layers, link_name(hex), Vec::new())
                .is_ok_and(|target| target.to_bytes() == format!("../{hex}").as_bytes())
    }
}

/// `l/<digits>` of a chain id's hex digits.
pub(crate) fn link_name(hex: &str) -> String {
    format!("l/{}", hex.get(..LINK_DIGITS).unwrap_or(hex))
}

/// The hex digits behind `sha256:`.
pub(crate) fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Where a blob lies in a layout; only sha256 digests in their one form, so the path cannot lead elsewhere.
pub(crate) fn blob_path(digest: &str) -> Result<String> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) => {
            Ok(format!("blobs/sha256/{hex}"))
        }
        _ => Err(Error::Unsupported(format!("digest {digest:?}: only sha256:<64 lower-case hex digits> is supported"))),
    }
}

/// Chain id of each layer from the bottom (OCI image specification, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[String]) -> Result<Vec<String>> {
    if diff_ids.len() > MAX_LAYERS {
        return Err(Error::Limit(format!("the image has {} layers; the limit is {MAX_LAYERS}", diff_ids.len())));
    }
    let mut chains: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        blob_path(diff_id)?;
        let chain = match chains.last() {
            None => diff_id.clone(),
            Some(below) => sha256_of(format!("{below} {diff_id}").as_bytes()),
        };
        chains.push(chain);
    }
    Ok(chains)
}

/// `sha256:<hex>` of some bytes.
pub fn sha256_of(bytes: &[u8]) -> String {
    digest_text(Sha256::digest(bytes).as_slice())
}

/// `sha256:<hex>` of a finished hash.
pub fn digest_text(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn annotation<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

/// The full name of an index entry, also where another tool wrote it.
pub(crate) fn name_of(entry: &Descriptor) -> Option<String> {
    [CONTAINERD_NAME, REF_NAME]
        .iter()
        .find_map(|key| annotation(entry, key)?.parse::<Reference>().ok())
        .map(|r| r.to_string())
}

/// Decodes a JSON document of an image.
pub(crate) fn parse<T: json::Deserialize>(bytes: &[u8], what: &str) -> Result<T> {
    json::from_slice(bytes).map_err(|e| Error::Corrupt(format!("the {what} is not valid: {e}")))
}

/// Reads a document of a bounded size.
pub(crate) fn read_limited(mut source: impl Read, limit: u64) -> Result<Vec<u8>> {
    read_at_most(&mut source, limit)
}

fn read_at_most(source: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io("reading", e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Limit(format!("the document is larger than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

fn size_of(manifest: &ImageManifest) -> u64 {
    manifest.layers().iter().fold(manifest.config().size(), |sum, layer| sum.saturating_add(layer.size()))
}
