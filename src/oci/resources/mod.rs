//! Requests and limits: [`PodResources`], a container's cgroup values, `oom_score_adj`
//! (kubelet `pkg/kubelet/cm`, `pkg/kubelet/qos`).

use super::{CgroupVersion, ConfigError, NodeFacts};
use crate::manifest::{QosClass, Quantity, qos_class, v1};
use crate::sorted::BTreeMap;
use crate::spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources};

/// Nanos in one unit.
const UNIT: i128 = 1_000_000_000;
/// kubelet: `cpuCFSQuotaPeriod`, microseconds.
const CFS_PERIOD_US: u64 = 100_000;
const MIN_CFS_QUOTA_US: i128 = 1_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

/// What the cgroup of a whole pod is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Bytes in pages of each size the node has, by the cgroup's name of that size, for example `2MB`.
    pub huge_pages: Vec<(String, u64)>,
}

/// The pod's cgroup below each hierarchy's root.
pub fn cgroup_parent(qos: QosClass, uid: &str) -> String {
    match qos {
        QosClass::Guaranteed => format!("/kubepods/pod{uid}"),
        QosClass::Burstable => format!("/kubepods/burstable/pod{uid}"),
        QosClass::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// Values of the pod's cgroup. `pids_limit`: the node's `podPidsLimit`, 0 for none; `page_sizes`: the node's sizes of huge pages
/// in KiB.
pub fn pod_resources(pod: &v1::Pod, pids_limit: u64, page_sizes: &[u64]) -> PodResources {
    let limited = qos_class(pod) != QosClass::BestEffort;
    let every_limited = |resource| {
        of_pod(pod, resource).0.is_some() || all_containers(pod).all(|container| own_limit(container, resource) > 0)
    };
    let cpu_shares = if limited { shares(milli(pod_request(pod, "cpu"))) } else { MIN_SHARES };
    PodResources {
        cpu_shares,
        cpu_weight: weight(cpu_shares),
        cpu_quota_us: (limited && every_limited("cpu")).then(|| quota(milli(pod_limit(pod, "cpu")))),
        cpu_period_us: CFS_PERIOD_US,
        memory_max: (limited && every_limited("memory")).then(|| whole(pod_limit(pod, "memory"))),
        pids_max: (pids_limit > 0).then_some(pids_limit),
        huge_pages: page_sizes
            .iter()
            .map(|kib| {
                let bytes = whole(huge_pages_of(*kib, &|resource| pod_limit(pod, resource), pod));
                (page_name(*kib, "B"), bytes.unsigned_abs())
            })
            .collect(),
    }
}

/// What a pod asks for of a resource, in nano-units (kubelet `pkg/api/v1/resource`): what is said for the pod as a whole, else the
/// sum of its containers. App containers run side by side with all sidecars; an init container with those declared before it.
fn pod_request(pod: &v1::Pod, resource: &str) -> i128 {
    let (limit, request) = of_pod(pod, resource);
    let sum = total(pod, own_request, resource);
    let asked = match (request, limit) {
        (Some(request), _) => request,
        // Kubernetes' default for a pod that is only limited.
        (None, Some(limit)) if sum == 0 => limit,
        (None, _) => sum,
    };
    asked.saturating_add(overhead(pod, resource))
}

/// The same for limits; 0 is none, and stays none whatever the overhead.
fn pod_limit(pod: &v1::Pod, resource: &str) -> i128 {
    match of_pod(pod, resource).0.unwrap_or_else(|| total(pod, own_limit, resource)) {
        0 => 0,
        limit => limit.saturating_add(overhead(pod, resource)),
    }
}

fn total(pod: &v1::Pod, of: fn(&v1::Container, &str) -> i128, resource: &str) -> i128 {
    let (mut sidecars, mut most) = (0_i128, 0_i128);
    for container in &pod.spec.init_containers {
        let own = of(container, resource);
        most = most.max(sidecars.saturating_add(own));
        if is_sidecar(container) {
            sidecars = sidecars.saturating_add(own);
        }
    }
    pod.spec.containers.iter().fold(sidecars, |sum, container| sum.saturating_add(of(container, resource))).max(most)
}

/// An init container that goes on running.
fn is_sidecar(container: &v1::Container) -> bool {
    container.restart_policy == Some(v1::RestartPolicy::Always)
}

/// Limit and request of the pod as a whole, where there are any.
fn of_pod(pod: &v1::Pod, resource: &str) -> (Option<i128>, Option<i128>) {
    let Some(resources) = &pod.spec.resources else { return (None, None) };
    let amount = |list: &BTreeMap<String, String>| list.get(resource).and_then(|text| nanos(text)).filter(|n| *n > 0);
    (amount(&resources.limits), amount(&resources.requests))
}

fn overhead(pod: &v1::Pod, resource: &str) -> i128 {
    pod.spec.overhead.get(resource).and_then(|text| nanos(text)).unwrap_or(0).max(0)
}

/// What is limited of pages of one size; nothing is allowed without a limit.
fn huge_pages_of(kib: u64, limit: &dyn Fn(&str) -> i128, pod: &v1::Pod) -> i128 {
    let own = pod.spec.resources.as_ref().map(|resources| &resources.limits);
    let names = all_containers(pod).map(|container| &container.resources.limits).chain(own).flat_map(BTreeMap::keys);
    names.filter(|name| page_size(name) == Some(kib)).map(|name| limit(name)).next().unwrap_or(0)
}

/// KiB of a page of the resource `hugepages-2Mi`.
fn page_size(resource: &str) -> Option<u64> {
    let size = Quantity::parse(resource.strip_prefix("hugepages-")?).ok()?;
    u64::try_from(size.whole() / 1024).ok()
}

/// `2MB` for the cgroup and the runtime, `2Mi` for people.
fn page_name(kib: u64, unit: &str) -> String {
    let (number, prefix) = match kib {
        kib if kib >= 1 << 20 => (kib >> 20, "G"),
        kib if kib >= 1 << 10 => (kib >> 10, "M"),
        kib => (kib, "K"),
    };
    format!("{number}{prefix}{unit}")
}

impl NodeFacts {
    /// Sizes of huge pages in KiB that the cgroups limit.
    pub fn limited_page_sizes(&self) -> &[u64] {
        if self.limits_huge_pages { &self.page_sizes } else { &[] }
    }
}

/// A limit of pages that the node has not, or cannot enforce.
fn check_huge_pages(
    container: &v1::Container,
    node: &NodeFacts,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let limits = container.resources.limits.iter().filter(|(name, _)| name.starts_with("hugepages-"));
    for (name, value) in limits.filter(|(_, value)| nanos(value).is_some_and(|amount| amount > 0)) {
        if !page_size(name).is_some_and(|kib| node.page_sizes.contains(&kib)) {
            let sizes: Vec<String> = node.page_sizes.iter().map(|kib| page_name(*kib, "i")).collect();
            return Err(ConfigError::config(format!(
                "container {}: resources.limits.{name}: {value} is asked for, but this node has pages of {} only",
                container.name,
                if sizes.is_empty() { "the usual size".to_owned() } else { sizes.join(" and ") }
            )));
        }
        if !node.limits_huge_pages {
            // containerd: `tolerate_missing_hugetlb_controller` is on.
            warnings
                .push(format!("container {}: {name} is not limited: the node has no hugetlb cgroup", container.name));
        }
    }
    Ok(())
}

/// A container's cgroup: shares always, quota and memory limit where the manifest has them. Processes are counted at the
/// pod's cgroup.
pub(crate) fn container_resources(
    pod: &v1::Pod,
    container: &v1::Container,
    node: &NodeFacts,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, ConfigError> {
    check_huge_pages(container, node, warnings)?;
    // A container without a limit of its own has the pod's.
    let limit = |resource: &str| match own_limit(container, resource) {
        0 => of_pod(pod, resource).0.unwrap_or(0),
        limit => limit,
    };
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(milli(own_request(container, "cpu")))));
    let cpu_limit = limit("cpu");
    if cpu_limit > 0 {
        cpu.set_quota(Some(quota(milli(cpu_limit)))).set_period(Some(CFS_PERIOD_US));
    }
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));

    let memory_limit = limit("memory");
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
        let mut unified = BTreeMap::new();
        if !node.single_process_oom_kill {
            // One OOM kill takes the whole container, so that it ends instead of limping on.
            unified.insert("memory.oom.group".to_owned(), "1".to_owned());
        }
        if node.swap_accounting {
            unified.insert("memory.swap.max".to_owned(), "0".to_owned());
        }
        resources.set_unified(Some(unified));
    }
    let page_sizes = node.limited_page_sizes();
    if !page_sizes.is_empty() {
        let one = |kib: &u64| {
            let mut pages = LinuxHugepageLimit::default();
            pages.set_page_size(page_name(*kib, "B")).set_limit(whole(huge_pages_of(*kib, &limit, pod)));
            pages
        };
        resources.set_hugepage_limits(Some(page_sizes.iter().map(one).collect()));
    }
    Ok(resources)
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
    // What the pod asks for beyond its containers is shared out among them (kubelet).
    let unallocated = of_pod(pod, "memory").0.or(of_pod(pod, "memory").1).map_or(0, |_| {
        let running = pod.spec.init_containers.iter().filter(|c| is_sidecar(c)).chain(&pod.spec.containers);
        let (count, sum) = running.fold((0_i128, 0_i128), |(count, sum), container| {
            (count.saturating_add(1), sum.saturating_add(own_request(container, "memory")))
        });
        pod_request(pod, "memory").saturating_sub(sum).max(0).checked_div(count).unwrap_or(0)
    });
    let adjusted = |request: i128| {
        let bytes = i128::from(whole(request.saturating_add(unallocated)));
        1000_i128.saturating_sub(bytes.saturating_mul(1000).checked_div(i128::from(node_memory)).unwrap_or(0))
    };
    let mut wanted = adjusted(own_request(container, "memory"));
    if is_sidecar(container) {
        // It outlives the app container that is killed the latest.
        let least = pod.spec.containers.iter().map(|app| own_request(app, "memory")).min().unwrap_or(0);
        wanted = wanted.min(adjusted(least));
    }
    i32::try_from(wanted.clamp(3, 999)).unwrap_or(999)
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
        "requests" => own_request(container, resource),
        "limits" => match own_limit(container, resource) {
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
fn own_limit(container: &v1::Container, resource: &str) -> i128 {
    container.resources.limits.get(resource).and_then(|text| nanos(text)).unwrap_or(0).max(0)
}

/// In nano-units; the limit where there is no request.
fn own_request(container: &v1::Container, resource: &str) -> i128 {
    match container.resources.requests.get(resource) {
        Some(text) => nanos(text).unwrap_or(0).max(0),
        None => own_limit(container, resource),
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
