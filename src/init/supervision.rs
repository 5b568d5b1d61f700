//! [`Supervision`]: when to start a supervisor, when it is wedged, and when unknown zombies need no longer be kept. Pure: it
//! is told the time and what happened, and says what is due.

/// A supervisor is wedged this long after a deadline it has announced, or after a record that it does not read.
const PATIENCE_MS: u64 = 10_000;
/// A new supervisor says its first word within this time.
const FIRST_WORD_MS: u64 = 30_000;
/// A supervisor that has closed its command socket ends within this time.
const SOCKET_CLOSED_MS: u64 = 1_000;
/// When init itself wakes this much too late, the machine was suspended or stalled, and the supervisor gets its patience again.
const LATE_MS: u64 = 1_000;
/// Unknown zombies are kept this long without a word from a supervisor.
const KEEP_UNKNOWN_MS: u64 = 60_000;
/// A supervisor that crashed within this time died early, and the next start is delayed.
const EARLY_MS: u64 = 10_000;
/// Delays grow from this, doubled each time …
const FIRST_DELAY_MS: u64 = 1_000;
/// … to this. There is no last try: nobody else would start it.
const LONGEST_DELAY_MS: u64 = 30_000;
/// This many supervisors killed in a row before they were ready are taken for chance, then delays grow here too: a machine out of
/// memory that kills each at its start must not be kept busy with it.
const KILLED_UNREADY: u32 = 8;

/// What init knows about its supervisor. Times are CLOCK_BOOTTIME in milliseconds.
pub(super) struct Supervision {
    phase: Phase,
    early_deaths: u32,
    overdue_at: Option<u64>,
    /// Patience was given a second time for the present `overdue_at`.
    late_once: bool,
    unread: Option<Unread>,
    /// Set while unknown zombies are kept: when a supervisor was last heard, or died.
    keep_unknown: Option<u64>,
    /// Set once the role is asked to stop: when it stops waiting for the supervisor.
    stop_at: Option<u64>,
    /// The supervisor before ended by its own fault.
    crashed: bool,
    /// This supervisor leaves everything alone already.
    nothing_left: bool,
    /// This supervisor has adopted what it found.
    ready: bool,
    /// Supervisors in a row that were killed before they were ready.
    killed_unready: u32,
}

/// Why a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// By its own fault: a status other than 0, a fatal signal, or it could not be started at all.
    Crash,
    /// SIGKILL: somebody's, or the kernel's for want of memory; or init's own, which makes it a crash.
    Killed,
    /// With status 0: it was asked to end.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Down {
        start_at: u64,
    },
    Up {
        since: u64,
    },
    /// Sent SIGKILL and not yet dead. There is nothing stronger.
    Killed {
        since: u64,
    },
}

/// Exit records lie in the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unread {
    /// Since when none has been consumed.
    since: u64,
    /// How many had been consumed by then.
    consumed: u64,
}

/// What is due now. Asking again gives the next thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Start a supervisor; answer with [`Supervision::started`] or [`Supervision::died`].
    Start,
    /// Look how many exit records are unread; answer with [`Supervision::records_looked_at`].
    LookAtRecords,
    /// Send the supervisor SIGKILL.
    Kill(Wedged),
    /// Unknown zombies are no longer kept: reap them.
    ReapUnknown,
    /// The role ends; a supervisor that still lives is killed first.
    Exit,
}

/// How a supervisor shows that it is wedged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wedged {
    /// It let a deadline of its own pass, never said hello, or closed its command socket and did not end.
    Deadline,
    /// It does not read the exit records.
    Records,
}

impl Supervision {
    /// A supervisor is due at once. Unknown zombies are kept from the beginning: they may be containers of a former life.
    pub(super) fn new(now: u64) -> Self {
        Self {
            phase: Phase::Down { start_at: now },
            early_deaths: 0,
            overdue_at: None,
            late_once: false,
            unread: None,
            keep_unknown: Some(now),
            stop_at: None,
            crashed: false,
            nothing_left: false,
            ready: false,
            killed_unready: 0,
        }
    }

    pub(super) fn started(&mut self, now: u64) {
        self.phase = Phase::Up { since: now };
        (self.nothing_left, self.ready) = (false, false);
        self.set_overdue(Some(now.saturating_add(FIRST_WORD_MS)));
        if let Some(unread) = &mut self.unread {
            unread.since = now;
        }
    }

    /// The supervisor has ended, or could not be started. Only what is its own fault delays the next one: a supervisor that
    /// others kill is to be back at once, however often they do it.
    pub(super) fn died(&mut self, how: Death, now: u64) {
        let (since, wedged) = match self.phase {
            Phase::Up { since } => (since, false),
            Phase::Killed { since } => (since, true),
            Phase::Down { .. } => (now, false),
        };
        self.crashed = how == Death::Crash || (how == Death::Killed && wedged);
        if now.saturating_sub(since) >= EARLY_MS {
            self.early_deaths = 0;
        } else if self.crashed {
            self.early_deaths = self.early_deaths.saturating_add(1);
        }
        self.killed_unready = if self.ready { 0 } else { self.killed_unready.saturating_add(1) };
        let delay = match (self.crashed, self.nothing_left) {
            (true, true) => LONGEST_DELAY_MS,
            (true, false) => delay_ms(self.early_deaths),
            (false, _) => delay_ms(self.killed_unready.saturating_sub(KILLED_UNREADY)),
        };
        self.phase = Phase::Down { start_at: now.saturating_add(delay) };
        self.set_overdue(None);
        self.keep_unknown = Some(now);
    }

    /// Whether the supervisor before ended by its own fault; the next one is told.
    pub(super) fn crashed(&self) -> bool {
        self.crashed
    }

    /// A command came: the supervisor lives.
    pub(super) fn word(&mut self, now: u64) {
        if let Some(since) = &mut self.keep_unknown {
            *since = now;
        }
    }

    /// The first command came: the next deadline is the supervisor's own.
    pub(super) fn hello(&mut self) {
        self.set_overdue(None);
    }

    /// The supervisor's earliest deadline; 0 is none.
    pub(super) fn deadline(&mut self, boottime_ms: u64) {
        self.set_overdue((boottime_ms != 0).then(|| boottime_ms.saturating_add(PATIENCE_MS)));
    }

    /// The supervisor knows nothing more to leave alone.
    pub(super) fn nothing_left(&mut self) {
        self.nothing_left = true;
    }

    pub(super) fn set_keep_unknown(&mut self, on: bool, now: u64) {
        self.ready |= !on;
        self.keep_unknown = on.then_some(now);
    }

    pub(super) fn keeps_unknown(&self) -> bool {
        self.keep_unknown.is_some()
    }

    /// A record was written: how many have been consumed, in all, and how many lie unread.
    pub(super) fn records_written(&mut self, consumed: u64, unread: u64, now: u64) {
        let before = self.unread;
        self.unread = match before {
            _ if unread == 0 => None,
            Some(before) if before.consumed == consumed => Some(before),
            _ => Some(Unread { since: now, consumed }),
        };
    }

    /// The answer to [`Due::LookAtRecords`], counted as in [`Self::records_written`].
    pub(super) fn records_looked_at(&mut self, consumed: u64, unread: u64, now: u64) -> Option<Due> {
        self.records_written(consumed, unread, now);
        let waited = self.unread.map_or(0, |unread| now.saturating_sub(unread.since));
        if waited >= PATIENCE_MS { self.kill(Wedged::Records) } else { None }
    }

    /// The supervisor no longer has its command socket: it is ending, or of no use any more.
    pub(super) fn socket_closed(&mut self, now: u64) {
        self.set_overdue(Some(now.saturating_add(SOCKET_CLOSED_MS)));
    }

    /// The role is asked to stop, and waits at most `bound_ms` for the supervisor. Asking again does not prolong it.
    pub(super) fn stop(&mut self, bound_ms: u64, now: u64) {
        if self.stop_at.is_none() {
            self.stop_at = Some(now.saturating_add(bound_ms));
        }
    }

    /// What is due at `now`.
    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        if let Some(stop_at) = self.stop_at {
            let gone = matches!(self.phase, Phase::Down { .. });
            return (gone || now >= stop_at).then_some(Due::Exit);
        }
        if self.keep_unknown.is_some_and(|since| now >= since.saturating_add(KEEP_UNKNOWN_MS)) {
            self.keep_unknown = None;
            return Some(Due::ReapUnknown);
        }
        match self.phase {
            Phase::Down { start_at } => (now >= start_at).then_some(Due::Start),
            Phase::Killed { .. } => None,
            Phase::Up { .. } => {
                if let Some(overdue_at) = self.overdue_at.filter(|at| now >= *at) {
                    if self.late_once || now.saturating_sub(overdue_at) <= LATE_MS {
                        return self.kill(Wedged::Deadline);
                    }
                    self.late_once = true;
                    self.overdue_at = Some(now.saturating_add(PATIENCE_MS));
                }
                let unread = self.unread.as_mut()?;
                let look_at = unread.since.saturating_add(PATIENCE_MS);
                if now > look_at.saturating_add(LATE_MS) {
                    unread.since = now;
                    return None;
                }
                (now >= look_at).then_some(Due::LookAtRecords)
            }
        }
    }

    /// When [`Self::due`] must be asked again at the latest; `None`: not before something happens.
    pub(super) fn next_ms(&self) -> Option<u64> {
        if self.stop_at.is_some() {
            return self.stop_at;
        }
        let keep_unknown = self.keep_unknown.map(|since| since.saturating_add(KEEP_UNKNOWN_MS));
        let others = match self.phase {
            Phase::Down { start_at } => [Some(start_at), None],
            Phase::Up { .. } => [self.overdue_at, self.unread.map(|unread| unread.since.saturating_add(PATIENCE_MS))],
            Phase::Killed { .. } => [None, None],
        };
        others.into_iter().chain([keep_unknown]).flatten().min()
    }

    fn kill(&mut self, why: Wedged) -> Option<Due> {
        let Phase::Up { since } = self.phase else { return None };
        self.phase = Phase::Killed { since };
        Some(Due::Kill(why))
    }

    fn set_overdue(&mut self, at: Option<u64>) {
        self.overdue_at = at;
        self.late_once = false;
    }
}

fn delay_ms(early_deaths: u32) -> u64 {
    match early_deaths.checked_sub(2) {
        None => 0,
        Some(doublings) => 1u64
            .checked_shl(doublings)
            .map_or(LONGEST_DELAY_MS, |factor| FIRST_DELAY_MS.saturating_mul(factor))
            .min(LONGEST_DELAY_MS),
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

    /// A supervisor that was started at 1000 s and has said hello.
    fn running() -> Supervision {
        let mut supervision = Supervision::new(1_000_000);
        assert_eq!(supervision.due(1_000_000), Some(Due::Start));
        supervision.started(1_000_000);
        supervision.hello();
        supervision.set_keep_unknown(false, 1_000_000);
        supervision
    }

    #[test]
    fn a_healthy_supervisor_without_deadlines_needs_no_wake_up() {
        assert_eq!(running().next_ms(), None);
    }

    #[test]
    fn restart_delays_are_none_then_doubled_from_a_second_to_thirty_and_there_is_no_last_try() {
        let mut supervision = running();
        let mut now = 1_000_100;
        let mut delays = Vec::new();
        for _ in 0..200 {
            supervision.died(Death::Crash, now);
            let start_at = supervision.next_ms().unwrap();
            delays.push(start_at - now);
            now = start_at;
            assert_eq!(supervision.due(now), Some(Due::Start));
            supervision.started(now);
            now += 100;
        }
        assert_eq!(delays[..8], [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert!(delays[8..].iter().all(|delay| *delay == 30_000));
    }

    #[test]
    fn a_supervisor_that_lived_ten_seconds_is_started_again_at_once() {
        let mut supervision = running();
        for _ in 0..5 {
            supervision.died(Death::Crash, 1_000_000);
            supervision.started(1_000_000);
        }
        supervision.died(Death::Crash, 1_010_000);
        assert_eq!(supervision.due(1_010_000), Some(Due::Start));
        supervision.died(Death::Crash, 1_010_000);
        assert_eq!(supervision.due(1_010_000), Some(Due::Start), "the first early death costs nothing");
    }

    #[test]
    fn a_supervisor_that_others_kill_is_back_at_once_and_not_called_crashed() {
        let mut supervision = running();
        for _ in 0..50 {
            supervision.died(Death::Killed, 1_000_100);
            assert!(!supervision.crashed());
            assert_eq!(supervision.due(1_000_100), Some(Due::Start));
            supervision.started(1_000_100);
            supervision.set_keep_unknown(false, 1_000_100);
        }
        supervision.died(Death::Left, 1_000_200);
        assert!(!supervision.crashed());
        assert_eq!(supervision.due(1_000_200), Some(Due::Start));
        supervision.started(1_000_200);
        supervision.died(Death::Crash, 1_000_300);
        assert!(supervision.crashed());
    }

    #[test]
    fn supervisors_killed_before_they_are_ready_are_delayed_after_the_eighth_in_a_row() {
        let mut supervision = running();
        let mut delays = Vec::new();
        for _ in 0..12 {
            supervision.started(1_000_000);
            supervision.died(Death::Killed, 1_000_100);
            delays.push(supervision.next_ms().unwrap() - 1_000_100);
        }
        assert_eq!(delays, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1000, 2000, 4000]);
        supervision.started(1_000_000);
        supervision.set_keep_unknown(false, 1_000_050);
        supervision.died(Death::Killed, 1_000_100);
        assert_eq!(supervision.due(1_000_100), Some(Due::Start), "it was ready: chance again");
    }

    #[test]
    fn a_supervisor_with_nothing_left_to_spare_is_started_again_after_the_longest_delay() {
        let mut supervision = running();
        supervision.nothing_left();
        supervision.died(Death::Crash, 1_000_100);
        assert_eq!(supervision.next_ms(), Some(1_030_100));
        supervision.started(1_030_100);
        supervision.died(Death::Crash, 1_030_200);
        assert_eq!(supervision.due(1_030_200), None, "it is the second early death");
        assert_eq!(supervision.next_ms(), Some(1_031_200));
    }

    #[test]
    fn a_supervisor_that_init_killed_because_it_was_wedged_has_crashed() {
        let mut supervision = running();
        supervision.deadline(1_005_000);
        assert_eq!(supervision.due(1_015_000), Some(Due::Kill(Wedged::Deadline)));
        supervision.died(Death::Killed, 1_015_001);
        assert!(supervision.crashed());
    }

    #[test]
    fn a_supervisor_is_wedged_ten_seconds_after_a_deadline_it_did_not_renew() {
        let mut supervision = running();
        supervision.deadline(1_005_000);
        assert_eq!(supervision.next_ms(), Some(1_015_000));
        assert_eq!(supervision.due(1_014_999), None);
        supervision.deadline(1_020_000);
        assert_eq!(supervision.due(1_015_000), None);
        assert_eq!(supervision.due(1_030_000), Some(Due::Kill(Wedged::Deadline)));
        assert_eq!(supervision.due(1_030_001), None, "one SIGKILL is enough");
        assert_eq!(supervision.next_ms(), None);
        supervision.died(Death::Crash, 1_030_002);
        assert_eq!(supervision.due(1_030_002), Some(Due::Start));
    }

    #[test]
    fn a_deadline_of_zero_means_none() {
        let mut supervision = running();
        supervision.deadline(1_005_000);
        supervision.deadline(0);
        assert_eq!((supervision.next_ms(), supervision.due(u64::MAX / 2)), (None, None));
    }

    #[test]
    fn a_suspended_machine_gives_the_supervisor_its_patience_again_but_only_once() {
        let mut supervision = running();
        supervision.deadline(1_005_000);
        assert_eq!(supervision.due(9_000_000), None);
        assert_eq!(supervision.next_ms(), Some(9_010_000));
        assert_eq!(supervision.due(9_020_000), Some(Due::Kill(Wedged::Deadline)));
    }

    #[test]
    fn a_new_supervisor_that_never_says_hello_is_wedged() {
        let mut supervision = Supervision::new(0);
        supervision.started(0);
        assert_eq!(supervision.due(29_999), None);
        assert_eq!(supervision.due(30_000), Some(Due::Kill(Wedged::Deadline)));
    }

    #[test]
    fn a_supervisor_that_consumes_no_record_for_ten_seconds_is_wedged() {
        let mut supervision = running();
        supervision.records_written(0, 1, 1_000_000);
        assert_eq!(supervision.due(1_010_000), Some(Due::LookAtRecords));
        assert_eq!(supervision.records_looked_at(3, 1, 1_010_000), None, "it read three in the meantime");
        assert_eq!(supervision.next_ms(), Some(1_020_000));
        assert_eq!(supervision.due(1_020_000), Some(Due::LookAtRecords));
        assert_eq!(supervision.records_looked_at(3, 5, 1_020_000), Some(Due::Kill(Wedged::Records)));
    }

    #[test]
    fn a_pipe_that_was_emptied_needs_no_timer() {
        let mut supervision = running();
        supervision.records_written(0, 1, 1_000_000);
        assert_eq!(supervision.due(1_010_000), Some(Due::LookAtRecords));
        supervision.records_looked_at(1, 0, 1_010_000);
        assert_eq!(supervision.next_ms(), None);
    }

    #[test]
    fn records_unread_at_a_death_are_the_next_supervisors_from_its_start_on() {
        let mut supervision = running();
        supervision.records_written(0, 1, 1_000_000);
        supervision.died(Death::Crash, 1_009_000);
        assert_eq!(supervision.due(1_009_500), Some(Due::Start));
        supervision.started(1_009_500);
        assert_eq!(supervision.due(1_010_000), None);
        assert_eq!(supervision.due(1_019_500), Some(Due::LookAtRecords));
    }

    #[test]
    fn unknown_zombies_are_kept_from_a_death_until_told_or_for_a_minute_without_a_word() {
        let mut supervision = running();
        assert!(!supervision.keeps_unknown());
        supervision.died(Death::Crash, 1_100_000);
        assert!(supervision.keeps_unknown());
        supervision.started(1_100_000);
        supervision.hello();
        supervision.word(1_150_000);
        assert_eq!(supervision.due(1_160_000), None);
        assert_eq!(supervision.next_ms(), Some(1_210_000));
        assert_eq!(supervision.due(1_210_000), Some(Due::ReapUnknown));
        assert!(!supervision.keeps_unknown());
        supervision.set_keep_unknown(true, 1_300_000);
        assert!(supervision.keeps_unknown());
        supervision.set_keep_unknown(false, 1_300_001);
        assert!(!supervision.keeps_unknown());
    }

    #[test]
    fn stopping_waits_for_the_supervisor_but_not_for_ever_and_starts_none() {
        let mut supervision = running();
        supervision.stop(5_000, 1_000_000);
        supervision.stop(5_000, 1_004_000);
        assert_eq!(supervision.due(1_004_999), None);
        assert_eq!(supervision.next_ms(), Some(1_005_000));
        assert_eq!(supervision.due(1_005_000), Some(Due::Exit));

        let mut supervision = running();
        supervision.stop(5_000, 1_000_000);
        supervision.died(Death::Crash, 1_000_100);
        assert_eq!(supervision.due(1_000_100), Some(Due::Exit));
    }

    #[test]
    fn a_supervisor_that_closed_its_socket_ends_within_a_second_or_is_killed() {
        let mut supervision = running();
        supervision.socket_closed(1_000_500);
        assert_eq!(supervision.due(1_001_499), None);
        assert_eq!(supervision.due(1_001_500), Some(Due::Kill(Wedged::Deadline)));
    }
}
