//! [`Services`]: what PID 1 keeps running besides the supervisor.

use std::ffi::CStr;

use super::upkeep::Upkeep;
use crate::sys::spawn::Child;
use crate::wire::boot;

/// One service: its role, whether it is to run, and its process.
pub(super) struct Service {
    pub(super) kind: boot::Service,
    pub(super) role: &'static CStr,
    pub(super) upkeep: Upkeep,
    pub(super) child: Option<Child>,
}

/// All there are.
pub(super) struct Services(pub(super) [Service; 2]);

impl Services {
    /// None of them wanted.
    pub(super) fn new() -> Self {
        let service = |kind, role| Service { kind, role, upkeep: Upkeep::new(), child: None };
        Self([service(boot::Service::Console, c"console"), service(boot::Service::Dhcp, c"dhcp")])
    }

    pub(super) fn want(&mut self, kind: boot::Service, now: u64) {
        for service in self.0.iter_mut().filter(|service| service.kind == kind) {
            service.upkeep.want(now);
        }
    }

    /// None is started any more.
    pub(super) fn unwant_all(&mut self) {
        for service in &mut self.0 {
            service.upkeep.unwant();
        }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.iter().filter_map(|service| service.upkeep.next_ms()).min()
    }
}
