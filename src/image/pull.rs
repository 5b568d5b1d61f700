//! What `gatepost-fetch pull` is asked and what it answers: [`Request`] and [`Report`]. HTTP, TLS and names are in that program.
//!
//! It leaves the image as an OCI layout in a directory of its own below [`DIRECTORY`], each blob checked against its digest; the worker's
//! `Adopt` links them into the store from there.

use std::path::PathBuf;

use super::platform::Platform;
use super::reference::Reference;
use super::store::sha256_of;
use crate::json::{Deserialize, Serialize};
use crate::spec::image::{Descriptor, ImageIndex};

/// Version of [`Request`] and [`Report`].
pub const VERSION: u32 = 1;

/// What is being pulled lies here, in the directory of the images: on their file system, so that nothing is copied.
pub const DIRECTORY: &str = ".pull";

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The directory of the images.
    pub images: PathBuf,
    /// The image's full name.
    pub image: String,
    /// Where to ask, in order.
    pub endpoints: Vec<Endpoint>,
    /// Contents of docker's `config.json` or `.dockercfg` that count for the registry of the name.
    pub secrets: Vec<String>,
    /// Digests of manifest and index under which the image is here already, whole.
    pub present: Vec<String>,
    /// So long a server may bring next to nothing, in milliseconds.
    pub stall_ms: u64,
}

/// One place that may have the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `http://host[:port]` or `https://host[:port]`, perhaps with a path before `/v2/`.
    pub url: String,
    /// It is the registry of the name, not a mirror.
    pub upstream: bool,
    /// Its certificate is not looked at.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca: Option<PathBuf>,
    /// A docker `config.json` with credentials.
    pub auth: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The image is in its directory, or was here.
    pub ok: bool,
    /// Why not: of each endpoint.
    pub error: String,
    /// No endpoint could be reached.
    pub unreachable: bool,
    /// Which endpoint had it.
    pub endpoint: String,
    /// It is one of those present.
    pub unchanged: bool,
    /// Bytes of manifests, configuration and layers.
    pub size: u64,
    /// Bytes that came now.
    pub received: u64,
}

/// The directory of an image below [`DIRECTORY`].
pub fn directory_of(image: &Reference) -> String {
    let digest = sha256_of(image.to_string().as_bytes());
    digest.trim_start_matches("sha256:").chars().take(20).collect()
}

/// The manifest of an index that suits this node best.
///
/// # Errors
/// There is none; for which platforms there are.
pub fn best_of(index: &ImageIndex) -> Result<Descriptor, String> {
    let host = Platform::host();
    let mut best: Option<(u32, &Descriptor)> = None;
    let mut offered = Vec::new();
    for entry in index.manifests() {
        let Some(platform) = entry.platform().as_ref().filter(|platform| platform.os() != "unknown") else { continue };
        let platform = Platform::of_descriptor(platform);
        offered.push(platform.to_string());
        if let Some(rank) = host.suits(&platform).filter(|rank| best.is_none_or(|(known, _)| *rank > known)) {
            best = Some((rank, entry));
        }
    }
    best.map(|(_, entry)| entry.clone())
        .ok_or_else(|| format!("no image for this node ({host}); there are: {}", offered.join(", ")))
}
