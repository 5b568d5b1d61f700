//! [`Usage`]: what a cgroup uses of CPU and memory.

use std::io;

use super::{Cgroups, Mode, checked, gone, keyed};

/// What a cgroup and those below it have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds since the cgroup was made.
    pub cpu_ns: u64,
    /// Memory in bytes that cannot be given back at once: all but the files' pages that were not used lately. kubelet: working set.
    pub working_set: u64,
}

impl Cgroups {
    /// What the cgroup uses; `None` when it is not there.
    pub fn usage(&self, path: &str) -> io::Result<Option<Usage>> {
        let path = checked(path)?;
        let of = |name: &str| match self.mode() {
            Mode::V2 => self.unified.as_deref().map(|root| root.join(path)),
            Mode::Hybrid | Mode::V1 => self.controller(name).map(|root| root.join(path)),
        };
        let (cpu, memory) = (of("cpuacct"), of("memory"));
        let (Some(cpu), Some(memory)) = (cpu, memory) else { return Ok(None) };
        let read = |dir: &std::path::Path, file: &str| match std::fs::read_to_string(dir.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        let (cpu_ns, used, inactive) = if self.mode() == Mode::V2 {
            let micros = read(&cpu, "cpu.stat")?.and_then(|text| keyed(&text, "usage_usec"));
            (micros.map(|us| us.saturating_mul(1000)), number(read(&memory, "memory.current")?), "inactive_file")
        } else {
            (
                number(read(&cpu, "cpuacct.usage")?),
                number(read(&memory, "memory.usage_in_bytes")?),
                "total_inactive_file",
            )
        };
        let (Some(cpu_ns), Some(used)) = (cpu_ns, used) else { return Ok(None) };
        let idle = read(&memory, "memory.stat")?.and_then(|text| keyed(&text, inactive)).unwrap_or(0);
        Ok(Some(Usage { cpu_ns, working_set: used.saturating_sub(idle) }))
    }
}
