//! [`Caution`]: how little a supervisor dares after those before it have crashed. Pure: crash times in, a level out.
//!
//! Quarantine comes first (`guard`): a crash that puts a pod into it has found its cause and counts for nothing here. What still
//! crashes has another cause: first manifests and imports, the only things that reach the supervisor from outside, are left
//! alone; then all pods are. A supervisor that has nothing left to leave alone tells init, for whom its next crash is the last.

use crate::pod::event::{Recorded, Uid};

/// Crashes longer ago than this are forgotten, in milliseconds. Longer than the delays of all restarts up to [`ALONE_AT`].
const WINDOW_MS: u64 = 600_000;
/// This many crashes within the window: safe mode.
const SAFE_AT: usize = 4;
/// This many: every pod is left alone too.
const ALONE_AT: usize = 7;
/// Safe mode ends after this time by itself: nobody may be there to end it.
pub(crate) const LASTS_MS: u64 = 3_600_000;

/// How little is dared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caution {
    /// Everything as usual.
    None,
    /// Safe mode: the last good manifests, no reading of directories, no preload.
    Safe,
    /// Safe mode, and all pods are quarantined.
    Alone,
}

impl Caution {
    /// The level after crashes at these times (CLOCK_BOOTTIME, milliseconds); those that no longer count are removed.
    pub(crate) fn after(crashes: &mut Vec<u64>, now: u64) -> Self {
        crashes.retain(|at| now.saturating_sub(*at) < WINDOW_MS);
        match crashes.len() {
            0..SAFE_AT => Self::None,
            SAFE_AT..ALONE_AT => Self::Safe,
            _ => Self::Alone,
        }
    }

    /// What `get events` says about it.
    pub(crate) fn event(self, node: &str) -> Option<Recorded> {
        let pods = match self {
            Self::None => return None,
            Self::Safe => "the pods of the last good manifests are supervised",
            Self::Alone => "all pods are left alone",
        };
        let message = format!(
            "gatepost crashed again and again: safe mode for an hour, or until `gatepost reload`: {pods}; no manifest is \
             read and nothing is imported meanwhile"
        );
        Some(Recorded {
            pod: Uid::from(""),
            namespace: "default".to_owned(),
            name: node.to_owned(),
            field_path: String::new(),
            warning: true,
            reason: "SafeMode".to_owned(),
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_crashes_are_no_reason_for_safe_mode() {
        assert_eq!(Caution::after(&mut vec![], 5), Caution::None);
        assert_eq!(Caution::after(&mut vec![1, 2, 3], 5), Caution::None);
    }

    #[test]
    fn the_fourth_crash_in_ten_minutes_means_safe_mode_and_the_seventh_leaves_all_pods_alone() {
        assert_eq!(Caution::after(&mut vec![1, 2, 3, 4], 5), Caution::Safe);
        assert_eq!(Caution::after(&mut (1..=6).collect(), 599_000), Caution::Safe);
        assert_eq!(Caution::after(&mut (1..=7).collect(), 599_000), Caution::Alone);
        assert_eq!(Caution::after(&mut (1..=70).collect(), 599_000), Caution::Alone);
    }

    #[test]
    fn crashes_longer_ago_than_ten_minutes_are_forgotten() {
        let mut crashes = vec![1_000, 2_000, 3_000, 4_000];
        assert_eq!(Caution::after(&mut crashes, 601_500), Caution::None);
        assert_eq!(crashes, [2_000, 3_000, 4_000]);
    }

    #[test]
    fn safe_mode_lasts_longer_than_the_memory_of_its_crashes() {
        // Else a supervisor that ends it would find itself in it again.
        const { assert!(LASTS_MS > WINDOW_MS) };
    }
}
