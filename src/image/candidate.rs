//! [`Candidate`]: which images an archive holds, by its `index.json` (OCI layout) or `manifest.json` (docker-archive), and
//! which of them this node can run.

use super::change::Change;
use super::error::{Error, Result};
use super::limits::{MAX_LAYERS, MAX_MANIFESTS};
use super::pull::{Offer, none_for_this_node, offer};
use super::reference::Reference;
use super::source::Source;
use super::store::{CONTAINERD_NAME, REF_NAME, annotation, blob_path, parse, sha256_of};
use crate::json::{self, Deserialize};
use crate::spec::image::{CONFIG, Descriptor, INDEX_TYPES, ImageIndex, ImageManifest, MANIFEST};

/// An image of the archive, chosen for this node, not yet stored.
pub(super) struct Candidate {
    pub(super) names: Vec<String>,
    pub(super) index_digest: Option<String>,
    /// As the archive has it; none for docker-archives, which have no manifest in this sense.
    pub(super) manifest: Option<(Vec<u8>, Descriptor)>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<LayerSource>,
}

/// Where a layer of a candidate lies in the archive.
pub(super) struct LayerSource {
    pub(super) member: String,
    /// What the manifest says it must be.
    pub(super) expected: Option<(String, u64)>,
}

/// Images of an OCI layout: one for each entry of its index, or for each group of entries of one name.
pub(super) fn from_layout(source: &Source, change: &Change<'_>, index: &[u8]) -> Result<Vec<Candidate>> {
    let index: ImageIndex = parse(index, "index.json")?;
    if index.manifests().is_empty() {
        return Err(Error::NotFound("its index.json lists no image".into()));
    }
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for entry in index.manifests() {
        let name = annotation(entry, CONTAINERD_NAME).or_else(|| annotation(entry, REF_NAME)).map(str::to_owned);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            // Entries of one name are one image for several platforms; nameless ones only if they say so.
            Some((_, entries)) if name.is_some() || entry.platform().is_some() => entries.push(entry.clone()),
            _ => groups.push((name, vec![entry.clone()])),
        }
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for (name, entries) in groups {
        let mut budget = MAX_MANIFESTS;
        let mut offered = Vec::new();
        let chosen = choose(source, change, &entries, None, &mut budget, &mut offered).map_err(|e| match &name {
            Some(name) => e.within(format!("image {name}")),
            None => e,
        })?;
        let Some((_, descriptor, index_digest)) = chosen else {
            return Err(Error::Unsupported(if offered.is_empty() {
                "its index.json leads to no container image".into()
            } else {
                none_for_this_node(&offered)
            }));
        };
        let bytes = layout_document(source, change, &descriptor)?;
        let manifest: ImageManifest = parse(&bytes, "manifest")?;
        check_config_type(manifest.config().media_type())?;
        if manifest.layers().len() > MAX_LAYERS {
            return Err(Error::Limit(format!(
                "the image has {} layers; the limit is {MAX_LAYERS}",
                manifest.layers().len()
            )));
        }
        let config = layout_document(source, change, manifest.config())?;
        let mut layers = Vec::new();
        for layer in manifest.layers() {
            check_layer_type(layer.media_type())?;
            let digest = layer.digest().clone();
            layers.push(LayerSource { member: blob_path(&digest)?, expected: Some((digest, layer.size())) });
        }
        match candidates
            .iter_mut()
            .find(|c| c.manifest.as_ref().is_some_and(|(_, d)| d.digest() == descriptor.digest()))
        {
            Some(same) => same.names.extend(name),
            None => candidates.push(Candidate {
                names: name.into_iter().collect(),
                index_digest,
                manifest: Some((bytes, descriptor)),
                config,
                layers,
            }),
        }
    }
    Ok(candidates)
}

/// A manifest, how well it suits this node, and the digest of the index it came from.
type Choice = (u32, Descriptor, Option<String>);

/// The manifest for this node among some descriptors; `offered` gets the platforms of others.
fn choose(
    source: &Source,
    change: &Change<'_>,
    entries: &[Descriptor],
    from: Option<&str>,
    budget: &mut usize,
    offered: &mut Vec<String>,
) -> Result<Option<Choice>> {
    let mut best: Option<Choice> = None;
    for entry in entries {
        *budget = budget
            .checked_sub(1)
            .ok_or_else(|| Error::Limit(format!("its indexes lead to more than {MAX_MANIFESTS} manifests")))?;
        let found = if INDEX_TYPES.contains(&entry.media_type().as_str()) {
            let digest = entry.digest().clone();
            let nested: ImageIndex = parse(&layout_document(source, change, entry)?, "index")?;
            choose(source, change, nested.manifests(), Some(from.unwrap_or(&digest)), budget, offered)?
        } else {
            let rank = match offer(entry) {
                Offer::Suits(rank) => Some(rank),
                Offer::Other(platform) => {
                    offered.push(platform);
                    // A single image is taken for what it is; store_image warns.
                    (entries.len() == 1 && from.is_none()).then_some(0)
                }
                Offer::Nothing => None,
            };
            rank.map(|rank| (rank, entry.clone(), from.map(str::to_owned)))
        };
        if let Some(found) = found.filter(|found| best.as_ref().is_none_or(|(known, ..)| found.0 > *known)) {
            best = Some(found);
        }
    }
    Ok(best)
}

/// A document of an OCI layout, size and digest checked.
fn layout_document(source: &Source, change: &Change<'_>, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let digest = descriptor.digest().clone();
    let path = blob_path(&digest)?;
    let bytes = source.document(&path, change)?.ok_or_else(|| {
        Error::Corrupt(format!("blob {path} is named by a manifest or index, but the archive does not hold it"))
    })?;
    check_blob(&sha256_of(&bytes), bytes.len() as u64, Some((&digest, descriptor.size())))
        .map_err(|e| e.within(format!("blob {path}")))?;
    Ok(bytes)
}

/// One entry of a docker-archive's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn from_docker(source: &Source, change: &Change<'_>, manifest: &[u8]) -> Result<Vec<Candidate>> {
    let images: Vec<DockerImage> = parse(manifest, "manifest.json")?;
    if images.is_empty() {
        return Err(Error::NotFound("its manifest.json lists no image".into()));
    }
    if images.len() > MAX_MANIFESTS {
        return Err(Error::Limit(format!("its manifest.json lists more than {MAX_MANIFESTS} images")));
    }
    let mut candidates = Vec::new();
    for image in images {
        let config = source
            .document(&image.config, change)?
            .ok_or_else(|| Error::Corrupt(format!("its configuration {} is missing", image.config)))?;
        // The configuration's name is its digest: `<hex>.json`, or a path ending in `<hex>`.
        let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit()) {
            let found = sha256_of(&config);
            if found != format!("sha256:{stem}") {
                return Err(Error::Corrupt(format!(
                    "configuration {}: wrong digest, its content is {found}",
                    image.config
                )));
            }
        }
        candidates.push(Candidate {
            names: image.repo_tags.unwrap_or_default(),
            index_digest: None,
            manifest: None,
            config,
            layers: image
                .layers
                .unwrap_or_default()
                .into_iter()
                .map(|member| LayerSource { member, expected: None })
                .collect(),
        });
    }
    Ok(candidates)
}

/// The OCI manifest of an image from a docker-archive; the same archive always gives the same bytes.
pub(super) fn docker_manifest(config_digest: &str, config_size: u64, layers: Vec<Descriptor>) -> Result<Vec<u8>> {
    let mut manifest = ImageManifest::default();
    manifest
        .set_schema_version(2)
        .set_media_type(Some(MANIFEST.to_owned()))
        .set_config(descriptor(CONFIG, config_digest, config_size))
        .set_layers(layers);
    json::to_vec(&manifest).map_err(|e| Error::Worker(format!("making the manifest: {e}")))
}

pub(super) fn descriptor(media_type: &str, digest: &str, size: u64) -> Descriptor {
    let mut descriptor = Descriptor::default();
    descriptor.set_media_type(media_type.to_owned()).set_digest(digest.to_owned()).set_size(size);
    descriptor
}

/// Gives every image its full names: the one asked for, else the archive's own, else one made of the file's name.
pub(super) fn name_candidates(
    candidates: &mut Vec<Candidate>,
    label: &str,
    name: Option<&Reference>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if let Some(name) = name {
        if candidates.len() > 1 {
            let names: Vec<String> = candidates.iter().flat_map(|c| c.names.clone()).collect();
            return Err(Error::Unsupported(format!(
                "it holds {} images ({}); one name cannot be given to all of them: import it without a name",
                candidates.len(),
                names.join(", ")
            )));
        }
        for candidate in candidates {
            candidate.names = vec![name.to_string()];
        }
        return Ok(());
    }
    for candidate in candidates {
        let mut names = Vec::new();
        for given in std::mem::take(&mut candidate.names) {
            // A word alone in an OCI layout is a tag, as umoci and buildah write it.
            let reference = if candidate.manifest.is_some() && !given.contains(['/', ':', '@']) {
                let made = format!("{}:{given}", stem_of(label)).parse::<Reference>();
                if let Ok(made) = &made {
                    warnings.push(format!("{label} names its image only by the tag {given:?}: stored as {made}"));
                }
                made
            } else {
                given.parse::<Reference>()
            };
            names.push(
                reference.map_err(|e| e.within("the archive's name for it; give another one with --name"))?.to_string(),
            );
        }
        if names.is_empty() {
            let made = stem_of(label).parse::<Reference>().map_err(|_| {
                Error::Unsupported(
                    "the archive names no image, and its file name is no image name; give one with --name".into(),
                )
            })?;
            warnings.push(format!("{label} names no image: stored as {made}"));
            names.push(made.to_string());
        }
        names.sort();
        names.dedup();
        candidate.names = names;
    }
    Ok(())
}

/// The file's name without directory and archive suffixes.
fn stem_of(label: &str) -> String {
    let mut stem = label.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    for suffix in [".gz", ".zst", ".tgz", ".tzst", ".tar", ".oci", ".docker"] {
        stem = stem.strip_suffix(suffix).unwrap_or(stem);
    }
    stem.to_ascii_lowercase()
}

pub(super) fn check_config_type(media_type: &str) -> Result<()> {
    match media_type {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => Ok(()),
        other => {
            Err(Error::Unsupported(format!("its configuration is of type {other}: an artifact, not a container image")))
        }
    }
}

pub(super) fn check_layer_type(media_type: &str) -> Result<()> {
    let text = media_type;
    let base = text.strip_suffix("+gzip").or_else(|| text.strip_suffix("+zstd")).unwrap_or(text);
    match base {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(()),
        _ if text.contains("nondistributable") || text.contains("foreign") => Err(Error::Unsupported(format!(
            "a layer of type {text} is not part of the archive but must be fetched elsewhere; make the image without it"
        ))),
        _ if text.contains("encrypted") => {
            Err(Error::Unsupported(format!("a layer is encrypted ({text}); decrypt the image first")))
        }
        _ => Err(Error::Unsupported(format!("a layer has the unknown type {text}"))),
    }
}

pub(super) fn check_blob(digest: &str, size: u64, expected: Option<(&String, u64)>) -> Result<()> {
    match expected {
        Some((wanted, _)) if wanted != digest => {
            Err(Error::Corrupt(format!("wrong digest: the manifest says {wanted}, the content is {digest}")))
        }
        Some((_, wanted)) if wanted != size => {
            Err(Error::Corrupt(format!("wrong size: the manifest says {wanted} bytes, it has {size}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_file_name_gives_an_image_name() {
        assert_eq!(stem_of("/flash/images/Mosquitto.tar.gz"), "mosquitto");
        assert_eq!(stem_of("layout/"), "layout");
    }

    #[test]
    fn foreign_and_encrypted_layers_are_refused_in_words() {
        let refused = |text: &str| check_layer_type(text).unwrap_err().to_string();
        assert!(refused("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").contains("fetched elsewhere"));
        assert!(refused("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").contains("encrypted"));
        assert!(refused("text/plain").contains("unknown type"));
        assert!(check_layer_type(crate::spec::image::LAYER_ZSTD).is_ok());
    }
}
