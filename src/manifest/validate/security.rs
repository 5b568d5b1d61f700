//! Validation of security contexts.

use std::collections::BTreeSet;

use super::super::error::Errors;
use super::super::v1::{Container, Pod, SeccompProfile};
use crate::json;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// Checks the pod-level context.
pub(super) fn validate_pod_security(pod: &Pod, errors: &mut Errors) {
    let context = &pod.spec.security_context;
    let path = "spec.securityContext";
    for (name, id) in
        [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)]
    {
        validate_id(id, &format!("{path}.{name}"), errors);
    }
    for (index, group) in context.supplemental_groups.iter().enumerate() {
        validate_id(Some(*group), &format!("{path}.supplementalGroups[{index}]"), errors);
    }
    if let Some(policy) = &context.supplemental_groups_policy {
        errors.one_of(&format!("{path}.supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    validate_seccomp(context.seccomp_profile.as_ref(), path, errors);
    let mut seen = BTreeSet::new();
    for (index, sysctl) in context.sysctls.iter().enumerate() {
        let field = format!("{path}.sysctls[{index}].name");
        let name = sysctl.name.replace('/', ".");
        if sysctl.name.is_empty() {
            errors.required(&field, "");
            continue;
        }
        if !is_sysctl(&sysctl.name) {
            errors.invalid(&field, sysctl.name.as_str(), SYSCTL);
        } else if pod.spec.host_network && name.starts_with("net.") {
            errors.invalid(&field, sysctl.name.as_str(), "may not be specified when 'hostNetwork' is true");
        } else if pod.spec.host_ipc && is_ipc_sysctl(&name) {
            errors.invalid(&field, sysctl.name.as_str(), "may not be specified when 'hostIPC' is true");
        }
        if !seen.insert(name) {
            errors.duplicate(&field, &sysctl.name);
        }
    }
}

/// Checks a container's context.
pub(super) fn validate_container_security(container: &Container, path: &str, errors: &mut Errors) {
    let Some(context) = &container.security_context else { return };
    let path = format!("{path}.securityContext");
    validate_id(context.run_as_user, &format!("{path}.runAsUser"), errors);
    validate_id(context.run_as_group, &format!("{path}.runAsGroup"), errors);
    validate_seccomp(context.seccomp_profile.as_ref(), &path, errors);
    if context.allow_privilege_escalation == Some(false) {
        let shown = || json::to_value(context).unwrap_or_default();
        if context.privileged == Some(true) {
            errors.invalid(&path, shown(), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if context
            .capabilities
            .as_ref()
            .is_some_and(|capabilities| capabilities.add.iter().any(|name| name == "CAP_SYS_ADMIN"))
        {
            errors.invalid(
                &path,
                shown(),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

fn validate_id(id: Option<i64>, field: &str, errors: &mut Errors) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(field, id, ID_RANGE);
    }
}

fn validate_seccomp(profile: Option<&SeccompProfile>, path: &str, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let path = format!("{path}.seccompProfile");
    let local = format!("{path}.localhostProfile");
    match (profile.kind.as_str(), profile.localhost_profile.as_deref()) {
        ("", _) => errors.required(&format!("{path}.type"), "type is required when seccompProfile is set"),
        ("Localhost", None | Some("")) => errors.required(&local, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(file)) if file.starts_with('/') => errors.invalid(&local, file, "must be a relative path"),
        ("Localhost", Some(file)) if file.split('/').any(|part| part == "..") => {
            errors.invalid(&local, file, "must not contain '..'");
        }
        ("Localhost", Some(_)) | ("RuntimeDefault" | "Unconfined", None) => {}
        (kind, file) => {
            if !["RuntimeDefault", "Unconfined"].contains(&kind) {
                errors.unsupported(&format!("{path}.type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"]);
            }
            if file.is_some() {
                let shown = json::to_value(profile).unwrap_or_default();
                errors.invalid(&local, shown, "can only be set when seccomp type is Localhost");
            }
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            edge(part.bytes().next())
                && edge(part.bytes().last())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        })
}

fn is_ipc_sysctl(name: &str) -> bool {
    name.starts_with("kernel.shm")
        || name.starts_with("kernel.msg")
        || name == "kernel.sem"
        || name.starts_with("fs.mqueue.")
}
