//! [`Upkeep`]: when images are collected that nobody wants. What goes is decided by the image worker (`src/image/collect.rs`).
//!
//! A kubelet looks every five minutes. Here it is looked when something has happened that takes room or gives some: at start,
//! after an import or a pull, also one that found no room, and when a pod is gone; and every five minutes only as long as there is
//! too little room.

use super::Supervisor;
use super::images::ImageTask;
use crate::image::worker::{Command, Report};
use crate::image::{Bounds, Keep, Reference};
use crate::pod::event::{Recorded, Uid};
use crate::pod::time::Instant;
use crate::sorted::BTreeSet;

/// kubelet: milliseconds between two collections.
const AGAIN_MS: u64 = 300_000;

/// When images are collected.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    due: bool,
    /// There was too little room: when it is looked again.
    again_at: Option<Instant>,
    /// What was wanted when it was looked last.
    before: Vec<String>,
    /// What the collection that is under way leaves alone.
    spared: Vec<String>,
    /// Images that were missed, and whose archives were therefore looked for once more: they may have been deleted since they were
    /// imported.
    missed: BTreeSet<String>,
    /// What people were told last.
    told: &'static str,
}

impl Upkeep {
    /// What is to be imported though it was before.
    pub(super) fn missed(&self) -> impl Iterator<Item = String> {
        self.missed.iter().cloned()
    }

    /// Whether the collection that is under way leaves an image alone, by its name in a manifest.
    pub(super) fn spares(&self, written: &str) -> bool {
        self.spared.iter().any(|spared| spared == written)
    }
}

impl Supervisor {
    /// Something has happened that takes room on the disk, or gives some.
    pub(super) fn collect_images_soon(&mut self) {
        self.images.upkeep.due = true;
    }

    /// When it is looked again.
    pub(super) fn collection_deadline(&self) -> Option<Instant> {
        self.images.upkeep.again_at.filter(|_| self.may_collect())
    }

    /// Only when the manifests are known: of what a node that has lost its state would run, nothing is wanted. And what is begun on
    /// the way out would be cut off.
    fn may_collect(&self) -> bool {
        self.swept && !self.recalling && self.safe_until.is_none() && !self.leaving
    }

    /// Asks for a collection when one is due.
    pub(super) fn tend_images(&mut self, now: Instant) {
        if !self.may_collect() {
            return;
        }
        if self.images.upkeep.again_at.is_some_and(|at| at <= now) {
            self.images.upkeep.again_at = None;
            self.images.upkeep.due = true;
        }
        if std::mem::take(&mut self.images.upkeep.due) {
            self.images.add(ImageTask::Collect);
            self.work_at_store();
        }
    }

    /// The collection that begins now.
    pub(super) fn collection(&mut self) -> Command {
        let keep = self.wanted_images();
        let upkeep = &self.config.image_upkeep;
        let bounds = Bounds { high: upkeep.high, low: upkeep.low, min_age: upkeep.min_age };
        self.images.upkeep.spared.clone_from(&keep.wanted);
        let used = std::mem::replace(&mut self.images.upkeep.before, keep.wanted.clone());
        Command::Collect { bounds, keep, used, known: !self.manifests.has_errors() }
    }

    /// Whether an image that is not here is looked for among the archives once more.
    pub(super) fn preload_again(&mut self, missed: &Reference) -> bool {
        let again = !self.config.layout.preload.is_empty()
            && self.images.is_settled()
            && self.images.upkeep.missed.insert(missed.to_string());
        if again {
            self.images.add(ImageTask::Preload);
        }
        again
    }

    /// What pods want, and what their containers use.
    fn wanted_images(&self) -> Keep {
        let mut keep = Keep::default();
        for pod in self.node.uids().filter_map(|uid| self.node.pod(uid)) {
            let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
            keep.wanted.extend(containers.map(|container| container.image.clone()));
            let volumes = pod.spec.volumes.iter().filter_map(|volume| volume.image.as_ref());
            keep.wanted.extend(volumes.map(|image| image.reference.clone()));
        }
        for pod in self.node.pod_objects(self.now()) {
            let statuses = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
            let ids = statuses.filter_map(|status| status.image_id.rsplit_once("sha256:"));
            keep.in_use.extend(ids.map(|(_, hex)| format!("sha256:{hex}")));
        }
        keep.wanted.sort();
        keep.wanted.dedup();
        keep
    }

    /// A collection has ended.
    pub(super) fn images_collected(&mut self, report: Option<&Report>, failure: Option<&str>) {
        self.images.upkeep.spared.clear();
        if report.is_some_and(|report| !report.done.is_empty()) {
            self.images.upkeep.missed.clear();
        }
        let collected = report.and_then(|report| report.collected.clone()).unwrap_or_default();
        let (reason, message) = match failure {
            Some(why) => ("ImageGCFailed", why.to_owned()),
            None if collected.full => (
                "FreeDiskSpaceFailed",
                format!(
                    "Failed to garbage collect required amount of images. Attempted to free {} bytes, but only found {} bytes \
                     eligible to free.",
                    collected.wanted, collected.freed
                ),
            ),
            None => ("", String::new()),
        };
        let told = std::mem::replace(&mut self.images.upkeep.told, reason);
        if reason.is_empty() {
            return;
        }
        self.images.upkeep.again_at = Some(self.now().boot.after(AGAIN_MS));
        // The same every five minutes is no news.
        if told != reason {
            log::warn!("{reason}: {message}");
            let name = self.config.node_name.clone();
            self.record(Recorded {
                pod: Uid::from(name.as_str()),
                namespace: String::new(),
                name,
                field_path: String::new(),
                warning: true,
                reason: reason.to_owned(),
                message,
            });
        }
    }
}
