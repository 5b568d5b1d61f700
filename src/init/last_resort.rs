//! [`LastResort`]: a supervisor that has left everything alone has crashed all the same: the board is rebooted, but not for ever
//! and ever. Pure.

use super::reboots::{ALLOWED, REFUSED};

/// The role farewell counts within this time, or not at all: a disk may not answer.
const COUNTING_MS: u64 = 10_000;
/// Where nobody can count, a board that has run for so long is rebooted three times an hour at most.
const UPTIME_MS: u64 = 1_200_000;
/// A board that was rebooted often enough waits so long before it tries again.
const REST_MS: u64 = 6 * 3_600_000;

/// Where the last resort is. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastResort {
    /// Not needed so far.
    Idle,
    /// The role farewell counts.
    Counting { until: u64 },
    /// Nobody can count: the board is rebooted then.
    Waiting { until: u64 },
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    Reboot,
    /// Start no supervisor before this time.
    Rest {
        until: u64,
    },
    /// The same; the board is rebooted at that time.
    Wait {
        until: u64,
    },
}

impl LastResort {
    /// A supervisor with nothing left has crashed. Returns whether the role farewell is to be asked.
    pub(super) fn needed(&mut self, now: u64) -> bool {
        let ask = *self == Self::Idle;
        if ask {
            *self = Self::Counting { until: now.saturating_add(COUNTING_MS) };
        }
        ask
    }

    /// The answer: an exit status, or none.
    pub(super) fn counted(&mut self, status: Option<u8>, now: u64) -> Option<Do> {
        if !matches!(self, Self::Counting { .. }) {
            return None;
        }
        *self = Self::Idle;
        Some(match status {
            Some(ALLOWED) => Do::Reboot,
            Some(REFUSED) => Do::Rest { until: now.saturating_add(REST_MS) },
            _ if now >= UPTIME_MS => Do::Reboot,
            _ => {
                *self = Self::Waiting { until: UPTIME_MS };
                Do::Wait { until: UPTIME_MS }
            }
        })
    }

    pub(super) fn due(&mut self, now: u64) -> Option<Do> {
        match *self {
            Self::Counting { until } if now >= until => self.counted(None, now),
            Self::Waiting { until } if now >= until => {
                *self = Self::Idle;
                Some(Do::Reboot)
            }
            _ => None,
        }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        match *self {
            Self::Idle => None,
            Self::Counting { until } | Self::Waiting { until } => Some(until),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn counting(now: u64) -> LastResort {
        let mut resort = LastResort::Idle;
        assert!(resort.needed(now));
        assert!(!resort.needed(now), "it is being counted");
        resort
    }

    #[test]
    fn a_counted_reboot_is_carried_out_and_a_refused_one_waits_six_hours() {
        assert_eq!(counting(50_000).counted(Some(ALLOWED), 50_100), Some(Do::Reboot));
        let mut resort = counting(50_000);
        assert_eq!(resort.counted(Some(REFUSED), 50_100), Some(Do::Rest { until: 50_100 + 21_600_000 }));
        assert_eq!(resort.next_ms(), None);
        assert!(resort.needed(30_000_000), "the try after that failed too");
    }

    #[test]
    fn where_nobody_can_count_the_uptime_keeps_it_to_three_an_hour() {
        let mut resort = counting(50_000);
        assert_eq!(resort.counted(Some(4), 50_100), Some(Do::Wait { until: 1_200_000 }));
        assert_eq!((resort.due(1_199_999), resort.next_ms()), (None, Some(1_200_000)));
        assert_eq!(resort.due(1_200_000), Some(Do::Reboot));
        assert_eq!(counting(1_200_001).counted(None, 1_200_002), Some(Do::Reboot));
    }

    #[test]
    fn a_disk_that_does_not_answer_counts_as_nobody_who_can_count() {
        let mut resort = counting(50_000);
        assert_eq!((resort.due(59_999), resort.next_ms()), (None, Some(60_000)));
        assert_eq!(resort.due(60_000), Some(Do::Wait { until: 1_200_000 }));
        assert_eq!(resort.counted(Some(ALLOWED), 60_001), None, "too late");
    }
}
