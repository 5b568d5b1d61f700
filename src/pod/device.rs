//! [`Devices`]: devices of the node that containers ask for by name. Who has which, and what happens when one goes and comes.
//!
//! A pod has its devices from its sandbox on until that is gone, all of them or none, so that pods never wait for each other in a
//! circle. Within a pod a container has them from its start to its end.
//!
//! | the device | the container waits | the container runs |
//! |---|---|---|
//! | is not there | goes on waiting, without backoff: `DeviceNotFound` | runs on: `DeviceLost` |
//! | comes | starts at once | as below |
//! | comes with its number | | runs on: its node leads there again: `DeviceReturned` |
//! | comes with another number | | is restarted at once, without backoff: `DeviceChanged` |

use std::rc::Rc;

use super::container::{Container, State};
use super::event::Device;
use super::lifecycle::{Pod, Stage};
use super::turn::{Scope, Turn};
use crate::sorted::BTreeMap;

/// The devices that are there, by name; `None` until somebody has looked.
#[derive(Debug, Default)]
pub(crate) struct Devices(pub(crate) Option<BTreeMap<String, Device>>);

/// A device that a container of the pod under work has, and its name.
pub(crate) type Claim = (String, Rc<str>);

impl Pod {
    /// The devices that its containers ask for.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &str> {
        let spec = &self.manifest.spec;
        spec.init_containers.iter().chain(&spec.containers).flat_map(|container| container.resources.devices())
    }

    /// What it asks for is its own now.
    pub(crate) fn holds_devices(&self) -> bool {
        let in_hand =
            matches!(self.stage, Stage::Sandbox { .. } | Stage::Up | Stage::Stopping | Stage::Teardown { .. });
        in_hand && self.devices().next().is_some()
    }

    /// A device it asks for that the other pod holds.
    pub(crate) fn device_held_by<'a>(&'a self, other: &Self) -> Option<&'a str> {
        if !other.holds_devices() {
            return None;
        }
        self.devices().find(|device| other.devices().any(|held| held == *device))
    }
}

impl Container {
    /// The devices that it has.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        let busy = !matches!(self.state, State::Waiting { .. } | State::Ended);
        self.devices.iter().filter(move |_| busy).map(|(device, _)| (device.clone(), Rc::clone(&self.name)))
    }

    /// Takes the devices that it is to start with; false when it cannot have them now. `claims`: those of its pod's others.
    pub(crate) fn take_devices(&mut self, claims: &[Claim], scope: Scope<'_>, turn: &mut Turn<'_>) -> bool {
        if !matches!(self.state, State::Waiting { .. }) {
            return true;
        }
        let Some(spec) = scope.spec(&self.name) else { return true };
        let mut taken = BTreeMap::new();
        let mut lack = None;
        for name in spec.resources.devices() {
            let Some(there) = &turn.devices.0 else { return false };
            if let Some((_, holder)) = claims.iter().find(|(claimed, _)| claimed == name) {
                lack = Some(("DeviceInUse", format!("{name} is in use by the container {holder} of this pod")));
            } else if let Some(device) = there.get(name) {
                taken.insert(name.to_owned(), device.clone());
            } else {
                let text =
                    format!("{name} is not there: no device of this node is what the setting `devices` says of it");
                lack = Some(("DeviceNotFound", text));
            }
        }
        self.devices = taken;
        match lack {
            None => {
                if self.lacks.take().is_some() {
                    self.clear_backoff();
                }
                true
            }
            Some((reason, text)) => {
                self.note_lack(reason, text, scope, turn);
                false
            }
        }
    }

    /// What it was given is still there under the same number.
    pub(crate) fn has_its_devices(&self, turn: &Turn<'_>) -> bool {
        let there = |name, device: &Device| turn.devices.get(name).is_some_and(|there| there.is(device));
        self.devices.iter().all(|(name, device)| there(name, device))
    }

    /// Its devices while it runs.
    pub(crate) fn look_after_devices(&mut self, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let (State::Running { .. }, Some(there), false) = (&self.state, &turn.devices.0, self.restart) else { return };
        let mut lost = None;
        for (name, given) in &self.devices {
            match there.get(name) {
                Some(found) if found.is(given) => {}
                Some(found) => {
                    let (now, before) = (found.number(), given.number());
                    let text = format!("{name} has come back as {now} ({}), before {before}: Restarting", found.path);
                    self.record(scope, turn, false, "DeviceChanged", text);
                    self.lacks = None;
                    self.clear_backoff();
                    self.restart = true;
                    return;
                }
                None => lost = Some(name.clone()),
            }
        }
        match lost {
            Some(name) => {
                let text = format!("{name} is gone; the container runs on");
                self.note_lack("DeviceLost", text, scope, turn);
            }
            None if self.lacks.take().is_some() => {
                self.record(scope, turn, false, "DeviceReturned", "All devices are there again".to_owned());
            }
            None => {}
        }
    }

    fn note_lack(&mut self, reason: &str, text: String, scope: Scope<'_>, turn: &mut Turn<'_>) {
        if self.lacks.as_ref() != Some(&text) {
            self.record(scope, turn, true, reason, text.clone());
            self.lacks = Some(text);
        }
    }
}

impl Devices {
    fn get(&self, name: &str) -> Option<&Device> {
        self.0.as_ref()?.get(name)
    }
}

impl Device {
    /// Whether it has the same number.
    pub fn is(&self, other: &Self) -> bool {
        (self.block, self.major, self.minor) == (other.block, other.major, other.minor)
    }

    fn number(&self) -> String {
        format!("{}:{}", self.major, self.minor)
    }
}
