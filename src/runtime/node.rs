//! What the supervisor finds out about the node once and hands to every `launch`: [`facts`]; and what all pods together may use:
//! [`pods_memory`].

use std::path::Path;

use super::probe;
use crate::config::{Config, Layout};
use crate::oci::{CgroupVersion, NodeFacts};
use crate::sys::cgroup::{Cgroups, Mode};
use crate::sys::mount::{self, MountEntry};

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
        cluster_domain: String::new(),
        host_ips,
        memory_bytes: widen(system.totalram).saturating_mul(u64::from(system.mem_unit)),
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        ephemeral_storage_bytes: rustix::fs::statvfs(data)
            .map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize)),
        may_lower_oom_score: probe::may_lower_oom_score(),
        oom_score_adj: oom_score_adj.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        available_capabilities: field("CapBnd:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0),
        seccomp: field("Seccomp:").is_some(),
        cgroups: match cgroups.mode() {
            Mode::V2 => CgroupVersion::V2,
            Mode::Hybrid | Mode::V1 => CgroupVersion::V1,
        },
        swap_accounting: cgroups.accounts_swap(),
        page_sizes: page_sizes(),
        limits_huge_pages: cgroups.limits_huge_pages(),
        single_process_oom_kill: false,
        app_armor: std::fs::read("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.starts_with(b"Y"))
            .then(app_armor_profiles),
        se_linux: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

/// What the rest of a gateway gets at least: init, supervisor, helpers, the runtime at work, the kernel.
const OWN_MEMORY: u64 = 24 << 20;

/// Memory in bytes that all pods together may use, of the node's `memory`; 0 for no limit. A gateway has nobody to look after it, so
/// there the pods leave what the rest needs: a tenth and at least 24 MiB, and all that may come to lie in files in memory.
pub fn pods_memory(config: &Config, gateway: bool, memory: u64) -> u64 {
    if let Some(limit) = config.pods_memory_limit {
        return limit;
    }
    let reserved = config.reserved.memory;
    match (gateway, reserved) {
        (false, 0) => 0,
        (false, reserved) => memory.saturating_sub(reserved).max(OWN_MEMORY),
        (true, reserved) => {
            let own = OWN_MEMORY.max(memory / 10).max(reserved);
            memory.saturating_sub(own).saturating_sub(tmpfs_caps(&config.layout)).max(memory / 4)
        }
    }
}

/// What the node's own tmpfs mounts can hold together. Those of pods and containers are theirs.
fn tmpfs_caps(layout: &Layout) -> u64 {
    let mounts = mount::mounts().unwrap_or_default();
    let of_node = |entry: &&MountEntry| {
        let target = &entry.target;
        entry.fs_type == "tmpfs" && (*target == layout.run || !target.starts_with(&layout.run))
    };
    let mut seen = Vec::new();
    let mut sum = 0_u64;
    for entry in mounts.iter().filter(of_node) {
        if !seen.contains(&&entry.device) {
            seen.push(&entry.device);
            let size = rustix::fs::statvfs(&entry.target).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
            sum = sum.saturating_add(size);
        }
    }
    sum
}

/// Those that are loaded now.
pub(super) fn app_armor_profiles() -> Vec<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    text.lines().filter_map(|line| line.rsplit_once(" (")).map(|(name, _)| name.to_owned()).collect()
}

/// In KiB, ascending.
fn page_sizes() -> Vec<u64> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok();
    let mut sizes: Vec<u64> = entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect();
    sizes.sort_unstable();
    sizes
}

/// The kernel's `unsigned long`, which has 32 bits on armv7.
#[allow(clippy::useless_conversion)]
pub(super) fn widen(value: impl Into<u64>) -> u64 {
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_leave_what_is_reserved_and_a_gateway_reserves_by_itself() {
        let gib = 1 << 30;
        let mut config = Config::default();
        assert_eq!(pods_memory(&config, false, gib), 0, "next to a host's init nothing is bounded unasked");
        let own = pods_memory(&config, true, gib);
        assert!(own >= gib / 4 && own <= gib - gib / 10, "{own}");
        config.reserved.memory = gib / 2;
        assert_eq!(pods_memory(&config, false, gib), gib / 2);
        config.pods_memory_limit = Some(0);
        assert_eq!(pods_memory(&config, true, gib), 0);
    }
}
