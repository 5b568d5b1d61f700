//! [`Platform`]: which of an index's manifests runs on this node.

use std::fmt;

use crate::spec::image::{ImageConfiguration, Platform as Described};

/// Operating system, architecture and variant in Go's words, as OCI documents have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

impl Platform {
    /// This node.
    pub(crate) fn host() -> Self {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" if machine.starts_with("armv5") => ("arm", Some("v5")),
            "arm" if machine.starts_with("armv6") => ("arm", Some("v6")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            other => (other, None),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.map(str::to_owned) }
    }

    pub(crate) fn of_descriptor(platform: &Described) -> Self {
        Self {
            os: platform.os().clone(),
            architecture: platform.architecture().clone(),
            variant: platform.variant().clone(),
        }
    }

    pub(crate) fn of_config(config: &ImageConfiguration) -> Self {
        Self { os: config.os().clone(), architecture: config.architecture().clone(), variant: config.variant().clone() }
    }

    /// How well `self` (the node) runs `other`: none, or the higher the better. A 32-bit ARM runs its own and all
    /// earlier variants; no variant means v7 there, v8 on arm64 and v1 on amd64 (containerd's normalisation).
    pub(crate) fn suits(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let level = |platform: &Self| {
            let default = match platform.architecture.as_str() {
                "arm" => 7,
                "arm64" => 8,
                _ => 1,
            };
            let digits = platform.variant.as_deref().map(|v| v.trim_start_matches('v').split('.').next().unwrap_or(""));
            digits.and_then(|v| v.parse::<u32>().ok()).unwrap_or(default)
        };
        let (own, wanted) = (level(self), level(other));
        (wanted <= own).then_some(wanted)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().filter(|v| !v.is_empty()).map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform { os: parts.next().unwrap(), architecture: parts.next().unwrap(), variant: parts.next() }
    }

    #[test]
    fn a_32_bit_arm_takes_the_newest_variant_it_can_run() {
        let v7 = platform("linux/arm/v7");
        assert!(v7.suits(&platform("linux/arm/v7")) > v7.suits(&platform("linux/arm/v6")));
        assert_eq!(v7.suits(&platform("linux/arm")), Some(7));
        assert_eq!(platform("linux/arm/v6").suits(&platform("linux/arm/v7")), None);
        assert_eq!(v7.suits(&platform("linux/arm64/v8")), None);
    }

    #[test]
    fn amd64_does_not_take_a_higher_level_than_the_first() {
        let host = platform("linux/amd64");
        assert!(host.suits(&platform("linux/amd64/v3")).is_none());
        assert!(host.suits(&platform("linux/amd64/v1")).is_some());
        assert!(host.suits(&platform("windows/amd64")).is_none());
    }
}
