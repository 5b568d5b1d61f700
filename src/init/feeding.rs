//! [`Feeding`]: when the hardware watchdog is fed. Pure.
//!
//! It is fed three times within its time-out, and only through the chain of those that must be alive: the supervisor is asked at
//! each feed, and must have answered by the next one, else that one is left out until it answers. While boot runs, while there is no
//! supervisor or a new one has not settled yet, and on the way out, init vouches itself: each of those has a bound of its own.

/// The time-out that is wanted when nobody says another, in seconds.
pub(super) const DEFAULT_TIMEOUT_S: u16 = 30;
/// Before the board's maximum is known no hardware is trusted with more, in seconds.
const FIRST_TIMEOUT_S: u16 = 10;
/// Init vouches for a new supervisor that has not settled for this long.
const SETTLING_MS: u64 = 60_000;

/// The watchdog's time-out, and who is alive.
pub(super) struct Feeding {
    /// After this time without a feed the board is reset, as far as is known.
    timeout_ms: u64,
    next_at: u64,
    chain: Chain,
    /// The supervisor was asked at the last feed and has not answered.
    asked: bool,
    /// At least one feed was left out.
    starving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Init,
    /// A supervisor that is adopting: until then init vouches.
    Settling {
        until: u64,
    },
    Supervisor,
}

/// What is due. The watchdog's next time is set already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Feed.
    Feed,
    /// Feed, and ask the supervisor whether it lives.
    FeedAndAsk,
    /// Do not feed: the supervisor has not answered. Told once for each time that it stops answering.
    Starve,
}

impl Feeding {
    /// A watchdog that was just opened.
    pub(super) fn new(now: u64) -> Self {
        let timeout_ms = u64::from(FIRST_TIMEOUT_S).saturating_mul(1000);
        Self { timeout_ms, next_at: now, chain: Chain::Init, asked: false, starving: false }
    }

    /// The time-out is now this, in seconds.
    pub(super) fn set_timeout(&mut self, seconds: u16, now: u64) {
        self.timeout_ms = u64::from(seconds.max(1)).saturating_mul(1000);
        self.next_at = self.next_at.min(now.saturating_add(self.interval_ms()));
    }

    pub(super) fn interval_ms(&self) -> u64 {
        self.timeout_ms / 3
    }

    /// A supervisor was started.
    pub(super) fn supervisor_started(&mut self, now: u64) {
        self.chain = Chain::Settling { until: now.saturating_add(SETTLING_MS) };
        self.asked = false;
    }

    /// It has adopted what its predecessor left: from now on it answers.
    pub(super) fn supervisor_settled(&mut self) {
        if let Chain::Settling { .. } = self.chain {
            self.chain = Chain::Supervisor;
        }
    }

    /// There is no supervisor, or it no longer counts: init vouches.
    pub(super) fn init_vouches(&mut self, now: u64) {
        self.chain = Chain::Init;
        self.hear(now);
    }

    /// The supervisor answered.
    pub(super) fn answered(&mut self, now: u64) {
        self.hear(now);
    }

    fn hear(&mut self, now: u64) {
        self.asked = false;
        if std::mem::take(&mut self.starving) {
            self.next_at = now;
        }
    }

    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now.saturating_add(self.interval_ms());
        if let Chain::Settling { until } = self.chain
            && now >= until
        {
            self.chain = Chain::Supervisor;
        }
        match self.chain {
            Chain::Init | Chain::Settling { .. } => Some(Due::Feed),
            Chain::Supervisor if self.asked => (!std::mem::replace(&mut self.starving, true)).then_some(Due::Starve),
            Chain::Supervisor => {
                self.asked = true;
                Some(Due::FeedAndAsk)
            }
        }
    }

    pub(super) fn next_ms(&self) -> u64 {
        self.next_at
    }
}

/// What to try to set, in seconds: the wanted time-out, never above the board's maximum (0: not known), and smaller ones should the
/// driver refuse.
pub(super) fn candidates(wanted_s: u16, max_s: u16) -> [u16; 4] {
    let wanted = effective(wanted_s, max_s);
    [wanted, wanted / 2, wanted / 4, wanted / 8].map(|seconds| seconds.max(1))
}

/// What to try before the board's maximum is known.
pub(super) fn first_candidates() -> [u16; 4] {
    candidates(FIRST_TIMEOUT_S, 0)
}

/// The time-out to count with: what the driver says it is, or the board's maximum if the driver boasts.
pub(super) fn effective(driver_s: u16, max_s: u16) -> u16 {
    let most = if max_s == 0 { u16::MAX } else { max_s };
    driver_s.clamp(1, most)
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

    /// With a settled supervisor and a time-out of 30 s, at 100 s.
    fn settled() -> Feeding {
        let mut feeding = Feeding::new(100_000);
        feeding.set_timeout(30, 100_000);
        assert_eq!(feeding.due(100_000), Some(Due::Feed));
        feeding.supervisor_started(100_000);
        feeding.supervisor_settled();
        feeding
    }

    #[test]
    fn it_is_fed_three_times_within_its_time_out() {
        let mut feeding = settled();
        let mut now = 100_000;
        for _ in 0..100 {
            assert_eq!(feeding.next_ms(), now + 10_000);
            assert_eq!(feeding.due(feeding.next_ms() - 1), None);
            now = feeding.next_ms();
            assert_eq!(feeding.due(now), Some(Due::FeedAndAsk));
            feeding.answered(now + 3);
        }
    }

    #[test]
    fn a_supervisor_that_does_not_answer_starves_the_watchdog_and_its_answer_feeds_at_once() {
        let mut feeding = settled();
        assert_eq!(feeding.due(110_000), Some(Due::FeedAndAsk));
        assert_eq!(feeding.due(120_000), Some(Due::Starve));
        assert_eq!(feeding.due(130_000), None, "said once");
        feeding.answered(133_000);
        assert_eq!(feeding.due(133_000), Some(Due::FeedAndAsk));
        feeding.answered(133_001);
        assert_eq!(feeding.due(143_000), Some(Due::FeedAndAsk));
        assert_eq!(feeding.due(153_000), Some(Due::Starve), "said again the next time");
    }

    #[test]
    fn init_vouches_while_there_is_no_supervisor_and_for_a_minute_for_one_that_settles() {
        let mut feeding = Feeding::new(0);
        feeding.set_timeout(30, 0);
        for at in [0, 10_000, 20_000] {
            assert_eq!(feeding.due(at), Some(Due::Feed), "boot runs");
        }
        feeding.supervisor_started(25_000);
        for at in [30_000, 40_000, 50_000, 60_000, 70_000, 80_000] {
            assert_eq!(feeding.due(at), Some(Due::Feed));
        }
        assert_eq!(feeding.due(90_000), Some(Due::FeedAndAsk));
        assert_eq!(feeding.due(100_000), Some(Due::Starve));
        feeding.init_vouches(101_000);
        assert_eq!(feeding.due(101_000), Some(Due::Feed), "it died, and init starts the next one");
    }

    #[test]
    fn a_shorter_time_out_brings_the_next_feed_forward() {
        let mut feeding = Feeding::new(0);
        assert_eq!(feeding.due(0), Some(Due::Feed));
        assert_eq!(feeding.next_ms(), 3_333);
        feeding.set_timeout(3, 100);
        assert_eq!(feeding.next_ms(), 1_100);
        feeding.set_timeout(60, 100);
        assert_eq!(feeding.next_ms(), 1_100, "the old one may still be in force");
        assert_eq!(feeding.due(1_100), Some(Due::Feed));
        assert_eq!(feeding.next_ms(), 21_100);
    }

    #[test]
    fn no_time_out_above_the_boards_maximum_is_set_or_believed() {
        assert_eq!(candidates(30, 0), [30, 15, 7, 3]);
        assert_eq!(candidates(60, 16), [16, 8, 4, 2]);
        assert_eq!(candidates(1, 16), [1, 1, 1, 1]);
        assert_eq!(first_candidates(), [10, 5, 2, 1]);
        assert_eq!(effective(60, 16), 16, "a driver that lies");
        assert_eq!(effective(8, 16), 8);
        assert_eq!(effective(60, 0), 60);
        assert_eq!(effective(0, 16), 1);
    }
}
