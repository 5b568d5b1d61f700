//! What must be true between two steps, and at the end of all faults.

use std::rc::Rc;

use gatepost::manifest::v1::RestartPolicy;
use gatepost::pod::event::{Action, ContainerRef, Event, Seq, Uid};
use gatepost::pod::status::{ContainerStatus, PodObject};

use super::World;

/// What nobody wants runs no longer than this, in milliseconds: a runtime's call hangs for a quarter of an hour at most, and
/// what it has started then gets its grace.
const LONGEST_UNWANTED: u64 = 30 * 60_000;

impl World {
    pub(super) fn check_deadline(&self) -> Result<(), String> {
        match self.node.deadline() {
            Some(at) if at.0 <= self.machine.boot => Err(format!("the deadline {at:?} stays in the past")),
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let now = self.machine.boot;
        for (seq, instance) in &self.machine.instances {
            let late = |since: &u64| now.saturating_sub(*since) > 3 * 3_600_000;
            let unwanted = |since: &u64| now.saturating_sub(*since) > LONGEST_UNWANTED;
            let spec = self.machine.spec(&instance.container);
            let probed = spec.liveness_probe.is_some() || spec.startup_probe.is_some();
            let cared_for = !self.quarantined.contains(&instance.container.pod) && !instance.denied;
            if !instance.ended() && probed && cared_for && instance.sick_since.as_ref().is_some_and(late) {
                return Err(format!("{seq:?} of {:?} runs on though its probes fail", instance.container));
            }
            let overdue = instance.kill_by.is_some_and(|at| at < now);
            if !instance.ended() && overdue && !self.quarantined.contains(&instance.container.pod) {
                let (container, signalled) = (&instance.container, instance.signalled);
                let due = instance.kill_by;
                return Err(format!(
                    "{seq:?} of {container:?}, signalled at {signalled:?}, is not killed at {due:?} but lives at {now}"
                ));
            }
            let pod = &instance.container.pod;
            if !instance.ended() && self.unwanted_since.get(pod).is_some_and(unwanted) && !self.left_alone(pod) {
                return Err(format!("{seq:?} of {:?} still runs though nobody wants it", instance.container));
            }
        }
        if !self.steps.is_multiple_of(16) {
            return Ok(());
        }
        self.check_next_actions()?;
        if self.next_moment().is_some() {
            return Ok(());
        }
        self.check_settled(false)
    }

    /// A supervisor crashed over it, though its manifest was gone by then: it is a person's to delete.
    fn left_alone(&self, pod: &Uid) -> bool {
        let objects = self.node.pod_objects(self.machine.now());
        objects.iter().any(|object| *object.metadata.uid == **pod && object.status.reason == "Quarantined")
    }

    /// The program of a container that runs once is started only when a power cut would not let it run again.
    pub(super) fn check_marked(&self, seq: Seq) -> Result<(), String> {
        let Some(container @ ContainerRef { pod, name }) = self.containers.get(&seq) else { return Ok(()) };
        let marked = self.disk.pods.get(pod).is_some_and(|durable| durable.marks.contains(name));
        if self.machine.never(container) && !marked {
            return Err(format!("{seq:?} of {pod} {name} is started before its mark is on disk"));
        }
        Ok(())
    }

    /// Every pod that is not where it should be has something of its own that takes it further.
    fn check_next_actions(&self) -> Result<(), String> {
        if self.stopping {
            return Ok(());
        }
        let objects = self.node.pod_objects(self.machine.now());
        for (name, wanted) in self.desired.iter().enumerate() {
            let uid = wanted.map(|version| &self.library[name][version].pod.metadata.uid);
            if uid.is_some_and(|uid| !objects.iter().any(|object| object.metadata.uid == *uid)) {
                return Err(format!("{uid:?} is wanted and not known"));
            }
        }
        for object in &objects {
            let uid = object.metadata.uid.as_str();
            let status = &object.status;
            if status.reason == "Quarantined" || self.node.pod_deadline(uid).is_some() || self.is_asked(uid, None) {
                continue;
            }
            let waits = || {
                let all = status.init_container_statuses.iter().chain(&status.container_statuses);
                let states: Vec<_> = all.map(|c| (&c.name, &c.state)).collect();
                Err(format!("{uid} ({} {}) waits for nothing: {states:?}", status.phase, status.reason))
            };
            let done = matches!(status.phase.as_str(), "Succeeded" | "Failed");
            if status.reason == "WaitingForPredecessor" {
                let same = |other: &&PodObject| other.metadata.name == object.metadata.name;
                if objects.iter().filter(same).count() < 2 {
                    return waits();
                }
            } else if object.metadata.deletion_timestamp.is_some() || (done && self.machine.sandboxes.contains(uid)) {
                let all = object.spec.init_containers.iter().chain(&object.spec.containers);
                if !all.into_iter().any(|c| self.is_asked(uid, Some(&c.name))) {
                    return waits();
                }
            } else if !done {
                // One that runs again, in the pod's next life, shows its last end until it does.
                let initializes = |c: &&ContainerStatus| {
                    if c.name.starts_with("side") {
                        return !c.started;
                    }
                    c.state.running.is_some()
                        || c.state.terminated.as_ref().is_none_or(|t| t.exit_code != 0)
                        || self.is_asked(uid, Some(&c.name))
                };
                let init = status.init_container_statuses.iter().find(initializes);
                let restarts = |code: i32| match object.spec.restart_policy {
                    RestartPolicy::Always => true,
                    RestartPolicy::OnFailure => code != 0,
                    RestartPolicy::Never => false,
                };
                let stuck = |c: &ContainerStatus| {
                    let due = c.state.terminated.as_ref().map_or(c.state.waiting.is_some(), |t| restarts(t.exit_code));
                    // It may wait for the hook of one before it, which is about to start.
                    let before = || status.container_statuses.iter().any(|c| self.is_asked(uid, Some(&c.name)));
                    due && !self.is_asked(uid, Some(&c.name)) && !before()
                };
                if init.map_or_else(|| status.container_statuses.iter().any(stuck), stuck) {
                    return waits();
                }
            }
        }
        Ok(())
    }

    /// Whether an answer or a word about the pod, or that container of it, is still to come.
    fn is_asked(&self, uid: &str, container: Option<&str>) -> bool {
        let of = |concerned: Option<(&Uid, Option<&Rc<str>>)>| {
            concerned.is_some_and(|(pod, name)| **pod == *uid && name.map(|name| &**name) == container)
        };
        let instance = |seq: &Seq| self.node.instance(*seq).map(|(pod, name)| (pod, Some(name)));
        let asked = self.requests.iter().any(|(_, action)| {
            of(match action {
                Action::PrepareSandbox { pod } | Action::TeardownSandbox { pod, .. } => Some((pod, None)),
                Action::Probe { container, .. } | Action::Hook { container, .. } => Some((&container.pod, None)),
                Action::EnsureImage { container }
                | Action::Start { container, .. }
                | Action::Mark { container, .. } => Some((&container.pod, Some(&container.name))),
                Action::StartCreated { seq } | Action::Remove { seq } => instance(seq),
                Action::Signal { .. } | Action::Kill { .. } | Action::Record(_) => None,
            })
        });
        asked
            || self.reports.iter().any(|(_, event)| match event {
                Event::Exited { seq, .. } if !self.over.contains(seq) => of(instance(seq)),
                _ => false,
            })
    }

    /// Nothing will happen by itself any more: then every pod is where it should be.
    fn check_settled(&self, all: bool) -> Result<(), String> {
        for pod in self.node.pod_objects(self.machine.now()) {
            let uid: Uid = Rc::from(pod.metadata.uid.as_str());
            let status = &pod.status;
            let reason = &status.reason;
            if reason == "Terminated" || reason == "Quarantined" || (!all && reason.starts_with("WaitingFor")) {
                continue;
            }
            let done = matches!(status.phase.as_str(), "Succeeded" | "Failed");
            let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
            let stuck = containers.clone().any(|c| c.state.waiting.is_some());
            if !done && stuck {
                return Err(format!("{uid} waits, and nothing is under way: {status:?}"));
            }
            let always = pod.spec.restart_policy == RestartPolicy::Always;
            let ready = status.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True");
            if always && !ready {
                return Err(format!("{uid} should run, and nothing is under way: {status:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn check_calm(&self) -> Result<(), String> {
        self.check_settled(true)?;
        for (seq, instance) in &self.machine.instances {
            let spec = self.machine.spec(&instance.container);
            if instance.sick_since.is_some() && !instance.ended() && spec.liveness_probe.is_some() {
                return Err(format!("{seq:?} runs on though its probes fail"));
            }
        }
        if let Some((seq, _)) = self.machine.instances.iter().find(|(_, i)| i.ended() && !i.overlooked) {
            return Err(format!("{seq:?} has ended and is never removed"));
        }
        for (name, wanted) in self.desired.iter().enumerate() {
            for (version, pod) in self.library[name].iter().enumerate() {
                let uid = pod.pod.metadata.uid.as_str();
                let known = self.node.uids().any(|other| **other == *uid);
                if known != (*wanted == Some(version)) {
                    return Err(format!("{uid}: wanted {}, known {known}", *wanted == Some(version)));
                }
            }
        }
        Ok(())
    }
}
