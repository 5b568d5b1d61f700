//! Names of pods and Services: which pod a Service leads to ([`entries`]), and the lines of `/etc/hosts` that say so ([`block`]).
//!
//! There is no server to ask and no proxy to connect to. A Service's name stands for the address of one Ready pod: which one is kept
//! as long as it is Ready.

use crate::manifest::v1::Service;
use crate::sorted::{BTreeMap, BTreeSet};

const BEGIN: &str = "# Pods and Services of this node, kept current by gatepost.";
const END: &str = "# End of pods and Services.";

/// A pod that may have a name.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// With the node's name at its end.
    pub name: &'a str,
    /// Without it.
    pub short: &'a str,
    /// What Services select it by.
    pub labels: &'a BTreeMap<String, String>,
    /// It is Ready.
    pub ready: bool,
    /// Where it is reached; `None`: nowhere, or not yet.
    pub place: Option<Place>,
}

/// Where something is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    At(String),
    /// Where the node is.
    Node,
}

/// Names that stand for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    namespace: String,
    /// As pods of its namespace say them.
    names: Vec<String>,
    is_service: bool,
    place: Place,
}

/// Which pod each Service leads to, by namespace and name.
pub type Chosen = BTreeMap<(String, String), String>;

/// All names, Services first. `chosen` says what was before, and then what is.
pub fn entries<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    pods: &[Candidate<'_>],
    chosen: &mut Chosen,
) -> Vec<Entry> {
    let before = std::mem::take(chosen);
    let mut found = Vec::new();
    for service in services {
        let meta = &service.metadata;
        let key = (meta.namespace.clone(), meta.name.clone());
        let ready = |pod: &&Candidate<'_>| pod.ready || service.spec.publish_not_ready_addresses;
        let able = || selected(service, pods).filter(ready);
        let kept = before.get(&key).and_then(|uid| able().find(|pod| pod.uid == uid));
        let Some(pod) = kept.or_else(|| able().min_by_key(|pod| pod.name)) else { continue };
        chosen.insert(key, pod.uid.to_owned());
        found.extend(pod.place.clone().map(|place| Entry {
            namespace: meta.namespace.clone(),
            names: vec![meta.name.clone()],
            is_service: true,
            place,
        }));
    }
    found.extend(pods.iter().filter_map(|pod| {
        let mut names = vec![pod.short.to_owned(), pod.name.to_owned()];
        names.dedup();
        Some(Entry { namespace: pod.namespace.to_owned(), names, is_service: false, place: pod.place.clone()? })
    }));
    found
}

/// The pods behind a Service that can be reached.
pub fn selected<'p, 'a>(service: &Service, pods: &'p [Candidate<'a>]) -> impl Iterator<Item = &'p Candidate<'a>> {
    let selects = service.spec.kind != "ExternalName" && !service.spec.selector.is_empty();
    pods.iter().filter(move |pod| {
        selects
            && pod.place.is_some()
            && pod.namespace == service.metadata.namespace
            && service.spec.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    })
}

/// Where a Service's name leads to; `None`: nowhere now.
pub fn place_of<'a>(entries: &'a [Entry], service: &Service) -> Option<&'a Place> {
    let is_it = |entry: &&Entry| {
        entry.is_service
            && entry.namespace == service.metadata.namespace
            && entry.names.first() == Some(&service.metadata.name)
    };
    entries.iter().find(is_it).map(|entry| &entry.place)
}

/// The lines for pods of a namespace that reach the node at `node`; empty when there is nothing to say. A name stands once, since the
/// first one counts.
pub fn block(entries: &[Entry], namespace: &str, node: &str) -> String {
    let mut text = String::new();
    let mut said = BTreeSet::new();
    for entry in entries {
        let of = &entry.namespace;
        let mut names = Vec::new();
        for name in &entry.names {
            if of == namespace {
                names.push(name.clone());
            }
            names.push(format!("{name}.{of}"));
            if entry.is_service {
                names.push(format!("{name}.{of}.svc"));
            }
        }
        names.retain(|name| said.insert(name.clone()));
        if !names.is_empty() {
            let address = match &entry.place {
                Place::At(address) => address,
                Place::Node => node,
            };
            text.extend([address, "\t", &names.join("\t"), "\n"]);
        }
    }
    text
}

/// A hosts file with these lines in place of those that it had; the rest, and what a container wrote into it, stays.
pub fn with_block(text: &str, block: &str) -> String {
    let mut rest = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            BEGIN => inside = true,
            END => inside = false,
            line if !inside => rest.extend([line, "\n"]),
            _ => {}
        }
    }
    rest.truncate(rest.trim_end_matches('\n').len());
    rest.push('\n');
    if block.is_empty() { rest } else { rest + BEGIN + "\n" + block + END + "\n" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::json;
    use serde_json::json;

    fn service(name: &str, spec: &serde_json::Value) -> Service {
        json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})).unwrap()
    }

    fn labels(app: &str) -> BTreeMap<String, String> {
        std::iter::once(("app".to_owned(), app.to_owned())).collect()
    }

    fn pod<'a>(name: &'a str, labels: &'a BTreeMap<String, String>, ready: bool, ip: &str) -> Candidate<'a> {
        let place = (!ip.is_empty()).then(|| Place::At(ip.to_owned()));
        let short = name.strip_suffix("-gw").unwrap_or(name);
        Candidate { uid: name, namespace: "default", name, short, labels, ready, place }
    }

    #[test]
    fn a_service_leads_to_a_ready_pod_and_stays_with_it() {
        let web = labels("web");
        let services = [service("web", &json!({"selector": {"app": "web"}}))];
        let mut chosen = Chosen::new();
        let mut pods = [pod("a-gw", &web, false, "10.0.0.2"), pod("b-gw", &web, true, "10.0.0.3")];
        let at = |pods: &[Candidate<'_>], chosen: &mut Chosen| {
            let all = entries(&services, pods, chosen);
            place_of(&all, &services[0]).cloned()
        };
        assert_eq!(at(&pods, &mut chosen), Some(Place::At("10.0.0.3".into())));
        pods[0].ready = true;
        assert_eq!(at(&pods, &mut chosen), Some(Place::At("10.0.0.3".into())), "the choice is kept");
        pods[1].ready = false;
        assert_eq!(at(&pods, &mut chosen), Some(Place::At("10.0.0.2".into())));
        pods[0].ready = false;
        assert_eq!(at(&pods, &mut chosen), None);
        let early = [service("web", &json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true}))];
        assert!(place_of(&entries(&early, &pods, &mut chosen), &early[0]).is_some());
    }

    #[test]
    fn a_service_without_a_selector_and_an_external_name_lead_nowhere() {
        let web = labels("web");
        let pods = [pod("a-gw", &web, true, "10.0.0.2")];
        for spec in [json!({}), json!({"type": "ExternalName", "selector": {"app": "web"}})] {
            let all = [service("web", &spec)];
            assert_eq!(place_of(&entries(&all, &pods, &mut Chosen::new()), &all[0]), None);
        }
    }

    #[test]
    fn names_are_said_as_the_viewers_namespace_says_them_and_once() {
        let (web, db) = (labels("web"), labels("db"));
        let mut host = pod("db-gw", &db, true, "");
        host.place = Some(Place::Node);
        let pods = [pod("web-gw", &web, true, "10.0.0.2"), host, pod("late-gw", &db, true, "")];
        let all = entries(&[service("web", &json!({"selector": {"app": "web"}}))], &pods, &mut Chosen::new());
        assert_eq!(
            block(&all, "default", "192.0.2.1"),
            "10.0.0.2\tweb\tweb.default\tweb.default.svc\n10.0.0.2\tweb-gw\tweb-gw.default\n\
             192.0.2.1\tdb\tdb.default\tdb-gw\tdb-gw.default\n"
        );
        assert_eq!(
            block(&all, "other", "10.0.0.1"),
            "10.0.0.2\tweb.default\tweb.default.svc\n10.0.0.2\tweb-gw.default\n10.0.0.1\tdb.default\tdb-gw.default\n"
        );
    }

    #[test]
    fn the_lines_are_replaced_and_the_rest_stays() {
        let first = with_block("127.0.0.1\tlocalhost\n", "10.0.0.2\tweb\n");
        assert_eq!(first, format!("127.0.0.1\tlocalhost\n{BEGIN}\n10.0.0.2\tweb\n{END}\n"));
        let own = first.clone() + "192.0.2.9\twritten-by-a-container\n";
        let second = with_block(&own, "10.0.0.3\tweb\n");
        assert!(second.contains("written-by-a-container") && !second.contains("10.0.0.2"), "{second}");
        assert_eq!(with_block(&first, ""), "127.0.0.1\tlocalhost\n");
        assert_eq!(with_block(&first, "10.0.0.2\tweb\n"), first);
    }
}
