//! Field tables of the security contexts: [`POD_SECURITY_CONTEXT`] and [`SECURITY_CONTEXT`].

use super::{INTS64, STRINGS};
use crate::document::{Kind, Object, carried, refused, warned};

pub(super) static POD_SECURITY_CONTEXT: Object = Object {
    name: "PodSecurityContext",
    fields: &[
        carried("appArmorProfile", Kind::Object(&APP_ARMOR_PROFILE)),
        carried("fsGroup", Kind::Int64),
        carried("fsGroupChangePolicy", Kind::String),
        carried("runAsGroup", Kind::Int64),
        carried("runAsNonRoot", Kind::Bool),
        carried("runAsUser", Kind::Int64),
        warned("seLinuxChangePolicy", Kind::String, "volumes are not relabelled"),
        carried("seLinuxOptions", Kind::Object(&SE_LINUX_OPTIONS)),
        carried("seccompProfile", Kind::Object(&SECCOMP_PROFILE)),
        carried("supplementalGroups", INTS64),
        carried("supplementalGroupsPolicy", Kind::String),
        carried("sysctls", Kind::List(&Kind::Object(&SYSCTL))),
        refused("windowsOptions", Kind::Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS), "only Linux containers run here")
            .unless(&["{}"]),
    ],
};

pub(super) static SECURITY_CONTEXT: Object = Object {
    name: "SecurityContext",
    fields: &[
        carried("allowPrivilegeEscalation", Kind::Bool),
        carried("appArmorProfile", Kind::Object(&APP_ARMOR_PROFILE)),
        carried("capabilities", Kind::Object(&CAPABILITIES)),
        carried("privileged", Kind::Bool),
        carried("procMount", Kind::String),
        carried("readOnlyRootFilesystem", Kind::Bool),
        carried("runAsGroup", Kind::Int64),
        carried("runAsNonRoot", Kind::Bool),
        carried("runAsUser", Kind::Int64),
        carried("seLinuxOptions", Kind::Object(&SE_LINUX_OPTIONS)),
        carried("seccompProfile", Kind::Object(&SECCOMP_PROFILE)),
        refused("windowsOptions", Kind::Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS), "only Linux containers run here")
            .unless(&["{}"]),
    ],
};

pub(super) static CAPABILITIES: Object =
    Object { name: "Capabilities", fields: &[carried("add", STRINGS), carried("drop", STRINGS)] };

pub(super) static APP_ARMOR_PROFILE: Object = Object {
    name: "AppArmorProfile",
    fields: &[carried("localhostProfile", Kind::String), carried("type", Kind::String)],
};

pub(super) static SE_LINUX_OPTIONS: Object = Object {
    name: "SELinuxOptions",
    fields: &[
        carried("level", Kind::String),
        carried("role", Kind::String),
        carried("type", Kind::String),
        carried("user", Kind::String),
    ],
};

pub(super) static SECCOMP_PROFILE: Object = Object {
    name: "SeccompProfile",
    fields: &[carried("localhostProfile", Kind::String), carried("type", Kind::String)],
};

pub(super) static SYSCTL: Object =
    Object { name: "Sysctl", fields: &[carried("name", Kind::String), carried("value", Kind::String)] };

pub(super) static WINDOWS_SECURITY_CONTEXT_OPTIONS: Object = Object {
    name: "WindowsSecurityContextOptions",
    fields: &[
        carried("gmsaCredentialSpec", Kind::String),
        carried("gmsaCredentialSpecName", Kind::String),
        carried("hostProcess", Kind::Bool),
        carried("runAsUserName", Kind::String),
    ],
};
