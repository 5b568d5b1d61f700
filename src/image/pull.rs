//! What `gatepost-fetch pull` is asked and what it answers: [`Request`] and [`Report`]. HTTP, TLS and names are in that program.
//!
//! It leaves the image as an OCI layout in a directory of its own below [`DIRECTORY`], each blob checked against its digest; the worker's
//! `Adopt` links them into the store from there.

use std::path::PathBuf;

use super::candidate::{check_config_type, check_layer_type};
use super::limits::MAX_LAYERS;
use super::platform::Platform;
use super::reference::Reference;
use super::store::sha256_of;
use crate::json::{Deserialize, Serialize};
use crate::spec::image::{Descriptor, ImageManifest, MANIFEST_TYPES};

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
    /// Most bytes in a second; 0: as many as come.
    pub bandwidth: u64,
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

/// How far a pull is, as 64-bit words in memory that the supervisor passes to it: which of the endpoints is asked, bytes of manifests,
/// configuration and layers, and how many of those are here.
pub const WORDS: usize = 3;
/// A word of [`WORDS`].
pub const ENDPOINT: usize = 0;
/// A word of [`WORDS`]; 0 as long as it is not known.
pub const SIZE: usize = 1;
/// A word of [`WORDS`].
pub const HAVE: usize = 2;

/// What an entry of an index is to this node.
pub enum Offer {
    /// An image for it, the better the higher.
    Suits(u32),
    /// An image for this platform.
    Other(String),
    /// No image: attestations of BuildKit, and what nobody knows.
    Nothing,
}

/// What an entry of an index is to this node.
pub fn offer(entry: &Descriptor) -> Offer {
    match entry.platform() {
        _ if !MANIFEST_TYPES.contains(&entry.media_type().as_str()) => Offer::Nothing,
        None => Offer::Suits(0),
        Some(platform) if platform.os() == "unknown" => Offer::Nothing,
        Some(platform) => {
            let platform = Platform::of_descriptor(platform);
            Platform::host().suits(&platform).map_or_else(|| Offer::Other(platform.to_string()), Offer::Suits)
        }
    }
}

/// Why none of the images of an index is taken.
pub fn none_for_this_node(offered: &[String]) -> String {
    format!("no image for this node ({}); there are: {}", Platform::host(), offered.join(", "))
}

/// Whether the store would take such an image, before it is pulled.
///
/// # Errors
/// It has too many layers, or of a kind that is not known here.
pub fn check(manifest: &ImageManifest) -> Result<(), String> {
    let layers = manifest.layers();
    if layers.len() > MAX_LAYERS {
        return Err(format!("the image has {} layers; the limit is {MAX_LAYERS}", layers.len()));
    }
    let types = layers.iter().map(|layer| check_layer_type(layer.media_type()));
    std::iter::once(check_config_type(manifest.config().media_type()))
        .chain(types)
        .collect::<Result<(), _>>()
        .map_err(|e| e.to_string())
}
