//! Requests and limits: [`PodResources`], a container's cgroup values, `oom_score_adj`
//! (kubelet `pkg/kubelet/cm`, `pkg/kubelet/qos`).

use super::{CgroupVersion, ConfigError, NodeFacts};
use crate::manifest::{QosClass, Quantity, qos_class, v1};
use crate::sorted::BTreeMap;
use crate::spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

/// Nanos in one unit.
const UNIT: i128 = 1_000_000_000;
/// kubelet: `cpuCFSQuotaPeriod`, microseconds.
const CFS_PERIOD_US: u64 = 100_000;
const MIN_CFS_QUOTA_US: i128 = 1_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

/// What the cgroup of a whole pod is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodResources {
    /// cgroup v1 `cpu.shares`.
    pub cpu_shares: u64,
    /// cgroup v2 `cpu.weight`.
    pub cpu_weight: u64,
    /// CFS quota in microseconds a period; `None`: unlimited.
    pub cpu_quota_us: Option<i64>,
    /// CFS period in microseconds.
    pub cpu_period_us: u64,
    /// `memory.max` in bytes; `None`: unlimited.
    pub memory_max: Option<i64>,
    /// `pids.max`; `None`: unlimited.
    pub pids_max: Option<u64>,
}

/// The pod's cgroup below each hierarchy's root.
pub fn cgroup_parent(qos: QosClass, uid: &str) -> String {
    match qos {
        QosClass::Guaranteed => format!("/kubepods/pod{uid}"),
        QosClass::Burstable => format!("/kubepods/burstable/pod{uid}"),
        QosClass::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// Values of the pod's cgroup. `pids_limit`: the node's `podPidsLimit`, 0 for none.
pub fn pod_resources(pod: &v1::Pod, pids_limit: u64) -> PodResources {
    let qos = qos_class(pod);
    let every_limited = |resource| all_containers(pod).all(|container| limit(container, resource) > 0);
    // App containers run side by side, init containers one after the other.
    let total = |of: fn(&v1::Container, &str) -> i128, resource: &str| {
        let apps =
            pod.spec.containers.iter().fold(0_i128, |sum, container| sum.saturating_add(of(container, resource)));
        pod.spec.init_containers.iter().map(|container| of(container, resource)).fold(apps, i128::max)
    };
    let limited = qos != QosClass::BestEffort;
    let cpu_shares = if limited { shares(milli(total(request, "cpu"))) } else { MIN_SHARES };
    PodResources {
        cpu_shares,
        cpu_weight: weight(cpu_shares),
        cpu_quota_us: (limited && every_limited("cpu")).then(|| quota(milli(total(limit, "cpu")))),
        cpu_period_us: CFS_PERIOD_US,
        memory_max: (limited && every_limited("memory")).then(|| whole(total(limit, "memory"))),
        pids_max: (pids_limit > 0).then_some(pids_limit),
    }
}

/// A container's cgroup: shares always, quota and memory limit where the manifest has them. Processes are counted at the
/// pod's cgroup.
pub(crate) fn container_resources(container: &v1::Container, node: &NodeFacts) -> LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(milli(request(container, "cpu")))));
    let cpu_limit = limit(container, "cpu");
    if cpu_limit > 0 {
        cpu.set_quota(Some(quota(milli(cpu_limit)))).set_period(Some(CFS_PERIOD_US));
    }
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));

    let memory_limit = limit(container, "memory");
    if memory_limit > 0 {
        let bytes = whole(memory_limit);
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(bytes));
        // v1 counts memory and swap together: the same limit means no swap.
        if node.cgroups == CgroupVersion::V1 && node.swap_accounting {
            memory.set_swap(Some(bytes));
        }
        resources.set_memory(Some(memory));
    }
    if node.cgroups == CgroupVersion::V2 {
        // One OOM kill takes the whole container, so that it ends instead of limping on.
        let mut unified = BTreeMap::from([("memory.oom.group".to_owned(), "1".to_owned())]);
        if node.swap_accounting {
            unified.insert("memory.swap.max".to_owned(), "0".to_owned());
        }
        resources.set_unified(Some(unified));
    }
    resources
}

/// The value Kubernetes gives, and the one this node can set: without CAP_SYS_RESOURCE nothing may be lowered below the
/// own value, and the container would fail to start.
pub(crate) fn oom_score_adj(
    pod: &v1::Pod,
    container: &v1::Container,
    node: &NodeFacts,
    warnings: &mut Vec<String>,
) -> i32 {
    let wanted = wanted_oom_score_adj(pod, container, node.memory_bytes);
    if node.may_lower_oom_score || wanted >= node.oom_score_adj {
        return wanted;
    }
    warnings.push(format!(
        "container {}: oom_score_adj {wanted} cannot be set without CAP_SYS_RESOURCE; it runs with {}",
        container.name, node.oom_score_adj
    ));
    node.oom_score_adj
}

fn wanted_oom_score_adj(pod: &v1::Pod, container: &v1::Container, node_memory: u64) -> i32 {
    let qos = qos_class(pod);
    if qos == QosClass::Guaranteed || pod.spec.priority_class_name == "system-node-critical" {
        return -997;
    }
    if qos == QosClass::BestEffort {
        return 1000;
    }
    let request = i128::from(whole(request(container, "memory")));
    let share = request.saturating_mul(1000).checked_div(i128::from(node_memory)).unwrap_or(0);
    i32::try_from(1000_i128.saturating_sub(share).clamp(3, 999)).unwrap_or(999)
}

/// `resourceFieldRef`: quantity over divisor, rounded up. An unset limit is what the node has.
pub(crate) fn field_value(
    container: &v1::Container,
    path: &str,
    divisor: &str,
    node: &NodeFacts,
) -> Result<String, ConfigError> {
    let unsupported = || ConfigError::config(format!("unsupported container resource : {path}"));
    let (kind, resource) = path.split_once('.').ok_or_else(unsupported)?;
    if !matches!(resource, "cpu" | "memory" | "ephemeral-storage") && !resource.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let value = match kind {
        "requests" => request(container, resource),
        "limits" => match limit(container, resource) {
            0 => UNIT.saturating_mul(i128::from(match resource {
                "cpu" => u64::from(node.cpus),
                "memory" => node.memory_bytes,
                "ephemeral-storage" => node.ephemeral_storage_bytes,
                _ => 0,
            })),
            limit => limit,
        },
        _ => return Err(unsupported()),
    };
    let divisor = match divisor {
        "" | "0" => UNIT,
        text => nanos(text)
            .filter(|divisor| *divisor > 0)
            .ok_or_else(|| ConfigError::config(format!("{path}: divisor {text} is not a positive quantity")))?,
    };
    Ok(ceil_div(value, divisor).to_string())
}

/// App containers and init containers.
fn all_containers(pod: &v1::Pod) -> impl Iterator<Item = &v1::Container> {
    pod.spec.init_containers.iter().chain(&pod.spec.containers)
}

/// In nano-units; 0 where there is none. A quantity that does not parse was refused with the manifest.
fn limit(container: &v1::Container, resource: &str) -> i128 {
    container.resources.limits.get(resource).and_then(|text| nanos(text)).unwrap_or(0).max(0)
}

/// In nano-units; the limit where there is no request.
fn request(container: &v1::Container, resource: &str) -> i128 {
    match container.resources.requests.get(resource) {
        Some(text) => nanos(text).unwrap_or(0).max(0),
        None => limit(container, resource),
    }
}

fn nanos(text: &str) -> Option<i128> {
    Quantity::parse(text).ok().map(Quantity::nanos)
}

fn ceil_div(value: i128, divisor: i128) -> i128 {
    let quotient = value.checked_div(divisor).unwrap_or(0);
    if value.checked_rem(divisor).unwrap_or(0) > 0 { quotient.saturating_add(1) } else { quotient }
}

fn milli(nano: i128) -> i128 {
    ceil_div(nano, UNIT / 1000)
}

fn whole(nano: i128) -> i64 {
    i64::try_from(ceil_div(nano, UNIT)).unwrap_or(i64::MAX)
}

fn shares(milli_cpu: i128) -> u64 {
    u64::try_from(milli_cpu.saturating_mul(1024) / 1000).unwrap_or(MAX_SHARES).clamp(MIN_SHARES, MAX_SHARES)
}

fn weight(shares: u64) -> u64 {
    1 + shares.clamp(MIN_SHARES, MAX_SHARES).saturating_sub(MIN_SHARES) * 9999 / (MAX_SHARES - MIN_SHARES)
}

fn quota(milli_cpu: i128) -> i64 {
    let us = milli_cpu.saturating_mul(i128::from(CFS_PERIOD_US)) / 1000;
    i64::try_from(us.max(MIN_CFS_QUOTA_US)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
