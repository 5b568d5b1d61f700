//! [`Networks`]: how pods are attached, the names in every pod's `/etc/hosts`, and the node's own addresses.
//!
//! The hosts files lie on tmpfs and are mounted into containers one by one, so they are changed in place.

use std::io;
use std::rc::Rc;

use serde_json::Value;

use super::Supervisor;
use super::start::host_ips;
use super::token::Token;
use crate::json;
use crate::manifest::v1::{self, Service};
use crate::network::names::{self, Candidate, Chosen, Entry, Place};
use crate::network::{self, Attached};
use crate::pod::event::{Event, Uid};
use crate::pod::lookup::Reachable;
use crate::pod::status::rfc3339;
use crate::pod::time::Wall;
use crate::runtime::sandbox;
use crate::sorted::{BTreeMap, BTreeSet};
use crate::sys::epoll::EventFlags;
use crate::sys::replace::overwrite;
use crate::sys::route::RouteChange;

/// What is known of the pods' networks.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    attached: BTreeMap<Uid, Attached>,
    routes: Option<RouteChange>,
    entries: Vec<Entry>,
    chosen: Chosen,
    /// Pods whose hosts file has the present names.
    current: BTreeSet<Uid>,
    /// Since when each Service is known, by namespace and name.
    since: BTreeMap<(String, String), Wall>,
    /// Overlaps that people know of.
    told: BTreeSet<String>,
}

impl Supervisor {
    /// Takes up what a former supervisor left, and waits for changes of routes.
    pub(super) fn take_up_networks(&mut self) {
        for uid in self.node.uids().filter(|uid| self.node.has_sandbox(uid)) {
            if let Some(attached) = network::attached(&self.config.layout, uid) {
                self.networks.attached.insert(Rc::clone(uid), attached);
            }
        }
        match RouteChange::watch() {
            Ok(routes) => {
                self.watch(std::os::fd::AsFd::as_fd(&routes), Token::Routes, EventFlags::IN);
                self.networks.routes = Some(routes);
            }
            Err(error) => log::warn!("changes of the node's address are not noticed: {error}"),
        }
        self.routes_changed();
    }

    /// Another route may mean another address of the node, or one that pods' subnets are in the way of.
    pub(super) fn routes_changed(&mut self) {
        if let Some(routes) = &mut self.networks.routes {
            routes.acknowledge();
        }
        let ips = host_ips();
        if ips != self.node_facts.host_ips {
            self.node_facts.host_ips.clone_from(&ips);
            self.networks.current.clear();
            self.inbox.push_back(Event::HostIps(ips));
        }
        self.tell_overlaps();
    }

    /// A pod's sandbox stands. Gives the pod's addresses.
    pub(super) fn note_attached(&mut self, uid: &Uid, attached: Option<Attached>) -> Vec<String> {
        self.networks.current.remove(uid);
        if self.node.pod(uid).is_some_and(|pod| pod.spec.host_network) {
            return self.node_facts.host_ips.clone();
        }
        let ips = attached.as_ref().map(|attached| attached.ips.clone()).unwrap_or_default();
        if let Some(attached) = attached {
            self.networks.attached.insert(Rc::clone(uid), attached);
            self.tell_overlaps();
        }
        ips
    }

    /// A pod's sandbox is gone.
    pub(super) fn note_detached(&mut self, uid: &Uid) {
        self.networks.attached.remove(uid);
        self.networks.current.remove(uid);
    }

    fn tell_overlaps(&mut self) {
        let subnets: BTreeSet<_> = self.networks.attached.values().flat_map(|attached| &attached.subnets).collect();
        if subnets.is_empty() {
            return;
        }
        // Made by the kernel at the moment of reading.
        let [v4, v6] = ["route", "ipv6_route"].map(|file| std::fs::read_to_string(format!("/proc/net/{file}")));
        let (v4, v6) = (v4.unwrap_or_default(), v6.unwrap_or_default());
        let found: BTreeSet<String> = network::overlaps(subnets, &v4, &v6).into_iter().collect();
        let known = std::mem::replace(&mut self.networks.told, found.clone());
        for message in found.into_iter().filter(|message| !known.contains(message)) {
            log::warn!("{message}");
            self.warn_of_node("SubnetOverlap", message);
            self.changed = true;
        }
    }

    /// Brings the names in hosts files up to date after a turn in which something changed.
    pub(super) fn keep_names(&mut self) {
        if !self.changed {
            return;
        }
        let pods = self.node.reachable();
        let candidates = candidates(&pods, &self.config.node_name);
        let services = self.manifests.services();
        let now = self.now().wall;
        let before = std::mem::take(&mut self.networks.since);
        let keys = services.iter().map(|service| (service.metadata.namespace.clone(), service.metadata.name.clone()));
        self.networks.since = keys.map(|key| (key.clone(), before.get(&key).copied().unwrap_or(now))).collect();
        let entries = names::entries(services.iter().map(Rc::as_ref), &candidates, &mut self.networks.chosen);
        if entries != self.networks.entries {
            self.networks.current.clear();
            self.networks.entries = entries;
        }
        let mut blocks: BTreeMap<(String, String), String> = BTreeMap::new();
        for pod in &pods {
            if !self.networks.current.insert(Rc::clone(&pod.uid)) {
                continue;
            }
            let namespace = pod.manifest.metadata.namespace.clone();
            let key = (namespace.clone(), self.node_from(&pod.uid, &pod.manifest));
            if !blocks.contains_key(&key) {
                let block = names::block(&self.networks.entries, &namespace, &key.1);
                blocks.insert(key.clone(), block);
            }
            let block = blocks.get(&key).map(String::as_str).unwrap_or_default();
            let path = sandbox::hosts(&self.config.layout, &pod.uid);
            let text = std::fs::read_to_string(&path);
            let changed = text
                .map(|text| (names::with_block(&text, block), text))
                .and_then(|(new, text)| if new == text { Ok(()) } else { overwrite(&path, new.as_bytes()) });
            match changed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::warn!("{}: names are not brought up to date: {error}", path.display());
                }
                _ => {}
            }
        }
    }

    /// The node's address as a pod sees it. A node without a network has one all the same: that of the bridge.
    fn node_from(&self, uid: &Uid, pod: &v1::Pod) -> String {
        let of_node = self.node_facts.host_ips.first().cloned().unwrap_or_default();
        let gateway = self.networks.attached.get(uid).and_then(|attached| attached.gateways.first());
        match gateway {
            Some(gateway) if of_node.starts_with("127.") && !pod.spec.host_network => gateway.clone(),
            _ => of_node,
        }
    }

    /// Variables of the Services of a pod's namespace. They stay as they are while the container runs, so where no pod is Ready yet one
    /// that will be stands in, and where there is none, the Service's name.
    pub(super) fn service_links(&self, uid: &Uid, pod: &v1::Pod) -> Vec<(String, String)> {
        if pod.spec.enable_service_links == Some(false) {
            return Vec::new();
        }
        let pods = self.node.reachable();
        let candidates = candidates(&pods, &self.config.node_name);
        let services = self.manifests.services().into_iter();
        let here = services.filter(|service| service.metadata.namespace == pod.metadata.namespace);
        here.flat_map(|service| {
            let behind = || names::selected(&service, &candidates).min_by_key(|pod| pod.name)?.place.as_ref();
            let address = match names::place_of(&self.networks.entries, &service).or_else(behind) {
                Some(Place::At(address)) => address.clone(),
                Some(Place::Node) => self.node_from(uid, pod),
                None => format!("{}.{}.svc", service.metadata.name, service.metadata.namespace),
            };
            network::links(&service, &address)
        })
        .collect()
    }

    /// Services as v1 objects: `clusterIP` is the address that the name leads to now.
    pub(super) fn service_objects(&self) -> Vec<Value> {
        let shown = |service: Rc<Service>| {
            let mut service = Service::clone(&service);
            if service.spec.cluster_ip != "None" {
                service.spec.cluster_ip = match names::place_of(&self.networks.entries, &service) {
                    Some(Place::At(address)) => address.clone(),
                    Some(Place::Node) => self.node_facts.host_ips.first().cloned().unwrap_or_default(),
                    None => String::new(),
                };
            }
            let mut object = json::to_value(&service).ok()?;
            object["apiVersion"] = "v1".into();
            object["kind"] = "Service".into();
            let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
            if let Some(since) = self.networks.since.get(&key) {
                object["metadata"]["creationTimestamp"] = rfc3339(*since).into();
            }
            Some(object)
        };
        self.manifests.services().into_iter().filter_map(shown).collect()
    }
}

fn candidates<'a>(pods: &'a [Reachable], node_name: &str) -> Vec<Candidate<'a>> {
    let candidate = |pod: &'a Reachable| {
        let meta = &pod.manifest.metadata;
        let place = if pod.manifest.spec.host_network {
            Some(Place::Node)
        } else {
            pod.ips.first().map(|ip| Place::At(ip.clone()))
        };
        Candidate {
            uid: &pod.uid,
            namespace: &meta.namespace,
            name: &meta.name,
            short: meta.name.strip_suffix(node_name).and_then(|rest| rest.strip_suffix('-')).unwrap_or(&meta.name),
            labels: &meta.labels,
            ready: pod.ready,
            place,
        }
    };
    pods.iter().map(candidate).collect()
}
