//! [`import`]: an image archive into the store: which images it holds, then each layer once, then one commit.

use std::os::fd::OwnedFd;

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use super::change::Change;
use super::decompress::Compression;
use super::error::{Error, Result};
use super::limits::{MAX_LAYERS, MAX_MANIFESTS};
use super::lower::Lower;
use super::pipeline::{Processed, hash_only, process};
use super::platform::Platform;
use super::progress::Progress;
use super::reference::Reference;
use super::source::{Blob, Source};
use super::store::{
    CONTAINERD_NAME, INDEX_DIGEST, REF_NAME, Store, annotation, blob_path, chain_ids, parse, sha256_of,
};
use super::unpack::Counts;

/// One image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) names: Vec<String>,
    pub(crate) manifest_digest: String,
}

/// An image of the archive, chosen for this node, not yet stored.
struct Candidate {
    names: Vec<String>,
    index_digest: Option<String>,
    /// As the archive has it; none for docker-archives, which have no manifest in this sense.
    manifest: Option<(Vec<u8>, Descriptor)>,
    config: Vec<u8>,
    layers: Vec<LayerSource>,
}

struct LayerSource {
    member: String,
    /// What the manifest says it must be.
    expected: Option<(String, u64)>,
}

/// Imports every image of an archive that this node can run. `label`: the archive's name for messages and, where the
/// archive names no image, for the image. `name`: the name to give instead of the archive's own.
pub(crate) fn import(
    store: &Store,
    input: OwnedFd,
    label: &str,
    name: Option<&Reference>,
    progress: &Progress,
) -> Result<(Vec<Imported>, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut change = Change::begin(store)?;
    let imported =
        import_all(&mut change, input, label, name, progress, &mut warnings).map_err(|e| e.within(label.to_owned()))?;
    change.commit().map_err(|e| e.within(label.to_owned()))?;
    Ok((imported, warnings))
}

fn import_all(
    change: &mut Change<'_>,
    input: OwnedFd,
    label: &str,
    name: Option<&Reference>,
    progress: &Progress,
    warnings: &mut Vec<String>,
) -> Result<Vec<Imported>> {
    let source = Source::open(input, change, progress)?;
    let mut candidates = match source.document("index.json", change)? {
        Some(index) => from_layout(&source, change, &index)?,
        None => match source.document("manifest.json", change)? {
            Some(manifest) => from_docker(&source, change, &manifest)?,
            None => {
                return Err(Error::Unsupported(
                    "neither index.json (OCI) nor manifest.json (docker) is in it: not an image archive; make one with \
                     `skopeo copy`, `podman save` or `docker save`"
                        .into(),
                ));
            }
        },
    };
    name_candidates(&mut candidates, label, name, warnings)?;
    let mut imported = Vec::new();
    for candidate in candidates {
        let shown = candidate.names.first().cloned().unwrap_or_default();
        imported.push(
            store_image(&source, change, candidate, progress, warnings)
                .map_err(|e| e.within(format!("image {shown}")))?,
        );
    }
    progress.tell("done");
    Ok(imported)
}

/// Unpacks the missing layers of an image whose blobs are in the store (it was copied here by another tool).
pub(crate) fn unpack_stored(store: &Store, digest: &str, progress: &Progress) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut change = Change::begin(store)?;
    let (manifest, config, chains) = store.load(digest)?;
    progress.begin(manifest.layers().iter().fold(0, |sum, layer| sum.saturating_add(layer.size())));
    for (index, (layer, diff_id)) in manifest.layers().iter().zip(config.rootfs().diff_ids()).enumerate() {
        check_layer_type(layer.media_type())?;
        let Some(chain) = chains.get(index).filter(|chain| !change.has_layer(chain)) else { continue };
        let (staged, dir) = change.stage_layer()?;
        let lower = lower_of(&change, &chains, index)?;
        let blob = store.open_blob(layer.digest().as_ref())?;
        let done = process(blob, None, Some((dir, &lower)), progress, &format!("layer {}", index.saturating_add(1)))
            .map_err(|e| e.within(format!("layer blob {}", layer.digest())))?;
        check(&done, Some((&layer.digest().to_string(), layer.size())), diff_id)?;
        warn(&done.counts, chain, &mut warnings);
        change.adopt_layer(staged, chain);
    }
    change.commit()?;
    Ok(warnings)
}

/// Stores one image's layers and documents in staging and prepares its index entry.
fn store_image(
    source: &Source,
    change: &mut Change<'_>,
    candidate: Candidate,
    progress: &Progress,
    warnings: &mut Vec<String>,
) -> Result<Imported> {
    let config: ImageConfiguration = parse(&candidate.config, "image configuration")?;
    let diff_ids = config.rootfs().diff_ids();
    let chains = chain_ids(diff_ids)?;
    if chains.len() != candidate.layers.len() {
        return Err(Error::Corrupt(format!(
            "its configuration lists {} layers, its manifest {}",
            chains.len(),
            candidate.layers.len()
        )));
    }
    let platform = Platform::of_config(&config);
    let host = Platform::host();
    if host.suits(&platform).is_none() {
        let name = candidate.names.first().cloned().unwrap_or_default();
        warnings
            .push(format!("image {name} is made for {platform}; this node is {host}, so its programs may not start"));
    }
    let mut stored = Vec::new();
    for (index, layer) in candidate.layers.iter().enumerate() {
        let (Some(diff_id), Some(chain)) = (diff_ids.get(index), chains.get(index)) else { continue };
        let what = format!("layer {} of {}", index.saturating_add(1), chains.len());
        progress.tell(&what);
        let job = LayerJob { index, diff_id, chain, chains: &chains, what: &what };
        stored.push(
            store_layer(source, change, layer, &job, progress, warnings)
                .map_err(|e| e.within(format!("layer blob {}", layer.member)))?,
        );
    }
    let config_digest = sha256_of(&candidate.config);
    change.add_document(&config_digest, &candidate.config)?;
    let (manifest, media_type) = match &candidate.manifest {
        Some((bytes, descriptor)) => (bytes.clone(), descriptor.media_type().clone()),
        None => (docker_manifest(&config_digest, candidate.config.len() as u64, stored)?, MediaType::ImageManifest),
    };
    let manifest_digest = sha256_of(&manifest);
    change.add_document(&manifest_digest, &manifest)?;
    let mut entry = descriptor(media_type, &manifest_digest, manifest.len() as u64)?;
    if let Some(index) = candidate.index_digest {
        entry.set_annotations(Some([(INDEX_DIGEST.to_owned(), index)].into()));
    }
    change.name_image(&entry, &candidate.names);
    Ok(Imported { names: candidate.names, manifest_digest })
}

/// Which layer of the image is being stored.
struct LayerJob<'a> {
    index: usize,
    diff_id: &'a str,
    chain: &'a str,
    chains: &'a [String],
    what: &'a str,
}

fn store_layer(
    source: &Source,
    change: &mut Change<'_>,
    layer: &LayerSource,
    job: &LayerJob<'_>,
    progress: &Progress,
    warnings: &mut Vec<String>,
) -> Result<Descriptor> {
    // A layer of a docker-archive is usually plain tar: its digest is its diff id.
    let (likely, size) = match &layer.expected {
        Some((digest, size)) => (digest.as_str(), Some(*size)),
        None => (job.diff_id, None),
    };
    let known = change.blob_size(likely).filter(|stored| size.is_none_or(|size| size == *stored));
    if let (Some(size), true) = (known, change.has_layer(job.chain)) {
        let blob_type = match &layer.expected {
            Some(_) => MediaType::ImageLayerGzip, // not used: the archive's own manifest is stored
            None => MediaType::ImageLayer,
        };
        return descriptor(blob_type, likely, size);
    }
    let missing = || Error::Corrupt("the archive does not hold it".into());
    let blob = source.blob(&layer.member)?.ok_or_else(missing)?;
    // What is staged already needs no second copy.
    let mut adopt: Option<String> = None;
    let mut copy = None;
    if let Blob::Staged(name) = &blob {
        adopt = Some((*name).to_owned());
    } else if known.is_none() {
        let (name, file) = change.stage_file()?;
        adopt = Some(name);
        copy = Some(file);
    }
    let already_told = Progress::new(None);
    let (reader, progress): (Box<dyn std::io::Read + Send + '_>, &Progress) = match blob {
        Blob::File(file) => (Box::new(file), progress),
        Blob::Range(range) => (Box::new(range), progress),
        Blob::Staged(name) => (Box::new(change.open_staged(name)?), &already_told),
    };
    let expected = layer.expected.as_ref().map(|(digest, size)| (digest, *size));
    if change.has_layer(job.chain) && layer.expected.is_some() {
        let (digest, size) = hash_only(reader, copy, progress, job.what)?;
        check_blob(&digest, size, expected)?;
        if let Some(name) = adopt {
            change.adopt_blob(name, &digest);
        }
        return descriptor(MediaType::ImageLayerGzip, &digest, size);
    }
    let target = if change.has_layer(job.chain) { None } else { Some(change.stage_layer()?) };
    let lower = lower_of(change, job.chains, job.index)?;
    let (staged, into) = match target {
        Some((name, dir)) => (Some(name), Some((dir, &lower))),
        None => (None, None),
    };
    let done = process(reader, copy, into, progress, job.what)?;
    check(&done, expected, job.diff_id)?;
    warn(&done.counts, job.chain, warnings);
    if let Some(name) = adopt {
        change.adopt_blob(name, &done.digest);
    }
    if let Some(name) = staged {
        change.adopt_layer(name, job.chain);
    }
    let media_type = match done.compression {
        Compression::Plain => MediaType::ImageLayer,
        Compression::Gzip => MediaType::ImageLayerGzip,
        Compression::Zstd => MediaType::ImageLayerZstd,
    };
    descriptor(media_type, &done.digest, done.size)
}

fn lower_of(change: &Change<'_>, chains: &[String], index: usize) -> Result<Lower> {
    let below = chains.get(..index).unwrap_or_default();
    Ok(Lower::new(below.iter().rev().map(|chain| change.open_layer(chain)).collect::<Result<_>>()?))
}

fn check_blob(digest: &str, size: u64, expected: Option<(&String, u64)>) -> Result<()> {
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

fn check(done: &Processed, expected: Option<(&String, u64)>, diff_id: &str) -> Result<()> {
    check_blob(&done.digest, done.size, expected)?;
    if done.diff_id != diff_id {
        return Err(Error::Corrupt(format!(
            "wrong diff id: the configuration says {diff_id}, the unpacked content is {}",
            done.diff_id
        )));
    }
    Ok(())
}

fn warn(counts: &Counts, chain: &str, warnings: &mut Vec<String>) {
    for (count, what) in [
        (
            counts.dropped_xattrs,
            "extended attributes were left out (overlayfs' own, trusted.*, labels, or not supported here)",
        ),
        (counts.dropped_devices, "devices were left out (character device 0/0, or CAP_MKNOD is missing)"),
        (counts.unknown_entries, "entries of an unknown type were left out"),
    ] {
        if count > 0 {
            warnings.push(format!("layer {chain}: {count} {what}"));
        }
    }
}

/// Images of an OCI layout: one for each entry of its index, or for each group of entries of one name.
fn from_layout(source: &Source, change: &Change<'_>, index: &[u8]) -> Result<Vec<Candidate>> {
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
        let chosen = choose(source, change, &entries, None, &mut budget).map_err(|e| match &name {
            Some(name) => e.within(format!("image {name}")),
            None => e,
        })?;
        let Some((descriptor, index_digest)) = chosen else {
            return Err(Error::Unsupported("its index.json leads to no container image".into()));
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
            let digest = layer.digest().to_string();
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

/// The manifest for this node among some descriptors, and the digest of the index it came from.
fn choose(
    source: &Source,
    change: &Change<'_>,
    entries: &[Descriptor],
    from: Option<&str>,
    budget: &mut usize,
) -> Result<Option<(Descriptor, Option<String>)>> {
    let host = Platform::host();
    let mut best: Option<(u32, Descriptor, Option<String>)> = None;
    let mut offered = Vec::new();
    for entry in entries {
        *budget = budget
            .checked_sub(1)
            .ok_or_else(|| Error::Limit(format!("its indexes lead to more than {MAX_MANIFESTS} manifests")))?;
        if is_index(entry.media_type()) {
            let digest = entry.digest().to_string();
            let nested: ImageIndex = parse(&layout_document(source, change, entry)?, "index")?;
            let origin = from.unwrap_or(&digest);
            if let Some((descriptor, index)) = choose(source, change, nested.manifests(), Some(origin), budget)? {
                best.get_or_insert((0, descriptor, index));
            }
            continue;
        }
        if !is_manifest(entry.media_type()) {
            continue;
        }
        let rank = match entry.platform() {
            // Attestations of BuildKit.
            Some(platform) if platform.os().to_string() == "unknown" => continue,
            Some(platform) => {
                let platform = Platform::of_descriptor(platform);
                offered.push(platform.to_string());
                host.suits(&platform)
            }
            None => Some(0),
        };
        // A single image is taken for what it is; store_image warns.
        let Some(rank) = rank.or_else(|| (entries.len() == 1 && from.is_none()).then_some(0)) else { continue };
        if best.as_ref().is_none_or(|(known, ..)| rank > *known) {
            best = Some((rank, entry.clone(), from.map(str::to_owned)));
        }
    }
    if best.is_none() && !offered.is_empty() {
        return Err(Error::Unsupported(format!("no image for this node ({host}); there are: {}", offered.join(", "))));
    }
    Ok(best.map(|(_, descriptor, index)| (descriptor, index)))
}

/// A document of an OCI layout, size and digest checked.
fn layout_document(source: &Source, change: &Change<'_>, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let digest = descriptor.digest().to_string();
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

fn from_docker(source: &Source, change: &Change<'_>, manifest: &[u8]) -> Result<Vec<Candidate>> {
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
fn docker_manifest(config_digest: &str, config_size: u64, layers: Vec<Descriptor>) -> Result<Vec<u8>> {
    let failed = |e: oci_spec::OciSpecError| Error::Worker(format!("making the manifest: {e}"));
    let manifest = oci_spec::image::ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config_digest, config_size)?)
        .layers(layers)
        .build()
        .map_err(failed)?;
    serde_json::to_vec(&manifest).map_err(|e| Error::Worker(format!("making the manifest: {e}")))
}

fn descriptor(media_type: MediaType, digest: &str, size: u64) -> Result<Descriptor> {
    let digest: oci_spec::image::Digest =
        digest.parse().map_err(|e| Error::Corrupt(format!("digest {digest:?} is not valid: {e}")))?;
    DescriptorBuilder::default()
        .media_type(media_type)
        .digest(digest)
        .size(size)
        .build()
        .map_err(|e| Error::Worker(format!("making a descriptor: {e}")))
}

/// Gives every image its full names: the one asked for, else the archive's own, else one made of the file's name.
fn name_candidates(
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

fn is_index(media_type: &MediaType) -> bool {
    matches!(
        media_type.as_ref(),
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

fn is_manifest(media_type: &MediaType) -> bool {
    matches!(
        media_type.as_ref(),
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json"
    )
}

fn check_config_type(media_type: &MediaType) -> Result<()> {
    match media_type.as_ref() {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => Ok(()),
        other => {
            Err(Error::Unsupported(format!("its configuration is of type {other}: an artifact, not a container image")))
        }
    }
}

fn check_layer_type(media_type: &MediaType) -> Result<()> {
    let text = media_type.as_ref();
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
        let refused = |text: &str| check_layer_type(&MediaType::from(text)).unwrap_err().to_string();
        assert!(refused("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").contains("fetched elsewhere"));
        assert!(refused("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").contains("encrypted"));
        assert!(refused("text/plain").contains("unknown type"));
        assert!(check_layer_type(&MediaType::ImageLayerZstd).is_ok());
    }
}
