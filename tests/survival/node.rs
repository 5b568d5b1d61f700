//! [`Traces`]: what a gateway has on the machine, to be compared before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gatepost::control::{Call, Client, Reply};
use gatepost::sys::cgroup::Cgroups;
use gatepost::sys::mount;
use rustix::process::{Pid, Signal};

pub use crate::gateway::eventually;
use crate::gateway::{Gateway, Pods};

/// Things that must not grow.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    /// Open descriptors of init.
    pub init_descriptors: usize,
    /// Open descriptors of the supervisor.
    pub supervisor_descriptors: usize,
    /// Open descriptors of the log writer.
    pub log_writer_descriptors: usize,
    /// Children of init by what they are.
    pub children: BTreeMap<String, usize>,
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<String>,
    /// Directories below the run directory, and those of pods' logs, which the log writer deletes in its own time.
    pub directories: BTreeSet<String>,
}

impl Traces {
    pub fn of(gateway: &Gateway) -> Self {
        let info = gateway.info();
        let mut children = BTreeMap::new();
        for child in children_of(info.init_pid) {
            *children.entry(command(child)).or_default() += 1;
        }
        let log_writer = log_writer(info.pid);
        let run = gateway.run_dir();
        let mounts = mount::mounts().unwrap().into_iter().map(|entry| entry.target).filter(|at| at.starts_with(&run));
        let mut directories = BTreeSet::new();
        let all = ["containers", "pods", "runtime"].map(|name| (name, run.join(name)));
        for (name, directory) in all.into_iter().chain([("logs", gateway.path("logs"))]) {
            for entry in fs::read_dir(directory).unwrap() {
                directories.insert(format!("{name}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        Self {
            init_descriptors: descriptors(info.init_pid),
            supervisor_descriptors: descriptors(info.pid),
            log_writer_descriptors: log_writer.map_or(0, descriptors),
            children,
            mounts: mounts.map(|at| at.display().to_string()).collect(),
            cgroups: cgroups_below(&gateway.cgroup_root),
            directories,
        }
    }
}

/// The pods, if there is a supervisor that answers.
pub fn try_pods(gateway: &Gateway) -> Option<Pods> {
    match ask(gateway, Call::Pods)? {
        Reply::Pods { items, warnings } => Some(Pods { node: gateway.node.clone(), items, warnings }),
        other => panic!("no pods: {other:?}"),
    }
}

/// Waits until a supervisor other than `last` answers.
pub fn answering(gateway: &Gateway, last: u32) -> u32 {
    eventually("a new supervisor that answers", || match ask(gateway, Call::Info)? {
        Reply::Info(info) => Some(info.pid).filter(|pid| *pid != last),
        other => panic!("no info: {other:?}"),
    })
}

fn ask(gateway: &Gateway, call: Call) -> Option<Reply> {
    Client::connect(&gateway.run_dir().join("control.sock")).ok()?.ask(call).ok()
}

/// The pods' cgroups and those below them, without the classes of service, which stay.
fn cgroups_below(root: &str) -> BTreeSet<String> {
    let cgroups = Cgroups::detect().unwrap();
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        for child in cgroups.children(&path).unwrap_or_default() {
            let path = format!("{path}/{child}");
            if !["burstable", "besteffort"].contains(&&*child) {
                found.insert(path.clone());
            }
            open.push(path);
        }
    }
    found
}

/// The log writer of a supervisor.
pub fn log_writer(supervisor: u32) -> Option<u32> {
    children_of(supervisor).into_iter().find(|pid| command(*pid).contains("log-writer"))
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// What a process has open, by name.
pub fn open_files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.map(|name| name.display().to_string()).collect()
}

pub fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// What a process is: the role of this binary, or its command line; `zombie` for one that has ended.
pub fn command(pid: u32) -> String {
    if state(pid) == 'Z' {
        return "zombie".to_owned();
    }
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        text.split(|byte| *byte == 0).take(2).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    words.join(" ")
}

/// The letter of proc_pid_stat(5); `X` when there is no such process.
pub fn state(pid: u32) -> char {
    gatepost::sys::process::stat(pid).map_or('X', |stat| stat.state)
}

/// The supervisor of an init, if it has been executed: found without asking it.
pub fn supervisor_of(init: u32) -> Option<u32> {
    children_of(init).into_iter().find(|pid| command(*pid) == "gatepost supervise")
}

/// Waits for a supervisor other than `last`.
pub fn next_supervisor(init: u32, last: u32) -> u32 {
    eventually("a new supervisor", || supervisor_of(init).filter(|pid| *pid != last))
}

/// Sends a signal to a process of this test's gateway; false when it has just ended.
pub fn send(pid: u32, signal: Signal) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).is_ok()
}
