//! Deleting: a name ([`remove`]), what nobody wants when the disk is full ([`collect`]) or when a person says so ([`prune`]), and
//! what is told of that beforehand ([`usage`]).

use std::ffi::CString;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::change::Change;
use super::collect::{Bounds, Space, own_and_shared, plan};
use super::contents::{Contents, Keep, Leftover, space};
use super::error::{Error, Result};
use super::pull;
use super::reference::Reference;
use super::store::{Store, name_of};
use super::tree;
use super::worker::Report;
use crate::json::{Deserialize, Serialize};
use crate::sorted::BTreeSet;
use crate::spec::image::Descriptor;

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collected {
    /// Bytes that had to come free; 0 when the upper threshold was not reached.
    pub wanted: u64,
    /// Bytes that came free.
    pub freed: u64,
    /// The upper threshold is still reached.
    pub full: bool,
}

/// What images take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Their file system.
    pub space: Space,
    /// Blobs of images.
    pub blobs: Amount,
    /// Unpacked layers of images.
    pub layers: Amount,
    /// What half-done imports and pulls have left.
    pub leftovers: Amount,
    /// Bytes of images that nobody wants, as far as that is known.
    pub unwanted: u64,
}

/// How many, and how large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// A leftover of this age in seconds is not about to be named by whoever copies into the store.
const LEFTOVER_AGE: u64 = 86_400;

/// Deletes leftovers and, when the file system is too full, images that nobody wants. On the usual way it only looks.
/// `used`: images that were used until now. `known`: all that manifests want is known; otherwise no image is deleted.
pub(super) fn collect(
    store: &Store,
    bounds: &Bounds,
    keep: &Keep,
    used: &[String],
    known: bool,
    report: &mut Report,
) -> Result<()> {
    let now = now();
    let contents = Contents::read(store)?;
    contents.note_use(
        store,
        &Keep { wanted: [keep.wanted.as_slice(), used].concat(), in_use: keep.in_use.clone() },
        now,
    );
    let to_free = space(store)?.to_free(bounds);
    let leftover_age = if to_free.is_some() { bounds.min_age } else { LEFTOVER_AGE };
    if to_free.is_none() && contents.leftovers(store, keep, leftover_age, now)?.is_empty() && !is_half_done(store) {
        report.collected = Some(Collected::default());
        return Ok(());
    }
    let mut change = Change::begin(store)?;
    // Others may have changed it before the lock was had.
    let contents = Contents::read(store)?;
    let leftovers = contents.leftovers(store, keep, leftover_age, now)?;
    let mut freed = delete_leftovers(&mut change, leftovers, report)?;
    let mut contents = contents;
    while let Some(bytes) = space(store)?.to_free(bounds) {
        if let Some((name, error)) = contents.unreadable.first() {
            let what = format!(
                "image {name} cannot be read ({error}), so what it needs is not known; see `gatepost image verify`"
            );
            return Err(Error::Corrupt(what));
        }
        if !known {
            let why = "manifests are in error, so which images they want is not known; see `gatepost get manifests`";
            return Err(Error::InUse(why.to_owned()));
        }
        let plan = plan(&contents.held(store, keep, false), bytes, now, bounds.min_age);
        if plan.images.is_empty() {
            break;
        }
        delete_images(&mut change, &plan.images.iter().cloned().collect())?;
        freed = freed.saturating_add(plan.bytes);
        for digest in &plan.images {
            report.done.push(format!("deleted image {digest}: the disk is full, and nobody wants it"));
        }
        contents = Contents::read(store)?;
    }
    let full = space(store)?.to_free(bounds).is_some();
    report.collected = Some(Collected { wanted: to_free.unwrap_or_default(), freed, full });
    Ok(())
}

/// Deletes leftovers and images without a name, or with `all` every image that nobody wants.
pub(super) fn prune(store: &Store, all: bool, keep: &Keep, report: &mut Report) -> Result<()> {
    let mut change = Change::begin(store)?;
    let contents = Contents::read(store)?;
    let leftovers = contents.leftovers(store, keep, 0, now())?;
    let mut freed = delete_leftovers(&mut change, leftovers, report)?;
    if let Some((name, error)) = contents.unreadable.first() {
        let what =
            format!("image {name} cannot be read ({error}), so what it needs is not known; repair or remove it first");
        return Err(Error::Corrupt(what));
    }
    let mut held = contents.held(store, keep, false);
    for (image, held) in contents.images.iter().zip(&mut held) {
        held.wanted |= !all && !image.is_nameless();
    }
    let plan = plan(&held, u64::MAX, i64::MAX, 0);
    delete_images(&mut change, &plan.images.iter().cloned().collect())?;
    freed = freed.saturating_add(plan.bytes);
    report.done.extend(plan.images.iter().map(|digest| format!("deleted image {digest}")));
    report.collected = Some(Collected { freed, ..Collected::default() });
    Ok(())
}

/// What images take. In [`Report::images`] those of each.
pub(super) fn usage(store: &Store, keep: &Keep, report: &mut Report) -> Result<()> {
    let contents = Contents::read(store)?;
    let held = contents.held(store, keep, true);
    let [blobs, layers] = Contents::amounts(&held).map(|(bytes, count)| Amount { count, bytes });
    let leftovers = contents.leftovers(store, keep, 0, now())?;
    let bytes = leftovers.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    let sizes = contents.images.iter().zip(own_and_shared(&held));
    for (image, (own, shared)) in sizes {
        if let Some(shown) = report.images.iter_mut().find(|shown| shown.manifest_digest == image.digest) {
            (shown.own, shown.shared) = (Some(own), Some(shared));
        }
    }
    report.usage = Some(Usage {
        space: space(store)?,
        blobs,
        layers,
        leftovers: Amount { count: leftovers.len() as u64, bytes },
        unwanted: plan(&held, u64::MAX, i64::MAX, 0).bytes,
    });
    Ok(())
}

/// Takes a name away, or all names of a digest; the image goes with its last one.
pub(super) fn remove(store: &Store, name: &str, in_use: &[String], report: &mut Report) -> Result<()> {
    let mut change = Change::begin(store)?;
    let mut index = store.index()?;
    let by_digest = name.rsplit('@').next().filter(|digest| digest.starts_with("sha256:")).map(str::to_owned);
    let full = match &by_digest {
        Some(_) => String::new(),
        None => name.parse::<Reference>()?.to_string(),
    };
    let is_meant = |entry: &Descriptor| match &by_digest {
        Some(digest) => entry.digest() == digest,
        None => name_of(entry).is_some_and(|known| known == full),
    };
    let meant: Vec<String> = index.manifests().iter().filter(|e| is_meant(e)).map(|e| e.digest().clone()).collect();
    let Some(digest) = meant.first().cloned() else {
        return Err(Error::NotFound(format!("no image {name}; `gatepost image ls` shows what there is")));
    };
    let kept: Vec<_> = index.manifests().iter().filter(|e| !is_meant(e)).cloned().collect();
    let last = !kept.iter().any(|entry| *entry.digest() == digest);
    if last && in_use.contains(&digest) {
        return Err(Error::InUse(format!("image {name} is used by a container; delete the pod's manifest first")));
    }
    report.done.push(format!("removed the name {name}"));
    if last {
        delete_images(&mut change, &[digest.clone()].into_iter().collect())?;
        report.done.push(format!("deleted image {digest}"));
    } else {
        index.set_manifests(kept);
        change.write_index(&index)?;
    }
    Ok(())
}

/// Deletes images with everything that no other has: first what may be missing while they are listed, and takes the most room, so
/// that it works on a full disk; the rest only when the index no longer names it.
fn delete_images(change: &mut Change<'_>, digests: &BTreeSet<String>) -> Result<()> {
    let mut index = change.store.index()?;
    let (gone, kept): (Vec<_>, Vec<_>) =
        index.manifests().iter().cloned().partition(|entry| digests.contains(entry.digest()));
    if gone.is_empty() {
        return Ok(());
    }
    let (mut layers, mut blobs) = (BTreeSet::default(), BTreeSet::default());
    for entry in &gone {
        blobs.insert(entry.digest().clone());
        // Of one that cannot be read the rest is found later, as a leftover.
        if let Ok((manifest, _, chains)) = change.store.load(entry.digest()) {
            layers.extend(chains);
            blobs.extend(manifest.layers().iter().chain([manifest.config()]).map(|blob| blob.digest().clone()));
        }
    }
    for entry in &kept {
        let (manifest, _, chains) = change
            .store
            .load(entry.digest())
            .map_err(|e| e.within(format!("image {} cannot be read, so what it needs is not known", entry.digest())))?;
        layers.retain(|chain| !chains.contains(chain));
        blobs.remove(manifest.config().digest());
        blobs.retain(|blob| !manifest.layers().iter().any(|layer| layer.digest() == blob));
    }
    for chain in &layers {
        change.delete_layer(chain)?;
    }
    index.set_manifests(kept);
    change.write_index(&index)?;
    for blob in &blobs {
        change.delete_blob(blob)?;
    }
    Ok(())
}

fn delete_leftovers(change: &mut Change<'_>, found: Vec<(Leftover, u64)>, report: &mut Report) -> Result<u64> {
    let mut freed = 0_u64;
    for (leftover, bytes) in found {
        let what = match leftover {
            Leftover::Blob(digest) => {
                change.delete_blob(&digest)?;
                format!("blob {digest}")
            }
            Leftover::Layer(chain) => {
                change.delete_layer(&chain)?;
                format!("layer {chain}")
            }
            Leftover::Pull(name) => {
                delete_in(change, pull::DIRECTORY, &name)?;
                "what was begun to be pulled".to_owned()
            }
            Leftover::Link(name) => {
                let path = format!("l/{}", name.to_string_lossy());
                let gone = rustix::fs::unlinkat(&change.store.layers, path, AtFlags::empty());
                gone.map_err(|e| Error::io("deleting the short name of a layer that is gone", e))?;
                continue;
            }
        };
        report.done.push(format!("deleted {what}: no image has it"));
        freed = freed.saturating_add(bytes);
    }
    Ok(freed)
}

fn delete_in(change: &Change<'_>, directory: &str, name: &CString) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&change.store.images, directory, flags, Mode::empty());
    let deleted = opened.and_then(|directory| tree::remove(directory.as_fd(), name));
    deleted.map_err(|e: Errno| Error::io("deleting what was begun to be pulled", e))
}

/// Whether a change was interrupted, or is under way.
fn is_half_done(store: &Store) -> bool {
    [&store.images, &store.layers].iter().any(|dir| Change::is_staging(dir))
}

/// Seconds since the epoch.
fn now() -> i64 {
    crate::sys::clock::wall_ms() / 1000
}
