//! [`RegisteredPids`]: the pids whose end the supervisor wants to know. Pure, of fixed size.

use crate::wire::Refusal;

/// Pids and the tokens they are registered under, one to one.
pub(super) struct RegisteredPids {
    entries: Vec<Entry>,
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    pid: u32,
    token: u64,
}

impl RegisteredPids {
    /// An empty table that never grows beyond `most` entries, for which it takes its memory now.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Vec::with_capacity(most), most }
    }

    /// Adds a pair. The same pair again changes nothing; a pid or token that is known with another partner is refused.
    pub(super) fn register(&mut self, pid: u32, token: u64) -> Result<(), Refusal> {
        let entry = Entry { pid, token };
        match self.entries.iter().find(|known| known.pid == pid || known.token == token) {
            Some(known) if *known == entry => Ok(()),
            Some(_) => Err(Refusal::InUse),
            None if self.entries.len() >= self.most => Err(Refusal::Full),
            None => {
                self.entries.push(entry);
                Ok(())
            }
        }
    }

    pub(super) fn unregister(&mut self, token: u64) -> Result<(), Refusal> {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.token != token);
        if self.entries.len() < before { Ok(()) } else { Err(Refusal::NotFound) }
    }

    pub(super) fn token_of(&self, pid: u32) -> Option<u64> {
        self.entries.iter().find(|entry| entry.pid == pid).map(|entry| entry.token)
    }

    /// Forgets a pid that has been reaped and may soon belong to another process.
    pub(super) fn forget(&mut self, pid: u32) {
        self.entries.retain(|entry| entry.pid != pid);
    }

    /// All pids and their tokens.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, u64)> {
        self.entries.iter().map(|entry| (entry.pid, entry.token))
    }

    /// The pid at this place of the table, to walk it while it changes.
    pub(super) fn pid_at(&self, place: usize) -> Option<u32> {
        self.entries.get(place).map(|entry| entry.pid)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_may_be_registered_again_but_not_with_another_partner() {
        let mut table = RegisteredPids::new(4);
        assert_eq!(table.register(10, 1), Ok(()));
        assert_eq!(table.register(10, 1), Ok(()));
        assert_eq!(table.register(10, 2), Err(Refusal::InUse));
        assert_eq!(table.register(11, 1), Err(Refusal::InUse));
        assert_eq!(table.token_of(10), Some(1));
    }

    #[test]
    fn a_full_table_refuses_and_has_room_again_after_one_left() {
        let mut table = RegisteredPids::new(2);
        table.register(1, 1).unwrap();
        table.register(2, 2).unwrap();
        assert_eq!(table.register(3, 3), Err(Refusal::Full));
        assert_eq!(table.register(2, 2), Ok(()));
        table.forget(1);
        assert_eq!(table.register(3, 3), Ok(()));
        assert_eq!(table.unregister(2), Ok(()));
        assert_eq!(table.unregister(2), Err(Refusal::NotFound));
        assert_eq!((table.pid_at(0), table.pid_at(1)), (Some(3), None));
    }
}
