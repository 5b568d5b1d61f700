//! [`Upkeep`]: when a service that has ended is started again. Pure.

/// A service that lived this long has not failed early.
const EARLY_MS: u64 = 10_000;
/// Delays grow from this, doubled each time …
const FIRST_DELAY_MS: u64 = 1_000;
/// … to this.
const LONGEST_DELAY_MS: u64 = 60_000;

/// One service, wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upkeep {
    phase: Phase,
    next_delay_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unwanted,
    Down { start_at: u64 },
    Up { since: u64 },
}

impl Upkeep {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Unwanted, next_delay_ms: FIRST_DELAY_MS }
    }

    /// It is to run from now on.
    pub(super) fn want(&mut self, now: u64) {
        if self.phase == Phase::Unwanted {
            self.phase = Phase::Down { start_at: now };
        }
    }

    /// It is not started again.
    pub(super) fn unwant(&mut self) {
        self.phase = Phase::Unwanted;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.phase != Phase::Unwanted
    }

    pub(super) fn started(&mut self, now: u64) {
        self.phase = Phase::Up { since: now };
    }

    /// It has ended, however, or could not be started. Returns the wait before its next start in milliseconds.
    pub(super) fn ended(&mut self, now: u64) -> u64 {
        match self.phase {
            Phase::Unwanted => return 0,
            Phase::Up { since } if now.saturating_sub(since) >= EARLY_MS => self.next_delay_ms = FIRST_DELAY_MS,
            _ => {}
        }
        let delay = self.next_delay_ms;
        self.next_delay_ms = delay.saturating_mul(2).min(LONGEST_DELAY_MS);
        self.phase = Phase::Down { start_at: now.saturating_add(delay) };
        delay
    }

    pub(super) fn start_is_due(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Down { start_at } if now >= start_at)
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        if let Phase::Down { start_at } = self.phase { Some(start_at) } else { None }
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

    #[test]
    fn a_service_that_keeps_ending_is_started_after_growing_delays_for_ever() {
        let mut upkeep = Upkeep::new();
        assert!(!upkeep.start_is_due(u64::MAX));
        upkeep.want(1_000);
        assert!(upkeep.start_is_due(1_000));
        let mut now = 1_000;
        let mut delays = Vec::new();
        for _ in 0..100 {
            upkeep.started(now);
            assert_eq!(upkeep.next_ms(), None);
            now += 5;
            delays.push(upkeep.ended(now));
            now = upkeep.next_ms().unwrap();
            assert!(upkeep.start_is_due(now) && !upkeep.start_is_due(now - 1));
        }
        assert_eq!(delays[..8], [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert!(delays[8..].iter().all(|delay| *delay == 60_000));
        upkeep.started(now);
        assert_eq!(upkeep.ended(now + 10_000), 1_000, "it lived long enough");
    }

    #[test]
    fn what_is_not_wanted_is_not_started_again() {
        let mut upkeep = Upkeep::new();
        upkeep.want(0);
        upkeep.started(0);
        upkeep.unwant();
        upkeep.ended(5);
        assert!(!upkeep.start_is_due(u64::MAX) && !upkeep.is_wanted());
    }
}
