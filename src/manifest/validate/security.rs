//! Validation of security contexts, of profiles and of what separates a pod from its host.

use crate::sorted::BTreeSet;

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::paths::descending;

const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const ID_MAX: i64 = i32::MAX as i64;
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const HOST_USERS: &str = "when `hostUsers` is false";

/// Checks the pod-level context and the host's namespaces.
pub(super) fn validate_pod_security(spec: &At<'_>, errors: &mut Errors) {
    let context = spec.child("securityContext");
    let flag = |name: &str| spec.flag_of(name) == Some(true);
    for id in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.within(&context.child(id), 0, ID_MAX);
    }
    for group in context.child("supplementalGroups").items() {
        errors.within(&group, 0, ID_MAX);
    }
    if flag("shareProcessNamespace") && flag("hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid_as(&context.child("shareProcessNamespace"), true, detail);
    }
    validate_sysctls(&context.child("sysctls"), spec, errors);
    errors.one_of_if_set(&context.child("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    errors.one_of_if_set(&context.child("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    errors.one_of_if_set(&context.child("seLinuxChangePolicy"), &["MountOption", "Recursive"]);
    validate_profiles(&context, errors);
    if spec.flag_of("hostUsers") == Some(false) {
        // Two of these names are not those of the fields.
        for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
            if flag(field) {
                errors.forbidden_at(&spec.child(shown), HOST_USERS);
            }
        }
        for list in super::CONTAINERS {
            for container in spec.child(list).items() {
                if container.child("volumeDevices").is_truthy() {
                    errors.forbidden_at(&container.child("volumeDevices"), HOST_USERS);
                }
            }
        }
    }
}

/// Checks a container's context.
pub(super) fn validate_container_security(container: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let Some(context) = container.set("securityContext") else { return };
    for id in ["runAsUser", "runAsGroup"] {
        errors.within(&context.child(id), 0, ID_MAX);
    }
    let mount = context.child("procMount");
    errors.one_of_if_set(&mount, &["Default", "Unmasked"]);
    if mount.text() == "Unmasked" && spec.flag_of("hostUsers") != Some(false) {
        errors.invalid_at(&mount, "`hostUsers` must be false to use `Unmasked`");
    }
    if context.flag_of("allowPrivilegeEscalation") == Some(false) {
        if context.flag_of("privileged") == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid_at(&context, detail);
        }
        let capabilities = context.child("capabilities");
        let added = capabilities.child("add");
        for _ in added.texts().filter(|name| *name == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid_at(&context, detail);
        }
    }
    validate_profiles(&context, errors);
}

/// seccomp, AppArmor, and what is for Windows.
fn validate_profiles(context: &At<'_>, errors: &mut Errors) {
    if let Some(profile) = context.set("seccompProfile") {
        let (kind, file) = (profile.child("type"), profile.child("localhostProfile"));
        if kind.is_truthy() {
            errors.one_of_at(&kind, &PROFILE_TYPES);
        } else {
            errors.required_at(&kind, "type is required when seccompProfile is set");
        }
        match (kind.text() == "Localhost", file.is_set()) {
            (true, true) => descending(&file, file.text(), errors),
            (true, false) => errors.required_at(&file, "must be set when seccomp type is Localhost"),
            (false, true) => {
                let detail = "can only be set when seccomp type is Localhost";
                errors.invalid_as(&file, profile.json.clone(), detail);
            }
            (false, false) => {}
        }
    }
    if let Some(profile) = context.set("appArmorProfile") {
        let (kind, name) = (profile.child("type"), profile.child("localhostProfile"));
        match kind.text() {
            "Localhost" => {
                if name.text().trim() != name.text() {
                    errors.invalid_at(&name, "must not be padded with whitespace");
                } else if !name.is_truthy() {
                    errors.required_at(&name, "must be set when AppArmor type is Localhost");
                }
                if name.text().len() > 4095 {
                    errors.too_long_at(&name, 4095);
                }
            }
            "RuntimeDefault" | "Unconfined" => {
                if name.is_set() {
                    errors.invalid_at(&name, "can only be set when AppArmor type is Localhost");
                }
            }
            "" => errors.required_at(&kind, "type is required when appArmorProfile is set"),
            _ => errors.one_of_at(&kind, &PROFILE_TYPES),
        }
    }
    if let Some(windows) = context.set("windowsOptions") {
        validate_windows_options(&windows, errors);
    }
}

fn validate_sysctls(sysctls: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.child("name");
        let dotted = name.text().replace('/', ".");
        if !name.is_truthy() {
            errors.required_at(&name, "");
        } else if !is_sysctl(name.text()) {
            errors.invalid_at(&name, SYSCTL);
        } else if seen.contains(name.text()) {
            errors.duplicate_at(&name, name.text());
        }
        seen.insert(sysctl.text_of("name"));
        for (host, namespaced) in [("hostNetwork", dotted.starts_with("net.")), ("hostIPC", is_ipc_sysctl(&dotted))] {
            if namespaced && spec.flag_of(host) == Some(true) {
                errors.invalid_at(&name, format!("may not be specified when '{host}' is true"));
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

fn validate_windows_options(windows: &At<'_>, errors: &mut Errors) {
    let (name, spec, user) =
        (windows.child("gmsaCredentialSpecName"), windows.child("gmsaCredentialSpec"), windows.child("runAsUserName"));
    if name.is_set() {
        errors.wrong(&name, names::subdomain(name.text()));
    }
    if spec.is_set() && spec.text().is_empty() {
        errors.invalid_at(&spec, "gmsaCredentialSpec cannot be an empty string");
    } else if spec.text().len() > 64 << 10 {
        errors.invalid_at(&spec, "gmsaCredentialSpec size must be under 64 KiB");
    }
    if user.is_set() {
        validate_windows_user(&user, errors);
    }
}

/// `[DOMAIN\]USER`
fn validate_windows_user(at: &At<'_>, errors: &mut Errors) {
    let text = at.text();
    let (domain, user) = match text.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, text),
    };
    if text.is_empty() {
        errors.invalid_at(at, "runAsUserName cannot be an empty string");
        return;
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        errors.invalid_at(at, "runAsUserName cannot contain control characters");
        return;
    }
    if user.contains('\\') {
        errors.invalid_at(at, "runAsUserName cannot contain more than one backslash");
        return;
    }
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            errors.invalid_at(at, "runAsUserName's Domain length must be under 256 characters");
        }
        let length = domain.chars().count();
        let net_bios = (1..=15).contains(&length)
            && !domain.starts_with('.')
            && !domain.chars().any(|c| "\\/:*?\"<>|".contains(c));
        let dns = domain.split('.').all(|part| names::label(&part.to_ascii_lowercase()).is_empty());
        if !net_bios && !dns {
            errors.invalid_at(at, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        errors.invalid_at(at, "runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        errors.invalid_at(at, "runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        errors.invalid_at(at, "runAsUserName's User cannot contain only periods or spaces");
    }
    if user.chars().any(|c| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        let detail = "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";
        errors.invalid_at(at, detail);
    }
}
