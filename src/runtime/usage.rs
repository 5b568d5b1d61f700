//! [`Meter`]: what containers and the node use, as `gatepost top` shows it. Reads cgroups and `/proc`, and asks nobody.

use std::io;

use crate::sys::cgroup::{Cgroups, Usage};
use crate::sys::clock;

/// What the kernel counts, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds of CPU time so far.
    pub cpu_ns: u64,
    /// Bytes in use.
    pub memory: u64,
    /// When, in microseconds of CLOCK_BOOTTIME.
    pub at_us: u64,
}

impl Sample {
    /// Thousandths of a CPU used since an earlier sample, rounded up as kubectl does.
    pub fn cpu_milli_since(&self, before: &Self) -> u64 {
        let elapsed_us = self.at_us.saturating_sub(before.at_us).max(1);
        self.cpu_ns.saturating_sub(before.cpu_ns).div_ceil(elapsed_us)
    }
}

/// The machine's cgroups, open for looking.
#[derive(Debug)]
pub struct Meter {
    cgroups: Cgroups,
}

impl Meter {
    /// Finds the cgroups.
    pub fn new() -> io::Result<Self> {
        Ok(Self { cgroups: Cgroups::detect()? })
    }

    /// A container's; `None` when it is gone. `class` as in `status.qosClass`.
    pub fn container(&self, root: &str, class: &str, pod_uid: &str, id: &str) -> io::Result<Option<Sample>> {
        let class = match class {
            "Burstable" => "/burstable",
            "BestEffort" => "/besteffort",
            _ => "",
        };
        let usage = self.cgroups.usage(&format!("{}{class}/pod{pod_uid}/{id}", root.trim_matches('/')))?;
        Ok(usage.map(|Usage { cpu_ns, working_set }| Sample {
            cpu_ns,
            memory: working_set,
            at_us: clock::boottime_us(),
        }))
    }
}

/// The node's: all CPUs, and the memory that is neither free nor files not used lately.
pub fn node() -> io::Result<Sample> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().and_then(|line| line.strip_prefix("cpu")).unwrap_or_default();
    // user nice system idle iowait irq softirq steal (proc_stat(5)): all but the two that wait.
    let ticks: u64 = first
        .split_whitespace()
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .filter_map(|(_, text)| text.parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kib = |name: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let used = kib("MemTotal").saturating_sub(kib("MemFree")).saturating_sub(kib("Inactive(file)"));
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Sample {
        cpu_ns: ticks.saturating_mul(1_000_000_000 / per_second),
        memory: used.saturating_mul(1024),
        at_us: clock::boottime_us(),
    })
}

/// Memory of the node in bytes, and how many CPUs it has.
pub fn capacity() -> (u64, u64) {
    let system = rustix::system::sysinfo();
    let memory = super::node::widen(system.totalram).saturating_mul(u64::from(system.mem_unit));
    (memory, std::thread::available_parallelism().map_or(1, |n| n.get() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_what_was_used_meanwhile_rounded_up() {
        let before = Sample { cpu_ns: 1_000, memory: 0, at_us: 0 };
        let after = Sample { cpu_ns: 250_001_000, memory: 0, at_us: 1_000_000 };
        assert_eq!(after.cpu_milli_since(&before), 250);
        assert_eq!(Sample { cpu_ns: 1_001, ..after }.cpu_milli_since(&before), 1);
        assert_eq!(before.cpu_milli_since(&after), 0, "a container that was restarted begins at nothing");
    }
}
