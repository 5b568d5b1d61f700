//! [`Manifests`]: the desired pods: when the directories are read, what came of it, and what people should know about it.

use crate::sorted::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use super::Supervisor;
use super::act::Task;
use super::helpers::{Command, Job, Outcome};
use super::persist::MANIFESTS_FILE;
use super::watch::{ManifestWatch, QUIET_MS};
use crate::control::{Manifest, ManifestState, Reading, Reply};
use crate::json;
use crate::manifest::annotations::{Annotations, BackoffOverride as WrittenBackoff, StartCondition};
use crate::manifest::desired::{Desired, DesiredSet, ObjectKey, Problem};
use crate::manifest::watch::Watches;
use crate::manifest::{Object, qos_class, source, v1};
use crate::pod::event::{BackoffOverride, Condition, DesiredPod, Event, PodPolicy, Recorded, Uid};
use crate::pod::time::Instant;
use crate::state::volatile;
use crate::volume::Objects;

/// Milliseconds the reader of the manifests may take.
const BOUND_MS: u64 = 60_000;

/// Milliseconds until a notice of the mount table is looked at.
const MOUNTS_MS: u64 = 250;

/// Changes without a quiet moment are read after this long all the same, in milliseconds.
const LATEST_MS: u64 = 5_000;

/// Milliseconds after which a reading that failed is tried again, doubled with each further one up to [`RETRY_MOST_MS`].
const RETRY_MS: u64 = 10_000;

/// A flash that is away for long costs a reader every five minutes.
const RETRY_MOST_MS: u64 = 300_000;

/// How long a pod waits for its start conditions when its annotation does not say: 5 minutes.
const START_AFTER_TIMEOUT_MS: u64 = 300_000;

/// What should run, and how that is known.
#[derive(Debug)]
pub(crate) struct Manifests {
    watch: Option<ManifestWatch>,
    set: DesiredSet,
    desired: Vec<Desired>,
    problems: Vec<Problem>,
    /// When the directories are read, and when the first change since the last reading came.
    due: Option<Instant>,
    changed_at: Option<Instant>,
    /// Something was mounted: when to look whether that is on the way to a directory.
    mounts_due: Option<Instant>,
    reading: bool,
    /// The wait after the next reading that fails.
    retry_ms: u64,
}

impl Manifests {
    /// Starts from the last good set; the directories are read at once.
    pub(super) fn new(set: DesiredSet) -> Self {
        let watch = ManifestWatch::new()
            .inspect_err(|error| {
                log::error!("cannot watch the manifest directories: {error}; send SIGHUP after a change");
            })
            .ok();
        let desired = set.objects();
        Self {
            watch,
            set,
            desired,
            problems: Vec::new(),
            due: Some(Instant(0)),
            changed_at: None,
            mounts_due: None,
            reading: false,
            retry_ms: RETRY_MS,
        }
    }

    /// The descriptors to wait on: changes in directories, changes of mounts.
    pub(super) fn watch(&self) -> Option<&ManifestWatch> {
        self.watch.as_ref()
    }

    /// When the directories are due to be read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.reading).into_iter().chain(self.mounts_due).min()
    }

    /// Notices of mounts come with each pod that starts, and each look costs the whole table: one look for all of a moment.
    fn look_at_mounts_if_due(&mut self, now: Instant) {
        if self.mounts_due.is_some_and(|at| at <= now) {
            self.mounts_due = None;
            self.noticed(true, now);
        }
    }

    /// Takes the watch's notice; if it matters, the directories are read after a quiet moment from now on.
    fn noticed(&mut self, mounts: bool, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let matters = if mounts { watch.acknowledge_mounts() } else { watch.acknowledge() };
        if !matters {
            return;
        }
        let first = *self.changed_at.get_or_insert(now);
        self.due = Some(now.after(QUIET_MS).min(first.after(LATEST_MS)));
    }

    /// The reader has told what it watches; what was mounted meanwhile it may not have seen.
    fn watched(&mut self, watches: Watches, now: Instant) {
        if self.watch.as_mut().is_some_and(|watch| watch.renewed(watches)) {
            self.read_soon(now);
        }
    }

    /// A reading failed: what changed was not seen, and where the reader had to set the watches, nothing will tell.
    fn try_again(&mut self, now: Instant) {
        self.due.get_or_insert(now.after(self.retry_ms));
        self.retry_ms = self.retry_ms.saturating_mul(2).min(RETRY_MOST_MS);
    }

    /// Reads at once.
    pub(super) fn read_soon(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// A person says that the directories are where they should be: from now on also what is missing there counts.
    pub(super) fn accept_devices(&mut self) {
        for directory in self.set.directories.clone() {
            self.set.accept_device(&directory.path);
        }
    }

    /// ConfigMaps and Secrets of a namespace, by name.
    pub(super) fn objects_for(
        &self,
        namespace: &str,
    ) -> (BTreeMap<String, Rc<v1::ConfigMap>>, BTreeMap<String, Rc<v1::Secret>>) {
        let (mut config_maps, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for desired in &self.desired {
            match &desired.object {
                Object::ConfigMap(object) if object.metadata.namespace == namespace => {
                    config_maps.insert(object.metadata.name.clone(), Rc::clone(object));
                }
                Object::Secret(object) if object.metadata.namespace == namespace => {
                    secrets.insert(object.metadata.name.clone(), Rc::clone(object));
                }
                _ => {}
            }
        }
        (config_maps, secrets)
    }

    /// All Services, by namespace and name.
    pub(super) fn services(&self) -> Vec<Rc<v1::Service>> {
        let service = |desired: &Desired| match &desired.object {
            Object::Service(service) => Some(Rc::clone(service)),
            _ => None,
        };
        self.desired.iter().filter_map(service).collect()
    }

    /// What a pod's volumes show or use.
    pub(super) fn objects_of(&self, pod: &v1::Pod) -> Objects {
        let mut objects = Objects::default();
        let names = Named::of(pod);
        for desired in &self.desired {
            let metadata = desired.object.metadata();
            let here = metadata.namespace == pod.metadata.namespace;
            match &desired.object {
                Object::ConfigMap(object) if here && names.config_maps.contains(metadata.name.as_str()) => {
                    objects.config_maps.push(Rc::clone(object));
                }
                Object::Secret(object) if here && names.secrets.contains(metadata.name.as_str()) => {
                    objects.secrets.push(Rc::clone(object));
                }
                Object::PersistentVolumeClaim(object) if here && names.claims.contains(metadata.name.as_str()) => {
                    objects.claims.push(Rc::clone(object));
                }
                Object::PersistentVolume(object) if !names.claims.is_empty() => objects.volumes.push(Rc::clone(object)),
                _ => {}
            }
        }
        objects
    }

    /// One line for each thing a person should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.problems.iter().map(line_of).collect()
    }

    /// Whether documents are in error, so that not all that is wanted is known.
    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.error)
    }

    /// Pods of which no version was ever good, as v1 objects that say why.
    pub(super) fn refused_pods(&self) -> Vec<Value> {
        let mut refused: BTreeMap<(String, String), Vec<&Problem>> = BTreeMap::new();
        for problem in self.problems.iter().filter(|p| p.error) {
            let Some(key) = problem.object.as_ref().filter(|k| k.kind == "Pod" && !k.name.is_empty()) else { continue };
            let runs = self.desired.iter().any(|d| {
                let meta = d.object.metadata();
                d.object.kind() == "Pod" && meta.namespace == key.namespace && meta.name == key.name
            });
            if !runs {
                refused.entry((key.namespace.clone(), key.name.clone())).or_default().push(problem);
            }
        }
        refused
            .into_iter()
            .map(|((namespace, name), problems)| {
                let message = problems.iter().map(|p| line_of(p)).collect::<Vec<_>>().join("; ");
                json!({
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": name,
                        "namespace": namespace,
                        "annotations": {"gatepost.io/manifest-error": message},
                    },
                    "spec": {"containers": []},
                    "status": {"phase": "Pending", "reason": "InvalidManifest", "message": message},
                })
            })
            .collect()
    }

    /// Each object of each file, and each file that is refused, in the order in which they count.
    fn told(&self) -> Vec<Manifest> {
        let counts: BTreeMap<ObjectKey, &Desired> =
            self.desired.iter().map(|desired| (ObjectKey::of(&desired.object), desired)).collect();
        let mut all: Vec<(Option<ObjectKey>, Manifest)> = Vec::new();
        for directory in &self.set.directories {
            for file in &directory.files {
                let path = directory.path.join(&file.name);
                let keys = file.objects.iter().map(ObjectKey::of);
                all.extend(keys.map(|key| (Some(key.clone()), good_once(counts.get(&key).copied(), key, &path))));
            }
        }
        for problem in self.problems.iter().filter(|problem| problem.error) {
            let about = |key: &Option<ObjectKey>| key.is_some() && *key == problem.object;
            let told = all.iter_mut().find(|(key, manifest)| about(key) && manifest.file == problem.file);
            if let Some((_, told)) = told {
                if told.state == ManifestState::InEffect {
                    told.state = ManifestState::LastGood;
                    told.message = line_of(problem);
                }
                continue;
            }
            let key = problem.object.clone();
            let (kind, namespace, name) =
                key.clone().map(|key| (key.kind, key.namespace, key.name)).unwrap_or_default();
            let (file, message) = (problem.file.clone(), line_of(problem));
            all.push((key, Manifest { kind, namespace, name, file, state: ManifestState::Refused, message }));
        }
        all.into_iter().map(|(_, manifest)| manifest).collect()
    }

    /// The pods as the core wants them.
    pub(super) fn desired_pods(&self) -> Vec<DesiredPod> {
        self.desired
            .iter()
            .filter_map(|desired| match &desired.object {
                Object::Pod { pod, .. } => Some(DesiredPod {
                    policy: policy(&Annotations::of(pod)),
                    qos_class: qos_class(pod).to_string(),
                    manifest_error: desired.manifest_error.clone(),
                    pod: Rc::clone(pod),
                }),
                _ => None,
            })
            .collect()
    }
}

/// Names of the objects that a pod's volumes show or use.
#[derive(Default)]
struct Named<'a> {
    config_maps: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
    claims: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn of(pod: &'a v1::Pod) -> Self {
        let mut names = Self::default();
        for volume in &pod.spec.volumes {
            names.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.as_str()));
            names.secrets.extend(volume.secret.as_ref().map(|source| source.secret_name.as_str()));
            names.claims.extend(volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.as_str()));
            for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
                names.config_maps.extend(source.config_map.as_ref().map(|source| source.name.as_str()));
                names.secrets.extend(source.secret.as_ref().map(|source| source.name.as_str()));
            }
        }
        names
    }
}

/// What became of an object that was good at least once, by the one of its key that counts.
fn good_once(counts: Option<&Desired>, key: ObjectKey, file: &Path) -> Manifest {
    let (state, message) = match counts {
        Some(counts) if counts.file != file => (ManifestState::Replaced, format!("by {}", counts.file.display())),
        Some(Desired { manifest_error: Some(error), .. }) => (ManifestState::LastGood, error.clone()),
        Some(_) => (ManifestState::InEffect, String::new()),
        None => (ManifestState::Refused, String::new()),
    };
    let ObjectKey { kind, namespace, name } = key;
    Manifest { kind, namespace, name, file: file.to_owned(), state, message }
}

fn line_of(problem: &Problem) -> String {
    match problem.line {
        0 => format!("{}: {}", problem.file.display(), problem.message),
        line => format!("{}:{line}: {}", problem.file.display(), problem.message),
    }
}

fn policy(annotations: &Annotations) -> PodPolicy {
    let timeout = annotations.start_after_timeout.map_or(START_AFTER_TIMEOUT_MS, milliseconds);
    PodPolicy {
        backoff: backoff(annotations.backoff),
        container_backoff: annotations.container_backoff.iter().map(|(name, b)| (name.clone(), backoff(*b))).collect(),
        start_after: annotations.start_after.iter().map(condition).collect(),
        start_after_timeout_ms: timeout,
    }
}

fn backoff(written: WrittenBackoff) -> BackoffOverride {
    BackoffOverride { initial_ms: written.initial.map(milliseconds), max_ms: written.max.map(milliseconds) }
}

fn condition(written: &StartCondition) -> Condition {
    match written {
        StartCondition::Clock => Condition::Clock,
        StartCondition::Route => Condition::Route,
        StartCondition::Path(path) => Condition::Path(path.clone()),
        StartCondition::Pod(name) => Condition::Pod(name.clone()),
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Supervisor {
    /// Something changed in a watched directory, or (`mounts`) something was mounted or unmounted.
    pub(super) fn manifests_noticed(&mut self, mounts: bool) {
        let now = self.now().boot;
        if mounts {
            self.manifests.mounts_due.get_or_insert(now.after(MOUNTS_MS));
        } else {
            self.manifests.noticed(false, now);
        }
    }

    /// How this node reads manifests.
    fn reading(&self) -> Reading {
        Reading {
            directories: self.config.static_pod_path.clone(),
            node: self.config.node_name.clone(),
            pod_security: self.config.pod_security.to_string(),
            devices: self.config.devices.iter().map(|device| device.name.clone()).collect(),
            cluster_domain: self.config.cluster_domain.clone(),
            fetch_binary: self.config.fetch_program(),
            keys: self.config.manifest_keys.clone(),
        }
    }

    /// What comes from where.
    pub(super) fn manifests_reply(&self) -> Reply {
        Reply::Manifests { items: self.manifests.told(), reading: self.reading() }
    }

    /// Starts a reader if one is due; one at a time.
    pub(super) fn read_manifests_if_due(&mut self, now: Instant) {
        self.manifests.look_at_mounts_if_due(now);
        if self.manifests.reading || self.manifests.due.is_none_or(|at| at > now) {
            return;
        }
        self.manifests.due = None;
        self.manifests.changed_at = None;
        self.manifests.reading = true;
        let watch = self.manifests.watch.as_mut().map(ManifestWatch::begin);
        let (changes, watched) = watch.map_or((None, Vec::new()), |(changes, watched)| {
            // A copy, since what starts helpers needs the whole supervisor.
            (changes.try_clone_to_owned().ok(), watched)
        });
        let reading = self.reading();
        let request = source::Request {
            version: source::VERSION,
            directories: reading.directories,
            watched,
            node_name: reading.node,
            pod_security: self.config.pod_security,
            devices: reading.devices,
            cluster_domain: reading.cluster_domain,
            fetch_binary: reading.fetch_binary,
            keys: reading.keys,
            image_policy: self.config.image_policy.clone(),
            limits: source::Limits::default(),
        };
        let request = json::to_vec(&request).unwrap_or_default();
        let program = self.config.worker_program();
        let command = Command::Worker(&program, "read-manifests");
        let passed = changes.as_ref().map(AsFd::as_fd);
        let task = Task::ReadManifests;
        self.start_helper(Job { task, command, request, output: None, passed, bound_ms: BOUND_MS });
    }

    /// The reader has ended.
    pub(super) fn manifests_read(&mut self, outcome: Outcome) {
        self.manifests.reading = false;
        let report = match outcome {
            Outcome::Done(report) => json::from_slice::<source::Report>(&report).map_err(|e| e.to_string()),
            Outcome::Failed(report, why) => {
                Err(json::from_slice::<source::Report>(&report).ok().and_then(|r| r.error).unwrap_or(why))
            }
        };
        match report {
            Ok(mut report) => {
                let now = self.now().boot;
                self.manifests.retry_ms = RETRY_MS;
                self.manifests.watched(std::mem::take(&mut report.watches), now);
                self.vouched_for(std::mem::take(&mut report.vouched));
                if self.config.stands_in {
                    let why = "the configuration, which could not be read whole, does not name this directory";
                    self.manifests.set.keep_unnamed(&mut report, why);
                }
                self.take_report(&report);
            }
            Err(why) => {
                let message = format!("the manifests cannot be read: {why}; what ran keeps running");
                log::error!("{message}");
                let file = self.config.static_pod_path.first().cloned().unwrap_or_default();
                self.manifests.problems = vec![Problem { file, line: 0, object: None, error: true, message }];
                self.manifests.try_again(self.now().boot);
                if self.images.vouched.is_none() {
                    self.vouched_for(Vec::new());
                }
            }
        }
        self.changed = true;
    }

    fn take_report(&mut self, report: &source::Report) {
        let outcome = self.manifests.set.update(report);
        let news: Vec<&Problem> = outcome.problems.iter().filter(|p| !self.manifests.problems.contains(p)).collect();
        for problem in news {
            log::warn!(target: "event", "{}", line_of(problem));
            self.record_problem(problem);
        }
        let shown = self.shown();
        let set_changed = outcome.set != self.manifests.set;
        self.manifests.set = outcome.set;
        self.manifests.desired = outcome.desired;
        self.manifests.problems = outcome.problems;
        if set_changed {
            if let Err(error) = volatile::write(&self.config.layout.run.join(MANIFESTS_FILE), &self.manifests.set) {
                log::error!("{error}");
            }
            self.manifests_to_disk();
        }
        self.documents_changed(&shown);
        let pods = self.manifests.desired_pods();
        self.guard.keep_only(|uid| pods.iter().any(|p| p.pod.metadata.uid == uid));
        self.inbox.push_back(Event::Desired(pods));
        // A pod whose manifest is in error may be wanted all the same.
        if !self.manifests.has_errors() {
            self.sweep_once();
        }
    }

    /// A refused document is an event of the pod it is about.
    fn record_problem(&mut self, problem: &Problem) {
        let key = problem.object.clone();
        let (namespace, name) = key.map(|k| (k.namespace, k.name)).unwrap_or_default();
        let uid = self.node.uid_of(&namespace, &name).unwrap_or_else(|| Uid::from(""));
        let recorded = Recorded {
            pod: uid,
            namespace: if namespace.is_empty() { "default".to_owned() } else { namespace },
            name: if name.is_empty() { problem.file.display().to_string() } else { name },
            field_path: String::new(),
            warning: true,
            reason: if problem.error { "FailedValidation" } else { "ManifestWarning" }.to_owned(),
            message: line_of(problem),
        };
        self.record(recorded);
    }

    /// The last good set is to be on disk, or none where that is not wanted.
    pub(super) fn manifests_to_disk(&mut self) {
        let nothing = DesiredSet::default();
        match json::to_string(if self.config.forgetful { &nothing } else { &self.manifests.set }) {
            Ok(content) => self.durable.put(MANIFESTS_FILE, content),
            Err(error) => log::error!("cannot encode the manifests: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_failed_is_tried_again_ever_later_and_a_change_comes_first() {
        let mut manifests = Manifests::new(DesiredSet::default());
        let mut waits = Vec::new();
        for _ in 0..7 {
            manifests.due = None;
            manifests.try_again(Instant(1_000));
            waits.extend(manifests.deadline().map(|due| due.0 - 1_000));
        }
        assert_eq!(waits, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        manifests.read_soon(Instant(2_000));
        manifests.try_again(Instant(2_000));
        assert_eq!(manifests.deadline(), Some(Instant(2_000)));
    }
}
