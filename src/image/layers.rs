//! [`store_layers`]: the layers of one image, each once, two at a time where there are two cores.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use super::candidate::{LayerSource, check_blob, descriptor};
use super::change::Change;
use super::decompress::{Compression, compression_of};
use super::error::{Error, Result};
use super::lower::{Gate, Lower};
use super::pipeline::{Processed, process};
use super::progress::Progress;
use super::source::{Blob, Source};
use super::unpack::Counts;
use crate::spec::image::{Descriptor, LAYER, LAYER_GZIP, LAYER_ZSTD};

/// Layers at a time. More are of no use: each has two threads, and waits for those below it.
const AT_ONCE: usize = 2;

/// A layer that must be read.
struct Job<'a> {
    index: usize,
    what: String,
    source: Box<dyn Read + Send + 'a>,
    copy: Option<File>,
    into: Option<(OwnedFd, Lower)>,
    /// Name in staging of what becomes its blob.
    blob: Option<String>,
    /// Nobody is told how far it is: it was read before.
    silent: bool,
    compression: Compression,
    gate: Arc<Gate>,
}

/// One that is being read, and what becomes its blob.
struct Running<'scope> {
    index: usize,
    blob: Option<String>,
    thread: ScopedJoinHandle<'scope, Result<Processed>>,
}

/// Stores the missing layers of an image, and gives the descriptors of all.
pub(super) fn store_layers(
    source: &Source,
    change: &mut Change<'_>,
    layers: &[LayerSource],
    diff_ids: &[String],
    chains: &[String],
    progress: &Progress,
    warnings: &mut Vec<String>,
) -> Result<Vec<Descriptor>> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
    let mut stored: Vec<Option<Descriptor>> = layers.iter().map(|_| None).collect();
    let mut below: Option<Arc<Gate>> = None;
    std::thread::scope(|scope| {
        let mut running: VecDeque<Running<'_>> = VecDeque::new();
        let mut finish = |running: &mut VecDeque<Running<'_>>, change: &mut Change<'_>, most: usize| {
            while running.len() > most {
                let Some(Running { index, blob, thread }) = running.pop_front() else { break };
                let ended = thread.join().unwrap_or_else(|_| Err(Error::Worker("a thread ended unexpectedly".into())));
                let (layer, diff_id) = (layers.get(index), diff_ids.get(index));
                let (Some(layer), Some(diff_id)) = (layer, diff_id) else { continue };
                let done = ended
                    .and_then(|done| {
                        check(&done, layer.expected.as_ref().map(|(d, size)| (d, *size)), diff_id).map(|()| done)
                    })
                    .map_err(|e| within(e, layer))?;
                warn(&done.counts, chains.get(index).map_or("", String::as_str), warnings);
                change.checked().insert(done.digest.clone(), (diff_id.clone(), done.size));
                if let Some(name) = blob {
                    change.adopt_blob(name, &done.digest);
                }
                let media_type = match done.compression {
                    Compression::Plain => LAYER,
                    Compression::Gzip => LAYER_GZIP,
                    Compression::Zstd => LAYER_ZSTD,
                };
                if let Some(place) = stored.get_mut(index) {
                    *place = Some(descriptor(media_type, &done.digest, done.size));
                }
            }
            Ok(())
        };
        let mut here = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let (Some(diff_id), Some(chain)) = (diff_ids.get(index), chains.get(index)) else { continue };
            if let Some(known) = find(change, layer, diff_id, chain) {
                here.push((index, known));
                continue;
            }
            let mut job = prepare(source, change, layer, (index, diff_id, chains), below.clone())
                .map_err(|e| within(e, layer))?;
            if job.into.is_some() {
                below = Some(Arc::clone(&job.gate));
            }
            // One window of zstd is as large as all else together.
            let alone = job.compression == Compression::Zstd;
            finish(&mut running, change, if alone { 0 } else { at_once.saturating_sub(1) })?;
            progress.tell(&job.what);
            let silent = Progress::new(None);
            let (index, blob) = (job.index, job.blob.take());
            let thread = std::thread::Builder::new()
                .name("image-layer".into())
                .stack_size(1 << 20)
                .spawn_scoped(scope, move || {
                    let gate = job.gate;
                    let progress = if job.silent { &silent } else { progress };
                    let (directory, lower) = job.into.unzip();
                    let target = directory.zip(lower.as_ref());
                    let done = process(&mut *job.source, job.copy, target, progress, &job.what);
                    // Complete with all that lies below it.
                    gate.open(done.is_ok() && lower.is_none_or(|lower| lower.wait().is_ok()));
                    done
                })
                .map_err(|e| Error::io("starting a thread for a layer", e))?;
            running.push_back(Running { index, blob, thread });
            if alone {
                finish(&mut running, change, 0)?;
            }
        }
        finish(&mut running, change, 0)?;
        for (index, known) in here {
            if let Some(place) = stored.get_mut(index) {
                *place = Some(known);
            }
        }
        Ok(())
    })?;
    Ok(stored.into_iter().flatten().collect())
}

fn within(error: Error, layer: &LayerSource) -> Error {
    error.within(format!("layer blob {}", layer.member))
}

/// The blob that a layer probably is, and its size where that is known: one of a docker-archive is usually plain tar, whose digest
/// is its diff id.
fn likely<'a>(layer: &'a LayerSource, diff_id: &'a str) -> (&'a str, Option<u64>) {
    layer.expected.as_ref().map_or((diff_id, None), |(digest, size)| (digest.as_str(), Some(*size)))
}

/// Size of that blob, if it is in the store.
fn stored_size(change: &Change<'_>, layer: &LayerSource, diff_id: &str) -> Option<u64> {
    let (digest, size) = likely(layer, diff_id);
    change.blob_size(digest).filter(|stored| size.is_none_or(|size| size == *stored))
}

/// The layer, if nothing has to be read for it.
fn find(change: &mut Change<'_>, layer: &LayerSource, diff_id: &str, chain: &str) -> Option<Descriptor> {
    if !change.has_layer(chain) {
        return None;
    }
    let (digest, _) = likely(layer, diff_id);
    let stored = stored_size(change, layer, diff_id);
    // That both are there does not say that one is the other's content: a manifest and a configuration may lie.
    let checked = change.checked().get(digest).filter(|(content, _)| content == diff_id).map(|(_, size)| *size);
    let size = match (stored, checked) {
        (Some(size), Some(_)) => size,
        (Some(size), None) if layer.expected.is_none() => size,
        (None, Some(size)) if change.discard_layers && layer.expected.as_ref().is_none_or(|(_, s)| *s == size) => size,
        _ => return None,
    };
    let media_type = match &layer.expected {
        Some(_) => LAYER_GZIP, // not used: the archive's own manifest is stored
        None => LAYER,
    };
    Some(descriptor(media_type, digest, size))
}

/// Opens what is to be read, and makes what is to be written. `below`: opens when the layer under it is complete.
fn prepare<'a>(
    source: &'a Source,
    change: &mut Change<'_>,
    layer: &LayerSource,
    (index, diff_id, chains): (usize, &str, &[String]),
    below: Option<Arc<Gate>>,
) -> Result<Job<'a>> {
    let chain = chains.get(index).map_or("", String::as_str);
    let known = stored_size(change, layer, diff_id);
    let linked = source.link(&layer.member, change)?;
    let blob = match linked {
        Some(name) => Blob::Staged(name),
        None => match (source.blob(&layer.member)?, known) {
            (Some(blob), _) => blob,
            // What is in the store is not pulled again.
            (None, Some(_)) => Blob::File(change.store.open_blob(likely(layer, diff_id).0)?),
            (None, None) => return Err(Error::Corrupt("the archive does not hold it".into())),
        },
    };
    let staged = match &blob {
        Blob::Staged(name) => Some(name.clone()),
        _ => None,
    };
    let silent = staged.is_some();
    let keep = !change.discard_layers;
    // What is staged already needs no second copy.
    let (blob_name, copy) = match staged {
        Some(name) => (keep.then_some(name), None),
        None if known.is_none() && keep => {
            let (name, file) = change.stage_file()?;
            (Some(name), Some(file))
        }
        None => (None, None),
    };
    let (compression, reader): (Compression, Box<dyn Read + Send + 'a>) = match blob {
        Blob::File(file) => (compression_at(&file, 0)?, Box::new(file)),
        Blob::Range(range) => (compression_at(range.file(), range.position())?, Box::new(range)),
        Blob::Staged(name) => {
            let file = change.open_staged(&name)?;
            (compression_at(&file, 0)?, Box::new(file))
        }
    };
    let into = if change.has_layer(chain) {
        None
    } else {
        let (name, directory) = change.stage_layer()?;
        let lower = lower_of(change, chains, index, below)?;
        change.adopt_layer(name, chain);
        Some((directory, lower))
    };
    let what = format!("layer {} of {}", index.saturating_add(1), chains.len());
    let gate = Arc::default();
    Ok(Job { index, what, source: reader, copy, into, blob: blob_name, silent, compression, gate })
}

fn compression_at(file: &File, offset: u64) -> Result<Compression> {
    let mut first = [0_u8; 8];
    let length = file.read_at(&mut first, offset).map_err(|e| Error::io("reading", e))?;
    Ok(compression_of(first.get(..length).unwrap_or_default()))
}

/// The layers under one; the topmost is complete when `top` opens.
pub(super) fn lower_of(change: &Change<'_>, chains: &[String], index: usize, top: Option<Arc<Gate>>) -> Result<Lower> {
    let below = chains.get(..index).unwrap_or_default();
    Ok(Lower::new(below.iter().rev().map(|chain| change.open_layer(chain)).collect::<Result<_>>()?, top))
}

pub(super) fn check(done: &Processed, expected: Option<(&String, u64)>, diff_id: &str) -> Result<()> {
    check_blob(&done.digest, done.size, expected)?;
    if done.diff_id != diff_id {
        return Err(Error::Corrupt(format!(
            "wrong diff id: the configuration says {diff_id}, the unpacked content is {}",
            done.diff_id
        )));
    }
    Ok(())
}

pub(super) fn warn(counts: &Counts, chain: &str, warnings: &mut Vec<String>) {
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
