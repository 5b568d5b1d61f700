//! [`WayOut`]: the one way by which a machine goes down, as stages with a bound each. Pure.
//!
//! | stage | what | ends when | at the latest after |
//! | --- | --- | --- | --- |
//! | Pods | the supervisor stops all pods in the order of their priority | it has left | the shutdown bound (a second signal: 5 s more) |
//! | Term | SIGTERM and SIGCONT to every process | none is left | 5 s (a second signal: 1 s more) |
//! | Kill | cgroup.kill and SIGKILL to every process | none is left | 2 s |
//! | Farewell | the report, unmounting, syncing, in a process of its own | it has ended | 20 s |
//! | Leave | the last feed of the watchdog, reboot(2) | | |

const HURRIED_PODS_MS: u64 = 5_000;
const TERM_MS: u64 = 5_000;
const HURRIED_TERM_MS: u64 = 1_000;
const KILL_MS: u64 = 2_000;
/// SIGKILL is sent again this often: a process that was being made may have been missed.
const KILL_AGAIN_MS: u64 = 250;
pub(super) const FAREWELL_MS: u64 = 20_000;

/// What becomes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Reboot,
    Halt,
    PowerOff,
}

impl Goal {
    /// The word in reports and on the console.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::PowerOff => "poweroff",
        }
    }
}

/// A machine on its way down. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WayOut {
    pub(super) goal: Goal,
    pub(super) began: u64,
    stage: Stage,
    /// When the stage ends at the latest.
    until: u64,
    kill_at: u64,
    /// Asked a second time.
    hurried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Pods,
    Term,
    Kill,
    Farewell,
    Leave,
}

/// What is due; the stage has been entered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// SIGTERM and SIGCONT to every process.
    Term,
    /// cgroup.kill and SIGKILL to every process.
    Kill,
    /// Start the role farewell.
    Farewell,
    /// The last feed and reboot(2).
    Leave,
}

impl WayOut {
    /// Begins with the pods, which have `pods_ms` to stop.
    pub(super) fn new(goal: Goal, pods_ms: u64, now: u64) -> Self {
        let until = now.saturating_add(pods_ms);
        Self { goal, began: now, stage: Stage::Pods, until, kill_at: 0, hurried: false }
    }

    /// How long it takes at most from its beginning.
    pub(super) fn bound_ms(pods_ms: u64) -> u64 {
        pods_ms.saturating_add(TERM_MS).saturating_add(KILL_MS).saturating_add(FAREWELL_MS)
    }

    /// Asked again: the newest goal counts, and the grace is shortened. Returns whether the supervisor is to be told.
    pub(super) fn again(&mut self, goal: Goal, now: u64) -> bool {
        self.goal = goal;
        self.hurried = true;
        let left = match self.stage {
            Stage::Pods => HURRIED_PODS_MS,
            Stage::Term => HURRIED_TERM_MS,
            _ => return false,
        };
        self.until = self.until.min(now.saturating_add(left));
        self.stage == Stage::Pods
    }

    /// The supervisor has stopped all pods and left.
    pub(super) fn pods_stopped(&mut self) {
        self.end_stage(Stage::Pods);
    }

    /// Init has no child left, so there is no process left.
    pub(super) fn no_process_left(&mut self) {
        self.end_stage(Stage::Term);
        self.end_stage(Stage::Kill);
    }

    pub(super) fn farewell_ended(&mut self) {
        self.end_stage(Stage::Farewell);
    }

    fn end_stage(&mut self, stage: Stage) {
        if self.stage == stage {
            self.until = 0;
        }
    }

    /// Whether pods are being stopped, by a supervisor that is still supervised.
    pub(super) fn stops_pods(&self) -> bool {
        self.stage == Stage::Pods
    }

    /// Whether everything is to end that ends.
    pub(super) fn ends_processes(&self) -> bool {
        matches!(self.stage, Stage::Term | Stage::Kill)
    }

    pub(super) fn kills(&self) -> bool {
        self.stage == Stage::Kill
    }

    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        if now < self.until {
            let again = self.stage == Stage::Kill && now >= self.kill_at;
            if again {
                self.kill_at = now.saturating_add(KILL_AGAIN_MS);
            }
            return again.then_some(Due::Kill);
        }
        let (next, bound, due) = match self.stage {
            Stage::Pods => (Stage::Term, if self.hurried { HURRIED_TERM_MS } else { TERM_MS }, Due::Term),
            // Nothing was left after SIGTERM: then there is nothing to kill.
            Stage::Term if self.until == 0 => (Stage::Farewell, FAREWELL_MS, Due::Farewell),
            Stage::Term => {
                self.kill_at = now.saturating_add(KILL_AGAIN_MS);
                (Stage::Kill, KILL_MS, Due::Kill)
            }
            Stage::Kill => (Stage::Farewell, FAREWELL_MS, Due::Farewell),
            // Asked again and again, should reboot(2) refuse.
            Stage::Farewell | Stage::Leave => (Stage::Leave, TERM_MS, Due::Leave),
        };
        self.stage = next;
        self.until = now.saturating_add(bound);
        Some(due)
    }

    pub(super) fn next_ms(&self) -> u64 {
        if self.stage == Stage::Kill { self.until.min(self.kill_at) } else { self.until }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_whose_processes_end_by_themselves_is_down_without_waiting() {
        let mut way = WayOut::new(Goal::Reboot, 120_000, 1_000);
        assert_eq!((way.due(1_000), way.next_ms()), (None, 121_000));
        way.pods_stopped();
        assert_eq!(way.due(3_000), Some(Due::Term));
        assert_eq!((way.due(3_001), way.next_ms()), (None, 8_000));
        way.no_process_left();
        assert_eq!(way.due(3_100), Some(Due::Farewell));
        way.no_process_left();
        assert_eq!((way.due(3_101), way.next_ms()), (None, 23_100));
        way.farewell_ended();
        assert_eq!(way.due(3_200), Some(Due::Leave));
    }

    #[test]
    fn nothing_that_hangs_makes_it_longer_than_its_bound() {
        let mut way = WayOut::new(Goal::PowerOff, 10_000, 1_000);
        let mut order = Vec::new();
        let mut now = 1_000;
        while order.last() != Some(&Due::Leave) {
            now = way.next_ms().max(now);
            order.extend(way.due(now));
        }
        assert_eq!(now, 1_000 + WayOut::bound_ms(10_000));
        order.dedup();
        assert_eq!(order, [Due::Term, Due::Kill, Due::Farewell, Due::Leave]);
    }

    #[test]
    fn a_second_signal_shortens_the_grace_and_the_newest_goal_counts() {
        let mut way = WayOut::new(Goal::Reboot, 120_000, 0);
        assert!(way.again(Goal::PowerOff, 10_000), "the supervisor is told");
        assert_eq!((way.goal, way.next_ms()), (Goal::PowerOff, 15_000));
        assert!(way.again(Goal::PowerOff, 12_000));
        assert_eq!(way.next_ms(), 15_000, "asking again and again does not prolong it");
        assert_eq!(way.due(15_000), Some(Due::Term));
        assert_eq!(way.next_ms(), 16_000);
        assert!(!way.again(Goal::Halt, 15_100));
        assert_eq!(way.next_ms(), 16_000);
    }

    #[test]
    fn a_second_signal_while_processes_end_shortens_that() {
        let mut way = WayOut::new(Goal::Reboot, 0, 0);
        assert_eq!(way.due(0), Some(Due::Term));
        way.again(Goal::Reboot, 500);
        assert_eq!(way.next_ms(), 1_500);
        assert_eq!(way.due(1_500), Some(Due::Kill));
        assert_eq!(way.due(1_750), Some(Due::Kill), "again, for what was being made");
        way.no_process_left();
        assert_eq!(way.due(1_800), Some(Due::Farewell));
        way.again(Goal::Reboot, 1_900);
        assert_eq!(way.next_ms(), 21_800, "what saves the disks is not hurried");
    }

    #[test]
    fn a_reboot_that_is_refused_is_tried_again() {
        let mut way = WayOut::new(Goal::Reboot, 0, 0);
        let mut now = 0;
        let mut tries = 0;
        while tries < 3 {
            now = way.next_ms().max(now);
            tries += usize::from(way.due(now) == Some(Due::Leave));
            way.farewell_ended();
        }
        assert!(now >= 10_000);
    }
}
