//! Eviction: a pod that takes more of the node than it may is ended for good (kubelet `pkg/kubelet/eviction`).

use super::event::Failure;
use super::lifecycle::{Pod, Stage};
use super::turn::Turn;

/// kubelet: grace in seconds of a pod that is evicted; the floor of all graces lengthens it.
pub(crate) const GRACE_S: i64 = 1;

impl Pod {
    /// It is to end as `Evicted`, and what it holds goes with it.
    pub(crate) fn evict(&mut self, message: String, turn: &mut Turn<'_>) {
        if self.outcome.is_some() || self.eviction.is_some() || self.stage != Stage::Up {
            return;
        }
        self.scope().record(turn, true, "Evicted", message.clone());
        let failure = Failure { reason: "Evicted".to_owned(), message };
        self.trouble = Some(failure.clone());
        self.eviction = Some(failure);
    }
}
