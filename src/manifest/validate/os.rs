//! Validation of what depends on the operating system: `spec.os`, and Windows' host processes.

use super::super::error::Errors;
use super::at::At;

const NOT_WINDOWS: &str = "cannot be set for a windows pod";
const NOT_LINUX: &str = "windows options cannot be set for a linux pod";
/// What a Windows pod may not set: in its spec, in its security context, in those of its containers.
const SPEC: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];
const POD: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const CONTAINER: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// Checks `os` and what must or must not stand beside it.
pub(super) fn validate_os(spec: &At<'_>, errors: &mut Errors) {
    validate_host_processes(spec, errors);
    let Some(system) = spec.set("os") else { return };
    let name = system.child("name");
    match name.text() {
        "" => errors.required_at(&name, ""),
        "linux" => refuse_all(spec, &[], &["windowsOptions"], &["windowsOptions"], NOT_LINUX, errors),
        "windows" => refuse_all(spec, &SPEC, &POD, &CONTAINER, NOT_WINDOWS, errors),
        other => errors.unsupported(&system.to_string(), other, &["linux", "windows"]),
    }
}

fn refuse_all(
    spec: &At<'_>,
    fields: &[&str],
    of_pod: &[&str],
    of_containers: &[&str],
    detail: &str,
    errors: &mut Errors,
) {
    refuse(spec, fields, detail, errors);
    refuse(&spec.child("securityContext"), of_pod, detail, errors);
    for list in super::CONTAINERS {
        for container in spec.child(list).items() {
            refuse(&container.child("securityContext"), of_containers, detail, errors);
        }
    }
}

fn refuse(at: &At<'_>, fields: &[&str], detail: &str, errors: &mut Errors) {
    for field in fields {
        let at = at.child(field);
        // What Kubernetes holds by value counts only when it is not the zero value.
        let by_value = ["hostPID", "hostIPC", "sysctls"].contains(field);
        if at.is_set() && (!by_value || at.is_truthy()) {
            errors.forbidden_at(&at, detail);
        }
    }
}

fn validate_host_processes(spec: &At<'_>, errors: &mut Errors) {
    let of = |at: &At<'_>| at.child("securityContext").child("windowsOptions").flag_of("hostProcess");
    let of_pod = of(spec);
    let (mut all, mut count) = (0, 0);
    for list in super::CONTAINERS {
        for container in spec.child(list).items() {
            let own = of(&container);
            all += 1;
            if own.or(of_pod) == Some(true) {
                count += 1;
            }
            if let (Some(pod), Some(own)) = (of_pod, own)
                && pod != own
            {
                let context = container.child("securityContext");
                let options = context.child("windowsOptions");
                let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
                errors.invalid_as(&options.child("hostProcess"), own, detail);
            }
        }
    }
    if count > 0 {
        if count != all {
            let detail =
                "If pod contains any hostProcess containers then all containers must be HostProcess containers";
            errors.invalid_as(spec, "", detail);
        }
        if spec.flag_of("hostNetwork") != Some(true) {
            let detail = "hostNetwork must be true if pod contains any hostProcess containers";
            errors.invalid_as(&spec.child("hostNetwork"), false, detail);
        }
    }
}
