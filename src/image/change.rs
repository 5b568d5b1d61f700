//! [`Change`]: the one exclusive change of the store at a time. Blobs and layers grow in staging directories; when all
//! are complete they are synced once, renamed into place, and only then named in the index.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::{Error, Result};
use super::lower::open_directory;
use super::store::{CONTAINERD_NAME, REF_NAME, Store, blob_path, hex_of, link_name, name_of};
use super::tree;
use crate::json;
use crate::sorted;
use crate::spec::image::{Descriptor, ImageIndex};
use crate::sys::replace::replace_durably;

/// Name of the staging directory in the image layout and in the layers' directory.
const STAGING: &str = ".staging";

/// An exclusive change of the store. Dropped without [`Change::commit`], it leaves nothing behind.
pub(crate) struct Change<'a> {
    pub(crate) store: &'a Store,
    blobs: OwnedFd,
    layers: OwnedFd,
    /// digest → name in staging.
    new_blobs: BTreeMap<String, String>,
    /// chain id → name in staging.
    new_layers: BTreeMap<String, String>,
    entries: Vec<Descriptor>,
    counter: u64,
    /// Layers are kept unpacked only.
    pub(crate) discard_layers: bool,
    /// As [`Store::checked_layers`], and what was checked since; read when it is first needed.
    checked: Option<sorted::BTreeMap<String, (String, u64)>>,
    _lock: OwnedFd,
}

impl<'a> Change<'a> {
    /// Waits for the lock, then removes what an interrupted change has left in staging.
    pub(crate) fn begin(store: &'a Store) -> Result<Self> {
        let failed = |e: Errno| Error::io("locking the image store", e);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&store.layers, ".lock", flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                done => break done.map_err(failed)?,
            }
        }
        let staging = |dir: &OwnedFd| {
            let failed = |e: Errno| Error::io("preparing the image store's staging directory", e);
            tree::remove(dir.as_fd(), c".staging").map_err(failed)?;
            rustix::fs::mkdirat(dir, STAGING, Mode::from_raw_mode(0o700)).map_err(failed)?;
            open_directory(dir.as_fd(), c".staging").map_err(failed)
        };
        Ok(Self {
            blobs: staging(&store.images)?,
            layers: staging(&store.layers)?,
            store,
            new_blobs: BTreeMap::new(),
            new_layers: BTreeMap::new(),
            entries: Vec::new(),
            counter: 0,
            discard_layers: false,
            checked: None,
            _lock: lock,
        })
    }

    /// Whether a change is under way, or was interrupted, in one of the store's directories.
    pub(crate) fn is_staging(dir: &OwnedFd) -> bool {
        rustix::fs::statat(dir, STAGING, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// A new file in staging that is to become a blob, or is only needed for a while.
    pub(crate) fn stage_file(&mut self) -> Result<(String, File)> {
        let name = self.next_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.blobs, &name, flags, Mode::from_raw_mode(0o644))
            .map_err(|e| Error::io("making a file in the image store", e))?;
        Ok((name, File::from(fd)))
    }

    /// Links a file of the store's file system into staging, and makes it root's; none if it is not there.
    pub(crate) fn link_file(&mut self, dir: BorrowedFd<'_>, path: &str) -> Result<Option<String>> {
        let failed = |e: Errno| Error::io("linking a blob into the image store", e);
        let name = self.next_name();
        match rustix::fs::linkat(dir, path, &self.blobs, &name, AtFlags::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            linked => linked.map_err(failed)?,
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.blobs, &name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Unsafe("a blob that was pulled is no file".into()));
        }
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        rustix::fs::fchown(&file, Some(user), Some(group)).map_err(failed)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(failed)?;
        Ok(Some(name))
    }

    pub(crate) fn open_staged(&self, name: &str) -> Result<File> {
        rustix::fs::openat(&self.blobs, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|e| Error::io("opening a staged file", e))
    }

    pub(crate) fn discard_staged(&self, name: &str) {
        // What stays is removed with the staging directory.
        let _ = rustix::fs::unlinkat(&self.blobs, name, AtFlags::empty());
    }

    /// The staged file is complete and has this digest.
    pub(crate) fn adopt_blob(&mut self, name: String, digest: &str) {
        if let Some(double) = self.new_blobs.insert(digest.to_owned(), name) {
            self.discard_staged(&double);
        }
    }

    /// Stages a small document.
    pub(crate) fn add_document(&mut self, digest: &str, bytes: &[u8]) -> Result<()> {
        if self.blob_size(digest) == Some(bytes.len() as u64) {
            return Ok(());
        }
        let (name, mut file) = self.stage_file()?;
        std::io::Write::write_all(&mut file, bytes).map_err(|e| Error::io(format!("writing blob {digest}"), e))?;
        self.adopt_blob(name, digest);
        Ok(())
    }

    /// Layer blobs whose content is known.
    pub(crate) fn checked(&mut self) -> &mut sorted::BTreeMap<String, (String, u64)> {
        self.checked.get_or_insert_with(|| self.store.checked_layers())
    }

    /// Size of a blob that is stored or staged.
    pub(crate) fn blob_size(&self, digest: &str) -> Option<u64> {
        match self.new_blobs.get(digest) {
            Some(name) => {
                let stat = rustix::fs::statat(&self.blobs, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                u64::try_from(stat.st_size).ok()
            }
            None => self.store.blob_size(digest),
        }
    }

    /// A new, empty layer directory in staging.
    pub(crate) fn stage_layer(&mut self) -> Result<(String, OwnedFd)> {
        let name = self.next_name();
        let failed = |e: Errno| Error::io("making a layer directory", e);
        rustix::fs::mkdirat(&self.layers, &name, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let dir =
            open_directory(self.layers.as_fd(), &CString::new(name.clone()).unwrap_or_default()).map_err(failed)?;
        // Whatever the umask is: a layer without an entry for its root has the usual one.
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755)).map_err(failed)?;
        Ok((name, dir))
    }

    /// The staged layer is to have this chain id: from now on it can be opened, and when the change is committed it must be complete.
    pub(crate) fn adopt_layer(&mut self, name: String, chain: &str) {
        self.new_layers.insert(chain.to_owned(), name);
    }

    pub(crate) fn has_layer(&self, chain: &str) -> bool {
        self.new_layers.contains_key(chain) || self.store.has_layer(hex_of(chain))
    }

    /// Opens an unpacked layer, staged or stored.
    pub(crate) fn open_layer(&self, chain: &str) -> Result<OwnedFd> {
        let (dir, name) = match self.new_layers.get(chain) {
            Some(name) => (&self.layers, name.as_str()),
            None => (&self.store.layers, hex_of(chain)),
        };
        open_directory(dir.as_fd(), &CString::new(name).unwrap_or_default())
            .map_err(|e| Error::io(format!("opening layer {chain}"), e))
    }

    /// Names an image in the index at commit. `entry` carries no name; an earlier holder of a name loses it.
    pub(crate) fn name_image(&mut self, entry: &Descriptor, names: &[String]) {
        for name in names {
            let mut with_name = entry.clone();
            let mut annotations = with_name.annotations().clone().unwrap_or_default();
            annotations.insert(REF_NAME.to_owned(), name.clone());
            annotations.insert(CONTAINERD_NAME.to_owned(), name.clone());
            with_name.set_annotations(Some(annotations));
            self.entries.push(with_name);
        }
    }

    /// Makes everything durable and visible: contents first, names after them, the index last.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let failed = |e: Errno| Error::io("storing the image", e);
        if !self.new_blobs.is_empty() || !self.new_layers.is_empty() {
            rustix::fs::syncfs(&self.blobs).map_err(failed)?;
            rustix::fs::syncfs(&self.layers).map_err(failed)?;
        }
        for dir in ["blobs", "blobs/sha256"] {
            make_directory(&self.store.images, dir)?;
        }
        make_directory(&self.store.layers, "l")?;
        for (digest, name) in std::mem::take(&mut self.new_blobs) {
            rustix::fs::renameat(&self.blobs, &name, &self.store.images, blob_path(&digest)?).map_err(failed)?;
        }
        for (chain, name) in std::mem::take(&mut self.new_layers) {
            self.place_layer(&chain, &name)?;
        }
        for (dir, path) in [(&self.store.images, "blobs/sha256"), (&self.store.layers, "l"), (&self.store.layers, ".")]
        {
            let dir =
                rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            dir.and_then(rustix::fs::fsync).map_err(failed)?;
        }
        if !self.entries.is_empty() {
            let mut index = self.store.index()?;
            merge(&mut index, std::mem::take(&mut self.entries));
            self.write_index(&index)?;
        }
        Ok(())
    }

    fn place_layer(&self, chain: &str, name: &str) -> Result<()> {
        let hex = hex_of(chain);
        let failed = |e: Errno| Error::io(format!("storing layer {chain}"), e);
        let link = link_name(hex);
        let target = format!("../{hex}");
        match rustix::fs::readlinkat(&self.store.layers, &link, Vec::new()) {
            Ok(there) if there.to_bytes() == target.as_bytes() => {}
            Ok(_) => {
                return Err(Error::Unsafe(format!("layer {chain} is made to share its short name with another layer")));
            }
            Err(Errno::NOENT) => rustix::fs::symlinkat(&target, &self.store.layers, &link).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        rustix::fs::renameat(&self.layers, name, &self.store.layers, hex).map_err(failed)
    }

    pub(crate) fn write_index(&self, index: &ImageIndex) -> Result<()> {
        if rustix::fs::statat(&self.store.images, "oci-layout", AtFlags::SYMLINK_NOFOLLOW).is_err() {
            replace_durably(&self.store.images, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)
                .map_err(|e| Error::io("writing oci-layout", e))?;
        }
        let bytes = json::to_vec(index).map_err(|e| Error::Worker(format!("encoding index.json: {e}")))?;
        replace_durably(&self.store.images, "index.json", &bytes, 0o644).map_err(|e| Error::io("writing index.json", e))
    }

    /// Deletes a layer that no image has any more: out of sight first, then its tree.
    pub(crate) fn delete_layer(&mut self, chain: &str) -> Result<()> {
        let failed = |e: Errno| Error::io(format!("deleting layer {chain}"), e);
        let hex = hex_of(chain);
        match rustix::fs::unlinkat(&self.store.layers, link_name(hex), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        let name = self.next_name();
        match rustix::fs::renameat(&self.store.layers, hex, &self.layers, &name) {
            Ok(()) => tree::remove(self.layers.as_fd(), &CString::new(name).unwrap_or_default()).map_err(failed),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Deletes a blob that no image has any more.
    pub(crate) fn delete_blob(&self, digest: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.store.images, blob_path(digest)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::io(format!("deleting blob {digest}"), error)),
        }
    }

    fn next_name(&mut self) -> String {
        self.counter = self.counter.saturating_add(1);
        self.counter.to_string()
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Nothing is reported here: what cannot be removed now is removed when the next change begins.
        for dir in [&self.store.images, &self.store.layers] {
            let _ = tree::remove(dir.as_fd(), c".staging");
        }
    }
}

/// Puts named entries into the index. An image that loses its last name stays, nameless, for the containers it runs.
fn merge(index: &mut ImageIndex, entries: Vec<Descriptor>) {
    let mut manifests = index.manifests().clone();
    for entry in entries {
        let name = name_of(&entry);
        let mut kept: Vec<Descriptor> = Vec::new();
        for mut old in manifests {
            if old.digest() == entry.digest() && (name_of(&old) == name || name_of(&old).is_none()) {
                continue;
            }
            if name.is_some() && name_of(&old) == name {
                let mut annotations = old.annotations().clone().unwrap_or_default();
                annotations.remove(REF_NAME);
                annotations.remove(CONTAINERD_NAME);
                old.set_annotations((!annotations.is_empty()).then_some(annotations));
            }
            kept.push(old);
        }
        kept.push(entry);
        manifests = kept;
    }
    // A nameless entry beside a named one of the same image says nothing.
    let named: Vec<_> = manifests.iter().filter(|m| name_of(m).is_some()).map(|m| m.digest().clone()).collect();
    manifests.retain(|m| name_of(m).is_some() || !named.contains(m.digest()));
    index.set_manifests(manifests);
}

fn make_directory(dir: &OwnedFd, path: &str) -> Result<()> {
    match rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Error::io(format!("making the image store's directory {path}"), error)),
    }
}
