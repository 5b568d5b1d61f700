//! [`build`]: images of an archive as files that a node runs from flash ([`super::flash`]). For a developer's machine: it unpacks the
//! archive into a store of its own, and has `mksquashfs` or `mkfs.erofs` make a file of each layer.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::import_command;
use super::error::{Error, Result};
use super::flash::{Description, FlashLayer, KINDS, SUFFIX, VERSION};
use super::pipeline::hash_only;
use super::progress::{Progress, Step};
use super::store::{ImageSummary, Store, hex_of};
use super::worker::Report;
use crate::config::Layout;
use crate::json;
use crate::sys::replace::replace_durably;

/// Hex digits of a chain id in the name of a layer's file, as in those of the store's links.
const DIGITS: usize = 20;

/// What to make.
#[derive(Debug)]
pub struct Build<'a> {
    /// `gatepost-worker`.
    pub worker: &'a Path,
    /// The archive.
    pub archive: &'a Path,
    /// Name to give to its image instead of its own.
    pub name: Option<&'a str>,
    /// One of [`KINDS`].
    pub kind: &'a str,
    /// The directory for the files.
    pub out: &'a Path,
}

/// Makes the files. Layers that are there already stay; a description is written when all it names is.
pub fn build(build: &Build<'_>, progress: impl FnMut(&Step)) -> Result<Report> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Unsupported("only root can keep the owners of an image's files; run it as root".into()));
    }
    let failed = |what: &Path, e: io::Error| Error::io(format!("making {}", what.display()), e);
    fs::create_dir_all(build.out).map_err(|e| failed(build.out, e))?;
    let out = fs::canonicalize(build.out).map_err(|e| failed(build.out, e))?;
    let scratch = Scratch(out.join(format!(".build-flash-{}", std::process::id())));
    let layout = Layout { data: scratch.0.clone(), preload: Vec::new(), ..Layout::default() };
    let mut report = import_command(build.worker, &layout, build.archive, build.name, progress)?;
    if !report.ok {
        return Ok(report);
    }
    report.done.clear();
    let store = Store::open(&layout)?;
    for image in &report.images {
        let path = describe(&store, &layout, image, build.kind, &out)?;
        report.done.push(format!("made {} for {}", path.display(), image.names.join(", ")));
    }
    Ok(report)
}

/// A directory that goes with the work.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is hidden, and nobody takes it for an image.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn describe(store: &Store, layout: &Layout, image: &ImageSummary, kind: &str, out: &Path) -> Result<PathBuf> {
    let config = String::from_utf8(store.read_blob(&image.config_digest)?)
        .map_err(|_| Error::Corrupt("the configuration is not UTF-8".into()))?;
    let layers: Result<_> = image.layers.iter().map(|chain| layer(layout, chain, kind, out)).collect();
    let description = Description {
        version: VERSION,
        names: image.names.clone(),
        manifest_digest: image.manifest_digest.clone(),
        index_digest: image.index_digest.clone(),
        config_digest: image.config_digest.clone(),
        config,
        layers: layers?,
    };
    let bytes = json::to_vec(&description).map_err(|e| Error::Worker(format!("encoding the description: {e}")))?;
    let name = image.names.first().map_or_else(|| hex_of(&image.config_digest), String::as_str);
    let name = format!("{}{SUFFIX}", name.replace(['/', ':', '@'], "-"));
    let directory = File::open(out).map_err(|e| Error::io(format!("opening {}", out.display()), e))?;
    replace_durably(&directory, &name, &bytes, 0o644).map_err(|e| Error::io(format!("writing {name}"), e))?;
    Ok(out.join(name))
}

/// A layer's file, which is made if it is not there.
fn layer(layout: &Layout, chain: &str, kind: &str, out: &Path) -> Result<FlashLayer> {
    let hex = hex_of(chain);
    let name = format!("{}.{kind}", hex.get(..DIGITS).unwrap_or(hex));
    let path = out.join(&name);
    if !path.exists() {
        let made = layout.data.join(&name);
        make(&layout.layers().join(hex), kind, &made)?;
        let synced = File::open(&made).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&made, &path));
        synced.map_err(|e| Error::io(format!("storing {name}"), e))?;
    }
    let mut file = File::open(&path).map_err(|e| Error::io(format!("opening {}", path.display()), e))?;
    let (digest, size) = hash_only(&mut file, None, &Progress::new(None), &name)?;
    Ok(FlashLayer { file: name, size, digest })
}

fn make(tree: &Path, kind: &str, made: &Path) -> Result<()> {
    let (tree, made) = (tree.as_os_str(), made.as_os_str());
    let (program, package, arguments): (_, _, &[&OsStr]) = if kind == KINDS[0] {
        let words = ["-noappend", "-no-progress", "-quiet", "-mkfs-time", "0"].map(OsStr::new);
        ("mksquashfs", "squashfs-tools", &[&[tree, made], words.as_slice()].concat())
    } else {
        ("mkfs.erofs", "erofs-utils", &[OsStr::new("-zlz4hc"), made, tree])
    };
    let output = Command::new(program).args(arguments).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::Unsupported(format!("{program} is not installed; it is in the package {package} of Debian"))
        }
        _ => Error::io(format!("starting {program}"), error),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Worker(format!("{program} failed ({}): {said}", output.status)))
}
