//! [`Contents`]: what the store holds, and which image has what of it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::collect::{Held, Space, age};
use super::error::{Error, Result};
use super::pull;
use super::reference::Reference;
use super::store::{INDEX_DIGEST, Store, annotation, blob_path, hex_of, link_name, name_of};
use super::tree;
use crate::json::{Deserialize, Serialize};
use crate::sorted::{BTreeMap, BTreeSet};

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// Images that manifests want, as they name them.
    pub wanted: Vec<String>,
    /// Manifest digests of images that containers use.
    pub in_use: Vec<String>,
}

/// The images of the store.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) images: Vec<Image>,
    /// Images whose manifest or configuration cannot be read: what they need is not known.
    pub(super) unreadable: Vec<(String, Error)>,
}

/// One image.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) digest: String,
    names: Vec<String>,
    index_digest: Option<String>,
    /// Its manifest, configuration and layers.
    pub(super) blobs: Vec<String>,
    /// Chain ids.
    pub(super) layers: Vec<String>,
}

/// What nobody has use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leftover {
    /// `sha256:<hex>`.
    Blob(String),
    /// A chain id.
    Layer(String),
    /// What was begun to be pulled, below [`pull::DIRECTORY`].
    Pull(CString),
    /// The short name of a layer that is not there.
    Link(CString),
}

/// A half-pulled image that was not touched for so long is not being pulled, in seconds.
const PULL_AGE: u64 = 3600;
/// A use is noted when the last one noted is older, in seconds: a write a day at most.
const NOTED_EVERY: u64 = 86_400;

impl Keep {
    /// Whether this image must stay.
    pub(super) fn keeps(&self, image: &Image) -> bool {
        self.in_use.contains(&image.digest) || self.references().any(|wanted| image.is(&wanted))
    }

    fn references(&self) -> impl Iterator<Item = Reference> {
        self.wanted.iter().filter_map(|name| name.parse().ok())
    }
}

impl Image {
    pub(super) fn is_nameless(&self) -> bool {
        self.names.is_empty()
    }

    fn is(&self, reference: &Reference) -> bool {
        match reference.digest() {
            Some(digest) => self.digest == digest || self.index_digest.as_deref() == Some(digest),
            None => self.names.contains(&reference.to_string()),
        }
    }

    /// Its blobs and layers, by names that do not clash.
    fn parts(&self) -> impl Iterator<Item = String> {
        self.blobs.iter().cloned().chain(self.layers.iter().map(|chain| layer_part(chain)))
    }
}

fn layer_part(chain: &str) -> String {
    format!("layer {chain}")
}

impl Contents {
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut contents = Self { images: Vec::new(), unreadable: Vec::new() };
        for entry in store.index()?.manifests() {
            let (digest, name) = (entry.digest(), name_of(entry));
            if let Some(known) = contents.images.iter_mut().find(|image| image.digest == *digest) {
                known.names.extend(name);
                continue;
            }
            match store.load(digest) {
                Ok((manifest, _, layers)) => {
                    let blobs = manifest.layers().iter().chain([manifest.config()]).map(|blob| blob.digest().clone());
                    contents.images.push(Image {
                        digest: digest.clone(),
                        names: name.into_iter().collect(),
                        index_digest: annotation(entry, INDEX_DIGEST).map(str::to_owned),
                        blobs: [digest.clone()].into_iter().chain(blobs).collect(),
                        layers,
                    });
                }
                Err(error) => contents.unreadable.push((name.unwrap_or_else(|| digest.clone()), error)),
            }
        }
        Ok(contents)
    }

    /// Each image with what it takes on the disk. `all`: also of those that must stay and share nothing with others, which takes
    /// a look at each of their files.
    pub(super) fn held(&self, store: &Store, keep: &Keep, all: bool) -> Vec<Held> {
        let is_kept: Vec<bool> = self.images.iter().map(|image| keep.keeps(image)).collect();
        let mut sizes: BTreeMap<String, u64> = BTreeMap::default();
        for (image, _) in self.images.iter().zip(&is_kept).filter(|(_, kept)| all || !**kept) {
            for part in image.parts() {
                sizes.entry(part.clone()).or_insert_with(|| size_of(store, &part));
            }
        }
        let held = self.images.iter().zip(is_kept).map(|(image, wanted)| Held {
            digest: image.digest.clone(),
            used: last_used(store, &image.digest),
            wanted,
            parts: image.parts().map(|part| (part.clone(), sizes.get(&part).copied().unwrap_or_default())).collect(),
        });
        held.collect()
    }

    /// Bytes and number of the blobs and of the layers that images have.
    pub(super) fn amounts(held: &[Held]) -> [(u64, u64); 2] {
        let parts: BTreeMap<&String, u64> =
            held.iter().flat_map(|image| image.parts.iter().map(|(part, size)| (part, *size))).collect();
        [false, true].map(|layers| {
            let chosen = parts.iter().filter(|(part, _)| part.starts_with("layer ") == layers);
            chosen.fold((0, 0), |(bytes, count), (_, size)| {
                (size.saturating_add(bytes), u64::from(*size > 0).saturating_add(count))
            })
        })
    }

    /// What no image has, and is older than that many seconds, and what nobody pulls any more; with what it takes on the disk.
    pub(super) fn leftovers(&self, store: &Store, keep: &Keep, min_age: u64, now: i64) -> Result<Vec<(Leftover, u64)>> {
        let failed = |e: Errno| Error::io("looking for what imports and pulls have left", e);
        let mut found = Vec::new();
        let pulls: BTreeSet<String> = keep.references().map(|wanted| pull::directory_of(&wanted)).collect();
        for name in names(store.images.as_fd(), pull::DIRECTORY).map_err(failed)? {
            let path = format!("{}/{}", pull::DIRECTORY, name.to_string_lossy());
            let untouched = age(newest(store.images.as_fd(), &path), now);
            if !pulls.contains(name.to_string_lossy().as_ref()) && untouched >= PULL_AGE {
                let bytes = tree::bytes(store.images.as_fd(), &path);
                found.push((Leftover::Pull(name), bytes));
            }
        }
        // A container's image is always in the index. If it is not, that was lost, and says nothing.
        let lost = keep.in_use.iter().any(|digest| !self.images.iter().any(|image| image.digest == *digest));
        if lost || !self.unreadable.is_empty() {
            return Ok(found);
        }
        let needed: BTreeSet<String> = self.images.iter().flat_map(Image::parts).collect();
        for name in names(store.images.as_fd(), "blobs/sha256").map_err(failed)? {
            let digest = format!("sha256:{}", name.to_string_lossy());
            // Also what another tool is about to name; and what it calls otherwise until it is complete is not ours.
            let Ok(path) = blob_path(&digest) else { continue };
            if needed.contains(&digest) {
                continue;
            }
            let stat = rustix::fs::statat(&store.images, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            #[allow(clippy::unnecessary_cast)] // field types differ by target
            if age(stat.st_ctime as i64, now) >= min_age {
                let bytes = tree::bytes(store.images.as_fd(), &path);
                found.push((Leftover::Blob(digest), bytes));
            }
        }
        for name in names(store.layers.as_fd(), ".").map_err(failed)? {
            let chain = format!("sha256:{}", name.to_string_lossy());
            if blob_path(&chain).is_ok() && !needed.contains(&layer_part(&chain)) {
                let bytes = tree::bytes(store.layers.as_fd(), hex_of(&chain));
                found.push((Leftover::Layer(chain), bytes));
            }
        }
        let links: BTreeSet<String> =
            self.images.iter().flat_map(|image| &image.layers).map(|chain| link_name(hex_of(chain))).collect();
        for name in names(store.layers.as_fd(), "l").map_err(failed)? {
            let path = format!("l/{}", name.to_string_lossy());
            if !links.contains(&path) && rustix::fs::statat(&store.layers, &path, AtFlags::empty()).is_err() {
                found.push((Leftover::Link(name), 0));
            }
        }
        Ok(found)
    }

    /// Notes that these images are used, where that was not noted for a day.
    pub(super) fn note_use(&self, store: &Store, keep: &Keep, now: i64) {
        for image in self.images.iter().filter(|image| keep.keeps(image)) {
            if age(last_used(store, &image.digest), now) < NOTED_EVERY {
                continue;
            }
            let time = Timespec { tv_sec: now as _, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            let path = blob_path(&image.digest).unwrap_or_default();
            if let Err(error) = rustix::fs::utimensat(&store.images, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
                log::warn!("image {}: that it is used cannot be noted: {error}", image.digest);
            }
        }
    }
}

/// The file system that images lie on.
pub(super) fn space(store: &Store) -> Result<Space> {
    let stat = rustix::fs::fstatvfs(&store.layers).map_err(|e| Error::io("reading the size of the file system", e))?;
    Ok(Space {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// When an image came or was used, in seconds since the epoch: its manifest's time.
#[allow(clippy::unnecessary_cast)] // field types differ by target
fn last_used(store: &Store, digest: &str) -> i64 {
    let path = blob_path(digest).unwrap_or_default();
    rustix::fs::statat(&store.images, path, AtFlags::SYMLINK_NOFOLLOW).map_or(0, |stat| stat.st_mtime as i64)
}

fn size_of(store: &Store, part: &str) -> u64 {
    match part.strip_prefix("layer ") {
        Some(chain) => tree::bytes(store.layers.as_fd(), hex_of(chain)),
        None => tree::bytes(store.images.as_fd(), &blob_path(part).unwrap_or_default()),
    }
}

/// The newest time of a directory and of the blobs in it.
#[allow(clippy::unnecessary_cast)] // field types differ by target
fn newest(dir: BorrowedFd<'_>, path: &str) -> i64 {
    let blobs = format!("{path}/blobs/sha256");
    let inside =
        names(dir, &blobs).unwrap_or_default().into_iter().map(|name| format!("{blobs}/{}", name.to_string_lossy()));
    let times = inside.chain([path.to_owned(), blobs.clone()]).filter_map(|path| {
        rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_mtime as i64)
    });
    times.max().unwrap_or(0)
}

/// The names in a directory; none if it is not there.
fn names(dir: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(dir, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut found = Vec::new();
    let mut entries = Dir::read_from(&opened)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push(entry.file_name().to_owned());
        }
    }
    Ok(found)
}
