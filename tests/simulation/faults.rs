//! What goes wrong, and what people do, between two steps.

use std::rc::Rc;

use gatepost::pod::event::{Condition, Event, Failure, Uid};

use super::super::machine::LONGEST_GIVEN;
use super::super::manifests;
use super::World;

impl World {
    pub(super) fn fault(&mut self) -> Result<(), String> {
        match self.random.below(17) {
            0 | 1 => self.change_manifests(),
            2 => self.restart(false, 0),
            3 if self.random.percent(40) => self.restart(true, 0),
            4 | 5 => {
                let ahead = i64::try_from(self.random.below(1 << 40)).unwrap();
                self.machine.wall += if self.random.percent(50) { ahead } else { -ahead };
                self.tell(Event::Tick)
            }
            6 | 7 => {
                let condition = self.random.pick(&[Condition::Clock, Condition::Path("/dev/x".to_owned())]).clone();
                let met = self.random.percent(60);
                self.truth.insert(condition.clone(), met);
                if self.told.contains(&condition) { self.tell(Event::Condition { condition, met }) } else { Ok(()) }
            }
            8 => self.tell(Event::ImagesChanged),
            9 | 10 => {
                let live: Vec<_> = self.machine.instances.keys().copied().collect();
                if !live.is_empty() {
                    let seq = *self.random.pick(&live);
                    if let Some(event) = self.machine.end(seq, 137) {
                        self.reports.push((self.machine.boot, event));
                    }
                }
                Ok(())
            }
            11 | 12 => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                let container = self.random.percent(50).then(|| Rc::from("app0"));
                self.restart_pod(&pod, container)
            }
            13 => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                self.quarantined.remove(&pod);
                let grace =
                    self.random.percent(50).then_some(i64::try_from(self.random.below(5)).unwrap().min(LONGEST_GIVEN));
                if let Some(grace) = grace {
                    let known = self.machine.grace.entry(pod.clone()).or_insert(grace);
                    *known = grace.min(*known);
                }
                self.tell(Event::Delete { pod, grace })
            }
            14 if self.random.percent(20) => {
                let Some(pod) = self.any_pod() else { return Ok(()) };
                // It has just crashed over this pod for the second time.
                self.quarantined.insert(pod);
                self.restart(false, 0)
            }
            // One falls ill, or gets well.
            15 => {
                let live: Vec<_> = self.machine.instances.keys().copied().collect();
                if !live.is_empty() {
                    let boot = self.machine.boot;
                    let instance = self.machine.instances.get_mut(self.random.pick(&live)).unwrap();
                    instance.sick_since = instance.sick_since.is_none().then_some(boot);
                }
                Ok(())
            }
            // A word out of place.
            _ => {
                let known: Vec<_> = self.containers.keys().copied().collect();
                if known.is_empty() {
                    return Ok(());
                }
                let seq = *self.random.pick(&known);
                if !self.over.contains(&seq) {
                    return self.tell(Event::Tick);
                }
                let failure = Failure { reason: "ENOSPC".to_owned(), message: "simulated".to_owned() };
                // What still starts it, or says that it has started, is heard of only while it is not removed.
                let there = self.node.instance(seq).is_some();
                let event = match self.random.below(4) {
                    0 if there => Event::Created { seq, pid: 1 },
                    1 if there => Event::Started { seq, pid: 1 },
                    2 => Event::MarkFailed { seq, failure },
                    _ => Event::Marked { seq },
                };
                self.tell(event)
            }
        }
    }

    /// A person restarts it; a pod that is done comes back as a whole.
    pub(super) fn restart_pod(&mut self, pod: &Uid, container: Option<Rc<str>>) -> Result<(), String> {
        self.quarantined.remove(pod);
        self.clear_rules(|uid| uid == pod);
        let done = self.node.pod_objects(self.machine.now()).into_iter().any(|object| {
            object.metadata.uid == **pod && matches!(object.status.phase.as_str(), "Succeeded" | "Failed")
        });
        self.machine.allow_a_run(pod, container.as_deref().filter(|_| !done));
        self.tell(Event::Restart { pod: pod.clone(), container })
    }

    fn any_pod(&mut self) -> Option<Uid> {
        let uids: Vec<Uid> = self.node.uids().cloned().collect();
        (!uids.is_empty()).then(|| self.random.pick(&uids).clone())
    }

    pub(super) fn change_manifests(&mut self) -> Result<(), String> {
        for name in 0..self.desired.len() {
            if self.random.percent(30) {
                let version = usize::try_from(self.random.below(manifests::VERSIONS)).unwrap();
                self.desired[name] = self.random.percent(80).then_some(version);
            }
        }
        self.tell_desired()
    }
}
