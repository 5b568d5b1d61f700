//! [`Booting`]: the role boot as init sees it: its deadlines, its word, and its second try. Pure.

use crate::wire::VERSION;
use crate::wire::boot::{FIRST_DEADLINE_MS, LONGEST_STAGE_MS, Report};

/// Where boot is. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Booting {
    phase: Phase,
    /// The node is prepared.
    ready: bool,
    /// This is the second boot, which reads nothing.
    defaults: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// To be started.
    Waiting,
    Running {
        deadline: u64,
    },
    /// Sent SIGKILL, not yet dead.
    Killed,
    Over,
}

/// Why boot is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A stage has let its deadline pass.
    Overdue,
    /// It sent something that is no record, or speaks another version.
    Garbage,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Start boot; answer with [`Booting::started`], or with [`Booting::ended`] when that failed.
    Start { defaults: bool },
    /// Kill it with all it started.
    Kill(Fault),
}

/// What the end of boot means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It had prepared the node, or nobody waits for it any more.
    Well,
    /// It had not: it is started once more with the defaults.
    Again,
    /// The second one had not either. The supervisor is started all the same.
    Nevertheless,
}

impl Booting {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Waiting, ready: false, defaults: false }
    }

    /// A PID 1 that has booted before.
    pub(super) fn over() -> Self {
        Self { phase: Phase::Over, ready: true, defaults: false }
    }

    pub(super) fn started(&mut self, now: u64) {
        self.phase = Phase::Running { deadline: now.saturating_add(FIRST_DEADLINE_MS) };
    }

    /// A message of boot, `None` when it was no record. What is due at once, if it must not be believed.
    pub(super) fn report(&mut self, report: Option<Report>, now: u64) -> Option<Due> {
        let Phase::Running { deadline } = &mut self.phase else { return None };
        match report {
            None => return Some(self.kill(Fault::Garbage)),
            Some(Report::Hello { version }) if version != VERSION => return Some(self.kill(Fault::Garbage)),
            Some(Report::Deadline { boottime_ms }) => *deadline = boottime_ms.min(now.saturating_add(LONGEST_STAGE_MS)),
            Some(Report::Ready) => self.ready = true,
            Some(_) => {}
        }
        None
    }

    /// It has ended, or could not be started.
    pub(super) fn ended(&mut self) -> After {
        // Given up is given up, even if it was killed for that and had prepared nothing.
        if self.ready || self.phase == Phase::Over {
            self.phase = Phase::Over;
            After::Well
        } else if self.defaults {
            self.phase = Phase::Over;
            After::Nevertheless
        } else {
            self.defaults = true;
            self.phase = Phase::Waiting;
            After::Again
        }
    }

    /// Whether the first boot failed, or both.
    pub(super) fn failed(&self) -> bool {
        self.defaults
    }

    /// No boot is started any more: the machine goes down.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Over;
    }

    /// Whether the supervisor may run.
    pub(super) fn supervisor_may_run(&self) -> bool {
        self.ready || self.phase == Phase::Over
    }

    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        match self.phase {
            Phase::Waiting => Some(Due::Start { defaults: self.defaults }),
            Phase::Running { deadline } if now >= deadline => Some(self.kill(Fault::Overdue)),
            _ => None,
        }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting => Some(0),
            Phase::Running { deadline } => Some(deadline),
            Phase::Killed | Phase::Over => None,
        }
    }

    fn kill(&mut self, fault: Fault) -> Due {
        self.phase = Phase::Killed;
        Due::Kill(fault)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn running() -> Booting {
        let mut booting = Booting::new();
        assert_eq!(booting.due(1_000), Some(Due::Start { defaults: false }));
        booting.started(1_000);
        booting
    }

    #[test]
    fn a_boot_that_is_ready_lets_the_supervisor_run_before_it_ends() {
        let mut booting = running();
        assert_eq!(booting.report(Some(Report::Hello { version: VERSION }), 1_001), None);
        assert!(!booting.supervisor_may_run());
        booting.report(Some(Report::Ready), 2_000);
        assert!(booting.supervisor_may_run());
        assert_eq!(booting.ended(), After::Well);
        assert_eq!((booting.due(u64::MAX), booting.next_ms()), (None, None));
    }

    #[test]
    fn a_boot_that_ends_without_being_ready_is_started_once_more_with_the_defaults() {
        let mut booting = running();
        assert_eq!(booting.ended(), After::Again);
        assert!(!booting.supervisor_may_run());
        assert_eq!(booting.due(2_000), Some(Due::Start { defaults: true }));
        booting.started(2_000);
        assert_eq!(booting.ended(), After::Nevertheless);
        assert!(booting.supervisor_may_run());
        assert_eq!(booting.due(3_000), None);
    }

    #[test]
    fn a_stage_that_overruns_is_killed_once() {
        let mut booting = running();
        assert_eq!(booting.next_ms(), Some(61_000));
        booting.report(Some(Report::Deadline { boottime_ms: 9_000 }), 2_000);
        assert_eq!(booting.due(8_999), None);
        assert_eq!(booting.due(9_000), Some(Due::Kill(Fault::Overdue)));
        assert_eq!(booting.due(9_001), None);
        assert_eq!(booting.report(Some(Report::Ready), 9_002), None);
        assert!(!booting.supervisor_may_run(), "what it says after that does not count");
        assert_eq!(booting.ended(), After::Again);
    }

    #[test]
    fn a_boot_that_is_ended_by_a_shutdown_is_not_started_again() {
        let mut booting = running();
        booting.give_up();
        assert_eq!(booting.ended(), After::Well);
        assert_eq!((booting.due(u64::MAX), booting.next_ms()), (None, None));
    }

    #[test]
    fn no_stage_gets_more_than_ten_minutes() {
        let mut booting = running();
        booting.report(Some(Report::Deadline { boottime_ms: u64::MAX }), 2_000);
        assert_eq!(booting.next_ms(), Some(602_000));
    }

    #[test]
    fn garbage_and_another_version_are_its_end() {
        assert_eq!(running().report(None, 1_001), Some(Due::Kill(Fault::Garbage)));
        assert_eq!(running().report(Some(Report::Hello { version: 99 }), 1_001), Some(Due::Kill(Fault::Garbage)));
    }

    #[test]
    fn a_boot_that_fails_after_it_was_ready_has_done_its_work() {
        let mut booting = running();
        booting.report(Some(Report::Ready), 1_500);
        booting.report(None, 1_600);
        assert_eq!(booting.ended(), After::Well);
    }
}
