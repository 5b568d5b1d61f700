//! [`CrashBackoff`]: when an ended container may start again; [`Retry`]: when a failed step is tried again.

use super::event::BackoffOverride;
use super::time::Instant;
use crate::json::{Deserialize, Serialize};

/// A run longer than this resets the backoff. kubelet: fixed, whatever the maximum is.
const RESET_AFTER_MS: u64 = 600_000;

/// First and longest wait of a container's crash-loop backoff, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffRule {
    /// Wait after the second exit; the first restart is immediate.
    pub initial_ms: u64,
    /// Longest wait.
    pub max_ms: u64,
}

impl Default for BackoffRule {
    /// kubelet: 10 s, doubled, at most 300 s.
    fn default() -> Self {
        Self { initial_ms: 10_000, max_ms: 300_000 }
    }
}

impl BackoffRule {
    /// The rule with the set values of a narrower scope. A first wait that is set there raises a longest one that is not.
    #[must_use]
    pub fn with(self, over: BackoffOverride) -> Self {
        let max_ms = over.max_ms.unwrap_or(self.max_ms.max(over.initial_ms.unwrap_or(0)));
        Self { initial_ms: over.initial_ms.unwrap_or(self.initial_ms), max_ms }
    }
}

/// Crash-loop backoff of one container: 0, then the initial wait, doubled up to the longest, in exact milliseconds.
///
/// kubelet keeps the same two numbers: the wait that the next exit meets, and when the last start was let through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashBackoff {
    entry: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    wait_ms: u64,
    last_start: Instant,
}

impl CrashBackoff {
    /// Milliseconds to wait from an exit at `ended`. A run of more than ten minutes forgets what was before.
    pub(crate) fn after_run(&mut self, ended: Instant) -> u64 {
        if self.entry.is_some_and(|entry| ended.since(entry.last_start) > RESET_AFTER_MS) {
            self.entry = None;
        }
        self.after_failed_start()
    }

    /// Milliseconds to wait after a start that failed: nothing ran, so nothing is reset however long it took.
    pub(crate) fn after_failed_start(&self) -> u64 {
        self.entry.map_or(0, |entry| entry.wait_ms)
    }

    /// A start after an exit or failed start is let through. The very first start of a container is not told.
    pub(crate) fn restarting(&mut self, now: Instant, rule: BackoffRule) {
        let wait = self.entry.map_or(rule.initial_ms, |entry| entry.wait_ms.saturating_mul(2));
        self.entry = Some(Entry { wait_ms: wait.min(rule.max_ms), last_start: now });
    }

    /// Forgets everything: the next restart is immediate.
    pub(crate) fn clear(&mut self) {
        self.entry = None;
    }
}

/// Doubling wait of a step that is repeated until it succeeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retry {
    failures: u32,
    not_before: Option<Instant>,
}

impl Retry {
    /// Notes a failure; the next try is after `first_ms`, doubled with each failure up to `max_ms`.
    pub(crate) fn failed(&mut self, now: Instant, first_ms: u64, max_ms: u64) {
        let factor = 1_u64.checked_shl(self.failures.min(63)).unwrap_or(u64::MAX);
        self.not_before = Some(now.after(first_ms.saturating_mul(factor).min(max_ms)));
        self.failures = self.failures.saturating_add(1);
    }

    /// When to try again, if it is not due yet.
    pub(crate) fn pending(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    /// The next try may be at once; the count stays.
    pub(crate) fn hurry(&mut self) {
        self.not_before = None;
    }

    /// How often it failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    fn waits(rule: BackoffRule, exits: usize) -> Vec<u64> {
        let (mut backoff, mut now) = (CrashBackoff::default(), Instant(0));
        (0..exits)
            .map(|_| {
                let wait = backoff.after_run(now);
                now = now.after(wait);
                backoff.restarting(now, rule);
                wait
            })
            .collect()
    }

    #[test]
    fn waits_are_0_10_20_40_80_160_300_300_seconds() {
        let seconds = [0, 10, 20, 40, 80, 160, 300, 300, 300];
        assert_eq!(waits(BackoffRule::default(), 9), seconds.map(|s| s * 1000));
    }

    #[test]
    fn an_initial_wait_set_for_a_pod_raises_the_nodes_longest_wait_but_not_the_pods_own() {
        let own = |initial_ms, max_ms| BackoffRule::default().with(BackoffOverride { initial_ms, max_ms });
        assert_eq!(waits(own(Some(600_000), None), 3), [0, 600_000, 600_000]);
        assert_eq!(waits(own(Some(600_000), Some(100)), 2), [0, 100]);
        assert_eq!(own(Some(5), None).max_ms, 300_000);
        assert_eq!(own(None, Some(5)), BackoffRule { initial_ms: 10_000, max_ms: 5 });
    }

    #[test]
    fn an_initial_wait_above_the_longest_is_cut() {
        assert_eq!(waits(BackoffRule { initial_ms: 9_000, max_ms: 5_000 }, 3), [0, 5_000, 5_000]);
    }

    #[test]
    fn a_thousand_exits_and_extreme_rules_saturate() {
        let rule = BackoffRule { initial_ms: u64::MAX / 2, max_ms: u64::MAX };
        assert_eq!(waits(rule, 4)[3], u64::MAX);
        assert_eq!(waits(BackoffRule::default(), 1000)[999], 300_000);
    }

    #[test]
    fn a_run_of_exactly_ten_minutes_does_not_reset_and_one_millisecond_more_does() {
        let mut backoff = CrashBackoff::default();
        backoff.restarting(Instant(1_000), BackoffRule::default());
        let mut longer = backoff;
        assert_eq!(backoff.after_run(Instant(601_000)), 10_000);
        assert_eq!(longer.after_run(Instant(601_001)), 0);
    }

    #[test]
    fn a_failed_start_never_resets_however_long_it_took() {
        let mut backoff = CrashBackoff::default();
        backoff.restarting(Instant(0), BackoffRule::default());
        assert_eq!(backoff.after_failed_start(), 10_000);
    }

    #[test]
    fn a_retry_doubles_to_its_bound() {
        let mut retry = Retry::default();
        let at: Vec<u64> = (0..9)
            .map(|_| {
                retry.failed(Instant(0), 1000, 60_000);
                retry.pending(Instant(0)).unwrap().0
            })
            .collect();
        assert_eq!(at, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    }
}
