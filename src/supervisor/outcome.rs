//! How helpers ended, turned into what the core is told.

use super::Supervisor;
use super::act::Task;
use super::ending::stream_ids;
use super::helpers::Outcome;
use super::instance::{self, Phase};
use crate::json::{self, Deserialize};
use crate::pod::event::{Event, Failure, Seq, StartMode, Uid};
use crate::runtime::log_failure;
use crate::runtime::protocol::Report;
use crate::runtime::sandbox::Prepared;
use crate::sys::process;

impl Supervisor {
    /// A helper has ended.
    pub(super) fn finished(&mut self, task: Task, outcome: Outcome) {
        self.note_in_chart(&task, matches!(outcome, Outcome::Failed(..)));
        match task {
            Task::ReadManifests => self.manifests_read(outcome),
            Task::Look(path) => self.looked(&path, outcome),
            Task::FindDevices => self.devices_found(outcome),
            Task::Prepare(pod) => self.prepared(pod, outcome),
            Task::Teardown(pod) => self.torn_down(pod, outcome),
            Task::Launch(seq) => self.launched(seq, outcome),
            Task::StartCreated(seq) => self.created_started(seq, outcome),
            Task::CleanUp(seq) => self.cleaned_up(seq, outcome),
            Task::Images(task) => self.image_work_done(&task, outcome),
            Task::Save => self.saved(outcome),
            Task::Recall => self.recalled(outcome),
            Task::LastWords(seq) => self.last_words_read(seq, outcome),
            Task::RefreshVolumes => self.volumes_refreshed(outcome),
            Task::MeasureVolumes => self.volumes_measured(outcome),
            Task::FindLeftovers => self.leftovers_found(outcome),
            Task::Sweep(pod) => Self::leftovers_removed(&pod, outcome),
            Task::Exec(purpose) => self.executed(&purpose, outcome),
            Task::Pull => self.pull_ended(outcome),
            Task::FindFeatures => self.features_found(outcome),
            Task::Fetch(purpose) => self.fetched(&purpose, outcome),
        }
    }

    fn prepared(&mut self, pod: Uid, outcome: Outcome) {
        if let Outcome::Done(report) = &outcome
            && let Ok(report) = json::from_slice::<Report<Option<Prepared>>>(report)
        {
            for warning in report.warnings {
                self.warn_of_pod(&pod, "SandboxWarning", warning);
            }
        }
        match result::<Option<Prepared>>(outcome, "FailedCreatePodSandBox") {
            Ok(prepared) => {
                self.watch_sizes(&pod);
                let (attached, said) = prepared.map(|prepared| (prepared.network, prepared.said)).unwrap_or_default();
                for (reason, message) in said {
                    self.warn_of_pod(&pod, &reason, message);
                }
                let ips = self.note_attached(&pod, attached);
                self.inbox.push_back(Event::SandboxReady { pod, ips });
            }
            Err(failure) => self.inbox.push_back(Event::SandboxFailed { pod, failure }),
        }
    }

    fn torn_down(&mut self, pod: Uid, outcome: Outcome) {
        match result::<Option<Prepared>>(outcome, "FailedKillPod") {
            Ok(_) => {
                self.note_detached(&pod);
                self.collect_images_soon();
                if self.discard.remove(&pod).unwrap_or(false)
                    && !self.node.is_evicted(&pod)
                    && let Some(known) = self.node.pod(&pod)
                {
                    let meta = &known.metadata;
                    self.logs.remove(self.config.layout.pod_logs(&meta.namespace, &meta.name, &pod));
                    self.renew_log_watch();
                }
                self.inbox.push_back(Event::SandboxGone { pod });
            }
            Err(failure) => self.inbox.push_back(Event::TeardownFailed { pod, failure }),
        }
    }

    /// `launch` has become the runtime, and that has ended.
    fn launched(&mut self, seq: Seq, outcome: Outcome) {
        let Some(record) = self.instances.get(&seq).map(|i| i.record.clone()) else { return };
        let directory = self.config.layout.container(&record.id);
        match outcome {
            Outcome::Done(report) => {
                warn_of(&report, &record.id);
                if let Some(pid) = instance::read_pid(&directory) {
                    self.has_process(seq, pid, record.mode);
                } else {
                    let message = "the runtime reports success but leaves no pid file".to_owned();
                    self.start_failed(seq, "CreateContainerError", message);
                }
            }
            Outcome::Failed(report, why) => {
                let said = json::from_slice::<Report<()>>(&report).ok().and_then(|r| r.failure);
                let failure = said.unwrap_or_else(|| {
                    let mut failure = log_failure(&directory);
                    if failure.message.is_empty() {
                        failure.message = why;
                    }
                    failure
                });
                // A runtime that was killed half-way may have left a process behind.
                let _ = self.cgroups.kill_once(&record.cgroup);
                self.start_failed(seq, &failure.reason, failure.message);
            }
        }
        if record.mode == StartMode::Run {
            self.runs_in_flight = self.runs_in_flight.saturating_sub(1);
            if self.runs_in_flight == 0
                && let Err(error) = self.link.keep_unknown(false)
            {
                log::error!("init does not answer: {error}");
            }
        }
    }

    /// The container has a first process: from now on init tells its end.
    fn has_process(&mut self, seq: Seq, pid: u32, mode: StartMode) {
        let start_time = process::stat(pid).ok().map(|s| s.start_time);
        let pidfd = process::open(pid).ok();
        let registered = self.link.register(pid, seq.0);
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        instance.record.pid = Some(pid);
        instance.record.start_time = start_time;
        instance.pidfd = pidfd;
        instance.phase = if mode == StartMode::Run { Phase::Running } else { Phase::Created };
        let directory = self.config.layout.container(&instance.record.id);
        match instance::save(&directory, &instance.record) {
            Ok(()) => crate::runtime::launch::shrink(&directory),
            Err(error) => log::error!("{error}"),
        }
        match registered {
            Ok(_) => {
                self.inbox.push_back(match mode {
                    StartMode::Run => Event::Started { seq, pid },
                    StartMode::Create => Event::Created { seq, pid },
                });
                self.take_exit_records();
            }
            Err(refused) => {
                log::warn!("container {}: init does not know process {pid}: {refused}", instance.record.id);
                self.start_failed(seq, "CreateContainerError", format!("its process {pid} died before it was started"));
            }
        }
    }

    fn created_started(&mut self, seq: Seq, outcome: Outcome) {
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        match outcome {
            Outcome::Done(_) => {
                if instance.phase == Phase::Created {
                    instance.phase = Phase::Running;
                }
                let pid = instance.record.pid.unwrap_or(0);
                self.inbox.push_back(Event::Started { seq, pid });
            }
            Outcome::Failed(_, why) => {
                let mut failure = log_failure(&self.config.layout.container(&instance.record.id));
                if failure.message.is_empty() {
                    failure.message = why;
                }
                // The created container is still there; nothing of it may run.
                self.kill(seq);
                self.inbox.push_back(Event::StartFailed {
                    seq,
                    failure: Failure { reason: "RunContainerError".to_owned(), message: failure.message },
                });
            }
        }
    }

    fn cleaned_up(&mut self, seq: Seq, outcome: Outcome) {
        match result::<()>(outcome, "FailedKillPod") {
            Ok(()) => {
                if let Some(instance) = self.instances.remove(&seq)
                    && let Some(pid) = instance.record.pid
                    && instance.exit.is_none()
                {
                    // Its end was never told; the registration must not outlive it.
                    log::debug!("container {} (process {pid}) is removed", instance.record.id);
                    let _ = self.link.unregister(seq.0);
                }
                // Streams that the log writer was never told of, since a start failed half way, are still with init.
                log::debug!("instance {} is removed", seq.0);
                for stream_id in stream_ids(seq) {
                    let _ = self.link.release(stream_id);
                }
                self.inbox.push_back(Event::Removed { seq });
            }
            Err(failure) => self.inbox.push_back(Event::RemoveFailed { seq, failure }),
        }
    }
}

fn warn_of(report: &[u8], id: &str) {
    if let Ok(report) = json::from_slice::<Report<()>>(report) {
        for warning in report.warnings {
            log::warn!("container {id}: {warning}");
        }
    }
}

/// A helper's result, or why there is none.
pub(super) fn result<T: Deserialize + Default>(outcome: Outcome, reason: &str) -> Result<T, Failure> {
    let (report, why) = match outcome {
        Outcome::Done(report) => (report, None),
        Outcome::Failed(report, why) => (report, Some(why)),
    };
    let report = json::from_slice::<Report<T>>(&report);
    match (report, why) {
        (Ok(report), None) => {
            for warning in &report.warnings {
                log::warn!("{warning}");
            }
            Ok(report.result.unwrap_or_default())
        }
        (Ok(Report { failure: Some(failure), .. }), Some(_)) => {
            Err(Failure { reason: failure.reason, message: failure.message })
        }
        (_, Some(why)) => Err(Failure { reason: reason.to_owned(), message: why }),
        (Err(error), None) => {
            let message = format!("its helper's report cannot be read: {error}");
            Err(Failure { reason: reason.to_owned(), message })
        }
    }
}
