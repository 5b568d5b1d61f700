//! What the supervisor finds out about the node once and hands to every `launch`: [`facts`].

use std::path::Path;

use super::probe;
use crate::oci::{CgroupVersion, NodeFacts};
use crate::sys::cgroup::{Cgroups, Mode};

/// Collects the facts. `host_ips`: the node's addresses, the first is the primary one; `data`: a path on the data file system.
pub fn facts(node_name: &str, host_ips: Vec<String>, data: &Path, cgroups: &Cgroups) -> NodeFacts {
    let system = rustix::system::sysinfo();
    let uname = rustix::system::uname();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let oom_score_adj = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
    NodeFacts {
        node_name: node_name.to_owned(),
        host_name: uname.nodename().to_string_lossy().into_owned(),
        host_ips,
        memory_bytes: widen(system.totalram).saturating_mul(u64::from(system.mem_unit)),
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        ephemeral_storage_bytes: rustix::fs::statvfs(data).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize)),
        may_lower_oom_score: probe::may_lower_oom_score(),
        oom_score_adj: oom_score_adj.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        available_capabilities: field("CapBnd:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0),
        seccomp: field("Seccomp:").is_some(),
        cgroups: match cgroups.mode() {
            Mode::V2 => CgroupVersion::V2,
            Mode::Hybrid | Mode::V1 => CgroupVersion::V1,
        },
        swap_accounting: cgroups.accounts_swap(),
    }
}

/// The kernel's `unsigned long`, which has 32 bits on armv7.
#[allow(clippy::useless_conversion)]
fn widen(value: impl Into<u64>) -> u64 {
    value.into()
}
