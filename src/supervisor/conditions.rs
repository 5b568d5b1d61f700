//! [`Conditions`]: whether the start conditions of `gatepost.io/start-after` hold, told by the kernel, never polled.
//!
//! The clock by a timerfd that the kernel cancels when the clock is set, routes by rtnetlink, paths by inotify on the nearest
//! directory that is there, which the role [`super::look`] finds.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify;

use super::Supervisor;
use super::act::Task;
use super::helpers::{Command, Job, Outcome};
use super::look::{Report, Request, VERSION};
use crate::json;
use crate::pod::event::{Condition, Event};
use crate::pod::time::Instant;
use crate::sorted::{BTreeMap, BTreeSet};
use crate::sys::clock;
use crate::sys::clock_change::ClockChange;
use crate::sys::route::RouteChange;

/// Wall-clock seconds below which no clock can be right: the day this program was written.
const CLOCK_FLOOR: u64 = 1_790_000_000;

/// Milliseconds a look at a path may take; a path on a disk that stands still is looked for again after [`RETRY_MS`].
const LOOK_MS: u64 = 30_000;

/// Milliseconds until a look that failed is tried again.
const RETRY_MS: u64 = 10_000;

/// The awaited conditions and what watches them. Descriptors exist only while something waits.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// Wall-clock seconds below which the clock has not been set.
    clock_floor: u64,
    state: BTreeMap<Condition, bool>,
    clock: Option<ClockChange>,
    routes: Option<RouteChange>,
    changes: Option<OwnedFd>,
    paths: BTreeMap<String, Awaited>,
}

/// A path that is waited for. Only the role `look` looks it up, since that may wait for a disk.
#[derive(Debug, Default)]
struct Awaited {
    /// What tells of a change: a watch, and the name in its directory.
    watch: Option<(i32, String)>,
    looking: bool,
    /// Looked at since the last change, or about to be at that time.
    looked: bool,
    retry: Option<Instant>,
}

impl Conditions {
    /// Nothing is awaited yet. A clock before `modified`, the last change of the configuration, cannot be right.
    pub(crate) fn new(modified: u64) -> Self {
        Self { clock_floor: CLOCK_FLOOR.max(modified), ..Self::default() }
    }

    /// Watches exactly `awaited` from now on and tells every one whose state is new.
    pub(crate) fn await_exactly(&mut self, awaited: &BTreeSet<Condition>) -> Vec<(Condition, bool)> {
        self.state.retain(|condition, _| awaited.contains(condition));
        let clock = awaited.contains(&Condition::Clock);
        let route = awaited.contains(&Condition::Route);
        let paths: BTreeSet<_> = awaited.iter().filter_map(path_of).collect();
        self.paths.retain(|path, _| paths.contains(path.as_str()));
        for path in &paths {
            self.paths.entry((*path).to_owned()).or_default();
        }
        // A watch that cannot be had is logged once; the start-after time-out still bounds the wait.
        // What is no longer needed goes last: a new descriptor never has the number of one that was there before, by which
        // the loop knows which ones it waits on already.
        let former = (
            renew(&mut self.clock, clock, "clock", ClockChange::watch),
            renew(&mut self.routes, route, "route", RouteChange::watch),
            renew(&mut self.changes, !paths.is_empty(), "path", || {
                Ok(inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?)
            }),
        );
        drop(former);
        self.judge(awaited.iter().filter(|c| !matches!(c, Condition::Pod(_))).cloned().collect())
    }

    /// Reads what the descriptors say and tells every condition whose state has changed. Paths are to be looked at again.
    pub(crate) fn changed(&mut self) -> Vec<(Condition, bool)> {
        if let Some(clock) = &mut self.clock {
            clock.acknowledge();
        }
        if let Some(routes) = &mut self.routes {
            routes.acknowledge();
        }
        if let Some(changes) = &self.changes {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(changes, &mut buffer);
            while let Ok(event) = reader.next() {
                let name = event.file_name().map(|name| name.to_string_lossy());
                for awaited in self.paths.values_mut().filter(|a| a.concerned(event.wd(), name.as_deref())) {
                    awaited.looked = false;
                }
            }
        }
        self.judge(self.state.keys().cloned().collect())
    }

    /// The descriptors to wait on.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clock = self.clock.as_ref().map(AsFd::as_fd);
        let routes = self.routes.as_ref().map(AsFd::as_fd);
        let changes = self.changes.as_ref().map(AsFd::as_fd);
        clock.into_iter().chain(routes).chain(changes)
    }

    /// When a path is to be looked at again that could not be.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paths.values().filter_map(|awaited| awaited.retry).min()
    }

    /// The paths to look at now; from now on they count as being looked at.
    fn looks_due(&mut self, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for (path, awaited) in &mut self.paths {
            let again = awaited.retry.is_some_and(|at| at <= now);
            if !awaited.looking && (again || (!awaited.looked && awaited.retry.is_none())) {
                *awaited = Awaited { watch: awaited.watch.take(), looking: true, looked: true, retry: None };
                due.push(path.clone());
            }
        }
        due
    }

    /// A look has come to its end; tells a change. `None`: it failed, and is tried again.
    fn looked(&mut self, path: &str, report: Option<Report>, now: Instant) -> Option<(Condition, bool)> {
        let awaited = self.paths.get_mut(path)?;
        awaited.looking = false;
        let Some(report) = report else {
            awaited.retry = Some(now.after(RETRY_MS));
            return None;
        };
        awaited.watch = report.watch;
        let condition = Condition::Path(path.to_owned());
        let before = self.state.insert(condition.clone(), report.there);
        (before != Some(report.there)).then_some((condition, report.there))
    }

    fn clock_is_plausible(&self) -> bool {
        u64::try_from(clock::wall_ms() / 1000).is_ok_and(|now| now >= self.clock_floor)
    }

    fn judge(&mut self, conditions: Vec<Condition>) -> Vec<(Condition, bool)> {
        let mut news = Vec::new();
        for condition in conditions {
            let met = match &condition {
                Condition::Clock => self.clock_is_plausible(),
                Condition::Route => has_default_route(),
                // Unmet until somebody has looked.
                Condition::Path(_) => self.state.get(&condition).copied().unwrap_or(false),
                Condition::Pod(_) => continue,
            };
            if self.state.insert(condition.clone(), met) != Some(met) {
                news.push((condition, met));
            }
        }
        news
    }
}

impl Awaited {
    /// Whether an event may be about it: of its directory, of all, or of one that a look under way has only just found.
    fn concerned(&self, watch: i32, name: Option<&str>) -> bool {
        self.looking
            || watch < 0
            || self
                .watch
                .as_ref()
                .is_some_and(|(own, awaited)| *own == watch && name.is_none_or(|name| name == awaited))
    }
}

impl Supervisor {
    /// Starts a look at each path that needs one.
    pub(super) fn look_at_paths(&mut self, now: Instant) {
        for path in self.conditions.looks_due(now) {
            let request = Request { version: VERSION, path: path.clone() };
            let request = json::to_vec(&request).unwrap_or_default();
            // A copy, since what starts helpers needs the whole supervisor.
            let changes = self.conditions.changes.as_ref().and_then(|changes| changes.try_clone().ok());
            let passed = changes.as_ref().map(AsFd::as_fd);
            let (task, command) = (Task::Look(path), Command::Role("look"));
            self.start_helper(Job { task, command, request, output: None, passed, bound_ms: LOOK_MS });
        }
    }

    /// A look has ended.
    pub(super) fn looked(&mut self, path: &str, outcome: Outcome) {
        let report = match outcome {
            Outcome::Done(report) => json::from_slice::<Report>(&report).map_err(|error| error.to_string()),
            Outcome::Failed(_, why) => Err(why),
        };
        let report = report
            .inspect_err(|why| log::warn!("cannot look for {path}, which a pod waits for: {why}; it is tried again"))
            .ok();
        let now = self.now().boot;
        if let Some((condition, met)) = self.conditions.looked(path, report, now) {
            self.inbox.push_back(Event::Condition { condition, met });
        }
    }
}

fn path_of(condition: &Condition) -> Option<&str> {
    if let Condition::Path(path) = condition { Some(path) } else { None }
}

/// Gives what is no longer wanted.
fn renew<T>(slot: &mut Option<T>, wanted: bool, what: &str, watch: impl FnOnce() -> io::Result<T>) -> Option<T> {
    if !wanted {
        return slot.take();
    }
    if slot.is_none() {
        match watch() {
            Ok(watch) => *slot = Some(watch),
            Err(error) => log::warn!("cannot watch the start condition `{what}`: {error}"),
        }
    }
    None
}

/// A default route of IPv4 (`/proc/net/route`) or IPv6 (`/proc/net/ipv6_route`), not by loopback.
fn has_default_route() -> bool {
    let ipv4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_route_in(&ipv4, &ipv6)
}

fn default_route_in(ipv4: &str, ipv6: &str) -> bool {
    let v4 = ipv4.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace();
        columns.next().is_some_and(|interface| interface != "lo")
            && columns.next() == Some("00000000")
            && columns.nth(5) == Some("00000000")
    });
    let v6 = ipv6.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace();
        columns.next().is_some_and(|destination| destination.bytes().all(|b| b == b'0'))
            && columns.next() == Some("00")
            && line.split_ascii_whitespace().last() != Some("lo")
    });
    v4 || v6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";

    #[test]
    fn a_default_route_is_one_with_destination_and_mask_zero_and_not_loopback() {
        let route = "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let net = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert!(default_route_in(&format!("{HEAD}{net}{route}"), ""));
        assert!(!default_route_in(&format!("{HEAD}{net}"), ""));
        let zero = "0".repeat(32);
        let v6 = |device: &str| format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 {device}\n");
        assert!(default_route_in(HEAD, &v6("eth0")));
        assert!(!default_route_in(HEAD, &v6("lo")));
    }

    /// What the loop does with helpers, here at once.
    fn look(conditions: &mut Conditions) -> Vec<bool> {
        let mut news = Vec::new();
        for path in conditions.looks_due(Instant(0)) {
            let changes = conditions.changes.as_ref().unwrap().try_clone().unwrap();
            let report = crate::supervisor::look::look(changes.as_fd(), path.as_ref());
            news.extend(conditions.looked(&path, Some(report), Instant(0)).map(|(_, met)| met));
        }
        news
    }

    #[test]
    fn a_watch_that_follows_another_is_told_from_it() {
        let path = Condition::Path("/nowhere/at/all".to_owned());
        let mut conditions = Conditions::default();
        let mut before = Vec::new();
        for awaited in [Condition::Clock, Condition::Route, path, Condition::Clock] {
            conditions.await_exactly(&BTreeSet::from([awaited]));
            let now: Vec<_> = conditions.descriptors().map(|d| std::os::fd::AsRawFd::as_raw_fd(&d)).collect();
            assert!(now.len() == 1 && now != before, "{now:?}");
            before = now;
        }
    }

    #[test]
    fn a_path_is_met_when_it_appears_and_unmet_when_it_goes_also_below_a_new_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/tty");
        let condition = Condition::Path(path.to_str().unwrap().to_owned());
        let mut conditions = Conditions::default();
        assert_eq!(conditions.await_exactly(&BTreeSet::from([condition.clone()])), [(condition, false)]);
        assert_eq!(look(&mut conditions), [] as [bool; 0]);
        fs::write(dir.path().join("stranger"), "").unwrap();
        conditions.changed();
        assert_eq!(conditions.looks_due(Instant(0)), [] as [String; 0], "a stranger is none of our business");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [] as [bool; 0]);
        fs::write(&path, "").unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [true]);
        fs::remove_file(&path).unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [false]);
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [] as [bool; 0]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [] as [bool; 0]);
        fs::write(&path, "").unwrap();
        conditions.changed();
        assert_eq!(look(&mut conditions), [true]);
        assert_eq!(conditions.await_exactly(&BTreeSet::new()), []);
        assert_eq!(conditions.descriptors().count(), 0);
    }

    #[test]
    fn a_look_that_failed_is_tried_again_later_and_a_change_during_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tty").to_str().unwrap().to_owned();
        let mut conditions = Conditions::default();
        conditions.await_exactly(&BTreeSet::from([Condition::Path(path.clone())]));
        assert_eq!(conditions.looks_due(Instant(0)), [path.as_str()]);
        assert_eq!(conditions.looks_due(Instant(0)), [] as [String; 0], "it is being looked at");
        assert_eq!(conditions.looked(&path, None, Instant(0)), None);
        assert_eq!(conditions.deadline(), Some(Instant(RETRY_MS)));
        assert_eq!(conditions.looks_due(Instant(RETRY_MS - 1)), [] as [String; 0]);
        assert_eq!(conditions.looks_due(Instant(RETRY_MS)), [path.as_str()]);
        let changes = conditions.changes.as_ref().unwrap().try_clone().unwrap();
        let report = crate::supervisor::look::look(changes.as_fd(), path.as_ref());
        fs::write(&path, "").unwrap();
        conditions.changed();
        conditions.looked(&path, Some(report), Instant(RETRY_MS));
        assert_eq!(look(&mut conditions), [true]);
    }
}
