//! Validation of metadata. apimachinery: api/validation/objectmeta.go.

use super::super::error::Errors;
use super::super::names;
use super::at::At;

/// All annotations of an object together. Kubernetes: 256 KiB.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;
/// Finalizers that need no prefix.
const FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
/// What a manager's entry must say.
const OPERATIONS: [&str; 2] = ["Apply", "Update"];

/// Checks metadata as written. `full_name`: the name on this node.
pub(in super::super) fn validate_metadata(meta: &At<'_>, full_name: &str, namespace: &str, errors: &mut Errors) {
    let (name, generate) = (meta.child("name"), meta.child("generateName"));
    if generate.is_truthy() {
        errors.wrong(&generate, names::subdomain_prefix(generate.text()));
    }
    if name.is_truthy() {
        errors.wrong(&name, names::subdomain(name.text()));
    } else if !generate.is_truthy() {
        errors.required_at(&name, "name or generateName is required");
    }
    if name.text().len() <= names::SUBDOMAIN_MAX && full_name.len() > names::SUBDOMAIN_MAX {
        let detail =
            format!("with the node's name it is {full_name:?}, longer than {} characters", names::SUBDOMAIN_MAX);
        errors.later_at(&name, &detail);
    }
    // Objects of the whole cluster have none.
    if !namespace.is_empty() {
        errors.wrong_as(&meta.child("namespace"), namespace, names::label(namespace));
    }
    non_negative(&meta.child("generation"), errors);
    validate_labels(&meta.child("labels"), errors);
    validate_annotations(&meta.child("annotations"), errors);
    validate_owners(&meta.child("ownerReferences"), errors);
    validate_finalizers(&meta.child("finalizers"), errors);
    validate_managers(&meta.child("managedFields"), errors);
}

/// A number that must not be below zero.
pub(super) fn non_negative(at: &At<'_>, errors: &mut Errors) {
    if at.number() < 0 {
        errors.invalid_at(at, "must be greater than or equal to 0");
    }
}

/// Labels, and what has their form.
pub(super) fn validate_labels(labels: &At<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        errors.wrong_as(labels, key, names::qualified(key));
        errors.wrong_as(labels, value.text(), names::label_value(value.text()));
    }
}

/// Keys and size of annotations.
pub(super) fn validate_annotations(annotations: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        errors.wrong_as(annotations, key, names::qualified(&key.to_ascii_lowercase()));
        size += key.len() + value.text().len();
    }
    if size > MAX_ANNOTATION_BYTES {
        errors.too_long_at(annotations, MAX_ANNOTATION_BYTES);
    }
}

fn validate_owners(owners: &At<'_>, errors: &mut Errors) {
    let mut controller = String::new();
    for owner in owners.items() {
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let value = owner.text_of(field);
            if value.is_empty() || field == "apiVersion" && value.ends_with('/') {
                errors.invalid_as(&owners.child(field), value, detail);
            }
        }
        let (version, kind) = (owner.text_of("apiVersion"), owner.text_of("kind"));
        if (version, kind) == ("v1", "Event") {
            errors.invalid_as(owners, owner.json.clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.flag_of("controller") == Some(true) {
            let name = format!("{kind}/{}", owner.text_of("name"));
            if controller.is_empty() {
                controller = name;
            } else {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {name}"
                );
                errors.invalid_at(owners, detail);
            }
        }
    }
}

fn validate_finalizers(finalizers: &At<'_>, errors: &mut Errors) {
    for finalizer in finalizers.items() {
        let name = finalizer.text();
        errors.wrong_as(finalizers, name, names::qualified(name));
        if names::qualified(name).is_empty() && !name.contains('/') && !FINALIZERS.contains(&name) {
            errors.invalid_at(&finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.texts().any(|text| text == *name)) {
        errors.invalid_at(finalizers, "finalizer foregroundDeletion and orphan cannot be both set");
    }
}

fn validate_managers(managers: &At<'_>, errors: &mut Errors) {
    for manager in managers.items() {
        let operation = manager.child("operation");
        if !OPERATIONS.contains(&operation.text()) {
            errors.invalid_as(&operation, operation.text(), "must be `Apply` or `Update`");
        }
        let kind = manager.child("fieldsType");
        if kind.is_truthy() && kind.text() != "FieldsV1" {
            errors.invalid_at(&kind, "must be `FieldsV1`");
        }
        let name = manager.child("manager");
        if name.text().len() > 128 {
            errors.too_long_at(&name, 128);
        }
    }
}
