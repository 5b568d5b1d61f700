//! [`Place`]: the directory of one image that is being pulled, an OCI layout. Files are taken for what they say in their names only
//! after their digests were checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gatepost::image::pull::{DIRECTORY, directory_of};
use gatepost::image::{Reference, digest_text};
use gatepost::probe::words;
use gatepost::sys::confine;
use sha2::{Digest as _, Sha256};

use crate::http::Failed;

/// So long what was half pulled is kept for another try.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// Where blobs go, and where those are that need not be pulled.
pub(crate) struct Place {
    directory: PathBuf,
    stored: PathBuf,
}

impl Place {
    /// Makes the image's own directory below `images` and gives up all others: what another pull has left is out of reach.
    pub(crate) fn enter(images: &Path, reference: &Reference) -> Result<Self, String> {
        let all = images.join(DIRECTORY);
        let own = all.join(directory_of(reference));
        let stored = images.join("blobs/sha256");
        let failed = |error: io::Error| format!("{}: {}", own.display(), words(&error));
        let blobs = own.join("blobs/sha256");
        fs::create_dir_all(&blobs).and_then(|()| fs::create_dir_all(&stored)).map_err(failed)?;
        fs::set_permissions(&all, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        remove_old(&all, &own);
        let user = Some(confine::FETCH_USER);
        for directory in [own.as_path(), &own.join("blobs"), &blobs] {
            lchown(directory, user, user).map_err(failed)?;
        }
        let confined = confine::client(&all, &[(&own, "pull"), (&stored, "stored")]);
        let (directory, stored) =
            if confined.rooted { (PathBuf::from("/pull"), PathBuf::from("/stored")) } else { (own, stored) };
        Ok(Self { directory, stored })
    }

    /// Stores a document.
    pub(crate) fn write(&self, digest: &str, bytes: &[u8]) -> Result<(), Failed> {
        let path = self.blob(digest)?;
        fs::write(&path, bytes).map_err(on_disk(&path))
    }

    /// The image is complete.
    pub(crate) fn write_index(&self, index: &[u8]) -> Result<(), Failed> {
        let path = self.directory.join("index.json");
        fs::write(&path, index).map_err(on_disk(&path))
    }

    /// Whether a blob is here; `shared`: or in the store, of which it is only asked whether it is there.
    pub(crate) fn has(&self, digest: &str, size: u64, shared: bool) -> Result<bool, Failed> {
        let there = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
        Ok(there(&self.blob(digest)?) || shared && there(&self.stored.join(hex_of(digest)?)))
    }

    /// A blob that is to come, with what has come of it.
    pub(crate) fn part(&self, digest: &str) -> Result<Part, Failed> {
        let path = self.blob(digest)?;
        let begun = path.with_extension("part");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&begun).map_err(on_disk(&begun))?;
        let mut hash = Hash(Sha256::new());
        let have = io::copy(&mut file, &mut hash).map_err(on_disk(&begun))?;
        Ok(Part { path, begun, file, hash, have })
    }

    fn blob(&self, digest: &str) -> Result<PathBuf, Failed> {
        Ok(self.directory.join("blobs/sha256").join(hex_of(digest)?))
    }
}

/// Removes what nobody has asked for in [`FORGOTTEN`].
fn remove_old(all: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    // Each try marks its own as used.
    let now = SystemTime::now();
    let _ = File::open(own).and_then(|directory| directory.set_modified(now));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > FORGOTTEN)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// A blob on its way.
pub(crate) struct Part {
    path: PathBuf,
    /// Its name as long as it is not complete.
    begun: PathBuf,
    file: File,
    hash: Hash,
    /// Bytes that are there.
    pub(crate) have: u64,
}

impl Part {
    /// The next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.file.write_all(bytes).map_err(on_disk(&self.begun))?;
        self.hash.0.update(bytes);
        self.have = self.have.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// From the beginning.
    pub(crate) fn reset(&mut self) -> Result<(), Failed> {
        (self.have, self.hash) = (0, Hash(Sha256::new()));
        self.file.set_len(0).map_err(on_disk(&self.begun))
    }

    /// It is complete: takes its name, or is thrown away when it is not what the name says.
    pub(crate) fn finish(self, digest: &str) -> Result<(), Failed> {
        let found = digest_text(self.hash.0.finalize().as_slice());
        if found == digest {
            return fs::rename(&self.begun, &self.path).map_err(on_disk(&self.path));
        }
        fs::remove_file(&self.begun).map_err(on_disk(&self.begun))?;
        Err(Failed::Other(format!("blob {digest} has the wrong digest: its {} bytes are {found}", self.have)))
    }
}

struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex_of(digest: &str) -> Result<&str, Failed> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
    hex.filter(|hex| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| Failed::Other(format!("digest {digest:?} is not supported; images here are named by sha256")))
}

fn on_disk(path: &Path) -> impl Fn(io::Error) -> Failed {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    move |error| Failed::Other(format!("storing {name}: {}", words(&error)))
}
