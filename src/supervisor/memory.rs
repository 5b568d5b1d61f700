//! [`Memory`]: what an earlier supervisor knew, of this boot or of the one before, and where that is read from.
//!
//! Within a boot all of it is under `/run`: whatever runs is adopted without a look at a disk. After a boot a helper reads the
//! durable state, and the start waits for it as long as a disk that is well may take. While the disk says nothing,
//! nothing is known of what has had its only run, so no pod is begun; people are answered, and told so. Once the
//! disk has answered a new supervisor begins with what it said.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Supervisor;
use super::act::Task;
use super::helpers::{Descriptor, Helpers, Job, Outcome};
use super::persist;
use crate::config::{Config, Layout};
use crate::json;
use crate::manifest::desired::{self, DesiredSet};
use crate::pod::time;
use crate::pod::{DurableState, SavedNode, SavedPod};
use crate::state::{durable, volatile};
use crate::sys::clock;

/// How long a start waits for the durable state.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two helpers, where one ends without a word.
const RETRY: Duration = Duration::from_millis(100);

/// Milliseconds until the helper that reads it is ended and begun again.
const BOUND_MS: u64 = 120_000;

/// What an earlier supervisor knew.
pub(super) struct Memory {
    pub(super) node: Option<SavedNode>,
    pub(super) pods: Vec<SavedPod>,
    pub(super) durable: DurableState,
    pub(super) manifests: DesiredSet,
    pub(super) rebooted: bool,
    /// The helper that still reads what is on disk.
    pub(super) recalling: Option<u64>,
    /// What could not be opened of it, in words.
    pub(super) withheld: Option<String>,
}

impl Memory {
    /// `/run` is empty after a boot: then what is on disk is read. That is also the next best for what got lost under `/run`
    /// within a boot.
    pub(super) fn load(config: &Config, helpers: &mut Helpers<Task>) -> Self {
        let layout = &config.layout;
        let node = told(volatile::read::<SavedNode>(&layout.node_state()));
        let pods = persist::load_pods(layout);
        let (durable, manifests) = copies(layout);
        let rebooted = durable.is_none() && manifests.is_none() && node.is_none() && pods.is_empty();
        let known = durable.is_some() && manifests.is_some();
        let (recalling, withheld) = if known { (None, None) } else { recall(config, helpers) };
        let (read_durable, read_manifests) = copies(layout);
        let durable = durable.or(read_durable).unwrap_or_default();
        let manifests = manifests.or(read_manifests).unwrap_or_default();
        Self { node, pods, durable, manifests, rebooted, recalling, withheld }
    }
}

impl Supervisor {
    /// The disk has answered: the next supervisor, which init starts at once, knows what was on it.
    pub(super) fn recalled(&mut self, outcome: Outcome) {
        if keep(&self.config.layout, outcome).is_some() {
            log::info!("the state of the boot before is read");
        }
        // Otherwise that one asks again.
        (self.leaving, self.renewing) = (true, true);
    }

    /// Waits in the loop for the helper that still reads, if one does, and tells people why no pod starts.
    pub(super) fn go_on_recalling(&mut self, helper: Option<u64>) {
        let Some(number) = helper else { return };
        self.watch_helper(number);
        let message = format!(
            "{} does not answer, so it is not known which pods have had their only run: none is started until it does",
            self.config.layout.state().display()
        );
        log::error!("{message}");
        self.warn_of_node("StateNotRead", message);
    }
}

fn job<'a>(config: &Config, worker: &'a Path) -> Job<'a, Task> {
    let mut request = persist::asked(config);
    request.read.push(persist::CORE_FILE.to_owned());
    if !config.forgetful {
        request.read.push(persist::MANIFESTS_FILE.to_owned());
    }
    let request = json::to_vec(&request).unwrap_or_default();
    let command = persist::writer(config, worker);
    Job { task: Task::Recall, command, request, output: None, passed: None, bound_ms: BOUND_MS }
}

/// Has what is on disk copied to `/run`; the number of the helper where that takes longer than it should, and what it could not open.
fn recall(config: &Config, helpers: &mut Helpers<Task>) -> (Option<u64>, Option<String>) {
    let Some(end) = Instant::now().checked_add(PATIENCE) else { return (None, None) };
    let worker = config.worker_program();
    loop {
        let outcome = match helpers.start(job(config, &worker), time::Instant(clock::boottime_ms())) {
            Ok(number) => match await_end(helpers, number, end) {
                Some(outcome) => outcome,
                None => return (Some(number), None),
            },
            Err((_, error)) => Outcome::Failed(Vec::new(), error.to_string()),
        };
        let kept = keep(&config.layout, outcome);
        if kept.is_some() || Instant::now() >= end {
            return (None, kept.filter(|why| !why.is_empty()));
        }
        std::thread::sleep(RETRY);
    }
}

/// How a helper ended; `None` if it is still at work at `end`.
fn await_end(helpers: &mut Helpers<Task>, number: u64, end: Instant) -> Option<Outcome> {
    loop {
        let left = Timespec::try_from(end.checked_duration_since(Instant::now())?).ok()?;
        let (process, report) = helpers.descriptors(number)?;
        let mut watched = vec![PollFd::from_borrowed_fd(process, PollFlags::IN)];
        watched.extend(report.map(|report| PollFd::from_borrowed_fd(report, PollFlags::IN)));
        let ready = poll(&mut watched, Some(&left));
        let ended = watched.first().is_some_and(|process| !process.revents().is_empty());
        let which = if ended { Descriptor::Process } else { Descriptor::Report };
        if ready.is_ok_and(|ready| ready > 0)
            && let Some((_, outcome)) = helpers.ready(number, which)
        {
            return Some(outcome);
        }
    }
}

/// From now on no supervisor of this boot needs the disk for it. What cannot be read, or understood, counts as nothing; `None`
/// if the helper has not said whether it can be, else what it could not open.
fn keep(layout: &Layout, outcome: Outcome) -> Option<String> {
    let (report, why) = match outcome {
        Outcome::Done(report) => (report, String::new()),
        Outcome::Failed(report, why) => (report, why),
    };
    let report = match json::from_slice::<durable::Report>(&report) {
        Ok(report) => report,
        Err(error) => {
            log::error!(
                "the state of the boot before is not read: {}",
                if why.is_empty() { error.to_string() } else { why }
            );
            return None;
        }
    };
    if let Some(error) = &report.error {
        log::error!("the state of the boot before is not known: {error}");
    }
    let (durable, manifests) = copies(layout);
    let durable = durable.or_else(|| parse(&report, persist::CORE_FILE, DurableState::VERSION)).unwrap_or_default();
    let manifests = manifests.or_else(|| parse(&report, persist::MANIFESTS_FILE, desired::VERSION)).unwrap_or_default();
    let kept = volatile::write(&layout.run.join(persist::MANIFESTS_FILE), &manifests);
    if let Err(error) = kept.and_then(|()| volatile::write(&layout.run.join(persist::DURABLE_FILE), &durable)) {
        log::error!("{error}");
    }
    Some(report.withheld.unwrap_or_default())
}

/// What is under `/run` of the durable state.
fn copies(layout: &Layout) -> (Option<DurableState>, Option<DesiredSet>) {
    (persist::load_durable(layout), told(volatile::read(&layout.run.join(persist::MANIFESTS_FILE))))
}

/// What was read; an error is logged and counts as nothing.
fn told<T>(read: Result<Option<T>, crate::state::StateError>) -> Option<T> {
    read.inspect_err(|error| log::error!("{error}")).ok().flatten()
}

fn parse<T: json::Deserialize>(report: &durable::Report, name: &str, version: u32) -> Option<T> {
    let (_, content) = report.files.iter().find(|(n, _)| n == name)?;
    durable::decode(content, version)
        .inspect_err(|error| log::error!("{name} in the state directory: {error}; it is not used"))
        .ok()
}
