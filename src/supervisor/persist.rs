//! State under `/run`, written before anything is done, and [`Durable`]: what goes to disk, by a helper, never waited for.

use std::path::Path;

use super::Supervisor;
use super::act::Task;
use super::helpers::{Command, Job, Outcome};
use crate::config::Config;
use crate::json;
use crate::pod::event::{Event, Failure, Recorded, Seq, Uid};
use crate::pod::events::EventLog;
use crate::pod::time::Instant;
use crate::pod::{DurablePod, DurableState, SavedPod};
use crate::sorted::BTreeMap;
use crate::state::{durable, volatile};

/// File of the core's durable state.
pub(super) const CORE_FILE: &str = "pods.json";
/// File of the last good manifests.
pub(super) const MANIFESTS_FILE: &str = "manifests.json";

/// The wall clock, in seconds since 1970, for machines that have none of their own: read at the boot.
const CLOCK_FILE: &str = "clock";

/// How often it is saved, in milliseconds.
pub(super) const CLOCK_MS: u64 = 6 * 3600 * 1000;

/// Copy under `/run` of the core's durable state, as new as it is.
pub(super) const DURABLE_FILE: &str = "durable.json";

/// Milliseconds a state writer may take: longer than a disk's hiccup, since another try would only queue behind it.
const BOUND_MS: u64 = 120_000;

/// Milliseconds for which restart counts gather before they are written: a power cut may lose as many. A hundred
/// crash-looping containers write some 2 MiB a day.
const GATHER_MS: u64 = 900_000;

/// Milliseconds until a write that failed is tried again.
const RETRY_MS: u64 = 10_000;

/// What is to be on disk.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Contents not yet handed to a writer, by file.
    pending: BTreeMap<&'static str, String>,
    /// Marks that wait for the next write to be on disk.
    marks: Vec<Seq>,
    /// A writer is at work, with these marks.
    writing: Option<Vec<Seq>>,
    /// No write before this: after a failure, or while restart counts gather.
    not_before: Option<Instant>,
    /// What of the core's state must not be lost, as it was handed over last.
    urgent: BTreeMap<Uid, Urgent>,
}

/// What of a pod's durable state is written at once: whether it is complete, how many containers have had their only run, and
/// how many their success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Urgent(bool, usize, usize);

impl Urgent {
    fn of(pod: &DurablePod) -> Self {
        Self(pod.completed.is_some(), pod.marks.len(), pod.succeeded.len())
    }
}

impl Durable {
    /// `content` is to be in `file`.
    pub(super) fn put(&mut self, file: &'static str, content: String) {
        self.pending.insert(file, content);
        self.not_before = None;
    }

    /// The same, some time within [`GATHER_MS`]: flash is not worn by every restart of a crashing container.
    fn put_later(&mut self, file: &'static str, content: String, now: Instant) {
        if self.pending.is_empty() && self.not_before.is_none() {
            self.not_before = Some(now.after(GATHER_MS));
        }
        self.pending.insert(file, content);
    }

    /// When a write that waits is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.writing.is_none() && !self.pending.is_empty() { self.not_before } else { None }
    }

    /// Whatever waits is written now.
    pub(super) fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_saved(&self) -> bool {
        self.writing.is_none() && self.pending.is_empty() && self.marks.is_empty()
    }

    /// Tell when all that is pending now is on disk.
    pub(super) fn mark(&mut self, seq: Seq) {
        self.marks.push(seq);
    }
}

impl Supervisor {
    /// Writes the state of every pod the core has changed, and says whether there was any.
    pub(super) fn store_changed_pods(&mut self) -> bool {
        let changed = self.node.changed_pods();
        let any = !changed.is_empty();
        for uid in changed {
            let directory = self.config.layout.pod(&uid);
            let path = directory.join("state.json");
            let result = if let Some(saved) = self.node.snapshot(&uid) {
                std::fs::create_dir_all(&directory)
                    .map_err(|source| crate::state::StateError::Io { action: "create", path: directory, source })
                    .and_then(|()| volatile::write(&path, &saved))
            } else {
                // The pod is gone; so may be its directory.
                let _ = std::fs::remove_file(&path);
                Ok(())
            };
            if let Err(error) = result {
                log::error!("{error}; a restart of gatepost would not know this pod's latest state");
            }
        }
        if self.node.node_changed() {
            let node = self.node.node_snapshot();
            if let Err(error) = volatile::write(&self.config.layout.node_state(), &node) {
                log::error!("{error}");
            }
        }
        if self.node.durable_changed() {
            self.put_durable_state();
        }
        any
    }

    fn put_durable_state(&mut self) {
        if self.recalling {
            return;
        }
        let state = self.node.durable_snapshot();
        let path = self.config.layout.run.join(DURABLE_FILE);
        if let Err(error) = volatile::write(&path, &state) {
            log::error!("{error}");
        }
        let urgent: BTreeMap<Uid, Urgent> =
            state.pods.iter().map(|(uid, pod)| (uid.clone(), Urgent::of(pod))).collect();
        match json::to_string(&state) {
            Ok(content) if urgent == self.durable.urgent && !self.leaving => {
                self.durable.put_later(CORE_FILE, content, self.now().boot);
            }
            Ok(content) => {
                self.durable.urgent = urgent;
                self.durable.put(CORE_FILE, content);
            }
            Err(error) => log::error!("cannot encode the durable state: {error}"),
        }
    }

    /// Hands what is pending to a state writer, one at a time: writes coalesce while one is at work.
    pub(super) fn save_durable_if_due(&mut self) {
        let nothing = self.durable.pending.is_empty() && self.durable.marks.is_empty();
        let too_early = self.durable.marks.is_empty() && self.durable.not_before.is_some_and(|at| at > self.now().boot);
        if self.durable.writing.is_some() || nothing || too_early || self.recalling {
            return;
        }
        self.durable.not_before = None;
        let write = std::mem::take(&mut self.durable.pending).into_iter().map(|(f, c)| (f.to_owned(), c)).collect();
        self.durable.writing = Some(std::mem::take(&mut self.durable.marks));
        let (write, read) = (write, Vec::new());
        let request = durable::Request { write, read, ..asked(&self.config) };
        let request = json::to_vec(&request).unwrap_or_default();
        let program = self.config.worker_program();
        let command = writer(&self.config, &program);
        self.start_helper(Job { task: Task::Save, command, request, output: None, passed: None, bound_ms: BOUND_MS });
    }

    /// Saves the wall clock where nothing else keeps it. It is one of the few things an idle node does, so it is told.
    pub(super) fn save_clock_if_due(&mut self) {
        let now = self.now();
        if self.clock_due.is_none_or(|at| at > now.boot) {
            return;
        }
        self.clock_due = Some(now.boot.after(CLOCK_MS));
        self.durable.put(CLOCK_FILE, format!("{}\n", now.wall.0 / 1000));
        log::info!(
            "the clock is saved for the next boot, as every 6 hours: this machine has none that goes on without power"
        );
    }

    /// A state writer has ended.
    pub(super) fn saved(&mut self, outcome: Outcome) {
        let marks = self.durable.writing.take().unwrap_or_default();
        let (Outcome::Done(report) | Outcome::Failed(report, _)) = &outcome;
        let mut said: durable::Report = json::from_slice(report).unwrap_or_default();
        let failure = match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(_, why) => Some(said.error.take().unwrap_or(why)),
        };
        if let Some(why) = said.withheld {
            self.tell_withheld(why);
        }
        if let Some(why) = &failure {
            log::error!("durable state is not saved: {why}");
        }
        for seq in marks {
            self.inbox.push_back(match &failure {
                None => Event::Marked { seq },
                Some(why) => {
                    let message = format!("the durable mark that this container has had its run is not written: {why}");
                    Event::MarkFailed { seq, failure: Failure { reason: "CreateContainerError".to_owned(), message } }
                }
            });
        }
        if failure.is_some() {
            // What is in the core is newer than what was lost with the writer.
            self.put_durable_state();
            self.manifests_to_disk();
            self.durable.not_before = Some(self.now().boot.after(RETRY_MS));
        }
    }

    /// The key of the state is not the right one, or not there.
    pub(super) fn tell_withheld(&mut self, why: String) {
        log::error!("{why}");
        self.warn_of_node("StateNotSealed", why);
    }

    /// The event log as an earlier supervisor left it.
    pub(super) fn load_events(run: &std::path::Path) -> EventLog {
        volatile::read(&run.join("events.json"))
            .unwrap_or_else(|error| {
                log::warn!("{error}");
                None
            })
            .unwrap_or_default()
    }

    /// Notes an event for people.
    pub(super) fn record(&mut self, event: Recorded) {
        self.events.record(event, self.now().wall);
        self.events_changed = true;
        self.tell_event_watchers();
    }

    /// An event of the node.
    pub(super) fn warn_of_node(&mut self, reason: &str, message: String) {
        let name = self.config.node_name.clone();
        self.record(Recorded {
            pod: name.as_str().into(),
            namespace: String::new(),
            name,
            field_path: String::new(),
            warning: true,
            reason: reason.to_owned(),
            message,
        });
    }

    /// Stores the event log; it costs no disk.
    pub(super) fn store_events(&self) {
        if let Err(error) = volatile::write(&self.config.layout.run.join("events.json"), &self.events) {
            log::warn!("{error}");
        }
    }
}

/// A request to whoever reads and writes durable state; nothing is asked for yet.
pub(super) fn asked(config: &Config) -> durable::Request {
    let seal = if config.state_key.is_empty() { Vec::new() } else { vec![MANIFESTS_FILE.to_owned()] };
    durable::Request {
        version: durable::VERSION,
        directory: config.layout.state(),
        write: Vec::new(),
        read: Vec::new(),
        seal,
        key: config.state_key.clone(),
    }
}

/// Who that is; `worker` is the program that can encrypt.
pub(super) fn writer<'a>(config: &Config, worker: &'a Path) -> Command<'a> {
    if config.state_key.is_empty() { Command::Role("state-writer") } else { Command::Worker(worker, "sealed-state") }
}

/// The pods' states as an earlier supervisor left them.
pub(super) fn load_pods(layout: &crate::config::Layout) -> Vec<SavedPod> {
    let mut saved = Vec::new();
    for uid in directories(&layout.pods()) {
        match volatile::read::<SavedPod>(&layout.pod(&uid).join("state.json")) {
            Ok(Some(pod)) => saved.push(pod),
            Ok(None) => {}
            Err(error) => log::error!("{error}"),
        }
    }
    saved
}

/// The durable state as an earlier supervisor of this boot left it.
pub(super) fn load_durable(layout: &crate::config::Layout) -> Option<DurableState> {
    volatile::read(&layout.run.join(DURABLE_FILE)).unwrap_or_else(|error| {
        log::error!("{error}");
        None
    })
}

/// Names of the directories in `path`.
pub(super) fn directories(path: &std::path::Path) -> Vec<String> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                log::error!("cannot list {}: {error}", path.display());
            }
            return Vec::new();
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
