//! Role `image-worker`: one [`Request`] on descriptor 0, one [`Report`] on descriptor 3, optional progress lines
//! ([`super::progress::Step`]) on descriptor 4. Opens what it was asked to read, then confines itself, then reads.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::collect::Bounds;
use super::contents::Keep;
use super::error::{Error, Result};
use super::flash::{self, FlashImage};
use super::garbage::{self, Collected, Usage};
use super::import::{adopt_layout, import, unpack_stored};
use super::limits::MAX_DOCUMENT;
use super::progress::Progress;
use super::pull;
use super::reference::Reference;
use super::save::save;
use super::source::is_directory;
use super::store::{ImageSummary, Store, read_limited};
use super::{tree, verify};
use crate::config::Layout;
use crate::json::{self, Deserialize, Serialize};
use crate::sys::helper::Helper;
use crate::sys::replace::replace_durably;
use crate::sys::{confine, inherited};

/// Version of request and report.
pub const VERSION: u32 = 1;

/// Descriptor of the file that an image is saved to.
pub(super) const OUTPUT: RawFd = 5;

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
    /// Layers are kept unpacked only.
    #[serde(default)]
    pub discard_layers: bool,
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
        /// Images that somebody misses: what has brought one of them is imported again.
        #[serde(default)]
        missed: Vec<String>,
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
    /// The same, and puts what is damaged or missing right.
    Repair {
        /// Archives, and directories of such, that may have it; `imagePreloadPath` and what a person names.
        paths: Vec<PathBuf>,
    },
    /// Writes an image as an OCI archive to descriptor 5.
    Save {
        /// Its name or digest.
        name: String,
    },
    /// Notes which images are used; deletes leftovers and, when the disk is too full, images that nobody wants.
    Collect {
        /// When.
        bounds: Bounds,
        /// What must stay.
        keep: Keep,
        /// Images that were used until now, as manifests name them.
        #[serde(default)]
        used: Vec<String>,
        /// That is all that must stay. If not, no image is deleted.
        known: bool,
    },
    /// Deletes leftovers and images without a name.
    Prune {
        /// Every image that nobody wants.
        all: bool,
        /// What must stay.
        keep: Keep,
    },
    /// Measures what images take on the disk.
    Usage {
        /// What must stay, so that the rest can be told.
        keep: Keep,
    },
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
    /// Of `Collect` and `Prune`.
    pub collected: Option<Collected>,
    /// Of `Usage`.
    pub usage: Option<Usage>,
    /// Of `Verify` and `Repair`: names of images that are damaged, or still are.
    pub damaged: Vec<String>,
}

/// Entry of the role.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("image-worker") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let progress = Progress::new(inherited::take(PROGRESS).ok().map(File::from));
    let output = inherited::take(OUTPUT).ok().map(File::from);
    let report = match helper.request(VERSION) {
        Ok(request) => run(&request, &progress, output, true),
        Err(error) => failure(&Error::Worker(error)),
    };
    helper.report(&report, report.ok)
}

/// Does the work in this process and gives the report. `confined`: give up everything that is not needed first (for a
/// process of its own only).
pub(crate) fn run(request: &Request, progress: &Progress, output: Option<File>, confined: bool) -> Report {
    let mut report = Report { version: VERSION, ok: true, ..Report::default() };
    if let Err(error) = work(request, progress, output, confined, &mut report) {
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

fn work(
    request: &Request,
    progress: &Progress,
    output: Option<File>,
    confined: bool,
    report: &mut Report,
) -> Result<()> {
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
    let discard_layers = request.discard_layers;
    match &request.command {
        Command::List | Command::RemoveTree { .. } => {}
        Command::Import { name, remember, .. } => {
            let name = name.as_deref().map(str::parse::<Reference>).transpose()?;
            let how = How { name: name.as_ref(), remember: *remember, discard_layers, missed: &[] };
            for archive in archives {
                import_one(&store, archive, &how, progress, report)?;
            }
        }
        Command::Adopt { name } => adopt(&store, &name.parse()?, discard_layers, progress, report)?,
        Command::Preload { missed, .. } => {
            let how = How { name: None, remember: true, discard_layers, missed };
            for archive in archives {
                if let Err(error) = import_one(&store, archive, &how, progress, report) {
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
        Command::Remove { name, in_use } => {
            garbage::remove(&store, name, in_use, report).map_err(|error| match error {
                Error::NotFound(_) => flash::refuse_removal(&flash, name).unwrap_or(error),
                error => error,
            })?;
        }
        Command::Verify => {
            verify::verify(&store, progress, report)?;
            let count = flash::verify(on_flash, progress, &mut report.warnings);
            report.done.push(format!("verified {count} layers on flash"));
        }
        Command::Repair { .. } => {
            let archives = archives.into_iter().map(|archive| (archive.label, archive.fd)).collect();
            verify::repair(&store, archives, progress, report)?;
        }
        Command::Save { name } => {
            let out = output.ok_or_else(|| Error::Worker("no file to write to was given".to_owned()))?;
            save(&store, name, out, progress, report)?;
        }
        Command::Collect { bounds, keep, used, known } => {
            garbage::collect(&store, bounds, &in_store(keep, &flash), used, *known, report)?;
        }
        Command::Prune { all, keep } => garbage::prune(&store, *all, &in_store(keep, &flash), report)?,
        Command::Usage { .. } => {}
    }
    let (images, problems) = store.list()?;
    report.images = images;
    report.warnings.extend(problems);
    if let Command::Usage { keep } = &request.command {
        let keep = in_store(keep, &flash);
        garbage::usage(&store, &keep, report)?;
    }
    report.warnings.extend(flash.iter().filter_map(|image| image.found.as_ref().err().cloned()));
    // Behind those of the store, which count first where both have a name.
    report.images.extend(flash.into_iter().map(FlashImage::summary));
    Ok(())
}

/// What must stay of the store: images that run from flash are not in its index.
fn in_store(keep: &Keep, flash: &[FlashImage]) -> Keep {
    let in_use = keep.in_use.iter().filter(|digest| !flash.iter().any(|image| image.has_digest(digest)));
    Keep { wanted: keep.wanted.clone(), in_use: in_use.cloned().collect() }
}

/// An archive opened before confinement.
struct Archive {
    label: String,
    fd: OwnedFd,
    identity: Identity,
}

/// How an archive is imported.
struct How<'a> {
    /// The name to give instead of the archive's own.
    name: Option<&'a Reference>,
    /// Skip it if it was imported before.
    remember: bool,
    /// Layers are kept unpacked only.
    discard_layers: bool,
    /// … but not if it has brought one of these.
    missed: &'a [String],
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
    archives: Vec<Known>,
}

/// An archive that was imported.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    archive: Identity,
    /// The names of its images.
    #[serde(default)]
    names: Vec<String>,
}

impl Known {
    /// Whether it has brought one of these; one of an earlier version does not say what it has brought.
    fn may_have(&self, missed: &[String]) -> bool {
        missed.iter().any(|name| self.names.is_empty() || self.names.contains(name))
    }
}

/// Archives in preload directories that are opened at a time.
const MAX_ARCHIVES: usize = 512;

fn open_archives(command: &Command, report: &mut Report) -> Result<Vec<Archive>> {
    match command {
        Command::Import { path, .. } => Ok(vec![open_archive(path)?]),
        Command::Preload { paths, .. } | Command::Repair { paths } => {
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

fn import_one(store: &Store, archive: Archive, how: &How<'_>, progress: &Progress, report: &mut Report) -> Result<()> {
    let mut memory = if how.remember { recall(store) } else { Vec::new() };
    if memory.iter().any(|known| known.archive == archive.identity && !known.may_have(how.missed)) {
        report.done.push(format!("{} was imported before", archive.label));
        return Ok(());
    }
    let (imported, warnings) = import(store, archive.fd, &archive.label, how.name, how.discard_layers, progress)?;
    report.warnings.extend(warnings);
    let mut names = Vec::new();
    for image in imported {
        names.extend(image.names.iter().cloned());
        report.done.push(format!(
            "imported {} ({}) from {}",
            image.names.join(", "),
            image.manifest_digest,
            archive.label
        ));
    }
    if how.remember {
        memory.retain(|known| known.archive.path != archive.identity.path);
        memory.push(Known { archive: archive.identity, names });
        let bytes = json::to_vec(&Remembered { version: VERSION, archives: memory })
            .map_err(|e| Error::Worker(format!("encoding imported.json: {e}")))?;
        replace_durably(&store.layers, "imported.json", &bytes, 0o644)
            .map_err(|e| Error::io("writing imported.json", e))?;
    }
    Ok(())
}

/// What was pulled goes once it is in the store, and also when it is not what it should be: the next try then begins anew.
fn adopt(
    store: &Store,
    name: &Reference,
    discard_layers: bool,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    let failed = |e: Errno| Error::io("opening what was pulled", e);
    let path = format!("{}/{}", pull::DIRECTORY, pull::directory_of(name));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&store.images, &path, flags, Mode::empty()).map_err(failed)?;
    let adopted = adopt_layout(store, directory, &name.to_string(), name, discard_layers, progress);
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
fn recall(store: &Store) -> Vec<Known> {
    let file = rustix::fs::openat(&store.layers, "imported.json", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let bytes = file.ok().and_then(|fd| read_limited(File::from(fd), MAX_DOCUMENT).ok()).unwrap_or_default();
    match json::from_slice::<Remembered>(&bytes) {
        Ok(known) if known.version == VERSION => known.archives,
        _ => Vec::new(),
    }
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
