//! [`Stop`]: ending one live container instance: stop signal, grace, SIGKILL, and SIGKILL again.
//!
//! | instance is | no stop yet | `Signalled` | `Killed` |
//! |---|---|---|---|
//! | being created or started | wait for the answer | – | – |
//! | created, its program not started | kill → `Killed` | – | every 10 s: kill again, event |
//! | running | event Killing, stop signal → `Signalled` | at the end of the grace: kill → `Killed` | every 10 s: kill again, event |

use super::container::{Container, State, Step};
use super::event::{Action, Seq};
use super::time::Instant;
use super::turn::{Scope, Turn};
use crate::json::{Deserialize, Serialize};

/// semantics 4.3: even a grace of 0 gives a container this long.
pub(crate) const GRACE_FLOOR_MS: u64 = 2_000;
const KILL_AGAIN_MS: u64 = 10_000;
const SIGTERM: i32 = 15;

/// How far the stop of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    /// The stop signal was asked for.
    Signalled { at: Instant, grace_ms: u64 },
    /// SIGKILL was asked for; it is repeated at `again`.
    Killed { again: Instant },
}

impl Container {
    /// Takes the live instance, if any, one step nearer to its end.
    pub(crate) fn drive_stop(&mut self, grace_ms: u64, scope: Scope<'_>, turn: &mut Turn<'_>) {
        let now = turn.now.boot;
        let (seq, running) = match self.state {
            State::Running { seq, .. } => (seq, true),
            State::Starting { seq, step: Step::Created { .. } | Step::Marking { .. } | Step::Marked, .. } => {
                (seq, false)
            }
            // Asked to create or start: the answer comes, and what runs then gets its grace.
            State::Starting { .. } => return,
            State::Image { .. } => {
                self.state = State::Waiting { until: None, why: super::container::Why::Starting };
                return;
            }
            State::Waiting { .. } | State::Ended => return,
        };
        match self.stop {
            None if running => {
                let signal = self.image.as_ref().and_then(|image| image.stop_signal).unwrap_or(SIGTERM);
                self.record(scope, turn, false, "Killing", format!("Stopping container {}", self.name));
                turn.ask(Action::Signal { seq, signal });
                self.stop = Some(Stop::Signalled { at: now, grace_ms });
                turn.wake_at(now.after(grace_ms));
            }
            None => self.kill(seq, turn),
            Some(Stop::Signalled { at, grace_ms: before }) => {
                // A grace only shrinks.
                let grace_ms = before.min(grace_ms);
                let end = at.after(grace_ms);
                if now >= end {
                    self.kill(seq, turn);
                } else {
                    self.stop = Some(Stop::Signalled { at, grace_ms });
                    turn.wake_at(end);
                }
            }
            Some(Stop::Killed { again }) if now >= again => {
                let text = format!("Container {} is still there 10 s after SIGKILL; killing it again", self.name);
                self.record(scope, turn, true, "FailedKillPod", text);
                self.kill(seq, turn);
            }
            Some(Stop::Killed { again }) => turn.wake_at(again),
        }
    }

    fn kill(&mut self, seq: Seq, turn: &mut Turn<'_>) {
        let again = turn.now.boot.after(KILL_AGAIN_MS);
        turn.ask(Action::Kill { seq });
        self.stop = Some(Stop::Killed { again });
        turn.wake_at(again);
    }
}

impl Scope<'_> {
    /// The pod's grace in milliseconds, or the one a person asked for, never below the floor.
    pub(crate) fn grace_ms(&self, asked_seconds: Option<i64>) -> u64 {
        let seconds = asked_seconds.unwrap_or(self.pod.spec.termination_grace_period_seconds);
        u64::try_from(seconds).unwrap_or(0).saturating_mul(1000).max(GRACE_FLOOR_MS)
    }
}
