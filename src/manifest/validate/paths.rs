//! Checks of paths within volumes and images.

use super::super::error::Errors;
use super::at::At;

/// The mode of a file, if it is set.
pub(super) fn validate_mode(at: &At<'_>, errors: &mut Errors) {
    if at.is_set() && !(0..=0o777).contains(&at.number()) {
        errors.invalid_at(at, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// No part may be `..`.
pub(super) fn without_backsteps(at: &At<'_>, path: &str, errors: &mut Errors) {
    if has_backsteps(path) {
        errors.invalid_as(at, path, "must not contain '..'");
    }
}

pub(super) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Relative, and no part may be `..`.
pub(super) fn descending(at: &At<'_>, path: &str, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid_as(at, path, "must be a relative path");
    }
    without_backsteps(at, path, errors);
}

/// Descending, and not beginning with `..`, which the kubelet keeps for itself.
pub(super) fn not_reserved(at: &At<'_>, path: &str, errors: &mut Errors) {
    descending(at, path, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid_as(at, path, "must not start with '..'");
    }
}
