//! Role `image-worker`: one [`Request`] on descriptor 0, one [`Report`] on descriptor 3, optional progress lines
//! ([`super::progress::Step`]) on descriptor 4. Opens what it was asked to read, then confines itself, then reads.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::change::Change;
use super::error::{Error, Result};
use super::flash::{self, FlashImage};
use super::import::{adopt_layout, import, unpack_stored};
use super::limits::MAX_DOCUMENT;
use super::pipeline::hash_only;
use super::progress::Progress;
use super::pull;
use super::reference::Reference;
use super::source::is_directory;
use super::store::{ImageSummary, Store, hex_of, name_of, read_limited};
use super::tree;
use crate::config::Layout;
use crate::json::{self, Deserialize, Serialize};
use crate::sorted::BTreeSet;
use crate::sys::helper::Helper;
use crate::sys::replace::replace_durably;
use crate::sys::{confine, inherited};

/// Version of request and report.
pub const VERSION: u32 = 1;

/// Descriptor of the progress lines; it need not be there.
pub(super) const PROGRESS: RawFd = 4;

/// What the worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// Where the store lies.
    pub layout: Layout,
    /// The work.
    pub command: Command,
}

/// One kind of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Command {
    /// Lists the images.
    List,
    /// Imports one archive (file or directory).
    Import {
        /// The archive.
        path: PathBuf,
        /// Name to give to its image instead of its own.
        name: Option<String>,
        /// Skip it if it was imported before and has not changed since (device, inode, size, time).
        remember: bool,
    },
    /// Takes in what `gatepost-fetch` has pulled under this name: its blobs are linked, not copied.
    Adopt {
        /// The image's full name.
        name: String,
    },
    /// Imports whatever lies in these directories and was not imported before. One bad archive does not keep the others out:
    /// each failure is a warning.
    Preload {
        /// Directories in order; one that is not there is no error. A directory that is itself an OCI layout is one archive.
        paths: Vec<PathBuf>,
    },
    /// Unpacks the missing layers of an image whose blobs are in the store.
    Unpack {
        /// `sha256:<hex>` of the manifest.
        manifest_digest: String,
    },
    /// Takes a name away (or, given `sha256:<hex>` or `…@sha256:<hex>`, all names of that image); the image goes with its
    /// last name.
    Remove {
        /// The name or digest.
        name: String,
        /// Manifest digests of images that containers use; these are not deleted.
        in_use: Vec<String>,
    },
    /// Deletes a directory tree below the data directory's `pods` or `containers`, or below the logs.
    RemoveTree {
        /// Absolute path of the tree.
        path: PathBuf,
    },
    /// Reads every blob again and compares its digest; looks for missing layers.
    Verify,
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Whether everything asked for was done.
    pub ok: bool,
    /// One CamelCase word if not ok, such as `CorruptImage`, `NoSpace`, `ImageNotFound`.
    pub reason: String,
    /// What went wrong and what to do, if not ok.
    pub message: String,
    /// All images of the store afterwards.
    pub images: Vec<ImageSummary>,
    /// What was done, one sentence each.
    pub done: Vec<String>,
    /// What the user should know although it worked.
    pub warnings: Vec<String>,
}

/// Entry of the role.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("image-worker") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let progress = Progress::new(inherited::take(PROGRESS).ok().map(File::from));
    let report = match helper.request(VERSION) {
        Ok(request) => run(&request, &progress, true),
        Err(error) => failure(&Error::Worker(error)),
    };
    helper.report(&report, report.ok)
}

/// Does the work in this process and gives the report. `confined`: give up everything that is not needed first (for a
/// process of its own only).
pub(crate) fn run(request: &Request, progress: &Progress, confined: bool) -> Report {
    let mut report = Report { version: VERSION, ok: true, ..Report::default() };
    if let Err(error) = work(request, progress, confined, &mut report) {
        let failed = failure(&error);
        report = Report { images: Vec::new(), done: report.done, warnings: report.warnings, ..failed };
    }
    report
}

fn failure(error: &Error) -> Report {
    Report {
        version: VERSION,
        ok: false,
        reason: error.reason().to_owned(),
        message: error.to_string(),
        ..Report::default()
    }
}

fn work(request: &Request, progress: &Progress, confined: bool, report: &mut Report) -> Result<()> {
    // Owners, modes and devices come from the images alone.
    rustix::process::umask(Mode::empty());
    let layout = &request.layout;
    if let Command::RemoveTree { path } = &request.command {
        return remove_tree(layout, path, confined, report);
    }
    // Makes the directories, so that they can be the new root's.
    let mut store = Store::open(layout)?;
    let archives = open_archives(&request.command, report)?;
    let flash = flash::list(&layout.preload);
    let on_flash = if request.command == Command::Verify { flash::open_layers(&flash) } else { Vec::new() };
    if confined {
        let (images, layers) = (layout.images(), layout.layers());
        let state = confine::worker(&layout.data, &[(&images, "images"), (&layers, "layers")]);
        report.warnings.extend(state.warnings);
        if state.rooted {
            store = Store::open(&Layout { data: "/".into(), ..layout.clone() })?;
        }
    }
    match &request.command {
        Command::List | Command::RemoveTree { .. } => {}
        Command::Import { name, remember, .. } => {
            let name = name.as_deref().map(str::parse::<Reference>).transpose()?;
            for archive in archives {
                import_one(&store, archive, name.as_ref(), *remember, progress, report)?;
            }
        }
        Command::Adopt { name } => adopt(&store, &name.parse()?, progress, report)?,
        Command::Preload { .. } => {
            for archive in archives {
                if let Err(error) = import_one(&store, archive, None, true, progress, report) {
                    report.warnings.push(format!("{}: {error}", error.reason()));
                }
            }
        }
        Command::Unpack { manifest_digest } => {
            let warnings = unpack_stored(&store, manifest_digest, progress)
                .map_err(|e| e.within(format!("image {manifest_digest}")))?;
            report.warnings.extend(warnings);
            report.done.push(format!("unpacked image {manifest_digest}"));
        }
        Command::Remove { name, in_use } => remove(&store, name, in_use, report).map_err(|error| match error {
            Error::NotFound(_) => flash::refuse_removal(&flash, name).unwrap_or(error),
            error => error,
        })?,
        Command::Verify => {
            verify(&store, progress, report)?;
            let count = flash::verify(on_flash, progress, &mut report.warnings);
            report.done.push(format!("verified {count} layers on flash"));
        }
    }
    let (images, problems) = store.list()?;
    report.images = images;
    report.warnings.extend(problems);
    report.warnings.extend(flash.iter().filter_map(|image| image.found.as_ref().err().cloned()));
    // Behind those of the store, which count first where both have a name.
    report.images.extend(flash.into_iter().map(FlashImage::summary));
    Ok(())
}

/// An archive opened before confinement.
struct Archive {
    label: String,
    fd: OwnedFd,
    identity: Identity,
}

/// Which file an archive is, to import it only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    path: String,
    device: u64,
    inode: u64,
    size: i64,
    modified: i64,
    modified_nanos: i64,
}

/// `layers/imported.json`: the archives that were imported with `remember`.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u32,
    archives: Vec<Identity>,
}

/// Archives in preload directories that are opened at a time.
const MAX_ARCHIVES: usize = 512;

fn open_archives(command: &Command, report: &mut Report) -> Result<Vec<Archive>> {
    match command {
        Command::Import { path, .. } => Ok(vec![open_archive(path)?]),
        Command::Preload { paths } => {
            let mut archives = Vec::new();
            for path in preload_candidates(paths, report) {
                if archives.len() >= MAX_ARCHIVES {
                    report.warnings.push(format!("more than {MAX_ARCHIVES} archives to preload; the rest is left out"));
                    break;
                }
                match open_archive(&path) {
                    Ok(archive) => archives.push(archive),
                    Err(error) => report.warnings.push(format!("{}: {error}", error.reason())),
                }
            }
            Ok(archives)
        }
        _ => Ok(Vec::new()),
    }
}

/// Regular files and OCI layouts in the directories, in name order; hidden ones are left out.
fn preload_candidates(paths: &[PathBuf], report: &mut Report) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_file() || path.join("index.json").is_file() {
            found.push(path.clone());
            continue;
        }
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                report.warnings.push(format!("reading {}: {error}", path.display()));
                continue;
            }
        };
        let mut here: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .map(|entry| entry.path())
            .filter(|path| !flash::is_part(path))
            .filter(|path| path.is_file() || path.join("index.json").is_file())
            .collect();
        here.sort();
        found.append(&mut here);
    }
    found
}

fn open_archive(path: &Path) -> Result<Archive> {
    let failed = |e: Errno| Error::io(format!("opening {}", path.display()), e);
    let fd =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).map_err(failed)?;
    // A layout's own time and size do not change with its content; its index does.
    let stat = if is_directory(&fd) {
        rustix::fs::statat(&fd, "index.json", rustix::fs::AtFlags::empty())
    } else {
        rustix::fs::fstat(&fd)
    };
    let stat = match stat {
        Err(Errno::NOENT) => {
            return Err(Error::Unsupported(format!(
                "{}: a directory without index.json is no OCI image layout",
                path.display()
            )));
        }
        stat => stat.map_err(failed)?,
    };
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(failed)?;
    rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(failed)?;
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // field types differ by target
    let identity = Identity {
        path: path.display().to_string(),
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        size: stat.st_size as i64,
        modified: stat.st_mtime as i64,
        modified_nanos: stat.st_mtime_nsec as i64,
    };
    Ok(Archive { label: path.display().to_string(), fd, identity })
}

fn import_one(
    store: &Store,
    archive: Archive,
    name: Option<&Reference>,
    remember: bool,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    let mut memory = if remember { recall(store) } else { Vec::new() };
    if memory.contains(&archive.identity) {
        report.done.push(format!("{} was imported before", archive.label));
        return Ok(());
    }
    let (imported, warnings) = import(store, archive.fd, &archive.label, name, progress)?;
    report.warnings.extend(warnings);
    for image in imported {
        report.done.push(format!(
            "imported {} ({}) from {}",
            image.names.join(", "),
            image.manifest_digest,
            archive.label
        ));
    }
    if remember {
        memory.retain(|known| known.path != archive.identity.path);
        memory.push(archive.identity);
        let bytes = json::to_vec(&Remembered { version: VERSION, archives: memory })
            .map_err(|e| Error::Worker(format!("encoding imported.json: {e}")))?;
        replace_durably(&store.layers, "imported.json", &bytes, 0o644)
            .map_err(|e| Error::io("writing imported.json", e))?;
    }
    Ok(())
}

/// What was pulled goes once it is in the store, and also when it is not what it should be: the next try then begins anew.
fn adopt(store: &Store, name: &Reference, progress: &Progress, report: &mut Report) -> Result<()> {
    let failed = |e: Errno| Error::io("opening what was pulled", e);
    let path = format!("{}/{}", pull::DIRECTORY, pull::directory_of(name));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&store.images, &path, flags, Mode::empty()).map_err(failed)?;
    let adopted = adopt_layout(store, directory, &name.to_string(), name, progress);
    if adopted.as_ref().err().is_none_or(|error| !matches!(error, Error::Io { .. })) {
        let parent = rustix::fs::openat(&store.images, pull::DIRECTORY, flags, Mode::empty()).map_err(failed)?;
        let name = CString::new(pull::directory_of(name)).unwrap_or_default();
        tree::remove(parent.as_fd(), &name).map_err(|e| Error::io("removing what was pulled", e))?;
    }
    let (imported, warnings) = adopted?;
    report.warnings.extend(warnings);
    report.done.extend(imported.iter().map(|image| format!("pulled {name} ({})", image.manifest_digest)));
    Ok(())
}

/// What was imported before; nothing if that is not known, since importing again does no harm.
fn recall(store: &Store) -> Vec<Identity> {
    let file = rustix::fs::openat(&store.layers, "imported.json", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let bytes = file.ok().and_then(|fd| read_limited(File::from(fd), MAX_DOCUMENT).ok()).unwrap_or_default();
    match json::from_slice::<Remembered>(&bytes) {
        Ok(known) if known.version == VERSION => known.archives,
        _ => Vec::new(),
    }
}

fn remove(store: &Store, name: &str, in_use: &[String], report: &mut Report) -> Result<()> {
    let mut change = Change::begin(store)?;
    let mut index = store.index()?;
    let by_digest = name.rsplit('@').next().filter(|digest| digest.starts_with("sha256:")).map(str::to_owned);
    let full = match &by_digest {
        Some(_) => String::new(),
        None => name.parse::<Reference>()?.to_string(),
    };
    let is_meant = |entry: &crate::spec::image::Descriptor| match &by_digest {
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
    let gone = if last { store.load(&digest).ok() } else { None };
    let mut needed = BTreeSet::new();
    for entry in &kept {
        let (manifest, _, layers) = store
            .load(entry.digest())
            .map_err(|e| e.within(format!("image {} cannot be read, so what it needs is not known", entry.digest())))?;
        needed.insert(manifest.config().digest().clone());
        needed.extend(manifest.layers().iter().map(|layer| layer.digest().clone()));
        needed.extend(layers.into_iter().map(|chain| format!("layer {chain}")));
    }
    index.set_manifests(kept);
    change.write_index(&index)?;
    report.done.push(format!("removed the name {name}"));
    if let Some((manifest, _, layers)) = gone {
        for chain in layers.iter().filter(|chain| !needed.contains(&format!("layer {chain}"))) {
            change.delete_layer(chain)?;
        }
        let blobs = manifest.layers().iter().chain([manifest.config()]).map(|blob| blob.digest().clone());
        for blob in blobs.filter(|blob| !needed.contains(blob)) {
            change.delete_blob(&blob)?;
        }
        change.delete_blob(&digest)?;
        report.done.push(format!("deleted image {digest}"));
    }
    Ok(())
}

fn verify(store: &Store, progress: &Progress, report: &mut Report) -> Result<()> {
    let mut seen = BTreeSet::new();
    for entry in store.index()?.manifests() {
        let name = name_of(entry).unwrap_or_else(|| entry.digest().clone());
        let (manifest, _, layers) = match store.load(entry.digest()) {
            Ok(loaded) => loaded,
            Err(error) => {
                report.warnings.push(format!("image {name}: {error}"));
                continue;
            }
        };
        for layer in manifest.layers() {
            let digest = layer.digest().clone();
            if !seen.insert(digest.clone()) {
                continue;
            }
            let checked = store.open_blob(&digest).and_then(|mut blob| hash_only(&mut blob, None, progress, &digest));
            match checked {
                Ok((found, size)) if found == digest && size == layer.size() => {}
                Ok((found, _)) => report
                    .warnings
                    .push(format!("image {name}: blob {digest} is damaged: its content has the digest {found}")),
                Err(error) => report.warnings.push(format!("image {name}: {error}")),
            }
        }
        for chain in layers.iter().filter(|chain| !store.has_layer(hex_of(chain))) {
            report.warnings.push(format!("image {name}: layer {chain} is not unpacked"));
        }
    }
    report.done.push(format!("verified {} blobs", seen.len()));
    Ok(())
}

fn remove_tree(layout: &Layout, path: &Path, confined: bool, report: &mut Report) -> Result<()> {
    let roots = [layout.data.join("pods"), layout.data.join("containers"), layout.logs.clone()];
    let below = roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
    let plain = |rest: &Path| rest.components().all(|part| matches!(part, Component::Normal(_)));
    let Some((root, rest)) = below.filter(|(_, rest)| plain(rest) && rest.file_name().is_some()) else {
        return Err(Error::Unsafe(format!(
            "{} does not lie below pods, containers or logs; nothing was deleted",
            path.display()
        )));
    };
    let failed = |e: Errno| Error::io(format!("deleting {}", path.display()), e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut opened = rustix::fs::open(root, flags, Mode::empty());
    if confined && opened.is_ok() {
        let state = confine::worker(&layout.data, &[(root.as_path(), "trees")]);
        report.warnings.extend(state.warnings);
        if state.rooted {
            opened = rustix::fs::open("/trees", flags, Mode::empty());
        }
    }
    let mut dir = match opened {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    if let Some(parent) = rest.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        dir = match rustix::fs::openat2(&dir, parent, flags, Mode::empty(), inside) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
    }
    let name = rest.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
    tree::remove(dir.as_fd(), &CString::new(name).unwrap_or_default()).map_err(failed)?;
    report.done.push(format!("deleted {}", path.display()));
    Ok(())
}
