//! [`apply`]: LimitRange documents as the API server applies them to new pods. kubernetes: plugin/pkg/admission/limitranger.

use crate::sorted::BTreeMap;
use std::rc::Rc;

use super::aggregate::Aggregate;
use super::v1::{LimitRange, LimitRangeItem, Pod, ResourceRequirements};
use crate::document::Quantity;

type Amounts = BTreeMap<String, String>;

/// Gives containers the defaults of all ranges of the pod's namespace and says what of the pod a range forbids.
pub(super) fn apply(pod: &mut Rc<Pod>, ranges: &[Rc<LimitRange>]) -> Vec<String> {
    let of_namespace = || ranges.iter().filter(|range| range.metadata.namespace == pod.metadata.namespace);
    let items: Vec<LimitRangeItem> = of_namespace().flat_map(|range| range.spec.limits.iter().cloned()).collect();
    if items.is_empty() {
        return Vec::new();
    }
    let spec = &mut Rc::make_mut(pod).spec;
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        for item in items.iter().filter(|item| item.kind == "Container") {
            merge(&mut container.resources.limits, &item.default);
            merge(&mut container.resources.requests, &item.default_request);
        }
    }
    let mut wrong = Vec::new();
    let spec = &pod.spec;
    for item in &items {
        match item.kind.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(&spec.init_containers) {
                    check(item, &container.resources, &mut wrong);
                }
            }
            "Pod" => check(item, &of_pod(pod), &mut wrong),
            _ => {}
        }
    }
    check_pod_level(pod, &mut wrong);
    wrong
}

/// Defaults came to the containers after the manifest was validated: whether they still fit what the pod as a whole has.
fn check_pod_level(pod: &Pod, wrong: &mut Vec<String>) {
    let Some(own) = &pod.spec.resources else { return };
    for (name, sum) in of_containers(pod, Aggregate::Requests) {
        if let Some(whole) = amount(&own.requests, &name).filter(|whole| sum > *whole) {
            wrong.push(format!(
                "spec.resources.requests[{name}]: Invalid value: \"{whole}\": \
                 must be greater than or equal to aggregate container requests of {sum}"
            ));
        }
    }
    for container in &pod.spec.containers {
        for name in container.resources.limits.keys() {
            let (limit, most) = (amount(&container.resources.limits, name), amount(&own.limits, name));
            if let (Some(limit), Some(most)) = (limit, most)
                && limit > most
            {
                wrong.push(format!(
                    "limits[{name}] of container {}: Invalid value: \"{limit}\": \
                     must be less than or equal to pod limits of {most}",
                    container.name
                ));
            }
        }
    }
}

/// The words for a pod that a range forbids.
pub(super) fn refusal(name: &str, wrong: &[String]) -> String {
    let list = if wrong.len() == 1 { wrong.concat() } else { format!("[{}]", wrong.join(", ")) };
    format!("pods {name:?} is forbidden: {list}")
}

fn merge(list: &mut Amounts, defaults: &Amounts) {
    for (name, amount) in defaults {
        list.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

fn amount(list: &Amounts, name: &str) -> Option<Quantity> {
    Quantity::parse(list.get(name)?).ok()
}

fn check(item: &LimitRangeItem, resources: &ResourceRequirements, wrong: &mut Vec<String>) {
    let kind = &item.kind;
    let bound = |list: &Amounts, name: &str| amount(list, name);
    for name in item.min.keys() {
        let Some(least) = bound(&item.min, name) else { continue };
        let (request, limit) = (amount(&resources.requests, name), amount(&resources.limits, name));
        match (request, limit) {
            (None, _) => wrong.push(format!("minimum {name} usage per {kind} is {least}. No request is specified")),
            (Some(request), _) if request < least => {
                wrong.push(format!("minimum {name} usage per {kind} is {least}, but request is {request}"));
            }
            (_, Some(limit)) if limit < least => {
                wrong.push(format!("minimum {name} usage per {kind} is {least}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for name in item.max.keys() {
        let Some(most) = bound(&item.max, name) else { continue };
        let (request, limit) = (amount(&resources.requests, name), amount(&resources.limits, name));
        match (request, limit) {
            (_, None) => wrong.push(format!("maximum {name} usage per {kind} is {most}. No limit is specified")),
            (_, Some(limit)) if limit > most => {
                wrong.push(format!("maximum {name} usage per {kind} is {most}, but limit is {limit}"));
            }
            (Some(request), _) if request > most => {
                wrong.push(format!("maximum {name} usage per {kind} is {most}, but request is {request}"));
            }
            _ => {}
        }
    }
    for name in item.max_limit_request_ratio.keys() {
        let Some(ratio) = bound(&item.max_limit_request_ratio, name) else { continue };
        let head = format!("{name} max limit to request ratio per {kind} is {ratio}, but ");
        match (amount(&resources.requests, name), amount(&resources.limits, name)) {
            (None, _) => wrong.push(format!("{head}no request is specified or request is 0")),
            (Some(request), _) if request.nanos() == 0 => {
                wrong.push(format!("{head}no request is specified or request is 0"));
            }
            (_, None) => wrong.push(format!("{head}no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                // A billionth times a billionth does not fit, so the ratio is compared in thousandths.
                if i128::from(limit.milli()) * 1000 > i128::from(request.milli()) * i128::from(ratio.milli()) {
                    wrong.push(format!("{head}provided ratio is {}", limit.over(request)));
                }
            }
        }
    }
}

/// What the pod may use in all: what it says of itself as a whole, else what its containers sum up to.
fn of_pod(pod: &Pod) -> ResourceRequirements {
    let own = pod.spec.resources.clone().unwrap_or_default();
    let all = |mut own: Amounts, which| {
        for (name, amount) in of_containers(pod, which) {
            own.entry(name).or_insert_with(|| amount.to_string());
        }
        own
    };
    ResourceRequirements {
        limits: all(own.limits, Aggregate::Limits),
        requests: all(own.requests, Aggregate::Requests),
    }
}

/// App containers and sidecars together, or any other init container.
fn of_containers(pod: &Pod, which: Aggregate) -> BTreeMap<String, Quantity> {
    let spec = serde_json::json!({
        "containers": pod.spec.containers.iter().map(resources_of).collect::<Vec<_>>(),
        "initContainers": pod.spec.init_containers.iter().map(resources_of).collect::<Vec<_>>(),
    });
    super::aggregate::aggregate(&spec, which)
}

fn resources_of(container: &super::v1::Container) -> serde_json::Value {
    let always = container.restart_policy == Some(super::v1::RestartPolicy::Always);
    serde_json::json!({
        "restartPolicy": if always { "Always" } else { "" },
        "resources": crate::json::to_value(&container.resources).unwrap_or_default(),
    })
}
