//! [`save`]: one image of the store as an OCI archive.

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use tar::{EntryType, Header};

use super::candidate::descriptor;
use super::error::{Error, Result};
use super::progress::Progress;
use super::reference::Reference;
use super::store::{CONTAINERD_NAME, LAYERS_ONLY, REF_NAME, Store, annotation, blob_path, digest_text, name_of, parse};
use super::worker::Report;
use crate::json;
use crate::sorted::BTreeSet;
use crate::spec::image::{ImageIndex, ImageManifest};
use sha2::{Digest as _, Sha256};

/// Bytes on their way from the store to the archive.
const BUFFER: usize = 256 << 10;

/// Writes the image of this name or digest to `out`, every blob checked on its way.
pub(super) fn save(store: &Store, name: &str, out: File, progress: &Progress, report: &mut Report) -> Result<()> {
    let reference = name.parse::<Reference>();
    let wanted = reference.as_ref().map(ToString::to_string).unwrap_or_default();
    let by_digest = name.rsplit('@').next().filter(|digest| digest.starts_with("sha256:"));
    let index = store.index()?;
    let found = index.manifests().iter().find(|entry| match by_digest {
        Some(digest) => entry.digest() == digest,
        None => name_of(entry) == Some(wanted.clone()),
    });
    let entry =
        found.ok_or_else(|| Error::NotFound(format!("no image {name}; `gatepost image ls` shows what there is")))?;
    let document = store.read_blob(entry.digest())?;
    let manifest: ImageManifest = parse(&document, "manifest")?;
    let missing = |digest: &str| match annotation(entry, LAYERS_ONLY) {
        Some(_) if store.blob_size(digest).is_none() => Err(Error::Unsupported(format!(
            "layers of image {name} are kept unpacked only (setting discardUnpackedLayers), which an archive cannot be made of; \
             take the archive that it came from"
        ))),
        _ => Ok(()),
    };
    let mut named = descriptor(entry.media_type(), entry.digest(), entry.size());
    if let Some(name) = name_of(entry) {
        named.set_annotations(Some([(REF_NAME.to_owned(), name.clone()), (CONTAINERD_NAME.to_owned(), name)].into()));
    }
    let mut own = ImageIndex::default();
    own.set_schema_version(2).set_manifests(vec![named]);
    let own = json::to_vec(&own).map_err(|e| Error::Worker(format!("encoding index.json: {e}")))?;
    let total = manifest.layers().iter().fold(document.len() as u64, |sum, layer| sum.saturating_add(layer.size()));
    progress.begin(total);
    for layer in manifest.layers() {
        missing(layer.digest())?;
    }
    let mut out = Archive { out: BufWriter::with_capacity(BUFFER, out) };
    out.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    out.document("index.json", &own)?;
    out.document(&blob_path(entry.digest())?, &document)?;
    let config = manifest.config().digest();
    out.document(&blob_path(config)?, &store.read_blob(config)?)?;
    let mut written = BTreeSet::default();
    for layer in manifest.layers().iter().filter(|layer| written.insert(layer.digest().clone())) {
        out.blob(store, layer.digest(), layer.size(), progress)?;
    }
    out.end()?;
    progress.tell("done");
    report.done.push(format!("saved {} ({})", name_of(entry).unwrap_or_default(), entry.digest()));
    Ok(())
}

/// The archive that is being written.
struct Archive {
    out: BufWriter<File>,
}

impl Archive {
    fn header(&mut self, path: &str, size: u64) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(path).map_err(failed)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(failed)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = usize::try_from(size.next_multiple_of(512).saturating_sub(size)).unwrap_or(0);
        self.out.write_all([0; 512].get(..rest).unwrap_or_default()).map_err(failed)
    }

    fn document(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.header(path, bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(failed)?;
        self.pad(bytes.len() as u64)
    }

    fn blob(&mut self, store: &Store, digest: &str, size: u64, progress: &Progress) -> Result<()> {
        let damaged = |why: String| {
            Error::Corrupt(format!(
                "blob {digest} is damaged: {why}; `gatepost image verify --repair` may put it right"
            ))
        };
        let mut blob = store.open_blob(digest)?.take(size.saturating_add(1));
        self.header(&blob_path(digest)?, size)?;
        let (mut hash, mut copied, mut buffer) = (Sha256::new(), 0_u64, vec![0; BUFFER]);
        loop {
            let length = blob.read(&mut buffer).map_err(|e| Error::io(format!("reading blob {digest}"), e))?;
            let bytes = buffer.get(..length).unwrap_or_default();
            copied = copied.saturating_add(length as u64);
            if length == 0 || copied > size {
                break;
            }
            hash.update(bytes);
            self.out.write_all(bytes).map_err(failed)?;
            progress.add(length as u64, "saving");
        }
        if copied != size {
            return Err(damaged(format!("it does not have its {size} bytes")));
        }
        match digest_text(hash.finalize().as_slice()) {
            found if found == digest => self.pad(size),
            found => Err(damaged(format!("its content has the digest {found}"))),
        }
    }

    fn end(mut self) -> Result<()> {
        self.out.write_all(&[0; 1024]).map_err(failed)?;
        self.out.flush().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("writing the archive", error)
}
