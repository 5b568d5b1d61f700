//! How containers end: init's records, the emptying of the cgroup, the last log lines, and the removal of what is left.
//!
//! A container has ended when its cgroup is empty, not when its first process has. Its exit is stored under `/run` before
//! init's record of it is consumed, so a supervisor killed in between finds either.

use super::Supervisor;
use super::act::{Task, container_of};
use super::helpers::{Command, Job, Outcome};
use super::instance::{self, Phase};
use super::token::Token;
use crate::json;
use crate::log::last_words;
use crate::pod::event::{Event, Exit, Seq};
use crate::pod::time::Now;
use crate::wire;

/// First wait in milliseconds for killed processes to be gone; doubled up to [`LAST_LOOK_MS`].
pub(super) const FIRST_LOOK_MS: u64 = 2;
/// Longest wait in milliseconds for the end of a log as termination message: the restart waits for it.
const LAST_WORDS_MS: u64 = 2000;
/// Longest wait in milliseconds between two looks.
const LAST_LOOK_MS: u64 = 1000;

impl Supervisor {
    /// Takes every waiting exit record: stores, then consumes, then acts.
    pub(super) fn take_exit_records(&mut self) {
        loop {
            let records = match self.link.peek_exit_records() {
                Ok(records) => records,
                Err(error) => {
                    log::error!("cannot read init's exit records: {error}");
                    return;
                }
            };
            if records.is_empty() {
                return;
            }
            let mut ended = Vec::new();
            for record in &records {
                let seq = Seq(record.token);
                let Some(instance) = self.instances.get(&seq) else {
                    log::debug!("init tells the end of container instance {}, which is not known here", record.token);
                    continue;
                };
                // A repeat: the supervisor before died between storing and consuming.
                if instance.exit.is_some() || instance.phase == Phase::Ended {
                    continue;
                }
                let message = instance::termination_message(&instance.record.termination_message);
                let exit = instance::exit_of(record, message);
                let directory = self.config.layout.container(&instance.record.id);
                if let Err(error) = instance::save_exit(&directory, &exit) {
                    log::error!("the end of container {} is not stored: {error}", instance.record.id);
                }
                ended.push((seq, exit));
            }
            if let Err(error) = self.link.consume_exit_records(records.len()) {
                log::error!("cannot consume init's exit records: {error}");
                return;
            }
            for (seq, exit) in ended {
                self.first_process_ended(seq, exit);
            }
        }
    }

    /// A process that is not init's child has ended: how, nobody knows.
    pub(super) fn foreign_ended(&mut self, seq: Seq) {
        let Now { boot, wall } = self.now();
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        if let Some(pidfd) = instance.pidfd.take() {
            let _ = self.epoll.remove(&pidfd);
        }
        let exit = instance::unseen_exit(boot, wall);
        let directory = self.config.layout.container(&instance.record.id);
        if let Err(error) = instance::save_exit(&directory, &exit) {
            log::error!("the end of container {} is not stored: {error}", instance.record.id);
        }
        self.first_process_ended(seq, exit);
    }

    /// Kills what is left in its cgroup, and waits until that is gone.
    pub(super) fn first_process_ended(&mut self, seq: Seq, exit: Exit) {
        let now = self.now();
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        instance.exit = Some(exit);
        instance.pidfd = None;
        // While the runtime is at work its outcome comes first: a start that failed is no exit.
        if instance.phase != Phase::Launching {
            instance.phase = Phase::Emptying;
            instance.look_again = Some((now.boot, FIRST_LOOK_MS));
            self.look_at_emptying(now);
        }
    }

    /// Looks at every cgroup that is being emptied and due for a look.
    pub(super) fn look_at_emptying(&mut self, now: Now) {
        let due: Vec<Seq> = self
            .instances
            .iter()
            .filter(|(_, i)| i.look_again.is_some_and(|(at, _)| at <= now.boot))
            .map(|(seq, _)| *seq)
            .collect();
        for seq in due {
            self.look_at(seq, now);
        }
    }

    fn look_at(&mut self, seq: Seq, now: Now) {
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        if instance.phase == Phase::Telling {
            // Whatever holds the log up, the end is told now.
            return self.tell_end(seq);
        }
        let cgroup = instance.record.cgroup.clone();
        let empty = match self.cgroups.is_empty(&cgroup) {
            Ok(false) => {
                if let Err(error) = self.cgroups.kill_once(&cgroup) {
                    log::warn!("cannot kill what is left of container {}: {error}", instance.record.id);
                }
                self.cgroups.is_empty(&cgroup).unwrap_or(false)
            }
            // Gone is empty; what else is wrong with it, cleaning up will say.
            Ok(true) | Err(_) => true,
        };
        if !empty {
            let wait = instance.look_again.map_or(FIRST_LOOK_MS, |(_, wait)| wait);
            instance.look_again = Some((now.boot.after(wait), wait.saturating_mul(2).min(LAST_LOOK_MS)));
            return;
        }
        if instance.phase == Phase::Ended {
            instance.look_again = None;
            return self.inbox.push_back(Event::Emptied { seq });
        }
        if let Some(exit) = &mut instance.exit {
            // A container that lost a process and still came to a good end was not killed.
            exit.oom_killed = exit.code != 0 && self.cgroups.oom_kills(&cgroup).is_ok_and(|kills| kills > 0);
        }
        if self.falls_back_to_log(seq) {
            if let Some(instance) = self.instances.get_mut(&seq) {
                instance.phase = Phase::Telling;
                instance.look_again = Some((now.boot.after(LAST_WORDS_MS), 0));
            }
            self.close_streams(seq);
            if self.instances.get(&seq).is_some_and(|i| i.open_streams == 0) {
                self.read_last_words(seq);
            }
            return;
        }
        self.tell_end(seq);
        self.close_streams(seq);
    }

    /// The core is told how it ended.
    fn tell_end(&mut self, seq: Seq) {
        let Some(instance) = self.instances.get_mut(&seq) else { return };
        self.probes.forget(seq);
        instance.look_again = None;
        instance.phase = Phase::Ended;
        if let Some(exit) = instance.exit.clone() {
            self.inbox.push_back(Event::Exited { seq, exit });
            // Where its start had failed before, which the core has been told.
            self.inbox.push_back(Event::Emptied { seq });
        }
        self.clean_up_if_ready(seq);
    }

    /// Whether the end of its log is to be its termination message.
    fn falls_back_to_log(&self, seq: Seq) -> bool {
        let Some(instance) = self.instances.get(&seq) else { return false };
        let container = &instance.record.container;
        let silent = instance.exit.as_ref().is_some_and(|exit| exit.code != 0 && exit.message.is_empty());
        silent
            && self
                .node
                .pod(&container.pod)
                .and_then(|pod| container_of(&pod, &container.name).map(|c| c.termination_message_policy.clone()))
                .is_some_and(|policy| policy == "FallbackToLogsOnError")
    }

    /// Its log is stored to its end: fetch the last lines.
    fn read_last_words(&mut self, seq: Seq) {
        let Some(record) = self.instances.get(&seq).map(|i| &i.record) else { return };
        let (ns, pod, uid) = (&record.namespace, &record.pod_name, &record.container.pod);
        let path = self.config.layout.container_log(ns, pod, uid, &record.container.name, record.attempt);
        let request = last_words::Request { version: last_words::VERSION, path };
        let request = json::to_vec(&request).unwrap_or_default();
        let command = Command::Role("log-tail");
        self.start_helper(Job {
            task: Task::LastWords(seq),
            command,
            request,
            output: None,
            passed: None,
            bound_ms: LAST_WORDS_MS,
        });
    }

    /// The end of its log is here, or cannot be had.
    pub(super) fn last_words_read(&mut self, seq: Seq, outcome: Outcome) {
        let Some(instance) = self.instances.get_mut(&seq).filter(|i| i.phase == Phase::Telling) else { return };
        if let (Outcome::Done(report), Some(exit)) = (outcome, &mut instance.exit)
            && let Ok(report) = json::from_slice::<last_words::Report>(&report)
        {
            exit.message = report.text;
        }
        self.tell_end(seq);
    }

    /// The log writer stores what the container said last; init lets go of the streams when that is done.
    pub(super) fn close_streams(&mut self, seq: Seq) {
        for stream_id in stream_ids(seq) {
            self.logs.close(stream_id);
        }
        self.renew_log_watch();
        let open = stream_ids(seq).into_iter().filter(|id| self.logs.is_open(*id)).count();
        if let Some(instance) = self.instances.get_mut(&seq) {
            instance.open_streams = u32::try_from(open).unwrap_or(u32::MAX);
        }
        self.clean_up_if_ready(seq);
    }

    /// A stream is stored to its end.
    pub(super) fn stream_closed(&mut self, stream_id: u64) {
        log::debug!("stream {stream_id} of instance {} is stored", wire::hold_seq(stream_id));
        if let Err(error) = self.link.release(stream_id) {
            log::warn!("init keeps the log stream {stream_id}: {error}");
        }
        let seq = Seq(wire::hold_seq(stream_id));
        if let Some(instance) = self.instances.get_mut(&seq) {
            instance.open_streams = instance.open_streams.saturating_sub(1);
            // One that the log writer refuses while the container runs says nothing about the other.
            if instance.open_streams == 0 && matches!(instance.phase, Phase::Telling | Phase::Ended) {
                instance.record.stored = true;
                let directory = self.config.layout.container(&instance.record.id);
                if let Err(error) = instance::save(&directory, &instance.record) {
                    log::error!("{error}");
                }
            }
            if instance.open_streams == 0 && instance.phase == Phase::Telling {
                self.read_last_words(seq);
            }
        }
        self.clean_up_if_ready(seq);
    }

    /// Removes what is left, once the core wants it and the log is stored.
    pub(super) fn clean_up_if_ready(&mut self, seq: Seq) {
        let ready =
            self.instances.get(&seq).is_some_and(|i| i.remove && i.open_streams == 0 && i.phase == Phase::Ended);
        if ready {
            self.starts.queue_clean_up(seq);
        }
    }

    /// Sends a signal to a container's first process.
    pub(super) fn signal(&mut self, seq: Seq, signal: i32) {
        let Some(instance) = self.instances.get(&seq) else { return };
        let Some(signal) = crate::sys::signal::Signal::from_named_raw(signal) else {
            log::warn!("container {}: there is no signal {signal}", instance.record.id);
            return;
        };
        if let Some(pidfd) = &instance.pidfd
            && let Err(error) = crate::sys::process::signal(pidfd, signal)
        {
            // It has just ended; its exit is on the way.
            log::debug!("container {}: {signal:?} is not delivered: {error}", instance.record.id);
        }
    }

    /// SIGKILL to everything in a container's cgroup.
    pub(super) fn kill(&mut self, seq: Seq) {
        let Some(instance) = self.instances.get(&seq) else { return };
        if let Err(error) = self.cgroups.kill_once(&instance.record.cgroup) {
            log::warn!("container {}: cannot kill its cgroup: {error}", instance.record.id);
        }
        self.signal(seq, crate::sys::signal::Signal::KILL.as_raw());
    }

    /// Waits for the end of a process that is not init's child.
    pub(super) fn watch_foreign(&mut self, seq: Seq) {
        if let Some(pidfd) = self.instances.get(&seq).and_then(|i| i.pidfd.as_ref()) {
            self.watch(std::os::fd::AsFd::as_fd(pidfd), Token::Foreign(seq), crate::sys::epoll::EventFlags::IN);
        }
    }
}

/// The hold keys of an instance's streams.
pub(super) fn stream_ids(seq: Seq) -> [u64; 3] {
    [0, 1, 2].map(|stream| wire::hold_key(seq.0, stream))
}
