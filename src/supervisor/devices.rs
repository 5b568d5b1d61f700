//! [`Devices`]: the devices that pods may ask for, kept current by what the kernel tells. Without the setting `devices` nothing is
//! open and nobody looks.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify;

use super::Supervisor;
use super::act::Task;
use super::find_devices::{Report, Request, VERSION};
use super::helpers::{Command, Job, Outcome};
use crate::config;
use crate::json;
use crate::pod::event::{Device, Event, Seq};
use crate::pod::time::Instant;
use crate::runtime::devices::GivenDevice;
use crate::sorted::BTreeMap;
use crate::sys::uevent::DeviceChange;

/// Milliseconds a look may take.
const LOOK_MS: u64 = 30_000;

/// Milliseconds without news before a look. What is plugged in comes in several steps, its raw node before the one of its driver, and
/// goes in as many: who looks between two of them takes the raw node for the device.
const QUIET_MS: u64 = 500;

/// Milliseconds from the first news to the look, however much comes after it.
const NEWS_MS: u64 = 3_000;

/// Milliseconds until a look that failed is tried again.
const RETRY_MS: u64 = 10_000;

/// What is known of the devices, and what tells of changes.
#[derive(Debug, Default)]
pub(super) struct Devices {
    kernel: Option<DeviceChange>,
    paths: Option<OwnedFd>,
    /// Directories watched by `paths`, and the name in each that matters.
    watches: Vec<(i32, String)>,
    /// What was found last.
    there: Option<BTreeMap<String, Device>>,
    /// When to look.
    due: Option<Instant>,
    /// The first news since the last look began.
    news: Option<Instant>,
    looking: bool,
    /// What the last look found was left aside, since there was news meanwhile. Never twice in a row.
    left_aside: bool,
}

impl Devices {
    pub(super) fn new(setting: &[config::Device]) -> Self {
        if setting.is_empty() {
            return Self { there: Some(BTreeMap::new()), ..Self::default() };
        }
        let unheard = |error: &dyn std::fmt::Display| log::error!("devices that come and go are not noticed: {error}");
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        Self {
            kernel: DeviceChange::watch().inspect_err(|error| unheard(error)).ok(),
            paths: inotify::init(flags).inspect_err(|error| unheard(error)).ok(),
            due: Some(Instant::default()),
            ..Self::default()
        }
    }

    /// The descriptors to wait on.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.kernel.as_ref().map(AsFd::as_fd).into_iter().chain(self.paths.as_ref().map(AsFd::as_fd))
    }

    /// When there is to be a look.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.looking)
    }

    /// Reads what the descriptors say; a look is due where it may matter.
    pub(super) fn changed(&mut self, now: Instant) {
        let mut concerned = self.kernel.as_mut().is_some_and(DeviceChange::acknowledge);
        if let Some(paths) = &self.paths {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(paths, &mut buffer);
            while let Ok(event) = reader.next() {
                let name = event.file_name().map(|name| name.to_string_lossy());
                let of = |(watch, awaited): &(i32, String)| {
                    *watch == event.wd() && name.as_ref().is_none_or(|name| name == awaited)
                };
                // While a look is under way nobody knows its watches yet.
                concerned |= self.looking || event.wd() < 0 || self.watches.iter().any(of);
            }
        }
        if concerned {
            self.news_at(now);
        }
    }

    /// Something came or went.
    fn news_at(&mut self, now: Instant) {
        let first = *self.news.get_or_insert(now);
        self.due = Some(now.after(QUIET_MS).min(first.after(NEWS_MS)));
    }

    /// A look begins.
    fn begin_look(&mut self) {
        (self.due, self.news, self.looking) = (None, None, true);
    }

    /// Whether what a look has found is to be believed; else there is another one soon.
    fn believes(&mut self) -> bool {
        self.left_aside = self.news.is_some() && !self.left_aside;
        !self.left_aside
    }

    /// Watches nothing but what was found to matter.
    fn watch_only(&mut self, watches: Vec<(i32, String)>) {
        let old = std::mem::replace(&mut self.watches, watches);
        for (watch, _) in old {
            if let Some(paths) = self.paths.as_ref().filter(|_| self.watches.iter().all(|(now, _)| *now != watch)) {
                // It may have gone with its directory.
                let _ = inotify::remove_watch(paths, watch);
            }
        }
    }
}

impl Supervisor {
    /// Starts a look if one is due; one at a time.
    pub(super) fn look_for_devices(&mut self, now: Instant) {
        if self.devices.deadline().is_none_or(|at| at > now) {
            return;
        }
        self.devices.begin_look();
        let request = Request { version: VERSION, devices: self.config.devices.clone() };
        let request = json::to_vec(&request).unwrap_or_default();
        // A copy, since what starts helpers needs the whole supervisor.
        let paths = self.devices.paths.as_ref().and_then(|paths| paths.try_clone().ok());
        let passed = paths.as_ref().map(AsFd::as_fd);
        let (task, command) = (Task::FindDevices, Command::Role("find-devices"));
        self.start_helper(Job { task, command, request, output: None, passed, bound_ms: LOOK_MS });
    }

    /// A look has ended.
    pub(super) fn devices_found(&mut self, outcome: Outcome) {
        self.devices.looking = false;
        let report = match outcome {
            Outcome::Done(report) => json::from_slice::<Report>(&report).map_err(|error| error.to_string()),
            Outcome::Failed(_, why) => Err(why),
        };
        match report {
            Ok(report) => {
                self.devices.watch_only(report.watches);
                if self.devices.believes() && self.devices.there.as_ref() != Some(&report.there) {
                    self.devices.there = Some(report.there.clone());
                    self.inbox.push_back(Event::Devices(report.there));
                }
            }
            Err(why) => {
                log::warn!("cannot look for the devices of the setting `devices`: {why}; it is tried again");
                self.devices.due = Some(self.now().boot.after(RETRY_MS));
            }
        }
    }

    /// The names of the setting, and whether the device of each is there.
    pub(super) fn known_devices(&self) -> BTreeMap<String, bool> {
        let there = |name: &str| self.devices.there.as_ref().is_some_and(|there| there.contains_key(name));
        self.config.devices.iter().map(|device| (device.name.clone(), there(&device.name))).collect()
    }

    /// The devices that an instance is given, and where it finds them.
    pub(super) fn devices_of(&self, seq: Seq) -> Vec<GivenDevice> {
        let given = self.node.devices_of(seq);
        let place = |name: &str| self.config.devices.iter().find(|device| device.name == name);
        let given = given.into_iter().filter_map(|(name, device)| {
            let Device { block, major, minor, .. } = device;
            Some(GivenDevice { path: place(&name)?.container_path.clone(), block, major, minor })
        });
        given.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_waits_until_all_of_a_device_has_come() {
        let mut devices = Devices::default();
        let at = |ms: u64| Instant::default().after(ms);
        devices.news_at(at(0));
        devices.news_at(at(400));
        assert_eq!(devices.deadline(), Some(at(900)));
        for ms in (500..5_000).step_by(100) {
            devices.news_at(at(ms));
        }
        assert_eq!(devices.deadline(), Some(at(NEWS_MS)), "a plug with a loose contact does not put it off for ever");
    }

    #[test]
    fn what_was_found_while_a_device_came_is_left_aside_once() {
        let mut devices = Devices::default();
        devices.begin_look();
        assert!(devices.believes());
        devices.begin_look();
        devices.news_at(Instant::default());
        assert!(!devices.believes());
        devices.begin_look();
        devices.news_at(Instant::default());
        assert!(devices.believes(), "it comes and goes without end");
    }
}
