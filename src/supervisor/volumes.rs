//! [`Volumes`]: the volumes of running pods: brought up to date when documents change, and measured where a manifest bounds what
//! an emptyDir on disk may take and its file system does not.
//!
//! Nothing here happens on a node without such changes and such bounds. Both are done by helpers, one at a time.

use crate::sorted::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Supervisor;
use super::act::Task;
use super::helpers::Outcome;
use super::outcome::result;
use crate::manifest::v1;
use crate::pod::event::{Event, Recorded, Uid};
use crate::pod::time::Instant;
use crate::runtime::protocol::VERSION;
use crate::runtime::volumes::{Refresh, Told, VolumesRequest, Work};
use crate::volume::{self, Objects};

/// kubelet: milliseconds between two looks at the sizes of volumes.
const MEASURE_MS: u64 = 10_000;
/// A look may take this part of the time: on a slow disk with many files it is rarer.
const MEASURE_SHARE: u64 = 20;
/// Milliseconds until what a disk refused is tried again.
const RETRY_MS: u64 = 60_000;

/// What is to be done with the volumes of running pods.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// Pods whose volumes may show something old.
    due: BTreeSet<Uid>,
    /// All of them were looked at since this supervisor started.
    seen: bool,
    refreshing: bool,
    /// Those that could not be brought up to date, and when that is tried again.
    failed: BTreeSet<Uid>,
    retry_at: Option<Instant>,
    measure_at: Option<Instant>,
    measuring: bool,
    /// Pods whose file system bounds their volumes.
    bounded: BTreeSet<Uid>,
}

impl Volumes {
    /// When something is due that no event tells of.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let measure_at = self.measure_at.filter(|_| !self.measuring);
        measure_at.into_iter().chain(self.retry_at.filter(|_| !self.refreshing)).min()
    }
}

fn is_measured(pod: &v1::Pod) -> bool {
    pod.spec.volumes.iter().any(volume::is_measured)
}

impl Supervisor {
    /// What the volumes of each pod show, for [`Supervisor::documents_changed`].
    pub(super) fn shown(&self) -> BTreeMap<Uid, Objects> {
        let pods = self.node.uids().filter_map(|uid| Some((Rc::clone(uid), self.node.pod(uid)?)));
        let shows = pods.filter(|(_, pod)| pod.spec.volumes.iter().any(v1::Volume::shows_documents));
        shows.map(|(uid, pod)| (uid, self.manifests.objects_of(&pod))).collect()
    }

    /// The manifests were read anew; `before` is what volumes showed until now.
    pub(super) fn documents_changed(&mut self, before: &BTreeMap<Uid, Objects>) {
        let first = !std::mem::replace(&mut self.volumes.seen, true);
        let changed = self.shown().into_iter().filter(|(uid, objects)| first || before.get(uid) != Some(objects));
        let changed: Vec<Uid> = changed.map(|(uid, _)| uid).collect();
        self.volumes.due.extend(changed);
    }

    /// A pod's sandbox stands, made by this supervisor or by one before it.
    pub(super) fn watch_sizes(&mut self, pod: &Uid) {
        self.volumes.bounded.remove(pod);
        if self.node.pod(pod).is_some_and(|pod| is_measured(&pod)) {
            let at = self.now().boot.after(MEASURE_MS);
            self.volumes.measure_at.get_or_insert(at);
        }
    }

    /// As [`Self::watch_sizes`], for all pods that a former supervisor left.
    pub(super) fn watch_all_sizes(&mut self) {
        for uid in self.node.uids().cloned().collect::<Vec<_>>() {
            self.watch_sizes(&uid);
        }
    }

    /// Begins what is due.
    pub(super) fn tend_volumes(&mut self, now: Instant) {
        if self.volumes.retry_at.is_some_and(|at| at <= now) {
            self.volumes.retry_at = None;
            let failed = std::mem::take(&mut self.volumes.failed);
            self.volumes.due.extend(failed);
        }
        self.refresh_if_due();
        if self.volumes.measure_at.is_some_and(|at| at <= now) && !self.volumes.measuring {
            self.measure();
        }
    }

    fn refresh_if_due(&mut self) {
        if self.volumes.refreshing || self.volumes.due.is_empty() {
            return;
        }
        let mut pods = Vec::new();
        for uid in std::mem::take(&mut self.volumes.due) {
            // Who is just being made may be made of the old documents: that has to end first.
            let prepare = Task::Prepare(Rc::clone(&uid));
            if self.helpers.tasks().any(|task| *task == prepare) {
                self.volumes.due.insert(uid);
            } else if self.node.has_sandbox(&uid)
                && let Some(pod) = self.node.pod_as_seen(&uid)
            {
                let objects = self.manifests.objects_of(&pod);
                pods.push((pod, objects));
            }
        }
        if pods.is_empty() {
            return;
        }
        self.volumes.refreshing = true;
        let work = Work::Refresh(Box::new(Refresh { node: self.node_facts.clone(), pods }));
        let request = VolumesRequest { version: VERSION, layout: self.config.layout.clone(), work };
        self.call_role("volumes", Task::RefreshVolumes, &request);
    }

    /// The helper has brought volumes up to date, or not.
    pub(super) fn volumes_refreshed(&mut self, outcome: Outcome) {
        self.volumes.refreshing = false;
        let told = match result::<Told>(outcome, "FailedMount") {
            Ok(told) => told,
            Err(failure) => return log::error!("volumes are not brought up to date: {}", failure.message),
        };
        for failed in told.failures {
            let uid = Uid::from(failed.uid.as_str());
            if failed.failure.retry {
                self.volumes.failed.insert(Rc::clone(&uid));
                let at = self.now().boot.after(RETRY_MS);
                self.volumes.retry_at.get_or_insert(at);
            }
            let message = format!("{}; the volume keeps what it shows", failed.failure.message);
            self.warn_of_pod(&uid, &failed.failure.reason, message);
        }
    }

    /// An event of a pod that the core knows nothing of.
    pub(super) fn warn_of_pod(&mut self, uid: &Uid, reason: &str, message: String) {
        let Some(pod) = self.node.pod(uid) else { return };
        let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        log::warn!("{namespace}/{name} {reason} {message}");
        self.record(Recorded {
            pod: Rc::clone(uid),
            namespace,
            name,
            field_path: String::new(),
            warning: true,
            reason: reason.to_owned(),
            message,
        });
        self.changed = true;
    }

    fn measure(&mut self) {
        self.volumes.measure_at = None;
        let Self { node, volumes, .. } = self;
        volumes.bounded.retain(|uid| node.has_sandbox(uid));
        let running = node.uids().filter(|uid| node.has_sandbox(uid) && !volumes.bounded.contains(*uid));
        let pods: Vec<_> = running.filter_map(|uid| node.pod(uid)).filter(|pod| is_measured(pod)).collect();
        if pods.is_empty() {
            return;
        }
        self.volumes.measuring = true;
        let request =
            VolumesRequest { version: VERSION, layout: self.config.layout.clone(), work: Work::Measure(pods) };
        self.call_role("volumes", Task::MeasureVolumes, &request);
    }

    /// The helper has measured volumes, or not.
    pub(super) fn volumes_measured(&mut self, outcome: Outcome) {
        self.volumes.measuring = false;
        let told = result::<Told>(outcome, "FailedMeasure")
            .inspect_err(|failure| log::error!("the sizes of emptyDirs are not known: {}", failure.message))
            .unwrap_or_default();
        self.volumes.bounded.extend(told.bounded.iter().map(|uid| Uid::from(uid.as_str())));
        for (uid, message) in told.over {
            self.inbox.push_back(Event::Evict { pod: Uid::from(uid.as_str()), message });
        }
        let wait = told.took_ms.saturating_mul(MEASURE_SHARE).max(MEASURE_MS);
        // Nobody is left to be measured: that is found then.
        self.volumes.measure_at = Some(self.now().boot.after(wait));
    }
}
