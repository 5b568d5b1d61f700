//! [`Orphans`]: instances on the machine that no pod knows: ended and removed, so that nothing runs that no manifest wants.

use super::backoff::Retry;
use super::event::{Action, Seq};
use super::time::Instant;
use crate::sorted::BTreeMap;

const KILL_AGAIN_MS: u64 = 10_000;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    known: BTreeMap<Seq, Orphan>,
}

#[derive(Debug, Clone, Copy)]
enum Orphan {
    /// It may run; SIGKILL is due at `kill_at`.
    Live { kill_at: Instant },
    /// It has ended; `asked` to be removed.
    Ended { asked: bool, retry: Retry },
}

impl Orphans {
    pub(crate) fn lives(&mut self, seq: Seq) {
        self.known.entry(seq).or_insert(Orphan::Live { kill_at: Instant::default() });
    }

    pub(crate) fn ended(&mut self, seq: Seq) {
        let ended = Orphan::Ended { asked: false, retry: Retry::default() };
        self.known.entry(seq).and_modify(|orphan| {
            if matches!(orphan, Orphan::Live { .. }) {
                *orphan = ended;
            }
        });
    }

    /// One that was found ended.
    pub(crate) fn found_ended(&mut self, seq: Seq) {
        self.known.insert(seq, Orphan::Ended { asked: false, retry: Retry::default() });
    }

    pub(crate) fn removed(&mut self, seq: Seq) {
        self.known.remove(&seq);
    }

    pub(crate) fn remove_failed(&mut self, seq: Seq, now: Instant) {
        if let Some(Orphan::Ended { asked, retry }) = self.known.get_mut(&seq) {
            *asked = false;
            retry.failed(now, 1_000, 60_000);
        }
    }

    /// Asks for what is due.
    pub(crate) fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (seq, orphan) in &mut self.known {
            match orphan {
                Orphan::Live { kill_at } if *kill_at <= now => {
                    *kill_at = now.after(KILL_AGAIN_MS);
                    actions.push(Action::Kill { seq: *seq });
                }
                Orphan::Ended { asked: asked @ false, retry } if retry.pending(now).is_none() => {
                    *asked = true;
                    actions.push(Action::Remove { seq: *seq });
                }
                Orphan::Live { .. } | Orphan::Ended { .. } => {}
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = |orphan: &Orphan| match orphan {
            Orphan::Live { kill_at } => Some(*kill_at),
            Orphan::Ended { asked: true, .. } => None,
            Orphan::Ended { retry, .. } => retry.pending(Instant::default()),
        };
        self.known.values().filter_map(due).min()
    }
}
