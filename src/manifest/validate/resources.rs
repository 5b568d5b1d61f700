//! Validation of resources: of containers, of the pod as a whole, and of its overhead.

use crate::sorted::BTreeSet;

use super::super::aggregate::{Aggregate, aggregate, is_overcommittable};
use super::super::error::Errors;
use super::super::names;
use super::at::At;
use crate::document::Quantity;

/// Resources that may stand without a domain.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// Whole numbers only.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_ALONE: &str = "HugePages require cpu or memory";
const FOR_PODS: [&str; 3] = ["cpu", "hugepages-", "memory"];

/// Whose resources are checked.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Container,
    Pod,
}

/// Checks a container's resources.
pub(super) fn validate_container_resources(container: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let resources = container.child("resources");
    let limits = resources.child("limits");
    validate_requirements(&limits, &resources.child("requests"), &resources, Whose::Container, errors);
    validate_claims(&resources.child("claims"), spec, errors);
}

/// Checks `overhead`, `resources` and `resourceClaims` of a pod.
pub(super) fn validate_pod_resources(spec: &At<'_>, errors: &mut Errors) {
    let overhead = spec.child("overhead");
    if overhead.is_set() {
        // Kubernetes checks it as if it were the limits of a container called overhead.
        let names = || overhead.entries().map(|(name, _)| name);
        if names().any(is_huge) && !names().any(is_computing) {
            errors.forbidden_at(&overhead, HUGE_ALONE);
        }
        for (name, amount) in overhead.entries() {
            let place = overhead.child("limits");
            let place = place.key(name);
            validate_container_name(&place, name, errors);
            validate_amount(&place, name, &amount, errors);
        }
    }
    validate_pod_claims(&spec.child("resourceClaims"), errors);
    let resources = spec.child("resources");
    if !resources.is_set() {
        return;
    }
    if spec.child("os").text_of("name") == "windows" {
        errors.forbidden_at(&resources, "may not be set for a windows pod");
        return;
    }
    if resources.child("claims").is_set() {
        errors.forbidden_at(&resources.child("claims"), "claims may not be set for Resources at pod-level");
    }
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    validate_requirements(&limits, &requests, &resources, Whose::Pod, errors);
    for (name, sum) in aggregate(spec.json, Aggregate::Requests) {
        exceeds(&requests.key(&name), sum, "requests", errors);
    }
    for (name, sum) in aggregate(spec.json, Aggregate::Limits) {
        if name.starts_with("hugepages-") {
            exceeds(&limits.key(&name), sum, "limits", errors);
        }
    }
    for (index, container) in spec.child("containers").items().enumerate() {
        for (name, amount) in container.child("resources").child("limits").entries() {
            let (Some(limit), Some(most)) = (amount.quantity(), limits.key(name).quantity()) else { continue };
            if limit > most {
                // The path is Kubernetes' own, and leads nowhere.
                let place = resources.child("containers");
                let place = place.index(index);
                let place = place.key(name);
                let detail = format!("must be less than or equal to pod limits of {}", limits.key(name).amount());
                errors.invalid_as(&place.child("limits"), amount.amount(), detail);
            }
        }
    }
}

fn exceeds(of_pod: &At<'_>, sum: Quantity, what: &str, errors: &mut Errors) {
    if of_pod.quantity().is_some_and(|amount| sum > amount) {
        let detail = format!("must be greater than or equal to aggregate container {what} of {sum}");
        errors.invalid_as(of_pod, of_pod.amount(), detail);
    }
}

fn validate_requirements(limits: &At<'_>, requests: &At<'_>, place: &At<'_>, whose: Whose, errors: &mut Errors) {
    let mut computing = false;
    let mut huge = false;
    for list in [limits, requests] {
        for (name, amount) in list.entries() {
            match whose {
                Whose::Container => validate_container_name(&amount, name, errors),
                Whose::Pod => {
                    if validate_name(&amount, name, errors) && !is_computing(name) && !is_huge(name) {
                        errors.unsupported(&amount.to_string(), name, &FOR_PODS);
                    }
                }
            }
            validate_amount(&amount, name, &amount, errors);
            computing |= is_computing(name);
            huge |= is_huge(name);
        }
    }
    for (name, asked) in requests.entries() {
        let Some(request) = asked.quantity() else { continue };
        let allowed = limits.key(name);
        let mut compare = |must: &str| {
            errors.invalid_as(requests, asked.amount(), format!("{must} {name} limit of {}", allowed.amount()));
        };
        match allowed.quantity() {
            Some(limit) if request != limit && !is_overcommittable(name) => compare("must be equal to"),
            Some(limit) if request > limit => compare("must be less than or equal to"),
            None if !is_overcommittable(name) => {
                errors.required_at(limits, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
    if huge && !computing {
        errors.forbidden_at(place, HUGE_ALONE);
    }
}

/// The name of a resource that a container may have.
pub(super) fn validate_container_name(place: &At<'_>, name: &str, errors: &mut Errors) {
    validate_name(place, name, errors);
    if !name.contains('/') {
        if !is_computing(name) && name != "ephemeral-storage" && !is_huge(name) {
            errors.invalid_as(place, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_as(place, name, "doesn't follow extended resource name standard");
    }
}

/// The name of any resource. Says whether it is right.
pub(super) fn validate_name(place: &At<'_>, name: &str, errors: &mut Errors) -> bool {
    let wrong = names::qualified(name);
    let well_formed = wrong.is_empty();
    errors.wrong_as(place, name, wrong);
    let standard =
        name.contains('/') || STANDARD.contains(&name) || is_huge(name) || name.starts_with("requests.hugepages-");
    if well_formed && !standard {
        errors.invalid_as(place, name, "must be a standard resource type or fully qualified");
    }
    well_formed && standard
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_computing(name: &str) -> bool {
    ["cpu", "memory"].contains(&name)
}

/// An amount of a resource.
pub(super) fn validate_amount(place: &At<'_>, name: &str, amount: &At<'_>, errors: &mut Errors) {
    let shown = amount.amount();
    let Some(amount) = amount.quantity() else { return };
    if amount.nanos() < 0 {
        errors.invalid_as(place, shown.as_str(), "must be greater than or equal to 0");
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !amount.is_whole() {
        errors.invalid_as(place, shown.as_str(), "must be an integer");
    }
    if let Some(size) = name.strip_prefix("hugepages-") {
        let size = Quantity::parse(size).ok().filter(|size| size.is_whole() && size.whole() > 0);
        if size.is_none_or(|size| amount.whole() % size.whole() != 0) {
            let detail = format!("{shown} is not positive integer multiple of {name}");
            errors.invalid_as(place, shown, detail);
        }
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

/// The claims of a container must be those of its pod.
fn validate_claims(claims: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    if !claims.is_truthy() {
        return;
    }
    let of_pod = spec.child("resourceClaims");
    let known: BTreeSet<&str> =
        of_pod.items().map(|claim| claim.text_of("name")).filter(|name| !name.is_empty()).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for claim in claims.items() {
        let (name, request) = (claim.text_of("name"), claim.child("request"));
        if name.is_empty() {
            errors.required_at(&claim, "");
            continue;
        }
        if seen.contains(name) {
            errors.duplicate_at(&claim, name);
        } else {
            let mut key = name.to_owned();
            if request.is_truthy() {
                errors.wrong(&request, names::label(request.text()));
                key = format!("{name}/{}", request.text());
            }
            if seen.contains(&key) {
                errors.duplicate_at(&claim, &key);
            } else if !request.is_truthy() {
                for _ in seen.iter().filter(|other| other.split_once('/').is_some_and(|(of, _)| of == name)) {
                    errors.duplicate_at(&claim, name);
                }
            }
            seen.insert(key);
        }
        if !known.contains(name) {
            let list = known.iter().copied().collect::<Vec<_>>().join(", ");
            let list = if list.is_empty() { " which is empty".to_owned() } else { format!(": {list}") };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{list}");
            let shown = serde_json::Value::from(name).to_string();
            errors.add(super::super::ErrorKind::NotFound, &claim.to_string(), Some(shown), detail);
        }
    }
}

fn validate_pod_claims(claims: &At<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for claim in claims.items() {
        let name = claim.child("name");
        if errors.needs(&name) {
            if seen.insert(claim.text_of("name")) {
                errors.wrong(&name, names::label(name.text()));
            } else {
                errors.duplicate_at(&name, name.text());
            }
        }
        let (own, template) = (claim.child("resourceClaimName"), claim.child("resourceClaimTemplateName"));
        match (own.is_set(), template.is_set()) {
            (true, true) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid_at(&claim, detail);
            }
            (false, false) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid_at(&claim, detail);
            }
            _ => {}
        }
        for name in [&own, &template] {
            if name.is_set() {
                errors.wrong(name, names::subdomain(name.text()));
            }
        }
    }
}
