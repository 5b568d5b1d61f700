//! Looking pods up: what the shell needs to carry actions out.

use std::rc::Rc;

use super::event::{Device, Event, Seq, Uid};
use super::node::Node;
use super::status;
use crate::manifest::v1;
use crate::sorted::{BTreeMap, BTreeSet};

/// A pod whose sandbox stands and that stays.
#[derive(Debug, Clone)]
pub struct Reachable {
    /// The pod.
    pub uid: Uid,
    /// Its manifest.
    pub manifest: Rc<v1::Pod>,
    /// Its addresses, the first is the primary one.
    pub ips: Vec<String>,
    /// It is Ready.
    pub ready: bool,
}

impl Node {
    /// The pods that may have a name, by UID.
    pub fn reachable(&self) -> Vec<Reachable> {
        let pods = self.pods.values().filter(|pod| pod.sandbox && pod.desired && !pod.ending);
        pods.map(|pod| Reachable {
            uid: Rc::clone(&pod.uid),
            manifest: Rc::clone(&pod.manifest),
            ips: pod.ips.clone(),
            ready: pod.was_ready,
        })
        .collect()
    }

    /// The node has other addresses now, and so have the pods on its network.
    pub(crate) fn host_ips_changed(&mut self, ips: Vec<String>, changed: &mut BTreeSet<Uid>) {
        for pod in self.pods.values_mut().filter(|pod| pod.sandbox && pod.manifest.spec.host_network) {
            pod.ips.clone_from(&ips);
            changed.insert(Rc::clone(&pod.uid));
        }
        Rc::make_mut(&mut self.settings).host_ips = ips;
    }

    /// The manifest of a pod that is known: wanted, or still going.
    pub fn pod(&self, uid: &Uid) -> Option<Rc<v1::Pod>> {
        self.pods.get(uid).map(|pod| Rc::clone(&pod.manifest))
    }

    /// The same as its containers see it, with the annotations that this node adds.
    pub fn pod_as_seen(&self, uid: &Uid) -> Option<Rc<v1::Pod>> {
        let pod = self.pods.get(uid)?;
        let metadata = status::seen_metadata(pod);
        Some(Rc::new(v1::Pod { metadata, ..v1::Pod::clone(&pod.manifest) }))
    }

    /// The devices that a container instance was given, by name.
    pub fn devices_of(&self, seq: Seq) -> BTreeMap<String, Device> {
        let mut containers = self.pods.values().flat_map(|pod| &pod.containers);
        containers.find(|c| c.live() == Some(seq)).map(|c| c.devices.clone()).unwrap_or_default()
    }

    /// The addresses of a pod, the first is the primary one.
    pub fn pod_ips(&self, uid: &Uid) -> Vec<String> {
        self.pods.get(uid).map(|pod| pod.ips.clone()).unwrap_or_default()
    }

    /// The pod of that namespace and full name; the wanted one if an old one is still going.
    pub fn uid_of(&self, namespace: &str, name: &str) -> Option<Uid> {
        let named = |uid: &&Uid| {
            self.pods
                .get(*uid)
                .is_some_and(|pod| pod.manifest.metadata.namespace == namespace && pod.manifest.metadata.name == name)
        };
        let mut candidates: Vec<&Uid> = self.pods.keys().filter(named).collect();
        candidates.sort_by_key(|uid| self.pods.get(*uid).is_none_or(|pod| !pod.desired));
        candidates.first().map(|uid| Rc::clone(uid))
    }
}

impl Event {
    /// The one pod the event is about, where it is about one and names it.
    pub fn pod(&self) -> Option<&Uid> {
        match self {
            Self::SandboxReady { pod, .. }
            | Self::SandboxFailed { pod, .. }
            | Self::SandboxGone { pod }
            | Self::TeardownFailed { pod, .. }
            | Self::Probed { pod, .. }
            | Self::Restart { pod, .. }
            | Self::Delete { pod, .. } => Some(pod),
            Self::ImageReady { container, .. } | Self::ImageFailed { container, .. } => Some(&container.pod),
            _ => None,
        }
    }

    /// The container instance the event is about, where it is about one.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Created { seq, .. }
            | Self::Marked { seq }
            | Self::MarkFailed { seq, .. }
            | Self::Started { seq, .. }
            | Self::StartFailed { seq, .. }
            | Self::Exited { seq, .. }
            | Self::Emptied { seq }
            | Self::Removed { seq }
            | Self::RemoveFailed { seq, .. }
            | Self::HookEnded { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}
