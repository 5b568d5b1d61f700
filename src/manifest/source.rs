//! [`read_manifests`]: the ordered manifest directories become a [`Report`]. This is the work of the confined role
//! `read-manifests`; what it finds is judged by `desired`, in the supervisor, without touching a file.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::applied;
use super::error::{ErrorKind, ValidationError};
use super::identity::content_hash;
use super::load::{Rules, load};
use super::loaded::Loaded;
use super::signed::{self, LIST, SIGNATURE, SignedList};
use super::watch::Watches;
use crate::document;
use crate::json::{Deserialize, Serialize};
use crate::policy::{ImageRule, Level, Vouched};
use crate::trust::Keys;

/// Version of request and report.
pub const VERSION: u32 = 2;

/// What to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The directories in order.
    pub directories: Vec<PathBuf>,
    /// What is watched already, by watch descriptor.
    pub watched: Vec<i32>,
    /// This node's name.
    pub node_name: String,
    /// The Pod Security Standard that pods must meet.
    #[serde(default)]
    pub pod_security: Level,
    /// Extended resources that are devices of this node.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The domain that full names of pods end in; empty for none.
    #[serde(default)]
    pub cluster_domain: String,
    /// Where `gatepost-fetch` should be.
    #[serde(default)]
    pub fetch_binary: PathBuf,
    /// Public keys; if there are any, only what one of them has signed counts.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// What must vouch for images.
    #[serde(default)]
    pub image_policy: Vec<ImageRule>,
    /// Bounds.
    pub limits: Limits,
}

impl Request {
    /// The keys, if anything must be signed.
    fn keys(&self) -> Option<Result<Keys, String>> {
        (!self.keys.is_empty()).then(|| Keys::read(&self.keys))
    }

    /// How its documents are read.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            node_name: &self.node_name,
            strict: false,
            pod_security: self.pod_security,
            devices: Some(&self.devices),
            cluster_domain: &self.cluster_domain,
            fetch: self.fetch_binary.is_file(),
        }
    }
}

/// Bounds of what is read; what lies beyond is reported, not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest file in bytes.
    pub file_bytes: usize,
    /// Files of one directory.
    pub files: usize,
    /// Bytes of all files together.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: document::MAX_FILE_BYTES, files: 1000, total_bytes: 64 << 20 }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Whether the request was understood; broken manifests do not make it false.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The directories in the order asked for.
    pub directories: Vec<DirectoryReport>,
    /// What was watched before they were read.
    pub watches: Watches,
    /// For each rule of the image policy, the digests that its keys vouch for.
    #[serde(default)]
    pub vouched: Vec<Vouched>,
}

/// What was found in one directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectoryReport {
    /// The directory as asked for.
    pub path: PathBuf,
    /// Why it could not be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it lies on: file system type and source, which stay the same over a reboot; else the device number.
    pub device: String,
    /// The device's number, which tells two file systems of one kind apart until the next boot.
    #[serde(default)]
    pub device_number: u64,
    /// Why nothing in it counts but what was applied, if manifests must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<String>,
    /// Its files in bytewise order of their names.
    pub files: Vec<FileReport>,
    /// Entries that are no files.
    pub skipped: Vec<String>,
}

/// What was found in one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// Name within the directory.
    pub name: String,
    /// sha256 of the content as hex; empty when it could not be read.
    pub sha256: String,
    /// Why the file as a whole could not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The line of that error, from 1; 0 when there is none.
    #[serde(default)]
    pub line: u32,
    /// Its documents.
    pub documents: Vec<Loaded>,
}

impl FileReport {
    fn named(name: String) -> Self {
        Self { name, sha256: String::new(), error: None, line: 0, documents: Vec::new() }
    }

    /// Nothing in it counts. What it would have been is told as far as that can be read.
    fn refuse(&mut self, why: String) {
        if self.documents.is_empty() {
            (self.error, self.line) = (Some(why), 0);
            return;
        }
        for document in &mut self.documents {
            let (kind, field, line) = (ErrorKind::Forbidden, String::new(), document.line);
            document.object = None;
            document.warnings.clear();
            document.errors = vec![ValidationError { kind, field, value: None, detail: why.clone(), line }];
        }
    }
}

impl Report {
    /// As if a file of the last directory had this content.
    pub fn suppose(&mut self, request: &Request, name: &str, content: &[u8]) {
        let Some(directory) = self.directories.last_mut() else { return };
        let mut supposed = FileReport::named(name.to_owned());
        take_content(&mut supposed, content, request, request.keys().as_ref());
        directory.files.retain(|file| file.name != name);
        directory.insert(supposed);
    }

    /// The answer to a request that is not understood.
    pub fn refused(error: String) -> Self {
        let (directories, watches, vouched) = (Vec::new(), Watches::default(), Vec::new());
        Self { version: VERSION, ok: false, error: Some(error), directories, watches, vouched }
    }
}

impl DirectoryReport {
    fn insert(&mut self, file: FileReport) {
        let at = self.files.partition_point(|other| other.name.as_bytes() < file.name.as_bytes());
        self.files.insert(at, file);
    }
}

/// Reads and checks everything in the directories.
pub fn read_manifests(request: &Request) -> Report {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let keys = request.keys();
    let mut left = request.limits.total_bytes;
    let read = |path: &PathBuf| read_directory(path, request, keys.as_ref(), &mounts, &mut left);
    let directories = request.directories.iter().map(read).collect();
    let vouched = request.image_policy.iter().map(signed::vouched).collect();
    Report { version: VERSION, ok: true, error: None, directories, watches: Watches::default(), vouched }
}

fn read_directory(
    path: &Path,
    request: &Request,
    keys: Option<&Result<Keys, String>>,
    mounts: &str,
    left: &mut usize,
) -> DirectoryReport {
    let mut report = DirectoryReport {
        path: path.to_owned(),
        error: None,
        device: String::new(),
        device_number: 0,
        unsigned: None,
        files: Vec::new(),
        skipped: Vec::new(),
    };
    let entries = match fs::metadata(path).and_then(|metadata| {
        report.device = device(metadata.dev(), mounts);
        report.device_number = metadata.dev();
        list(path)
    }) {
        Ok(entries) => entries,
        Err(error) => {
            report.error = Some(error.to_string());
            return report;
        }
    };
    let list = match keys.map(|keys| SignedList::read(path, keys.as_ref().map_err(Clone::clone)?)) {
        None => None,
        Some(Ok(list)) => Some(list),
        Some(Err(why)) => {
            report.unsigned = Some(why);
            None
        }
    };
    for file in entries {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if fs::metadata(&file).is_ok_and(|metadata| !metadata.is_file()) {
            report.skipped.push(name);
            continue;
        }
        if report.files.len() >= request.limits.files {
            report.error = Some(format!("more than {} files", request.limits.files));
            return report;
        }
        let mut found = read_manifest(&file, name, request, keys, left);
        if keys.is_some() && found.name != applied::FILE {
            let refused = match &list {
                Some(list) => list.check(&found.name, &found.sha256),
                None => Err("its directory is not signed as this node wants it".to_owned()),
            };
            if let Err(why) = refused {
                found.refuse(why);
            }
        }
        report.files.push(found);
    }
    // One that is taken away counts as altered.
    for name in list.iter().flat_map(SignedList::names) {
        if report.files.iter().all(|file| file.name != *name) {
            let mut missing = FileReport::named(name.clone());
            missing.refuse(format!("the signed {LIST} lists it, but it is not there"));
            report.insert(missing);
        }
    }
    report
}

fn read_manifest(
    path: &Path,
    name: String,
    request: &Request,
    keys: Option<&Result<Keys, String>>,
    left: &mut usize,
) -> FileReport {
    let mut report = FileReport::named(name);
    let bytes = match read_file(path, request.limits.file_bytes.min(*left)) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.error = Some(error);
            return report;
        }
    };
    *left = left.saturating_sub(bytes.len());
    take_content(&mut report, &bytes, request, keys);
    report
}

fn take_content(report: &mut FileReport, bytes: &[u8], request: &Request, keys: Option<&Result<Keys, String>>) {
    report.sha256 = content_hash(bytes);
    let bytes = if report.name == applied::FILE { applied::unfold(bytes, keys) } else { Ok(bytes.into()) };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(why) => return report.refuse(why),
    };
    match load(&bytes, request.rules()) {
        Ok(documents) if documents.is_empty() => {
            report.error = Some("there is no document in this file; remove it to stop what it ran".to_owned());
        }
        Ok(documents) => report.documents = documents,
        Err(error) => {
            report.error = Some(format!("column {}: {}; {}", error.column, error.what, error.remedy));
            report.line = error.line;
        }
    }
}

/// The regular files of a directory that do not begin with a dot, links followed, in bytewise order.
pub(super) fn manifest_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = list(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(entries.into_iter().filter(|path| path.is_file()).collect())
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        // A signed directory is one of manifests also where nobody asks for signatures.
        if !name.as_bytes().starts_with(b".") && name != LIST && name != SIGNATURE {
            names.push(name);
        }
    }
    names.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Reads a file of at most `limit` bytes. Never waits: what is no regular file is refused once it is open.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > limit {
        return Err(format!("larger than the limit of {limit} bytes; split it into several files"));
    }
    Ok(bytes)
}

/// What a device number stands for, by `/proc/self/mountinfo`. Numbers of tmpfs, overlayfs and the like change at each boot.
fn device(number: u64, mounts: &str) -> String {
    let wanted = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let entry = mounts.lines().find(|line| line.split(' ').nth(2) == Some(wanted.as_str()));
    let found = entry.and_then(|line| line.split_once(" - ")).and_then(|(_, rest)| {
        let mut words = rest.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    found.unwrap_or(wanted)
}
