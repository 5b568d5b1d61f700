//! [`Conditions`]: whether the start conditions of `gatepost.io/start-after` hold, told by the kernel, never polled.
//!
//! The clock by a timerfd that the kernel cancels when the clock is set, routes by rtnetlink, paths by inotify on the nearest
//! directory that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify;

use crate::pod::event::Condition;
use crate::sys::clock_change::ClockChange;
use crate::sys::route::RouteChange;

/// Wall-clock seconds below which the clock cannot be right: the day this program was written.
const CLOCK_FLOOR: i64 = 1_790_000_000;

/// The awaited conditions and what watches them. Descriptors exist only while something waits.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    state: BTreeMap<Condition, bool>,
    clock: Option<ClockChange>,
    routes: Option<RouteChange>,
    paths: Option<OwnedFd>,
    watched: BTreeSet<PathBuf>,
}

impl Conditions {
    /// Watches exactly `awaited` from now on and tells every one whose state is new.
    pub(crate) fn await_exactly(&mut self, awaited: &BTreeSet<Condition>) -> Vec<(Condition, bool)> {
        self.state.retain(|condition, _| awaited.contains(condition));
        let clock = awaited.contains(&Condition::Clock);
        let route = awaited.contains(&Condition::Route);
        let path = awaited.iter().any(|c| matches!(c, Condition::Path(_)));
        // A watch that cannot be had is logged once; the start-after time-out still bounds the wait.
        renew(&mut self.clock, clock, "clock", ClockChange::watch);
        renew(&mut self.routes, route, "route", RouteChange::watch);
        renew(&mut self.paths, path, "path", || {
            Ok(inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?)
        });
        if !path {
            self.watched.clear();
        }
        self.judge(awaited.iter().filter(|c| !matches!(c, Condition::Pod(_))).cloned().collect())
    }

    /// Reads what the descriptors say and tells every condition whose state has changed.
    pub(crate) fn changed(&mut self) -> Vec<(Condition, bool)> {
        if let Some(clock) = &mut self.clock {
            clock.acknowledge();
        }
        if let Some(routes) = &mut self.routes {
            routes.acknowledge();
        }
        if let Some(paths) = &self.paths {
            let mut buffer = [0; 4096];
            while rustix::io::read(paths, &mut buffer).is_ok_and(|n| n > 0) {}
            self.watched.clear();
        }
        self.judge(self.state.keys().cloned().collect())
    }

    /// The descriptors to wait on.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clock = self.clock.as_ref().map(AsFd::as_fd);
        let routes = self.routes.as_ref().map(AsFd::as_fd);
        let paths = self.paths.as_ref().map(AsFd::as_fd);
        clock.into_iter().chain(routes).chain(paths)
    }

    fn judge(&mut self, conditions: Vec<Condition>) -> Vec<(Condition, bool)> {
        let mut news = Vec::new();
        for condition in conditions {
            let met = match &condition {
                Condition::Clock => clock_is_plausible(),
                Condition::Route => has_default_route(),
                Condition::Path(path) => self.path_exists(Path::new(path)),
                Condition::Pod(_) => continue,
            };
            if self.state.insert(condition.clone(), met) != Some(met) {
                news.push((condition, met));
            }
        }
        news
    }

    /// Watches first and looks afterwards, so that nothing falls between.
    fn path_exists(&mut self, path: &Path) -> bool {
        if let Some(paths) = &self.paths {
            let mut directory = path.parent();
            while let Some(candidate) = directory {
                if self.watched.contains(candidate) {
                    break;
                }
                let flags = inotify::WatchFlags::CREATE
                    | inotify::WatchFlags::DELETE
                    | inotify::WatchFlags::MOVE
                    | inotify::WatchFlags::DELETE_SELF
                    | inotify::WatchFlags::MOVE_SELF
                    | inotify::WatchFlags::ONLYDIR;
                if inotify::add_watch(paths, candidate, flags).is_ok() {
                    self.watched.insert(candidate.to_owned());
                    break;
                }
                directory = candidate.parent();
            }
        }
        fs::symlink_metadata(path).is_ok()
    }
}

fn renew<T>(slot: &mut Option<T>, wanted: bool, what: &str, watch: impl FnOnce() -> io::Result<T>) {
    if !wanted {
        *slot = None;
    } else if slot.is_none() {
        match watch() {
            Ok(watch) => *slot = Some(watch),
            Err(error) => log::warn!("cannot watch the start condition `{what}`: {error}"),
        }
    }
}

fn clock_is_plausible() -> bool {
    crate::sys::clock::wall_ms() / 1000 >= CLOCK_FLOOR
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

    #[test]
    fn a_path_is_met_when_it_appears_and_unmet_when_it_goes_also_below_a_new_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/tty");
        let condition = Condition::Path(path.to_str().unwrap().to_owned());
        let mut conditions = Conditions::default();
        assert_eq!(conditions.await_exactly(&BTreeSet::from([condition.clone()])), [(condition.clone(), false)]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(conditions.changed(), []);
        fs::write(&path, "").unwrap();
        assert_eq!(conditions.changed(), [(condition.clone(), true)]);
        fs::remove_file(&path).unwrap();
        assert_eq!(conditions.changed(), [(condition, false)]);
        assert_eq!(conditions.await_exactly(&BTreeSet::new()), []);
        assert_eq!(conditions.descriptors().count(), 0);
    }
}
