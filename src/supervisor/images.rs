//! [`Images`]: which images are there, as the image worker last told, and what is being done about those that are not.
//!
//! Answers come from memory: the store lies on a disk, and the loop waits for none.

use std::collections::VecDeque;

use super::Supervisor;
use super::act::{Task, container_of};
use super::helpers::{Command, Job, Outcome};
use super::pulls::{Pull, PullSecrets, Pulls};
use super::upkeep::Upkeep;
use crate::image::{ImageSummary, Reference, worker};
use crate::json;
use crate::manifest::v1;
use crate::pod::event::{ContainerRef, Event, Failure};
use crate::policy::Vouched;
use crate::sorted::{BTreeMap, BTreeSet};

/// Milliseconds an image worker may take: a large archive on a slow card.
const BOUND_MS: u64 = 3_600_000;

/// What is done at the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageTask {
    /// List what is there.
    List,
    /// Import what lies in the preload directories, once.
    Preload,
    /// Unpack the layers of an image that has none.
    Unpack(String),
    /// Take in what was pulled under this name.
    Adopt(String),
    /// Delete what nobody wants, if there is too little room.
    Collect,
}

/// The images of this node.
#[derive(Debug, Default)]
pub(crate) struct Images {
    known: Vec<ImageSummary>,
    /// False until the first list has come: until then nobody is told that an image is missing.
    listed: bool,
    /// Why there is no list, though one was asked for.
    unlisted: Option<String>,
    /// Lists and imports that came to no good end; they are tried again when somebody misses an image.
    failed: Vec<ImageTask>,
    /// What a worker is at, and what is to be done after it.
    doing: Option<ImageTask>,
    next: VecDeque<ImageTask>,
    /// Who waits for an answer.
    waiting: BTreeMap<ContainerRef, Vec<Wanted>>,
    /// Images whose layers could not be unpacked, and why.
    broken: BTreeMap<String, String>,
    pub(super) pulls: Pulls,
    pub(super) upkeep: Upkeep,
    /// What vouches for images, by rule of the policy; not known before the manifests are read.
    pub(super) vouched: Option<Vec<Vouched>>,
}

impl Images {
    /// Nothing is known yet; the preload directories are imported first, if there are any.
    /// `can_pull`: there is who pulls.
    pub(super) fn new(preload: bool, can_pull: bool) -> Self {
        let next = if preload { vec![ImageTask::List, ImageTask::Preload] } else { vec![ImageTask::List] };
        Self { next: next.into(), pulls: Pulls::new(can_pull), ..Self::default() }
    }

    /// Who waits for this image.
    pub(super) fn waiting_for(&self, name: &str) -> Vec<ContainerRef> {
        let wants = |wanted: &&Wanted| wanted.reference.to_string() == name;
        let waiting = self.waiting.iter().filter(|(_, wanted)| wanted.iter().any(|one| wants(&one)));
        waiting.map(|(container, _)| container.clone()).collect()
    }

    /// Containers that wait, each with what is said of the first of its images of which something is.
    pub(super) fn waiting_with(&self, said: impl Fn(&str) -> Option<String>) -> Vec<(ContainerRef, String)> {
        let of = |wanted: &Vec<Wanted>| wanted.iter().find_map(|one| said(&one.reference.to_string()));
        self.waiting.iter().filter_map(|(container, wanted)| Some((container.clone(), of(wanted)?))).collect()
    }

    pub(super) fn find(&self, reference: &Reference) -> Option<&ImageSummary> {
        let name = reference.to_string();
        self.known.iter().find(|image| match reference.digest() {
            Some(digest) => image.manifest_digest == digest || image.index_digest.as_deref() == Some(digest),
            None => image.names.contains(&name),
        })
    }

    /// Whether an import that may bring any image is still to come.
    fn importing(&self) -> bool {
        !self.listed || self.is_asked_for(&ImageTask::Preload)
    }

    /// Whether it is known what is here, and no import is to come.
    pub(super) fn is_settled(&self) -> bool {
        !self.importing()
    }

    pub(super) fn add(&mut self, task: ImageTask) {
        if !self.next.contains(&task) {
            self.next.push_back(task);
        }
    }

    fn is_asked_for(&self, task: &ImageTask) -> bool {
        self.doing.as_ref() == Some(task) || self.next.contains(task)
    }
}

/// An image that a container cannot do without: its own, or one that a volume of it shows.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) reference: Reference,
    /// As the manifest names it.
    pub(super) written: String,
    /// `pullPolicy: Never`.
    never: bool,
    /// `pullPolicy: Always`.
    always: bool,
    pub(super) secrets: PullSecrets,
}

/// What is known of an image.
enum Answer {
    /// It is here; `true`: pulled just now.
    Ready(Box<ImageSummary>, bool),
    /// A worker is at it.
    Soon,
    Failed(Failure),
}

impl Supervisor {
    /// Answers whether a container's images are there; later, if that is not known yet.
    pub(super) fn ensure_image(&mut self, container: ContainerRef) {
        let Some(pod) = self.node.pod(&container.pod) else { return };
        let Some(spec) = container_of(&pod, &container.name) else { return };
        let secrets = self.pull_secrets(&pod);
        match wanted(&pod, spec, &secrets) {
            Ok(wanted) => {
                self.images.waiting.insert(container, wanted);
                self.answer_waiting();
            }
            Err(message) => {
                let failure = Failure { reason: "InvalidImageName".to_owned(), message };
                self.inbox.push_back(Event::ImageFailed { container, failure });
            }
        }
        self.work_at_store();
        self.work_at_pulls();
    }

    /// Answers everybody whose answer is known.
    pub(super) fn answer_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.images.waiting);
        for (container, wanted) in waiting {
            let mut own = None;
            let (mut failure, mut soon) = (None, false);
            // All of them are asked for, so that what must be unpacked is so at once.
            for image in &wanted {
                match self.look_up(image, &container) {
                    Answer::Ready(found, pulled) => drop(own.get_or_insert((found, pulled))),
                    Answer::Soon => soon = true,
                    Answer::Failed(why) => drop(failure.get_or_insert(why)),
                }
            }
            if let Some(failure) = failure {
                self.inbox.push_back(Event::ImageFailed { container, failure });
            } else if soon {
                self.images.waiting.insert(container, wanted);
            } else if let Some((image, pulled)) = own {
                let stop_signal = image.stop_signal.as_deref().and_then(crate::pod::signal_number);
                let image_id = image.manifest_digest;
                self.inbox.push_back(Event::ImageReady { container, image_id, stop_signal, pulled });
            }
        }
        // All who waited for them know; who asks again wants another try.
        self.images.broken.clear();
        let wanted = self.images.waiting.values().flatten().map(|wanted| wanted.reference.to_string());
        let wanted: BTreeSet<String> = wanted.collect();
        self.images.pulls.ended.retain(|name, _| wanted.contains(name));
    }

    fn look_up(&mut self, wanted: &Wanted, container: &ContainerRef) -> Answer {
        if let Err(message) = self.is_named_well(wanted) {
            return Answer::Failed(Failure { reason: "SignatureValidationFailed".to_owned(), message });
        }
        let (found, problem) = match self.images.find(&wanted.reference).cloned() {
            Some(ImageSummary { problem: Some(problem), .. }) => (None, Some(problem)),
            found => (found, None),
        };
        if found.is_some()
            && self.images.doing == Some(ImageTask::Collect)
            && !self.images.upkeep.spares(&wanted.written)
        {
            // It may be gone in a moment.
            return Answer::Soon;
        }
        if found.is_none() && problem.is_none() && self.preload_again(&wanted.reference) {
            return Answer::Soon;
        }
        let mut pulled = false;
        let pulls = !wanted.never && self.images.pulls.can;
        if pulls && (wanted.always || found.is_none() || self.images.pulls.knows(&wanted.reference)) {
            if found.is_none() && self.images.importing() {
                return Answer::Soon;
            }
            match self.pull(wanted, container) {
                Pull::Soon => return Answer::Soon,
                Pull::Done => pulled = true,
                Pull::Unreachable(why) if found.is_some() && !self.config.pull_strictly => {
                    self.tell_of_fallback(container, &wanted.written, &why);
                }
                Pull::Unreachable(message) | Pull::Failed(message) => {
                    return Answer::Failed(Failure { reason: "ErrImagePull".to_owned(), message });
                }
            }
        }
        if let Some(image) = &found {
            match self.is_vouched_for(wanted, image) {
                None => return Answer::Soon,
                Some(Ok(())) => {}
                Some(Err(message)) => {
                    return Answer::Failed(Failure { reason: "SignatureValidationFailed".to_owned(), message });
                }
            }
        }
        match found {
            Some(image) if image.unpacked => Answer::Ready(Box::new(image), pulled),
            Some(image) => {
                if let Some(why) = self.images.broken.get(&image.manifest_digest) {
                    return Answer::Failed(Failure { reason: "ImageInspectError".to_owned(), message: why.clone() });
                }
                let task = ImageTask::Unpack(image.manifest_digest);
                if !self.images.is_asked_for(&task) {
                    self.images.next.push_back(task);
                }
                Answer::Soon
            }
            None if self.images.importing() => Answer::Soon,
            None if !self.images.failed.is_empty() => {
                let failed = std::mem::take(&mut self.images.failed);
                self.images.next.extend(failed);
                Answer::Soon
            }
            None => Answer::Failed(match problem.as_ref().or(self.images.unlisted.as_ref()) {
                Some(why) if problem.is_some() => {
                    Failure { reason: "ImageInspectError".to_owned(), message: why.clone() }
                }
                Some(why) => {
                    let message = format!("this node's images are not known: {why}");
                    Failure { reason: "ImageInspectError".to_owned(), message }
                }
                None => missing(wanted),
            }),
        }
    }

    /// Asks for a new list: somebody changed the store.
    pub(super) fn list_images(&mut self) {
        if !self.images.next.contains(&ImageTask::List) {
            self.images.next.push_back(ImageTask::List);
        }
        self.work_at_store();
    }

    /// Starts the next worker, one at a time.
    pub(super) fn work_at_store(&mut self) {
        if self.recalling || self.images.doing.is_some() {
            return;
        }
        let Some(task) = self.images.next.pop_front() else { return };
        let work = match &task {
            ImageTask::List => worker::Command::List,
            ImageTask::Preload => worker::Command::Preload {
                paths: self.config.layout.preload.clone(),
                missed: self.images.upkeep.missed().collect(),
            },
            ImageTask::Unpack(digest) => worker::Command::Unpack { manifest_digest: digest.clone() },
            ImageTask::Adopt(name) => worker::Command::Adopt { name: name.clone() },
            ImageTask::Collect => self.collection(),
        };
        let request = worker::Request {
            version: worker::VERSION,
            layout: self.config.layout.clone(),
            command: work,
            discard_layers: self.config.image_upkeep.discard_layers,
        };
        let request = json::to_vec(&request).unwrap_or_default();
        self.images.doing = Some(task.clone());
        let program = self.config.worker_program();
        let command = Command::Worker(&program, "image-worker");
        self.start_helper(Job {
            task: Task::Images(task),
            command,
            request,
            output: None,
            passed: None,
            bound_ms: BOUND_MS,
        });
    }

    /// An image worker has ended.
    pub(super) fn image_work_done(&mut self, task: &ImageTask, outcome: Outcome) {
        self.images.doing = None;
        let (report, failure) = match outcome {
            Outcome::Done(report) => (report, None),
            Outcome::Failed(report, why) => (report, Some(why)),
        };
        let report: Option<worker::Report> = json::from_slice(&report).ok();
        let failure = failure.map(|why| match &report {
            Some(report) if !report.message.is_empty() => report.message.clone(),
            _ => why,
        });
        let mut changed = !self.images.listed;
        if matches!(task, ImageTask::Collect) {
            self.images_collected(report.as_ref(), failure.as_deref());
        } else if matches!(task, ImageTask::Preload | ImageTask::Adopt(_)) {
            self.collect_images_soon();
        }
        if let Some(report) = report {
            for warning in &report.warnings {
                log::warn!("images: {warning}");
            }
            for done in &report.done {
                log::info!("images: {done}");
            }
            if report.ok {
                // A try that failed changes nothing, and then nobody's wait may be cut short.
                changed |= self.images.known != report.images;
                self.images.known = report.images;
                self.images.listed = true;
                self.images.unlisted = None;
            }
        }
        // What lies on flash may come and go without a word.
        let again = match task {
            ImageTask::Unpack(_) | ImageTask::Collect => false,
            ImageTask::List => failure.is_some() || !self.config.layout.preload.is_empty(),
            ImageTask::Preload | ImageTask::Adopt(_) => failure.is_some(),
        };
        match (task, failure) {
            (ImageTask::List, failure) => {
                if let Some(why) = failure {
                    log::error!("the images cannot be listed: {why}");
                    self.images.unlisted = Some(why);
                }
                self.images.listed = true;
            }
            (ImageTask::Preload, Some(why)) => log::error!("imagePreloadPath is not imported: {why}"),
            (ImageTask::Unpack(digest), Some(why)) => {
                log::error!("image {digest}: its layers cannot be unpacked: {why}");
                self.images.broken.insert(digest.clone(), why);
            }
            (ImageTask::Adopt(name), failure) => {
                self.adopted(name, failure);
                // Others' images did not come by it, and their wait may not be cut short.
                changed = false;
            }
            // Nobody waits for what has gone.
            (ImageTask::Collect, _) => changed = false,
            (ImageTask::Preload | ImageTask::Unpack(_), None) => {}
        }
        self.answer_waiting();
        // After the answers: who misses an image asks again after its backoff.
        if again && !self.images.failed.contains(task) {
            self.images.failed.push(task.clone());
        }
        if changed {
            self.inbox.push_back(Event::ImagesChanged);
        }
        self.work_at_store();
        self.work_at_pulls();
    }
}

/// The container's own image first.
fn wanted(pod: &v1::Pod, container: &v1::Container, secrets: &PullSecrets) -> Result<Vec<Wanted>, String> {
    let own = (container.image.as_str(), container.image_pull_policy.as_str());
    let mounted = |volume: &&v1::Volume| container.volume_mounts.iter().any(|mount| mount.name == volume.name);
    let images = pod.spec.volumes.iter().filter(mounted).filter_map(|volume| volume.image.as_ref());
    let all = std::iter::once(own).chain(images.map(|image| (image.reference.as_str(), image.pull_policy.as_str())));
    all.map(|(written, policy)| {
        let reference =
            written.parse().map_err(|error| format!("Failed to apply default image tag \"{written}\": {error}"))?;
        let (never, always) = (policy == "Never", policy == "Always");
        Ok(Wanted { reference, written: written.to_owned(), never, always, secrets: secrets.clone() })
    })
    .collect()
}

fn missing(wanted: &Wanted) -> Failure {
    let Wanted { reference, written, never, .. } = wanted;
    if *never {
        let message = format!("Container image \"{written}\" is not present with pull policy of Never");
        return Failure { reason: "ErrImageNeverPull".to_owned(), message };
    }
    let message = format!(
        "image {reference} is not on this node and nothing pulls here, since gatepost-fetch is not installed; \
         import it with `gatepost image import FILE`, or put its archive into imagePreloadPath"
    );
    Failure { reason: "ErrImagePull".to_owned(), message }
}
