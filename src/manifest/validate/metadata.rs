//! Validation of metadata.

use super::super::error::{ErrorKind, Errors};
use super::super::names;
use super::super::v1::ObjectMeta;

/// All annotations of an object together. Kubernetes: 256 KiB.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// Checks metadata with the name as written.
pub(in super::super) fn validate_metadata(meta: &ObjectMeta, written: &str, generate: &str, errors: &mut Errors) {
    if !generate.is_empty() {
        errors.invalid_all("metadata.generateName", generate, names::subdomain_prefix(generate));
    }
    if !written.is_empty() {
        errors.invalid_all("metadata.name", written, names::subdomain(written));
    } else if generate.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    }
    if written.len() <= names::SUBDOMAIN_MAX && meta.name.len() > names::SUBDOMAIN_MAX {
        let detail =
            format!("with the node's name it is {:?}, longer than {} characters", meta.name, names::SUBDOMAIN_MAX);
        errors.invalid("metadata.name", written, detail);
    }
    errors.invalid_all("metadata.namespace", &meta.namespace, names::label(&meta.namespace));
    for (key, value) in &meta.labels {
        errors.invalid_all("metadata.labels", key, names::qualified(key));
        errors.invalid_all("metadata.labels", value, names::label_value(value));
    }
    let mut size = 0;
    for (key, value) in &meta.annotations {
        errors.invalid_all("metadata.annotations", key, names::qualified(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATION_BYTES {
        let detail = format!("may not be more than {MAX_ANNOTATION_BYTES} bytes");
        errors.add(ErrorKind::TooLong, "metadata.annotations", None, detail);
    }
}
