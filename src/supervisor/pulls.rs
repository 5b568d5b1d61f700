//! [`Pulls`]: images that `gatepost-fetch` is asked for, one at a time, and what became of it.
//!
//! | pull policy | not here | here |
//! | --- | --- | --- |
//! | `Never` | an error | it is taken |
//! | `IfNotPresent` | pulled | it is taken |
//! | `Always` | pulled | the registry is asked, and what is new is pulled; it is taken when nobody can be reached, unless that is forbidden |

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Supervisor;
use super::act::{Task, container_of};
use super::helpers::{Command, Job, Outcome};
use super::images::{ImageTask, Wanted};
use crate::control::Reply;
use crate::image::{Reference, pull};
use crate::json;
use crate::manifest::{base64, v1};
use crate::pod::event::{ContainerRef, Recorded};
use crate::pod::status::PodObject;
use crate::pod::time::Instant;
use crate::sorted::BTreeMap;
use crate::sys::shared_memory::SharedWords;

/// Milliseconds a pull may take: what stands still is given up long before, by the program itself.
const BOUND_MS: u64 = 7 * 24 * 3_600_000;
/// Without a setting.
const STALL_MS: u64 = 60_000;

/// Credentials from `imagePullSecrets`, which no log may have.
#[derive(Clone, Default)]
pub(super) struct PullSecrets(Rc<[String]>);

impl std::fmt::Debug for PullSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pull secrets", self.0.len())
    }
}

/// What is pulled.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    /// There is who pulls.
    pub(super) can: bool,
    next: VecDeque<Order>,
    doing: Option<Order>,
    /// Where the program tells how far it is ([`pull::WORDS`]), and the endpoints it was given.
    told: Option<SharedWords>,
    asked: Vec<String>,
    /// Pulled, and on the way into the store.
    adopting: BTreeMap<String, (Order, pull::Report)>,
    /// Ended, as long as somebody waits who wants to know.
    pub(super) ended: BTreeMap<String, Ended>,
}

/// One pull.
#[derive(Debug)]
struct Order {
    reference: Reference,
    written: String,
    secrets: PullSecrets,
    asked: Instant,
    begun: Instant,
    /// Although it is here.
    again: bool,
}

/// How a pull ended.
#[derive(Debug)]
pub(super) enum Ended {
    Good,
    Failed { why: String, unreachable: bool },
}

/// What is known of a pull.
pub(super) enum Pull {
    Soon,
    Done,
    /// No server was there to ask.
    Unreachable(String),
    Failed(String),
}

impl Pulls {
    pub(super) fn new(can: bool) -> Self {
        Self { can, ..Self::default() }
    }

    /// Whether a pull of it has just ended.
    pub(super) fn knows(&self, reference: &Reference) -> bool {
        self.ended.contains_key(&reference.to_string())
    }

    /// How far it is with an image; none if it is not pulled.
    fn progress(&self, name: &str) -> Option<String> {
        let order = self.doing.as_ref()?;
        if order.reference.to_string() != name {
            let waits = self.next.iter().any(|order| order.reference.to_string() == name);
            return waits.then(|| format!("waits until image \"{}\" has been pulled", order.written));
        }
        let word = |at: usize| Some(self.told.as_deref()?.get(at)?.load(Ordering::Relaxed));
        let (endpoint, size, have) = (word(pull::ENDPOINT)?, word(pull::SIZE)?, word(pull::HAVE)?);
        let from = self.asked.get(usize::try_from(endpoint).ok()?)?;
        // In the tenths of MiB that a person wants to see.
        let mib = |bytes: u64| format!("{}.{}", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        let far = if size == 0 { String::new() } else { format!("{} of {} MiB ", mib(have.min(size)), mib(size)) };
        Some(format!("pulling image \"{}\": {far}from {from}", order.written))
    }

    fn is_asked_for(&self, reference: &Reference) -> bool {
        self.doing.iter().chain(&self.next).any(|order| order.reference == *reference)
            || self.adopting.contains_key(&reference.to_string())
    }
}

impl Supervisor {
    /// What the pod's `imagePullSecrets` hold. Names that are not there are left out and told, as by a kubelet.
    pub(super) fn pull_secrets(&mut self, pod: &v1::Pod) -> PullSecrets {
        if pod.spec.image_pull_secrets.is_empty() {
            return PullSecrets::default();
        }
        let (_, secrets) = self.manifests.objects_for(&pod.metadata.namespace);
        let names = pod.spec.image_pull_secrets.iter().map(|named| named.name.as_str());
        let missing: Vec<&str> = names.filter(|name| !secrets.contains_key(*name)).collect();
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.record(Recorded {
                pod: pod.metadata.uid.as_str().into(),
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                field_path: String::new(),
                warning: true,
                reason: "FailedToRetrieveImagePullSecret".to_owned(),
                message,
            });
        }
        let named = pod.spec.image_pull_secrets.iter().filter_map(|named| secrets.get(&named.name));
        let texts = named.filter_map(|secret| {
            let text = [".dockerconfigjson", ".dockercfg"].into_iter().find_map(|key| secret.data.get(key))?;
            String::from_utf8(base64::decode(text).ok()?).ok()
        });
        PullSecrets(texts.collect())
    }

    /// What is known of the pull of an image, which is asked for if nothing is.
    pub(super) fn pull(&mut self, wanted: &Wanted, container: &ContainerRef) -> Pull {
        let name = wanted.reference.to_string();
        match self.images.pulls.ended.get(&name) {
            Some(Ended::Good) => return Pull::Done,
            Some(Ended::Failed { why, unreachable: true }) => return Pull::Unreachable(why.clone()),
            Some(Ended::Failed { why, unreachable: false }) => return Pull::Failed(why.clone()),
            None => {}
        }
        if !self.images.pulls.is_asked_for(&wanted.reference) {
            let now = self.now().boot;
            let (reference, written) = (wanted.reference.clone(), wanted.written.clone());
            let order =
                Order { reference, written, secrets: wanted.secrets.clone(), asked: now, begun: now, again: false };
            self.tell_of_image(container, false, "Pulling", format!("Pulling image \"{}\"", order.written));
            self.images.pulls.next.push_back(order);
        }
        Pull::Soon
    }

    /// Somebody has found that blobs of an image are damaged, and has deleted them.
    pub(super) fn pull_again(&mut self, image: &str) -> Reply {
        let refuse = |message: String| Reply::Error { message, remedy: "import it again".to_owned() };
        let Ok(reference) = image.parse::<Reference>() else { return refuse(format!("{image:?} is no image name")) };
        if !self.images.pulls.can {
            return refuse("nothing pulls here, since gatepost-fetch is not installed".to_owned());
        }
        let is_it = |name: &str| name.parse::<Reference>().is_ok_and(|named| named == reference);
        let pods = self.node.uids().filter_map(|uid| self.node.pod(uid));
        let user = pods.into_iter().find(|pod| {
            pod.spec.init_containers.iter().chain(&pod.spec.containers).any(|container| is_it(&container.image))
                || pod
                    .spec
                    .volumes
                    .iter()
                    .filter_map(|volume| volume.image.as_ref())
                    .any(|image| is_it(&image.reference))
        });
        let secrets = user.map(|pod| self.pull_secrets(&pod)).unwrap_or_default();
        let now = self.now().boot;
        let written = image.to_owned();
        self.images.pulls.next.push_back(Order { reference, written, secrets, asked: now, begun: now, again: true });
        self.work_at_pulls();
        Reply::Done { message: format!("{image} is pulled again; `gatepost image verify` says when it is whole") }
    }

    /// Begins the next pull.
    pub(super) fn work_at_pulls(&mut self) {
        if self.recalling || self.images.pulls.doing.is_some() {
            return;
        }
        let Some(mut order) = self.images.pulls.next.pop_front() else { return };
        order.begun = self.now().boot;
        let endpoints = self.config.endpoints_of(order.reference.domain());
        let present = self.images.find(&order.reference).filter(|image| image.unpacked && !order.again);
        let stall = u64::try_from(self.config.pull_stall.as_millis()).unwrap_or(u64::MAX);
        let some = |path: std::path::PathBuf| Some(path).filter(|path| !path.as_os_str().is_empty());
        let request = pull::Request {
            version: pull::VERSION,
            images: self.config.layout.images(),
            image: order.reference.to_string(),
            endpoints: endpoints
                .into_iter()
                .map(|(endpoint, upstream)| pull::Endpoint {
                    url: endpoint.url,
                    upstream,
                    skip_verify: endpoint.skip_verify,
                    ca: some(endpoint.ca),
                    auth: some(endpoint.auth),
                })
                .collect(),
            secrets: order.secrets.0.to_vec(),
            present: present
                .map(|image| [Some(image.manifest_digest.clone()), image.index_digest.clone()])
                .into_iter()
                .flatten()
                .flatten()
                .collect(),
            stall_ms: if stall == 0 { STALL_MS } else { stall },
            bandwidth: self.config.pull_bandwidth,
        };
        let memory = SharedWords::create("pull", pull::WORDS).inspect_err(|error| {
            log::warn!("how far a pull is will not be known: {error}");
        });
        let (memory, told) = memory.ok().unzip();
        self.images.pulls.asked = request.endpoints.iter().map(|endpoint| endpoint.url.clone()).collect();
        self.images.pulls.told = told;
        let request = json::to_vec(&request).unwrap_or_default();
        let program = self.config.fetch_program().display().to_string();
        let command = Command::Program(&program, vec!["gatepost-fetch".to_owned(), "pull".to_owned()]);
        self.images.pulls.doing = Some(order);
        let passed = memory.as_ref().map(|memory| memory.as_fd());
        self.start_helper(Job { task: Task::Pull, command, request, output: None, passed, bound_ms: BOUND_MS });
    }

    /// Containers that wait for a pull say how far it is.
    pub(super) fn tell_progress(&self, pods: &mut [PodObject]) {
        for (container, message) in self.images.waiting_with(|name| self.images.pulls.progress(name)) {
            let pod = pods.iter_mut().find(|pod| *pod.metadata.uid == *container.pod);
            let statuses = pod
                .map(|pod| &mut pod.status)
                .into_iter()
                .flat_map(|status| status.container_statuses.iter_mut().chain(&mut status.init_container_statuses));
            let state =
                statuses.filter(|status| *status.name == *container.name).find_map(|s| s.state.waiting.as_mut());
            if let Some(waiting) = state.filter(|waiting| waiting.message.is_empty()) {
                waiting.message = message;
            }
        }
    }

    /// `gatepost-fetch` has ended.
    pub(super) fn pull_ended(&mut self, outcome: Outcome) {
        let Some(order) = self.images.pulls.doing.take() else { return };
        self.images.pulls.told = None;
        let (Outcome::Done(report) | Outcome::Failed(report, _)) = &outcome;
        let report = json::from_slice::<pull::Report>(report);
        let name = order.reference.to_string();
        let failed = |why: String, unreachable| Ended::Failed { why, unreachable };
        match (report, outcome) {
            (Ok(report), _) if report.ok && report.unchanged => self.pulled(&order, &report),
            (Ok(report), _) if report.ok => {
                self.images.pulls.adopting.insert(name.clone(), (order, report));
                self.images.add(ImageTask::Adopt(name));
            }
            (Ok(report), _) => {
                if report.error.contains("No space left") {
                    self.collect_images_soon();
                }
                if order.again {
                    log::warn!("image {name} is not pulled again: {}", report.error);
                }
                self.images.pulls.ended.insert(name, failed(report.error, report.unreachable));
            }
            (Err(_), Outcome::Failed(_, why)) => {
                drop(self.images.pulls.ended.insert(name, failed(format!("gatepost-fetch: {why}"), false)));
            }
            (Err(error), Outcome::Done(_)) => {
                drop(self.images.pulls.ended.insert(name, failed(format!("gatepost-fetch: {error}"), false)));
            }
        }
        self.answer_waiting();
        self.work_at_store();
        self.work_at_pulls();
    }

    /// What was pulled is in the store, or why not.
    pub(super) fn adopted(&mut self, name: &str, failure: Option<String>) {
        let Some((order, report)) = self.images.pulls.adopting.remove(name) else { return };
        match failure {
            None => self.pulled(&order, &report),
            Some(why) => {
                log::error!("image {name} was pulled, but cannot be stored: {why}");
                self.images.pulls.ended.insert(name.to_owned(), Ended::Failed { why, unreachable: false });
            }
        }
    }

    fn pulled(&mut self, order: &Order, report: &pull::Report) {
        let now = self.now().boot;
        let seconds = |since: Instant| {
            let ms = now.since(since);
            format!("{}.{:03}s", ms / 1000, ms % 1000)
        };
        let (written, took, waited) = (&order.written, seconds(order.begun), seconds(order.asked));
        let pull::Report { size, received, endpoint, .. } = report;
        let message = if report.unchanged {
            format!("Image \"{written}\" is up to date on this node, says {endpoint}")
        } else {
            format!(
                "Successfully pulled image \"{written}\" in {took} ({waited} including waiting). Image size: {size} bytes. \
                 {received} bytes came from {endpoint}"
            )
        };
        let name = order.reference.to_string();
        for container in self.images.waiting_for(&name) {
            self.tell_of_image(&container, false, "Pulled", message.clone());
        }
        self.images.pulls.ended.insert(name, Ended::Good);
    }

    /// The image that is here is used although it should have been looked for.
    pub(super) fn tell_of_fallback(&mut self, container: &ContainerRef, written: &str, why: &str) {
        let message = format!("No registry can be reached, so image \"{written}\" is used as it is here: {why}");
        self.tell_of_image(container, true, "PullFallback", message);
    }

    fn tell_of_image(&mut self, container: &ContainerRef, warning: bool, reason: &str, message: String) {
        let Some(pod) = self.node.pod(&container.pod) else { return };
        if container_of(&pod, &container.name).is_none() {
            return;
        }
        let app = pod.spec.containers.iter().any(|one| *one.name == *container.name);
        let list = if app { "containers" } else { "initContainers" };
        let field_path = format!("spec.{list}{{{}}}", container.name);
        let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        log::info!("{namespace}/{name} {reason} {field_path}: {message}");
        let (pod, reason) = (Rc::clone(&container.pod), reason.to_owned());
        self.record(Recorded { pod, namespace, name, field_path, warning, reason, message });
    }
}
