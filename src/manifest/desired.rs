//! [`DesiredSet`]: what should run, from the last good versions of all manifests. Pure: a report in, a new set out.
//!
//! A broken file keeps the last good version of all it produced. A directory that is missing, unreadable or on another
//! device removes nothing. The set is the durable last-good copy.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::annotations::{Annotations, Waiting, cycles};
use super::applied;
use super::loaded::{Loaded, Object};
use super::source::{DirectoryReport, FileReport, Report};
use super::v1::LimitRange;
use super::verdict::cycle_message;
use super::{limits, service};
use crate::json::{Deserialize, Serialize};
use crate::sorted::{BTreeMap, BTreeSet};

/// Version of the durable form.
pub const VERSION: u32 = 1;

/// The last good versions of all manifests, by directory and file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredSet {
    /// [`VERSION`].
    pub version: u32,
    /// The directories in order.
    pub directories: Vec<SourceDirectory>,
}

/// A manifest directory as last seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceDirectory {
    /// Its path.
    pub path: PathBuf,
    /// What it lay on when it was first read; empty if it never was.
    pub device: String,
    /// Number of that device. It may be another one after a reboot, so it is not kept durably.
    #[serde(skip)]
    pub device_number: Option<u64>,
    /// Its files in bytewise order of their names.
    pub files: Vec<SourceFile>,
}

/// A manifest file and what it last produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Name within the directory.
    pub name: String,
    /// The last good objects.
    pub objects: Vec<Object>,
}

/// An object that should exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The object.
    pub object: Object,
    /// The file that it comes from.
    pub file: PathBuf,
    /// Why the newest version in the file is not in effect, if so.
    pub manifest_error: Option<String>,
}

/// What became of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The new set, to be kept durably when it differs from the old one.
    pub set: DesiredSet,
    /// What should exist, each kind, namespace and name once.
    pub desired: Vec<Desired>,
    /// What is wrong or odd, for `get pods`, events and the console.
    pub problems: Vec<Problem>,
}

/// Something that a person should know about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// File or directory.
    pub file: PathBuf,
    /// Line, from 1; 0 when there is none.
    pub line: u32,
    /// The object, where known.
    pub object: Option<ObjectKey>,
    /// Errors keep something from being carried out; warnings do not.
    pub error: bool,
    /// What and what to do.
    pub message: String,
}

/// Kind, namespace and full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Full name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &Object) -> Self {
        let metadata = object.metadata();
        Self { kind: object.kind().to_owned(), namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }
}

impl Default for DesiredSet {
    /// Nothing was read yet.
    fn default() -> Self {
        Self { version: VERSION, directories: Vec::new() }
    }
}

impl DesiredSet {
    /// Takes a report into account.
    #[must_use]
    pub fn update(&self, report: &Report) -> Outcome {
        let mut update = Update { problems: Vec::new(), errors: BTreeMap::new() };
        let directories =
            report.directories.iter().map(|found| update.directory(self.directory(&found.path), found)).collect();
        let mut set = Self { version: VERSION, directories };
        update.refuse_cycles(self, &mut set);
        update.refuse_beyond_limits(self, &mut set);
        let desired = set.desired(&mut update);
        Outcome { set, desired, problems: update.problems }
    }

    /// What the set holds without a report: at start, before anything is read.
    pub fn objects(&self) -> Vec<Desired> {
        self.desired(&mut Update { problems: Vec::new(), errors: BTreeMap::new() })
    }

    /// Adds the directories that a report does not name, as ones that cannot be read: it was not asked for them by one who knows.
    pub fn keep_unnamed(&self, report: &mut Report, why: &str) {
        let unnamed =
            self.directories.iter().filter(|known| report.directories.iter().all(|one| one.path != known.path));
        let unnamed = unnamed.map(|known| DirectoryReport {
            path: known.path.clone(),
            error: Some(why.to_owned()),
            device: known.device.clone(),
            device_number: 0,
            unsigned: None,
            files: Vec::new(),
            skipped: Vec::new(),
        });
        let unnamed: Vec<_> = unnamed.collect();
        report.directories.splice(..0, unnamed);
    }

    /// Forgets what a directory lay on, so that its present content counts in full at the next report.
    pub fn accept_device(&mut self, path: &Path) {
        for directory in self.directories.iter_mut().filter(|directory| directory.path == path) {
            directory.device.clear();
            directory.device_number = None;
        }
    }

    fn directory(&self, path: &Path) -> SourceDirectory {
        let known = self.directories.iter().find(|directory| directory.path == path).cloned();
        known.unwrap_or_else(|| SourceDirectory { path: path.to_owned(), ..SourceDirectory::default() })
    }

    fn desired(&self, update: &mut Update) -> Vec<Desired> {
        let mut found: BTreeMap<ObjectKey, Desired> = BTreeMap::new();
        for directory in &self.directories {
            let mut in_directory: BTreeMap<ObjectKey, PathBuf> = BTreeMap::new();
            for file in &directory.files {
                let path = directory.path.join(&file.name);
                for object in &file.objects {
                    let key = ObjectKey::of(object);
                    if let Some(earlier) = in_directory.insert(key.clone(), path.clone()) {
                        let message = format!(
                            "{} {}/{} is in {} and in {}; the later one counts",
                            key.kind,
                            key.namespace,
                            key.name,
                            earlier.display(),
                            path.display()
                        );
                        update.problem(&path, 0, Some(key.clone()), false, message);
                    }
                    let manifest_error = update.errors.get(&key).cloned();
                    found.insert(key, Desired { object: object.clone(), file: path.clone(), manifest_error });
                }
            }
        }
        let ranges = self.limit_ranges();
        let mut desired: Vec<Desired> = found.into_values().collect();
        for Desired { object, .. } in &mut desired {
            if let Object::Pod { pod, .. } = object {
                // What a range forbids of it was judged when it was new.
                let _ = limits::apply(pod, &ranges);
            }
        }
        for (at, message) in service::wrong_names(&desired) {
            let Some(of) = desired.get(at) else { continue };
            update.problem(&of.file, 0, Some(ObjectKey::of(&of.object)), false, message);
        }
        desired
    }

    /// Those in force: the last of a name.
    fn limit_ranges(&self) -> Vec<Rc<LimitRange>> {
        let objects = self.directories.iter().flat_map(|directory| &directory.files).flat_map(|file| &file.objects);
        let ranges: BTreeMap<ObjectKey, Rc<LimitRange>> = objects
            .filter_map(|object| match object {
                Object::LimitRange(range) => Some((ObjectKey::of(object), Rc::clone(range))),
                _ => None,
            })
            .collect();
        ranges.into_values().collect()
    }
}

struct Update {
    problems: Vec<Problem>,
    /// Why the newest version of an object is not in effect.
    errors: BTreeMap<ObjectKey, String>,
}

impl Update {
    fn problem(&mut self, file: &Path, line: u32, object: Option<ObjectKey>, error: bool, message: String) {
        self.problems.push(Problem { file: file.to_owned(), line, object, error, message });
    }

    fn directory(&mut self, mut known: SourceDirectory, found: &DirectoryReport) -> SourceDirectory {
        if let Some(error) = &found.error {
            self.problem(&found.path, 0, None, true, format!("{error}; what it last held keeps running"));
            self.keep_all(&known.files, &format!("{}: {error}", found.path.display()));
            return known;
        }
        for name in &found.skipped {
            let path = found.path.join(name);
            self.problem(
                &path,
                0,
                None,
                false,
                "not a regular file; manifests lie directly in the directory".to_owned(),
            );
        }
        let elsewhere = known.device_number.is_some_and(|number| number != found.device_number);
        let moved = !known.device.is_empty() && (known.device != found.device || elsewhere);
        let mut files: BTreeMap<Vec<u8>, SourceFile> = BTreeMap::new();
        if moved {
            let message = format!(
                "the directory lies on {:?}, before on {:?}: new manifests count, but nothing is removed; \
                 `gatepost reload` accepts the new place",
                found.device, known.device
            );
            self.problem(&found.path, 0, None, true, message);
            files.extend(known.files.iter().map(|file| (file.name.clone().into_bytes(), file.clone())));
        } else {
            known.device.clone_from(&found.device);
            known.device_number = Some(found.device_number);
        }
        // What was applied by hand is signed for itself, and may be taken back.
        let kept: Vec<_> = known.files.iter().filter(|file| file.name != applied::FILE).cloned().collect();
        let delivered = found.files.iter().any(|file| file.name != applied::FILE);
        if let Some(why) = found.unsigned.as_ref().filter(|_| delivered || !kept.is_empty()) {
            self.problem(&found.path, 0, None, true, format!("{why}; what it last held keeps running"));
            let error = format!("{}: {why}", found.path.display());
            self.keep_all(&kept, &error);
            files.extend(kept.into_iter().map(|file| (file.name.clone().into_bytes(), file)));
        }
        for file in &found.files {
            let last = known.files.iter().find(|last| last.name == file.name);
            let taken = self.file(&found.path.join(&file.name), last, file);
            files.insert(file.name.clone().into_bytes(), taken);
        }
        known.files = files.into_values().collect();
        known
    }

    /// As the API server does with a pod that comes: one that a LimitRange forbids falls back to its last good version, else it is
    /// left out. What was there before the range stays.
    fn refuse_beyond_limits(&mut self, before: &DesiredSet, set: &mut DesiredSet) {
        let ranges = set.limit_ranges();
        if ranges.is_empty() {
            return;
        }
        for directory in &mut set.directories {
            for file in &mut directory.files {
                let path = directory.path.join(&file.name);
                file.objects = std::mem::take(&mut file.objects)
                    .into_iter()
                    .filter_map(|object| {
                        let Object::Pod { written_name, pod } = &object else { return Some(object) };
                        let wrong = limits::apply(&mut Rc::clone(pod), &ranges);
                        if wrong.is_empty() {
                            return Some(object);
                        }
                        let key = ObjectKey::of(&object);
                        let message = limits::refusal(written_name, &wrong);
                        let last = before.last_of(&directory.path, &file.name, &key);
                        if last == Some(&object) {
                            let message = format!("{message}; it was there before that, and stays");
                            self.problem(&path, 0, Some(key), false, message);
                            return Some(object);
                        }
                        self.problem(&path, 0, Some(key.clone()), true, message.clone());
                        self.errors.insert(key, format!("{}: {message}", path.display()));
                        last.cloned()
                    })
                    .collect();
            }
        }
    }

    fn keep_all(&mut self, files: &[SourceFile], error: &str) {
        for object in files.iter().flat_map(|file| &file.objects) {
            self.errors.insert(ObjectKey::of(object), error.to_owned());
        }
    }

    fn file(&mut self, path: &Path, last: Option<&SourceFile>, found: &FileReport) -> SourceFile {
        let last_objects = last.map(|last| last.objects.as_slice()).unwrap_or_default();
        let mut taken = SourceFile { name: found.name.clone(), objects: Vec::new() };
        if let Some(error) = &found.error {
            let kept = if last_objects.is_empty() { "" } else { "; what it last held keeps running" };
            self.problem(path, found.line, None, true, format!("{error}{kept}"));
            let place = if found.line == 0 { String::new() } else { format!(":{}", found.line) };
            for object in last_objects {
                self.errors.insert(ObjectKey::of(object), format!("{}{place}: {error}", path.display()));
            }
            taken.objects = last_objects.to_vec();
            return taken;
        }
        let mut first_error = None;
        for document in &found.documents {
            self.document(path, document, &mut first_error);
            taken.objects.extend(document.object.clone());
        }
        if let Some(error) = first_error {
            // Which of the last objects the broken documents were is not always known, so all that are missing stay.
            let present: BTreeSet<_> = taken.objects.iter().map(ObjectKey::of).collect();
            for object in last_objects {
                let key = ObjectKey::of(object);
                if !present.contains(&key) {
                    self.errors.entry(key).or_insert_with(|| error.clone());
                    taken.objects.push(object.clone());
                }
            }
        }
        taken
    }

    fn document(&mut self, path: &Path, document: &Loaded, first_error: &mut Option<String>) {
        let key = (!document.name.is_empty()).then(|| ObjectKey {
            kind: document.object_kind().to_owned(),
            namespace: document.namespace.clone(),
            name: document.name.clone(),
        });
        for error in &document.errors {
            let message = error.to_string();
            self.problem(path, error.line, key.clone(), true, message);
        }
        for warning in &document.warnings {
            let between = if warning.field.is_empty() { "" } else { ": " };
            let message = format!("{}{between}{}", warning.field, warning.message);
            self.problem(path, warning.line, key.clone(), false, message);
        }
        if let Some(error) = document.errors.first() {
            let more = match document.errors.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let text = format!("{}:{}: {error}{more}", path.display(), error.line);
            if let Some(key) = key {
                self.errors.insert(key, text.clone());
            }
            first_error.get_or_insert(text);
        }
    }

    /// Pods that wait for each other would never start: each that changed falls back to its last good version, else it is left out.
    fn refuse_cycles(&mut self, before: &DesiredSet, set: &mut DesiredSet) {
        loop {
            let waiting = set.waiting();
            let circles = cycles(&waiting.iter().map(WaitingPod::borrow).collect::<Vec<_>>());
            if circles.is_empty() {
                return;
            }
            for circle in circles {
                let names: Vec<String> = circle.iter().map(|(_, name)| name.clone()).collect();
                let members: BTreeSet<_> = circle.into_iter().collect();
                self.refuse(before, set, &members, &cycle_message(&names));
            }
        }
    }

    fn refuse(
        &mut self,
        before: &DesiredSet,
        set: &mut DesiredSet,
        members: &BTreeSet<(String, String)>,
        message: &str,
    ) {
        // What did not change ran before without a circle, and goes on: it is broken where it changed.
        let unchanged = |directory: &Path, file: &str, object: &Object| {
            before.last_of(directory, file, &ObjectKey::of(object)) == Some(object)
        };
        let any_changed = set.directories.iter().any(|directory| {
            directory.files.iter().any(|file| {
                let mut objects = file.objects.iter().filter(|object| is_member(object, members));
                objects.any(|object| !unchanged(&directory.path, &file.name, object))
            })
        });
        for directory in &mut set.directories {
            for file in &mut directory.files {
                let path = directory.path.join(&file.name);
                let mut kept = Vec::new();
                for object in std::mem::take(&mut file.objects) {
                    if !is_member(&object, members) || any_changed && unchanged(&directory.path, &file.name, &object) {
                        kept.push(object);
                        continue;
                    }
                    let key = ObjectKey::of(&object);
                    self.errors.insert(key.clone(), format!("{}: {message}", path.display()));
                    self.problem(&path, 0, Some(key.clone()), true, message.to_owned());
                    let last = before.last_of(&directory.path, &file.name, &key);
                    kept.extend(last.filter(|last| **last != object).cloned());
                }
                file.objects = kept;
            }
        }
    }
}

fn is_member(object: &Object, members: &BTreeSet<(String, String)>) -> bool {
    matches!(object, Object::Pod { written_name, pod }
        if members.contains(&(pod.metadata.namespace.clone(), written_name.clone())))
}

/// A pod with what it waits for.
struct WaitingPod<'a> {
    object: &'a Object,
    written_name: &'a str,
    annotations: Annotations,
}

impl WaitingPod<'_> {
    fn borrow(&self) -> Waiting<'_> {
        Waiting {
            metadata: self.object.metadata(),
            written_name: self.written_name,
            start_after: &self.annotations.start_after,
        }
    }
}

impl DesiredSet {
    /// The pods that count: a later directory's version hides an earlier one's.
    fn waiting(&self) -> Vec<WaitingPod<'_>> {
        let files = self.directories.iter().flat_map(|directory| &directory.files);
        let mut found = BTreeMap::new();
        for object in files.flat_map(|file| &file.objects) {
            if let Object::Pod { written_name, pod } = object {
                let annotations = Annotations::of(pod);
                found.insert(ObjectKey::of(object), WaitingPod { object, written_name, annotations });
            }
        }
        found.into_values().collect()
    }

    fn last_of(&self, directory: &Path, file: &str, key: &ObjectKey) -> Option<&Object> {
        let directory = self.directories.iter().find(|known| known.path == directory)?;
        let file = directory.files.iter().find(|known| known.name == file)?;
        file.objects.iter().find(|object| ObjectKey::of(object) == *key)
    }
}
