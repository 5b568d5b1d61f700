//! [`QosClass`]: how well a pod's resources are guaranteed. Kubernetes: pkg/apis/core/v1/helper/qos.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::v1::Pod;
use crate::document::Quantity;

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Every container's requests equal its limits, for CPU and memory.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is requested nor limited.
    BestEffort,
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

/// The class of a pod. Only CPU and memory above zero count, a limit stands for a missing request, and init containers count
/// like app containers. What the pod asks for as a whole stands for all of them.
pub fn qos_class(pod: &Pod) -> QosClass {
    let mut requests = [0_i128; 2];
    let mut limits = [0_i128; 2];
    let mut anything = false;
    if let Some(resources) = &pod.spec.resources {
        let above_zero = |list, name| amount(list, name).filter(|amount| *amount > 0);
        let limit = |name| above_zero(&resources.limits, name);
        let pair = |name| (above_zero(&resources.requests, name).or_else(|| limit(name)), limit(name));
        let pairs = ["cpu", "memory"].map(pair);
        return if pairs.iter().all(|pair| *pair == (None, None)) {
            QosClass::BestEffort
        } else if pairs.iter().all(|(request, limit)| limit.is_some() && request == limit) {
            QosClass::Guaranteed
        } else {
            QosClass::Burstable
        };
    }
    let mut all_limited = true;
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        for ((name, request), limit) in ["cpu", "memory"].into_iter().zip(&mut requests).zip(&mut limits) {
            let bound = amount(&container.resources.limits, name).unwrap_or(0);
            let asked = amount(&container.resources.requests, name).unwrap_or(bound);
            *request = request.saturating_add(asked);
            *limit = limit.saturating_add(bound);
            anything |= asked > 0 || bound > 0;
            all_limited &= bound > 0;
        }
    }
    if !anything {
        QosClass::BestEffort
    } else if all_limited && requests == limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

fn amount(list: &BTreeMap<String, String>, name: &str) -> Option<i128> {
    list.get(name).and_then(|text| Quantity::parse(text).ok()).map(|quantity| quantity.nanos().max(0))
}
