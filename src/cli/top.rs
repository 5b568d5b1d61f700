//! `gatepost top`: what pods, containers and the node use, from the kernel's own counters.

use crate::sorted::BTreeMap;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::get::{self, POD_WORDS};
use super::invocation::Invocation;
use super::node::NODE_WORDS;
use super::selector::Selector;
use super::view::text;
use super::{output, session, tabs, target, watch};
use crate::control::Info;
use crate::runtime::usage::{self, Meter, Sample};

/// CPU is measured over this time before the first table.
const FIRST: Duration = Duration::from_millis(500);
/// How often `-w` draws.
const AGAIN: Duration = Duration::from_secs(2);

/// By what rows are sorted.
pub(super) const SORTS: &[&str] = &["cpu", "memory"];

/// What is measured: namespace, pod, container.
type Key = (String, String, String);

/// A row of the table.
struct Row {
    key: Key,
    cpu_milli: u64,
    memory: u64,
}

/// `gatepost top`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    let words = invocation.texts()?;
    let sort = invocation.value("sort-by")?;
    if let Some(other) = sort.filter(|sort| !SORTS.contains(sort)) {
        return Err(Failure::unknown("order", other, SORTS.iter().copied(), "Orders: cpu, memory"));
    }
    match words.split_first() {
        Some((kind, names)) if POD_WORDS.contains(kind) => {
            if invocation.has("all-namespaces") && !names.is_empty() {
                return Err(invocation.misuse("a pod cannot be named together with -A: name its namespace with -n"));
            }
            let view = Pods::new(invocation, names)?;
            repeat(invocation, view.sample()?, |before| {
                let now = view.sample()?;
                Ok((view.table(before, &now), now))
            })
        }
        Some((kind, names)) if NODE_WORDS.contains(kind) => {
            let info = session::info(invocation)?;
            if let Some(other) = names.iter().find(|name| **name != info.node) {
                return Err(Failure::failed(format!("nodes {other:?} not found; this node is {:?}", info.node)));
            }
            let headers = !invocation.has("no-headers");
            let sample = || usage::node().map_err(|error| Failure::failed(format!("/proc: {error}")));
            repeat(invocation, sample()?, |before| {
                let now = sample()?;
                Ok((node_table(&info, before, &now, headers), now))
            })
        }
        Some((kind, _)) => Err(Failure::unknown("resource", kind, ["pods", "node"], "There are: pods, node")),
        None => Err(invocation.misuse("say of what: pods or node")),
    }
}

/// Waits, draws, and with `-w` does so until interrupted: in place on a terminal, else one table below the other.
fn repeat<T>(invocation: &Invocation, first: T, mut draw: impl FnMut(&T) -> Outcome<(String, T)>) -> Outcome {
    let (mut before, mut drawn) = (first, 0);
    let live = io::stdout().is_terminal();
    std::thread::sleep(FIRST);
    loop {
        let (table, now) = draw(&before)?;
        if !invocation.has("watch") {
            output::print(&table)?;
            return Ok(ExitCode::SUCCESS);
        }
        if live {
            drawn = watch::draw(&table, drawn)?;
        } else {
            output::print(&table)?;
        }
        before = now;
        std::thread::sleep(AGAIN);
    }
}

/// Which pods are shown, and how.
struct Pods<'a> {
    invocation: &'a Invocation,
    names: &'a [&'a str],
    namespace: Option<&'a str>,
    selector: Selector,
    info: Info,
    meter: Meter,
}

impl<'a> Pods<'a> {
    fn new(invocation: &'a Invocation, names: &'a [&'a str]) -> Outcome<Self> {
        Ok(Self {
            invocation,
            names,
            namespace: if invocation.has("all-namespaces") { None } else { Some(invocation.namespace()?) },
            selector: Selector::parse(invocation.value("selector")?.unwrap_or_default()).map_err(Failure::Usage)?,
            info: session::info(invocation)?,
            meter: Meter::new().map_err(|error| Failure::failed(error.to_string()))?,
        })
    }

    /// What every running container of the chosen pods has used so far.
    fn sample(&self) -> Outcome<BTreeMap<Key, Sample>> {
        let pods = session::pods(self.invocation)?.pods;
        let chosen: Vec<&Value> = if self.names.is_empty() {
            let in_namespace =
                |pod: &&Value| self.namespace.is_none_or(|namespace| text(pod, "/metadata/namespace") == namespace);
            pods.iter().filter(in_namespace).collect()
        } else {
            let namespace = self.namespace.unwrap_or("default");
            self.names.iter().map(|name| target::find(&pods, namespace, name)).collect::<Result<_, _>>()?
        };
        let mut samples = BTreeMap::new();
        for pod in chosen.into_iter().filter(|pod| self.selector.matches(pod)) {
            let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
            let statuses = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
            for status in statuses.filter(|status| status.pointer("/state/running").is_some()) {
                let id = text(status, "/containerID");
                let id = id.rsplit_once("//").map_or(id, |(_, id)| id);
                let (class, uid) = (text(pod, "/status/qosClass"), text(pod, "/metadata/uid"));
                let sample = self.meter.container(&self.info.cgroup_root, class, uid, id);
                let sample = sample.map_err(|error| Failure::failed(format!("the cgroup of {id}: {error}")))?;
                let key = [text(pod, "/metadata/namespace"), text(pod, "/metadata/name"), text(status, "/name")];
                let [namespace, name, container] = key.map(str::to_owned);
                samples.extend(sample.map(|sample| ((namespace, name, container), sample)));
            }
        }
        Ok(samples)
    }

    fn table(&self, before: &BTreeMap<Key, Sample>, now: &BTreeMap<Key, Sample>) -> String {
        let containers = self.invocation.has("containers");
        let mut rows: Vec<Row> = Vec::new();
        for (key, sample) in now {
            // What is new since the first look has no rate yet.
            let cpu_milli = before.get(key).map_or(0, |before| sample.cpu_milli_since(before));
            match rows.last_mut() {
                Some(row) if !containers && (&row.key.0, &row.key.1) == (&key.0, &key.1) => {
                    row.cpu_milli = row.cpu_milli.saturating_add(cpu_milli);
                    row.memory = row.memory.saturating_add(sample.memory);
                }
                _ => rows.push(Row { key: key.clone(), cpu_milli, memory: sample.memory }),
            }
        }
        if rows.is_empty() {
            return format!("{}\n", get::nothing(self.namespace));
        }
        match self.invocation.value("sort-by") {
            Ok(Some("cpu")) => rows.sort_by_key(|row| Reverse(row.cpu_milli)),
            Ok(Some("memory")) => rows.sort_by_key(|row| Reverse(row.memory)),
            _ => {}
        }
        let mut lines = String::new();
        if !self.invocation.has("no-headers") {
            let namespace = if self.namespace.is_none() { "NAMESPACE\t" } else { "" };
            let name = if containers { "POD\tNAME" } else { "NAME" };
            writeln!(lines, "{namespace}{name}\tCPU(cores)\tMEMORY(bytes)").ok();
        }
        for Row { key: (namespace, pod, container), cpu_milli, memory } in &rows {
            if self.namespace.is_none() {
                write!(lines, "{namespace}\t").ok();
            }
            let name = if containers { format!("{pod}\t{container}") } else { pod.clone() };
            writeln!(lines, "{name}\t{cpu_milli}m\t{}Mi", memory >> 20).ok();
        }
        tabs::align(&lines, tabs::TABLE)
    }
}

/// kubectl counts per cent of what pods may have.
fn node_table(info: &Info, before: &Sample, now: &Sample, headers: bool) -> String {
    let (memory, cpus) = usage::capacity();
    let for_pods = if info.pods_memory == 0 { memory } else { info.pods_memory.min(memory) };
    let cpu = now.cpu_milli_since(before);
    let percent = |part: u64, whole: u64| part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    let header = if headers { "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\n" } else { "" };
    let line = format!(
        "{}\t{cpu}m\t{}%\t{}Mi\t{}%\n",
        info.node,
        percent(cpu, cpus.saturating_mul(1000).saturating_sub(info.reserved_cpu)),
        now.memory >> 20,
        percent(now.memory, for_pods),
    );
    tabs::align(&format!("{header}{line}"), tabs::TABLE)
}
