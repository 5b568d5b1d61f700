//! What this machine's runtime and kernel cannot do, found once at start: [`probe`].

use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;
use serde::Deserialize;

use super::{Flavour, Runtime};
use crate::json;
use crate::sys::cgroup::{Cgroups, Mode};

/// One thing that will not work as a manifest may ask for it; words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The manifest's fields or the setting that are touched, for example `securityContext.seccompProfile`.
    pub concerns: &'static str,
    /// What, why, and what to do.
    pub message: String,
}

/// The part of `runtime features` (OCI features-linux.md) that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Features {
    linux: LinuxFeatures,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinuxFeatures {
    seccomp: Enabled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Enabled {
    enabled: Option<bool>,
}

/// Whether this process may lower `oom_score_adj` and raise limits (`CAP_SYS_RESOURCE`).
pub fn may_lower_oom_score() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

/// Whether this process may mount and make namespaces (`CAP_SYS_ADMIN`), without which no pod can run.
pub fn may_administer() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Looks at the runtime, the cgroups, the kernel's file systems and this process' own capabilities.
pub fn probe(runtime: &Runtime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |concerns, message: String| findings.push(Finding { concerns, message });
    if seccomp_missing(runtime) {
        add(
            "securityContext.seccompProfile",
            format!(
                "{} is built without seccomp and would ignore every profile; install one built with it",
                runtime.version
            ),
        );
    }
    match Cgroups::detect().map(|cgroups| cgroups.mode()) {
        Err(error) => add("resources", error.to_string()),
        Ok(Mode::Hybrid) if runtime.flavour == Flavour::Crun => add(
            "runtime",
            "crun refuses v1 controllers beside a cgroup2 mount; gatepost hides that mount from it".to_owned(),
        ),
        Ok(_) => {}
    }
    if !may_lower_oom_score() {
        add(
            "resources",
            "CAP_SYS_RESOURCE is missing: oom_score_adj stays at or above gatepost's own; give it the capability"
                .to_owned(),
        );
    }
    let file_systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !file_systems.lines().any(|line| line.ends_with("\toverlay")) {
        add(
            "image",
            "the kernel offers no overlayfs now; without it no container starts: load the module or build it in"
                .to_owned(),
        );
    }
    findings
}

/// Most say it in `--version`, which was asked anyway; the others are asked for their `features`, and count as built without
/// where they have none.
fn seccomp_missing(runtime: &Runtime) -> bool {
    if runtime.says_seccomp {
        return false;
    }
    let output = Command::new(&runtime.path).arg("features").stdin(Stdio::null()).output();
    let features = output.ok().filter(|output| output.status.success());
    let features = features.and_then(|output| json::from_slice::<Features>(&output.stdout).ok());
    features.is_none_or(|features| features.linux.seccomp.enabled == Some(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn debian_s_runtimes_have_seccomp() {
        for name in ["runc", "crun"] {
            assert!(!seccomp_missing(&Runtime::find(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn a_missing_capability_is_a_finding() {
        let findings = probe(&Runtime::find("runc").unwrap());
        assert_eq!(findings.iter().any(|f| f.message.contains("CAP_SYS_RESOURCE")), !may_lower_oom_score());
    }
}
