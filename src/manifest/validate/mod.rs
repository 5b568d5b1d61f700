//! [`validate_pod`], [`validate_object`], [`validate_metadata`]: Kubernetes' validation of decoded and defaulted documents,
//! whether a field is carried out here or not. kubernetes: pkg/apis/core/validation. One file a subject.

mod at;
mod containers;
mod drivers;
mod env;
mod go_json;
mod metadata;
mod mounts;
mod objects;
mod os;
mod paths;
mod pod;
mod probes;
mod projections;
mod resources;
mod security;
mod selectors;
mod service;
#[cfg(test)]
mod tests;
mod unimplemented;
mod volumes;

use serde_json::Value as Json;

use super::error::{Errors, ValidationError};
use super::load::Rules;
use at::At;

/// The lists of containers of a pod.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Checks a decoded, defaulted pod below its metadata. Warnings are pairs of field and message.
pub(super) fn validate_pod(pod: &Json, rules: Rules<'_>, errors: &mut Errors) -> Vec<(String, String)> {
    let root = At::root(pod);
    pod::validate_spec(&root, errors);
    // This node may have a name that Kubernetes would not take.
    let here = |error: &ValidationError| {
        error.field == "spec.nodeName" && root.child("spec").text_of("nodeName") == rules.node_name
    };
    errors.list.retain(|error| !here(error));
    let mut warnings = Vec::new();
    unimplemented::refuse_unimplemented(&root.child("spec"), rules, errors, &mut warnings);
    warnings
}

/// Checks a decoded, defaulted object of another kind below its metadata.
pub(super) fn validate_object(kind: &str, object: &Json, errors: &mut Errors) {
    objects::validate_object(kind, &At::root(object), errors);
}

/// Checks metadata as written. `full_name`: the name on this node; `namespace`: as defaulted.
pub(super) fn validate_metadata(kind: &str, document: &Json, full_name: &str, namespace: &str, errors: &mut Errors) {
    metadata::validate_metadata(kind, &At::root(document).child("metadata"), full_name, namespace, errors);
}
