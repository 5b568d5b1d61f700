//! [`aggregate`]: what the containers of a pod need together. Kubernetes: component-helpers/resource.

use crate::sorted::BTreeMap;

use serde_json::{Value as Json, json};

use crate::document::Quantity;

/// Which list of each container is summed up.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    /// `requests`
    Requests,
    /// `limits`
    Limits,
}

/// Amounts by the names of resources.
pub type Amounts = BTreeMap<String, Quantity>;

/// App containers and sidecars run together; each other init container runs alone with the sidecars before it.
pub(super) fn aggregate(spec: &Json, which: Aggregate) -> Amounts {
    let list = |key: &str| spec.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut together = Amounts::new();
    for container in list("containers") {
        add(&mut together, &amounts(container, which));
    }
    let mut sidecars = Amounts::new();
    let mut most = Amounts::new();
    for container in list("initContainers") {
        let mut needed = amounts(container, which);
        if container.get("restartPolicy").and_then(Json::as_str) == Some("Always") {
            add(&mut together, &needed);
            add(&mut sidecars, &needed);
            needed.clone_from(&sidecars);
        } else {
            add(&mut needed, &sidecars);
        }
        raise(&mut most, needed);
    }
    raise(&mut together, most);
    together
}

/// What a pod as the node shows it asks for, and what it may use at most: that of its containers, unless it says it as a whole, and
/// its overhead.
pub fn pod_amounts(pod: &Json) -> [Amounts; 2] {
    let spec = pod.get("spec").unwrap_or(&Json::Null);
    let overhead = parsed(spec.get("overhead"));
    [Aggregate::Requests, Aggregate::Limits].map(|which| {
        let mut sum = aggregate(spec, which);
        sum.extend(amounts(spec, which));
        let mut overhead = overhead.clone();
        if which == Aggregate::Limits {
            // What is not limited stays so.
            overhead.retain(|name, _| sum.contains_key(name));
        }
        add(&mut sum, &overhead);
        sum
    })
}

/// Of a container, or of a pod as a whole.
fn amounts(of: &Json, which: Aggregate) -> Amounts {
    let key = if which == Aggregate::Requests { "requests" } else { "limits" };
    parsed(of.get("resources").and_then(|resources| resources.get(key)))
}

fn parsed(list: Option<&Json>) -> Amounts {
    let list = list.and_then(Json::as_object).into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?))).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        sum.entry(name.clone()).and_modify(|known| *known = known.plus(*amount)).or_insert(*amount);
    }
}

fn raise(most: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        most.entry(name).and_modify(|known| *known = (*known).max(amount)).or_insert(amount);
    }
}

/// Whether limit and request of a resource may differ: the built-in ones, but for huge pages.
pub(super) fn is_overcommittable(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !name.starts_with("hugepages-")
}

fn is_for_pods(name: &str) -> bool {
    ["cpu", "memory"].contains(&name) || name.starts_with("hugepages-")
}

/// Requests and limits of the pod as a whole are defaulted from its containers' and from each other.
pub(super) fn default_pod_resources(spec: &mut Json) {
    let has = |key: &str| {
        let list = spec.get("resources").and_then(|resources| resources.get(key));
        list.and_then(Json::as_object).is_some_and(|list| !list.is_empty())
    };
    let (limited, requested) = (has("limits"), has("requests"));
    if !limited && !requested {
        return;
    }
    let (requests, limits) = (aggregate(spec, Aggregate::Requests), aggregate(spec, Aggregate::Limits));
    let Some(resources) = spec.get_mut("resources").and_then(Json::as_object_mut) else { return };
    let asked = resources.get("requests").cloned().unwrap_or_default();
    let huge = limits.iter().filter(|(name, _)| name.starts_with("hugepages-") && asked.get(name).is_none());
    let huge: Vec<_> = huge.map(|(name, amount)| (name.clone(), Json::from(amount.to_string()))).collect();
    put(resources, "limits", huge);
    let Some(limits) = resources.get("limits").and_then(Json::as_object).filter(|list| !list.is_empty()).cloned()
    else {
        return;
    };
    let from_containers = requests.iter().filter(|(name, _)| is_for_pods(name) && is_overcommittable(name));
    let wanted = from_containers.map(|(name, amount)| (name.clone(), Json::from(amount.to_string())));
    let wanted: Vec<_> = wanted.chain(limits.into_iter().filter(|(name, _)| is_for_pods(name))).collect();
    put(resources, "requests", wanted);
}

/// Adds what a list does not have yet.
fn put(resources: &mut serde_json::Map<String, Json>, list: &str, amounts: Vec<(String, Json)>) {
    if amounts.is_empty() {
        return;
    }
    if let Some(target) = resources.entry(list).or_insert_with(|| json!({})).as_object_mut() {
        for (name, amount) in amounts {
            target.entry(name).or_insert(amount);
        }
    }
}
