//! [`verify`]: whether everything of each image is there and is what it should be; [`repair`] brings what is not.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write as _};
use std::os::fd::OwnedFd;

use super::change::Change;
use super::error::{Error, Result};
use super::import::{candidates_of, unpack_stored};
use super::pipeline::hash_only;
use super::progress::Progress;
use super::source::{Blob, Source};
use super::store::{LAYERS_ONLY, Store, annotation, chain_ids, hex_of, name_of, parse, sha256_of};
use super::worker::Report;
use crate::sorted::{BTreeMap, BTreeSet};
use crate::spec::image::{Descriptor, ImageConfiguration, ImageManifest};

/// Rounds of a repair: a manifest, then the configuration it names, then the layers.
const ROUNDS: usize = 3;

/// What is wrong with the images.
#[derive(Debug, Default)]
struct Wrong {
    /// Blobs that are not there, or not what they should be.
    blobs: BTreeSet<String>,
    /// Manifests of images that lack an unpacked layer.
    packed: BTreeSet<String>,
    /// Names of the images with such blobs, or such layers.
    images: BTreeSet<String>,
    /// One sentence each.
    messages: Vec<String>,
    checked: usize,
    /// Layers that are there unpacked only, as they should be.
    discarded: usize,
}

impl Wrong {
    fn blob(&mut self, name: &str, digest: &str, message: &str) {
        self.blobs.insert(digest.to_owned());
        self.images.insert(name.to_owned());
        self.messages.push(format!("image {name}: {message}"));
    }

    fn tell(self, report: &mut Report) {
        report.warnings.extend(self.messages);
        let discarded = match self.discarded {
            0 => String::new(),
            count => format!("; {count} layers are kept unpacked only"),
        };
        report.done.push(format!("verified {} blobs{discarded}", self.checked));
    }
}

/// Reads everything that images name.
pub(super) fn verify(store: &Store, progress: &Progress, report: &mut Report) -> Result<()> {
    let wrong = examine(store, progress)?;
    report.damaged = wrong.images.iter().cloned().collect();
    wrong.tell(report);
    Ok(())
}

/// The same, and brings what is wrong from archives, or from blobs where only an unpacked layer is missing. Blobs that nothing
/// brings are deleted, so that a pull brings them.
pub(super) fn repair(
    store: &Store,
    mut archives: Vec<(String, OwnedFd)>,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    let mut wrong = examine(store, progress)?;
    for _ in 0..ROUNDS {
        if wrong.blobs.is_empty() {
            break;
        }
        let mut brought = false;
        for (label, archive) in &mut archives {
            match bring(store, archive, &wrong.blobs, progress) {
                Ok(digests) => {
                    brought |= !digests.is_empty();
                    for digest in digests {
                        report.done.push(format!("repaired blob {digest} from {label}"));
                        wrong.blobs.remove(&digest);
                    }
                }
                Err(error) => report.warnings.push(format!("{label}: {error}")),
            }
        }
        if !brought {
            break;
        }
        wrong = examine(store, progress)?;
    }
    for digest in std::mem::take(&mut wrong.packed) {
        match unpack_stored(store, &digest, progress) {
            Ok(_) => report.done.push(format!("unpacked image {digest}")),
            Err(error) => report.warnings.push(format!("image {digest}: {error}")),
        }
    }
    if wrong.blobs.is_empty() {
        wrong = examine(store, progress)?;
    } else {
        let change = Change::begin(store)?;
        for digest in &wrong.blobs {
            change.delete_blob(digest)?;
        }
    }
    report.damaged = wrong.images.iter().cloned().collect();
    wrong.tell(report);
    Ok(())
}

fn examine(store: &Store, progress: &Progress) -> Result<Wrong> {
    let mut wrong = Wrong::default();
    // Whether it is as it should be.
    let mut seen: BTreeMap<String, bool> = BTreeMap::default();
    for entry in store.index()?.manifests() {
        let name = name_of(entry).unwrap_or_else(|| entry.digest().clone());
        let Some((manifest, layers)) = documents(store, entry, &name, &mut wrong) else { continue };
        for (layer, chain) in manifest.layers().iter().zip(&layers) {
            let digest = layer.digest();
            let unpacked = store.has_layer(hex_of(chain));
            if unpacked && annotation(entry, LAYERS_ONLY).is_some() && store.blob_size(digest).is_none() {
                wrong.discarded = wrong.discarded.saturating_add(1);
                continue;
            }
            match seen.get(digest) {
                Some(true) => continue,
                Some(false) => {
                    wrong.images.insert(name.clone());
                    continue;
                }
                None => {}
            }
            let checked = store.open_blob(digest).and_then(|mut blob| hash_only(&mut blob, None, progress, digest));
            let damage = match checked {
                Ok((found, size)) if found == *digest && size == layer.size() => None,
                Ok((found, _)) => Some(format!("blob {digest} is damaged: its content has the digest {found}")),
                Err(error) => Some(error.to_string()),
            };
            seen.insert(digest.clone(), damage.is_none());
            if let Some(message) = damage {
                wrong.blob(&name, digest, &message);
            }
        }
        for chain in layers.iter().filter(|chain| !store.has_layer(hex_of(chain))) {
            wrong.messages.push(format!("image {name}: layer {chain} is not unpacked"));
            wrong.packed.insert(entry.digest().clone());
            wrong.images.insert(name.clone());
        }
    }
    wrong.checked = seen.len();
    Ok(wrong)
}

/// An image's manifest and the chain ids of its layers.
fn documents(store: &Store, entry: &Descriptor, name: &str, wrong: &mut Wrong) -> Option<(ImageManifest, Vec<String>)> {
    let manifest = store.read_blob(entry.digest()).and_then(|bytes| parse::<ImageManifest>(&bytes, "manifest"));
    let manifest = manifest.map_err(|error| wrong.blob(name, entry.digest(), &error.to_string())).ok()?;
    let digest = manifest.config().digest();
    let layers = store
        .read_blob(digest)
        .and_then(|bytes| parse::<ImageConfiguration>(&bytes, "image configuration"))
        .and_then(|config| chain_ids(config.rootfs().diff_ids()));
    let layers = layers.map_err(|error| wrong.blob(name, digest, &error.to_string())).ok()?;
    Some((manifest, layers))
}

/// Takes of an archive what is wanted, and nothing else: no name changes.
fn bring(
    store: &Store,
    archive: &mut OwnedFd,
    wanted: &BTreeSet<String>,
    progress: &Progress,
) -> Result<BTreeSet<String>> {
    let again = archive.try_clone().map_err(|e| Error::io("reading", e))?;
    // A directory has no place in it.
    let _ = File::from(again.try_clone().map_err(|e| Error::io("reading", e))?).seek(SeekFrom::Start(0));
    let mut change = Change::begin(store)?;
    let source = Source::open(again, &mut change, progress)?;
    let mut brought = BTreeSet::default();
    for candidate in candidates_of(&source, &change)? {
        let config: ImageConfiguration = parse(&candidate.config, "image configuration")?;
        let manifest = candidate.manifest.as_ref().map(|(bytes, _)| bytes);
        for document in [Some(&candidate.config), manifest].into_iter().flatten() {
            let digest = sha256_of(document);
            if wanted.contains(&digest) {
                let (name, mut file) = change.stage_file()?;
                file.write_all(document).map_err(|e| Error::io(format!("writing blob {digest}"), e))?;
                change.adopt_blob(name, &digest);
                brought.insert(digest);
            }
        }
        for (layer, diff_id) in candidate.layers.iter().zip(config.rootfs().diff_ids()) {
            let digest = layer.expected.as_ref().map_or(diff_id, |(digest, _)| digest);
            if !wanted.contains(digest) || brought.contains(digest) {
                continue;
            }
            let (name, found) = match source.blob(&layer.member)? {
                Some(Blob::Staged(name)) => {
                    let mut staged = change.open_staged(&name)?;
                    (name, hash_only(&mut staged, None, progress, digest)?.0)
                }
                Some(Blob::File(mut file)) => stage(&mut file, &mut change, progress, digest)?,
                Some(Blob::Range(mut range)) => stage(&mut range, &mut change, progress, digest)?,
                None => continue,
            };
            if found == *digest {
                change.adopt_blob(name, digest);
                brought.insert(digest.clone());
            }
        }
    }
    change.commit()?;
    Ok(brought)
}

fn stage(
    source: &mut dyn std::io::Read,
    change: &mut Change<'_>,
    progress: &Progress,
    digest: &str,
) -> Result<(String, String)> {
    let (name, file) = change.stage_file()?;
    let (found, _) = hash_only(source, Some(file), progress, digest)?;
    Ok((name, found))
}
