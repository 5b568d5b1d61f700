//! [`FlashImage`]: an image that runs from where it lies, beside the archives of `imagePreloadPath`. Nothing of it is imported or copied.
//!
//! ```text
//! NAME.flash.json                       names, configuration, and which layers (`gatepost image build-flash` writes it last)
//! <20 digits of a chain id>.squashfs    one layer: a read-only file system, a lower directory for overlayfs as it is; shared by images
//! <20 digits of a chain id>.erofs       the same
//! ```
//!
//! A description is read each time it is asked for; layers are looked at by name and size only. What is in them is checked by `verify`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use super::error::{Error, Result};
use super::limits::MAX_DOCUMENT;
use super::pipeline::hash_only;
use super::platform::Platform;
use super::progress::Progress;
use super::reference::Reference;
use super::store::{ImageSummary, chain_ids, read_limited, sha256_of};
use crate::json::{self, Deserialize, Serialize};
use crate::spec::image::ImageConfiguration;

/// Version of descriptions.
pub const VERSION: u32 = 1;
/// End of the name of each description.
pub const SUFFIX: &str = ".flash.json";
/// Kinds of file systems that layers may be in: ends of their names, and what mount(2) calls them.
pub const KINDS: [&str; 2] = ["squashfs", "erofs"];
const REMEDY: &str = "make it again with `gatepost image build-flash`";

/// A description as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// [`VERSION`].
    pub version: u32,
    /// Full names.
    pub names: Vec<String>,
    /// `sha256:<hex>` of the manifest that the image had as an archive.
    pub manifest_digest: String,
    /// `sha256:<hex>` of the index that was chosen from, if there was one.
    #[serde(default)]
    pub index_digest: Option<String>,
    /// `sha256:<hex>` of the configuration.
    pub config_digest: String,
    /// The configuration as the image has it, byte for byte.
    pub config: String,
    /// Bottom layer first.
    pub layers: Vec<FlashLayer>,
}

/// One layer of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashLayer {
    /// Name of the file, which lies beside the description.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// `sha256:<hex>` of it.
    pub digest: String,
}

/// What is understood of descriptions of all versions.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: u32,
    #[serde(default)]
    names: Vec<String>,
}

/// An image on flash, or why there is none where one should be.
#[derive(Debug, Clone)]
pub struct FlashImage {
    /// The description.
    pub path: PathBuf,
    /// Names; none where even they cannot be read.
    pub names: Vec<String>,
    /// What it consists of, or what is wrong with it.
    pub found: std::result::Result<Found, String>,
}

/// An image on flash of which all is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// As written.
    pub description: Description,
    /// What to run and how.
    pub config: ImageConfiguration,
    /// Chain ids, bottom layer first.
    chains: Vec<String>,
}

impl FlashImage {
    /// Whether a reference means it: by digest when that has one, else by name.
    fn is(&self, reference: &Reference) -> bool {
        match (reference.digest(), &self.found) {
            (Some(digest), Ok(Found { description, .. })) => {
                description.manifest_digest == digest || description.index_digest.as_deref() == Some(digest)
            }
            (Some(_), Err(_)) => false,
            (None, _) => self.names.contains(&reference.to_string()),
        }
    }

    /// As `image ls` shows it.
    pub(super) fn summary(self) -> ImageSummary {
        let flash = Some(self.path.display().to_string());
        let found = match self.found {
            Ok(found) => found,
            Err(problem) => {
                return ImageSummary { names: self.names, flash, problem: Some(problem), ..ImageSummary::default() };
            }
        };
        let Found { description, config, chains } = found;
        ImageSummary {
            names: self.names,
            platform: Platform::of_config(&config).to_string(),
            created: config.created().clone(),
            size: description.layers.iter().fold(description.config.len() as u64, |sum, l| sum.saturating_add(l.size)),
            layers: chains,
            unpacked: true,
            index_digest: description.index_digest,
            stop_signal: config.config().as_ref().and_then(|c| c.stop_signal().clone()),
            manifest_digest: description.manifest_digest,
            config_digest: description.config_digest,
            flash,
            problem: None,
        }
    }
}

/// Whether a file of a preload directory belongs to such an image.
pub(super) fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(SUFFIX) || KINDS.iter().any(|kind| name.strip_suffix(kind).is_some_and(|name| name.ends_with('.')))
}

/// All images in these directories: first those that are whole, in the order of directories and names. A directory that is not there
/// has none.
pub fn list(directories: &[PathBuf]) -> Vec<FlashImage> {
    let mut images = Vec::new();
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let visible = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(SUFFIX) && !name.starts_with('.')
        };
        let mut here: Vec<PathBuf> = entries.filter(visible).collect();
        here.sort();
        images.extend(here.into_iter().map(read));
    }
    images.sort_by_key(|image| image.found.is_err());
    images
}

/// The image that a reference means; `Err` says why it cannot be used.
pub fn resolve(directories: &[PathBuf], reference: &Reference) -> Result<Option<(PathBuf, Found)>> {
    match list(directories).into_iter().find(|image| image.is(reference)) {
        Some(FlashImage { path, found: Ok(found), .. }) => Ok(Some((path, found))),
        Some(FlashImage { found: Err(why), .. }) => Err(Error::Corrupt(why)),
        None => Ok(None),
    }
}

fn read(path: PathBuf) -> FlashImage {
    let mut names = Vec::new();
    let found = open(&path, &mut names).map_err(|error| format!("{}: {error}", path.display()));
    FlashImage { path, names, found }
}

fn open(path: &Path, names: &mut Vec<String>) -> Result<Found> {
    let file = File::open(path).map_err(|e| Error::io("opening", e))?;
    let bytes = read_limited(file, MAX_DOCUMENT)?;
    let damaged = |e: json::Error| Error::Corrupt(format!("the description is not valid ({e}); {REMEDY}"));
    let head: Head = json::from_slice(&bytes).map_err(damaged)?;
    *names = head.names.iter().filter_map(|name| Some(name.parse::<Reference>().ok()?.to_string())).collect();
    if head.version != VERSION {
        return Err(Error::Unsupported(format!(
            "the description is of version {}, and this gatepost reads version {VERSION}; {REMEDY} of the same release",
            head.version
        )));
    }
    let description: Description = json::from_slice(&bytes).map_err(damaged)?;
    let digest = sha256_of(description.config.as_bytes());
    if digest != description.config_digest {
        return Err(Error::Corrupt(format!(
            "its configuration has the digest {digest}, and not {}; {REMEDY}",
            description.config_digest
        )));
    }
    let config: ImageConfiguration = json::from_slice(description.config.as_bytes()).map_err(damaged)?;
    let chains = chain_ids(config.rootfs().diff_ids())?;
    if chains.len() != description.layers.len() || chains.is_empty() {
        return Err(Error::Corrupt(format!(
            "its configuration has {} layers, and the description {}; {REMEDY}",
            chains.len(),
            description.layers.len()
        )));
    }
    for layer in &description.layers {
        let file = layer_path(path, layer)?;
        let shown = file.display();
        match fs::metadata(&file) {
            Ok(metadata) if metadata.len() == layer.size => {}
            Ok(metadata) => {
                return Err(Error::Corrupt(format!(
                    "its layer {shown} has {} bytes of {}: was it copied whole?",
                    metadata.len(),
                    layer.size
                )));
            }
            Err(error) => return Err(Error::io(format!("its layer {shown}"), error)),
        }
    }
    Ok(Found { description, config, chains })
}

/// Where a layer lies: beside its description, nowhere else.
pub fn layer_path(description: &Path, layer: &FlashLayer) -> Result<PathBuf> {
    let name = Path::new(&layer.file);
    let mut parts = name.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(description.with_file_name(name)),
        _ => Err(Error::Unsafe(format!("its layer {:?} is no plain file name", layer.file))),
    }
}

/// The kind of file system in a layer, by what stands at its beginning.
pub fn kind_of(layer: &Path) -> Result<&'static str> {
    let file = File::open(layer).map_err(|e| Error::io(format!("opening {}", layer.display()), e))?;
    let word = |at: u64| {
        let mut word = [0; 4];
        file.read_exact_at(&mut word, at).map(|()| word)
    };
    match (word(0), word(1024)) {
        (Ok([b'h', b's', b'q', b's']), _) => Ok(KINDS[0]),
        (_, Ok([0xe2, 0xe1, 0xf5, 0xe0])) => Ok(KINDS[1]),
        (Err(error), _) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Error::io(format!("reading {}", layer.display()), error))
        }
        _ => Err(Error::Corrupt(format!("{} is neither squashfs nor erofs", layer.display()))),
    }
}

/// What to say to somebody who wants to remove an image that is on flash.
pub(super) fn refuse_removal(images: &[FlashImage], name: &str) -> Option<Error> {
    let reference: Reference = name.parse().ok()?;
    let image = images.iter().find(|image| image.is(&reference))?;
    Some(Error::Unsupported(format!(
        "image {name} is not in the store but on flash, where nothing is changed; remove {} to be rid of it",
        image.path.display()
    )))
}

/// A layer that was opened to be read through, before that was given up.
pub(super) struct OpenLayer {
    path: PathBuf,
    layer: FlashLayer,
    file: std::io::Result<File>,
}

/// The layers of images that are whole, each once.
pub(super) fn open_layers(images: &[FlashImage]) -> Vec<OpenLayer> {
    let mut layers: Vec<OpenLayer> = Vec::new();
    for image in images {
        let Ok(found) = &image.found else { continue };
        for layer in &found.description.layers {
            let Ok(path) = layer_path(&image.path, layer) else { continue };
            if !layers.iter().any(|known| known.path == path && known.layer == *layer) {
                layers.push(OpenLayer { file: File::open(&path), path, layer: layer.clone() });
            }
        }
    }
    layers
}

/// Reads layers through: what is wrong with them, and how many there are.
pub(super) fn verify(layers: Vec<OpenLayer>, progress: &Progress, warnings: &mut Vec<String>) -> usize {
    let count = layers.len();
    for OpenLayer { path, layer, file } in layers {
        let shown = path.display();
        let found = file.map_err(|e| Error::io("opening", e));
        match found.and_then(|mut file| hash_only(&mut file, None, progress, &layer.file)) {
            Ok((found, _)) if found == layer.digest => {}
            Ok((found, _)) => warnings.push(format!(
                "layer {shown} is damaged: its content has the digest {found}, and not {}; copy it again",
                layer.digest
            )),
            Err(error) => warnings.push(format!("layer {shown}: {error}")),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const CONFIG: &str = r#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0101010101010101010101010101010101010101010101010101010101010101"]}}"#;

    /// An image of one layer.
    fn write(directory: &Path, file: &str, name: &str, manifest: &str) {
        fs::write(directory.join("layer.erofs"), "content").unwrap();
        let layer = FlashLayer { file: "layer.erofs".into(), size: 7, digest: sha256_of(b"content") };
        let description = Description {
            version: VERSION,
            names: vec![name.to_owned()],
            manifest_digest: manifest.to_owned(),
            index_digest: None,
            config_digest: sha256_of(CONFIG.as_bytes()),
            config: CONFIG.to_owned(),
            layers: vec![layer],
        };
        fs::write(directory.join(file), json::to_vec(&description).unwrap()).unwrap();
    }

    fn digest(of: &str) -> String {
        sha256_of(of.as_bytes())
    }

    #[test]
    fn an_image_is_found_by_name_and_digest_and_a_whole_one_before_a_broken_one() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "b.flash.json", "docker.io/library/web:1", &digest("b"));
        fs::write(directory.path().join("a.flash.json"), r#"{"version":7,"names":["web:1"]}"#).unwrap();
        fs::write(directory.path().join("web.tar"), "an archive").unwrap();
        let directories = ["/nonexistent".into(), directory.path().to_owned()];
        let found = |reference: &str| resolve(&directories, &reference.parse().unwrap()).unwrap();
        let by_digest = format!("anything@{}", digest("b"));
        for reference in ["web:1", "docker.io/library/web:1", &by_digest] {
            assert_eq!(found(reference).unwrap().0, directory.path().join("b.flash.json"), "{reference}");
        }
        assert!(found("web:2").is_none());
        let summaries: Vec<_> = list(&directories).into_iter().map(FlashImage::summary).collect();
        assert!(summaries[0].unpacked && summaries[0].platform == "linux/arm64");
        assert!(!summaries[1].unpacked && summaries[1].problem.as_ref().unwrap().contains("version 7"));
        fs::remove_file(directory.path().join("b.flash.json")).unwrap();
        let error = resolve(&directories, &"web:1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("a.flash.json") && error.contains("version 7"), "{error}");
    }

    #[test]
    fn only_what_is_read_through_shows_a_changed_layer() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            write(directory.path(), &format!("{name}.flash.json"), name, &digest(name));
        }
        let checked = || {
            let images = list(&[directory.path().to_owned()]);
            assert!(images.iter().all(|image| image.found.is_ok()));
            let mut warnings = Vec::new();
            (verify(open_layers(&images), &Progress::new(None), &mut warnings), warnings)
        };
        assert_eq!(checked(), (1, Vec::new()), "the layer of both is read once");
        fs::write(directory.path().join("layer.erofs"), "CONTENT").unwrap();
        let (_, warnings) = checked();
        assert!(warnings[0].contains("layer.erofs is damaged"), "{warnings:?}");
    }

    #[test]
    fn parts_of_images_on_flash_are_no_archives() {
        let parts = ["web.flash.json", "0123.squashfs", "0123.erofs"];
        assert!(parts.iter().all(|name| is_part(&Path::new("/flash").join(name))));
        assert!(!["web.tar", "erofs", "squashfs", "web.json"].iter().any(|name| is_part(Path::new(name))));
    }
}
