//! [`import`]: an image archive into the store: which images it holds, then each layer once, then one commit.

use std::os::fd::OwnedFd;

use super::candidate::{
    Candidate, LayerSource, check_blob, check_layer_type, descriptor, docker_manifest, from_docker, from_layout,
    name_candidates,
};
use super::change::Change;
use super::decompress::Compression;
use super::error::{Error, Result};
use super::lower::Lower;
use super::pipeline::{Processed, process};
use super::platform::Platform;
use super::progress::Progress;
use super::reference::Reference;
use super::source::{Blob, Source};
use super::store::{INDEX_DIGEST, Store, chain_ids, parse, sha256_of};
use super::unpack::Counts;
use crate::spec::image::{Descriptor, ImageConfiguration, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST};

/// One image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) names: Vec<String>,
    pub(crate) manifest_digest: String,
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

/// Imports what was pulled into `directory`, an OCI layout on the store's own file system, under this name.
pub(crate) fn adopt_layout(
    store: &Store,
    directory: OwnedFd,
    label: &str,
    name: &Reference,
    progress: &Progress,
) -> Result<(Vec<Imported>, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut change = Change::begin(store)?;
    let source = Source::Linked(directory);
    let imported = import_from(&source, &mut change, label, Some(name), progress, &mut warnings)?;
    change.commit()?;
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
    import_from(&source, change, label, name, progress, warnings)
}

fn import_from(
    source: &Source,
    change: &mut Change<'_>,
    label: &str,
    name: Option<&Reference>,
    progress: &Progress,
    warnings: &mut Vec<String>,
) -> Result<Vec<Imported>> {
    let mut candidates = match source.document("index.json", change)? {
        Some(index) => from_layout(source, change, &index)?,
        None => match source.document("manifest.json", change)? {
            Some(manifest) => from_docker(source, change, &manifest)?,
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
            store_image(source, change, candidate, progress, warnings)
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
        let mut blob = store.open_blob(layer.digest())?;
        let done =
            process(&mut blob, None, Some((dir, &lower)), progress, &format!("layer {}", index.saturating_add(1)))
                .map_err(|e| e.within(format!("layer blob {}", layer.digest())))?;
        check(&done, Some((layer.digest(), layer.size())), diff_id)?;
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
        None => (docker_manifest(&config_digest, candidate.config.len() as u64, stored)?, MANIFEST.to_owned()),
    };
    let manifest_digest = sha256_of(&manifest);
    change.add_document(&manifest_digest, &manifest)?;
    let mut entry = descriptor(&media_type, &manifest_digest, manifest.len() as u64);
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
    // That both are there does not say that one is the other's content: a manifest and a configuration may lie.
    let checked = || layer.expected.is_none() || change.store.has_checked(likely, job.diff_id);
    if let (Some(size), true) = (known, change.has_layer(job.chain) && checked()) {
        let blob_type = match &layer.expected {
            Some(_) => LAYER_GZIP, // not used: the archive's own manifest is stored
            None => LAYER,
        };
        return Ok(descriptor(blob_type, likely, size));
    }
    let missing = || Error::Corrupt("the archive does not hold it".into());
    let linked = source.link(&layer.member, change)?;
    let blob = match &linked {
        Some(name) => Blob::Staged(name),
        None => match (source.blob(&layer.member)?, known) {
            (Some(blob), _) => blob,
            // What is in the store is not pulled again.
            (None, Some(_)) => Blob::File(change.store.open_blob(likely)?),
            (None, None) => return Err(missing()),
        },
    };
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
    let (mut reader, progress): (Box<dyn std::io::Read + Send + '_>, &Progress) = match blob {
        Blob::File(file) => (Box::new(file), progress),
        Blob::Range(range) => (Box::new(range), progress),
        Blob::Staged(name) => (Box::new(change.open_staged(name)?), &already_told),
    };
    let expected = layer.expected.as_ref().map(|(digest, size)| (digest, *size));
    let target = if change.has_layer(job.chain) { None } else { Some(change.stage_layer()?) };
    let lower = lower_of(change, job.chains, job.index)?;
    let (staged, into) = match target {
        Some((name, dir)) => (Some(name), Some((dir, &lower))),
        None => (None, None),
    };
    let done = process(&mut *reader, copy, into, progress, job.what)?;
    check(&done, expected, job.diff_id)?;
    warn(&done.counts, job.chain, warnings);
    if let Some(name) = adopt {
        change.adopt_blob(name, &done.digest);
    }
    if let Some(name) = staged {
        change.adopt_layer(name, job.chain);
    }
    let media_type = match done.compression {
        Compression::Plain => LAYER,
        Compression::Gzip => LAYER_GZIP,
        Compression::Zstd => LAYER_ZSTD,
    };
    Ok(descriptor(media_type, &done.digest, done.size))
}

fn lower_of(change: &Change<'_>, chains: &[String], index: usize) -> Result<Lower> {
    let below = chains.get(..index).unwrap_or_default();
    Ok(Lower::new(below.iter().rev().map(|chain| change.open_layer(chain)).collect::<Result<_>>()?))
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
