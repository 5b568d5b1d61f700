//! What pods have left that nobody wants and nobody knows: state files may be lost, and manifests removed while gatepost was
//! off. After the first reading of the manifests without an error it is looked for and torn down, once.

use super::Supervisor;
use super::act::Task;
use super::helpers::Outcome;
use super::outcome::result;
use crate::pod::event::Uid;
use crate::runtime::leftovers::{Leftovers, LeftoversRequest};
use crate::runtime::protocol::VERSION;

impl Supervisor {
    /// Begins to look, the first time it is called.
    pub(super) fn sweep_once(&mut self) {
        if std::mem::replace(&mut self.swept, true) {
            return;
        }
        self.collect_images_soon();
        let request = LeftoversRequest {
            version: VERSION,
            layout: self.config.layout.clone(),
            cgroup_root: self.config.cgroup_root.clone(),
        };
        self.call_role("leftovers", Task::FindLeftovers, &request);
    }

    /// Tears down what no pod of the core's owns.
    pub(super) fn leftovers_found(&mut self, outcome: Outcome) {
        let found: Leftovers = match result(outcome, "CleanupFailed") {
            Ok(found) => found,
            Err(failure) => return log::warn!("leftovers of former pods are not looked for: {}", failure.message),
        };
        for uid in found.pods {
            if self.knows(&uid) {
                continue;
            }
            log::info!("pod {uid} is in no manifest: what is left of it is removed");
            self.starts.queue_sweep(Uid::from(uid.as_str()));
        }
        for (uid, directory) in found.logs {
            if !self.knows(&uid) {
                self.logs.remove(directory);
            }
        }
        self.renew_log_watch();
    }

    /// Whether a pod is wanted, or on its way out.
    pub(super) fn knows(&self, uid: &str) -> bool {
        self.node.uids().any(|known| **known == *uid)
    }

    /// A pod's leftovers are gone, or not.
    pub(super) fn leftovers_removed(pod: &Uid, outcome: Outcome) {
        if let Err(failure) = result::<Option<crate::runtime::sandbox::Prepared>>(outcome, "CleanupFailed") {
            log::warn!("what is left of pod {pod} is not removed: {}", failure.message);
        }
    }
}
