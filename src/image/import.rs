//! [`import`]: an image archive into the store: which images it holds, then each layer once, then one commit.

use std::os::fd::OwnedFd;

use super::candidate::{
    Candidate, check_layer_type, descriptor, docker_manifest, from_docker, from_layout, name_candidates,
};
use super::change::Change;
use super::error::{Error, Result};
use super::layers::{check, lower_of, store_layers, warn};
use super::pipeline::process;
use super::platform::Platform;
use super::progress::Progress;
use super::reference::Reference;
use super::source::Source;
use super::store::{INDEX_DIGEST, LAYERS_ONLY, Store, chain_ids, parse, sha256_of};
use crate::spec::image::{ImageConfiguration, MANIFEST};

/// One image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) names: Vec<String>,
    pub(crate) manifest_digest: String,
}

/// Imports every image of an archive that this node can run. `label`: the archive's name for messages and, where the
/// archive names no image, for the image. `name`: the name to give instead of the archive's own. `discard_layers`: layers are kept
/// unpacked only.
pub(crate) fn import(
    store: &Store,
    input: OwnedFd,
    label: &str,
    name: Option<&Reference>,
    discard_layers: bool,
    progress: &Progress,
) -> Result<(Vec<Imported>, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut change = Change::begin(store)?;
    change.discard_layers = discard_layers;
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
    discard_layers: bool,
    progress: &Progress,
) -> Result<(Vec<Imported>, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut change = Change::begin(store)?;
    change.discard_layers = discard_layers;
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
    let mut candidates = candidates_of(source, change)?;
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

/// The images of an archive that this node can run.
pub(super) fn candidates_of(source: &Source, change: &Change<'_>) -> Result<Vec<Candidate>> {
    if let Some(index) = source.document("index.json", change)? {
        return from_layout(source, change, &index);
    }
    match source.document("manifest.json", change)? {
        Some(manifest) => from_docker(source, change, &manifest),
        None => Err(Error::Unsupported(
            "neither index.json (OCI) nor manifest.json (docker) is in it: not an image archive; make one with \
             `skopeo copy`, `podman save` or `docker save`"
                .into(),
        )),
    }
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
        let lower = lower_of(&change, &chains, index, None)?;
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
    let stored = store_layers(source, change, &candidate.layers, diff_ids, &chains, progress, warnings)?;
    // An image whose blobs are not all there says so.
    let unpacked_only = change.discard_layers && stored.iter().any(|layer| change.blob_size(layer.digest()).is_none());
    let config_digest = sha256_of(&candidate.config);
    change.add_document(&config_digest, &candidate.config)?;
    let (manifest, media_type) = match &candidate.manifest {
        Some((bytes, descriptor)) => (bytes.clone(), descriptor.media_type().clone()),
        None => (docker_manifest(&config_digest, candidate.config.len() as u64, stored)?, MANIFEST.to_owned()),
    };
    let manifest_digest = sha256_of(&manifest);
    change.add_document(&manifest_digest, &manifest)?;
    let mut entry = descriptor(&media_type, &manifest_digest, manifest.len() as u64);
    let index = candidate.index_digest.map(|index| (INDEX_DIGEST.to_owned(), index));
    let unpacked_only = unpacked_only.then(|| (LAYERS_ONLY.to_owned(), "true".to_owned()));
    if index.is_some() || unpacked_only.is_some() {
        entry.set_annotations(Some(index.into_iter().chain(unpacked_only).collect()));
    }
    change.name_image(&entry, &candidate.names);
    Ok(Imported { names: candidate.names, manifest_digest })
}
