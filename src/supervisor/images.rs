//! [`Images`]: which images are there, as the image worker last told, and what is being done about those that are not.
//!
//! Answers come from memory: the store lies on a disk, and the loop waits for none.

use std::collections::{BTreeMap, VecDeque};

use super::Supervisor;
use super::act::{Task, container_of};
use super::helpers::{Command, Job, Outcome};
use crate::image::{ImageSummary, Reference, worker};
use crate::json;
use crate::pod::event::{ContainerRef, Event, Failure};

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
}

/// The images of this node.
#[derive(Debug, Default)]
pub(crate) struct Images {
    known: Vec<ImageSummary>,
    /// False until the first list has come: until then nobody is told that an image is missing.
    listed: bool,
    /// The last import of the preload directories came to no good end; it is tried again when somebody misses an image.
    preload_failed: bool,
    /// What a worker is at, and what is to be done after it.
    doing: Option<ImageTask>,
    next: VecDeque<ImageTask>,
    /// Who waits for an answer.
    waiting: BTreeMap<ContainerRef, Reference>,
    /// Images whose layers could not be unpacked, and why.
    broken: BTreeMap<String, String>,
}

impl Images {
    /// Nothing is known yet; the preload directories are imported first, if there are any.
    pub(super) fn new(preload: bool) -> Self {
        let next = if preload { vec![ImageTask::List, ImageTask::Preload] } else { vec![ImageTask::List] };
        Self { next: next.into(), ..Self::default() }
    }

    fn find(&self, reference: &Reference) -> Option<&ImageSummary> {
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

    fn is_asked_for(&self, task: &ImageTask) -> bool {
        self.doing.as_ref() == Some(task) || self.next.contains(task)
    }
}

impl Supervisor {
    /// Answers whether a container's image is there; later, if that is not known yet.
    pub(super) fn ensure_image(&mut self, container: ContainerRef) {
        let Some(pod) = self.node.pod(&container.pod) else { return };
        let Some(spec) = container_of(&pod, &container.name) else { return };
        match spec.image.parse::<Reference>() {
            Ok(reference) => {
                self.images.waiting.insert(container, reference);
                self.answer_waiting();
            }
            Err(error) => {
                let message = format!("Failed to apply default image tag \"{}\": {error}", spec.image);
                let failure = Failure { reason: "InvalidImageName".to_owned(), message };
                self.inbox.push_back(Event::ImageFailed { container, failure });
            }
        }
        self.work_at_store();
    }

    /// Answers everybody whose answer is known.
    fn answer_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.images.waiting);
        for (container, reference) in waiting {
            let image = self.images.find(&reference).cloned();
            match image {
                Some(image) if image.unpacked => {
                    let stop_signal = image.stop_signal.as_deref().and_then(signal_number);
                    let image_id = image.manifest_digest;
                    self.inbox.push_back(Event::ImageReady { container, image_id, stop_signal });
                }
                Some(image) => {
                    if let Some(why) = self.images.broken.get(&image.manifest_digest) {
                        let failure = Failure { reason: "ImageInspectError".to_owned(), message: why.clone() };
                        self.inbox.push_back(Event::ImageFailed { container, failure });
                    } else {
                        self.images.waiting.insert(container, reference);
                        let task = ImageTask::Unpack(image.manifest_digest);
                        if !self.images.is_asked_for(&task) {
                            self.images.next.push_back(task);
                        }
                    }
                }
                None if self.images.importing() => {
                    self.images.waiting.insert(container, reference);
                }
                None if self.images.preload_failed => {
                    self.images.preload_failed = false;
                    self.images.next.push_back(ImageTask::Preload);
                    self.images.waiting.insert(container, reference);
                }
                None => {
                    let failure = self.missing(&container, &reference);
                    self.inbox.push_back(Event::ImageFailed { container, failure });
                }
            }
        }
        // All who waited for them know; who asks again wants another try.
        self.images.broken.clear();
    }

    fn missing(&self, container: &ContainerRef, reference: &Reference) -> Failure {
        let pod = self.node.pod(&container.pod);
        let spec = pod.as_ref().and_then(|p| container_of(p, &container.name));
        let image = spec.map_or_else(|| reference.to_string(), |c| c.image.clone());
        if spec.is_some_and(|c| c.image_pull_policy == "Never") {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            return Failure { reason: "ErrImageNeverPull".to_owned(), message };
        }
        let message = format!(
            "image {reference} is not on this node and no registry is configured to pull it from; \
             import it with `gatepost image import FILE`, or put its archive into imagePreloadPath"
        );
        Failure { reason: "ErrImagePull".to_owned(), message }
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
            ImageTask::Preload => worker::Command::Preload { paths: self.config.image_preload_path.clone() },
            ImageTask::Unpack(digest) => worker::Command::Unpack { manifest_digest: digest.clone() },
        };
        let request = worker::Request { version: worker::VERSION, layout: self.config.layout.clone(), command: work };
        let request = json::to_vec(&request).unwrap_or_default();
        self.images.doing = Some(task.clone());
        let command = Command::Role("image-worker");
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
            }
        }
        let preload_failed = *task == ImageTask::Preload && failure.is_some();
        match (task, failure) {
            (ImageTask::List, failure) => {
                if let Some(why) = failure {
                    log::error!("the images cannot be listed: {why}");
                }
                self.images.listed = true;
            }
            (ImageTask::Preload, Some(why)) => log::error!("imagePreloadPath is not imported: {why}"),
            (ImageTask::Unpack(digest), Some(why)) => {
                log::error!("image {digest}: its layers cannot be unpacked: {why}");
                self.images.broken.insert(digest.clone(), why);
            }
            (ImageTask::Preload | ImageTask::Unpack(_), None) => {}
        }
        self.answer_waiting();
        // After the answers: who misses an image asks again after its backoff.
        self.images.preload_failed |= preload_failed;
        if changed {
            self.inbox.push_back(Event::ImagesChanged);
        }
        self.work_at_store();
    }
}

/// A stop signal as images write it: a name with or without `SIG`, or a number.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.trim_start_matches("SIG");
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        // SIGRTMIN as programs see it with glibc and musl.
        return Some(34_i32.saturating_add(offset.parse().ok()?));
    }
    let names = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("STKFLT", 16),
        ("CHLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("TTIN", 21),
        ("TTOU", 22),
        ("URG", 23),
        ("XCPU", 24),
        ("XFSZ", 25),
        ("VTALRM", 26),
        ("PROF", 27),
        ("WINCH", 28),
        ("IO", 29),
        ("PWR", 30),
        ("SYS", 31),
        ("RTMIN", 34),
    ];
    names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn stop_signals_are_names_with_or_without_sig_or_numbers() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("QUIT"), Some(3));
        assert_eq!(signal_number("28"), Some(28));
        assert_eq!(signal_number("SIGRTMIN+3"), Some(37));
        assert_eq!(signal_number("NONSENSE"), None);
    }
}
