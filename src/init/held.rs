//! [`Held`]: the descriptors init keeps for containers, so that unread output outlives whoever reads it. Pure, of fixed size:
//! `D` is a descriptor in the role and a number in its tests.

use crate::wire::Refusal;

/// Descriptors by key, each in a slot that it keeps.
pub(super) struct Held<D> {
    slots: Vec<Option<Slot<D>>>,
    most: usize,
    /// Slots whose stream has bytes to read and waits for the next look at it. A slot is in here at most once.
    noticed: Vec<usize>,
}

struct Slot<D> {
    key: u64,
    descriptor: D,
    noticed: bool,
    watch: Watch,
}

/// Whether anybody reads a stream: full at two looks, with no batch read in between, means nobody does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watch {
    /// The count of read batches when the stream was last seen full.
    full_at: Option<u64>,
}

/// What to do with a stream after a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Leave,
    Discard,
}

impl Watch {
    pub(super) fn look(&mut self, full: bool, read_batches: u64) -> Verdict {
        let unread_since_last_look = full && self.full_at == Some(read_batches);
        self.full_at = if full && !unread_since_last_look { Some(read_batches) } else { None };
        if unread_since_last_look { Verdict::Discard } else { Verdict::Leave }
    }
}

impl<D> Held<D> {
    /// An empty table that never grows beyond `most` slots, for which it takes its memory now.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::with_capacity(most), most, noticed: Vec::with_capacity(most) }
    }

    /// Takes `descriptor` into the lowest free slot.
    pub(super) fn hold(&mut self, key: u64, descriptor: D) -> Result<usize, Refusal> {
        if self.find(key).is_some() {
            return Err(Refusal::InUse);
        }
        let slot = Slot { key, descriptor, noticed: false, watch: Watch::default() };
        if let Some((number, free)) = self.slots.iter_mut().enumerate().find(|(_, slot)| slot.is_none()) {
            *free = Some(slot);
            return Ok(number);
        }
        if self.slots.len() >= self.most {
            return Err(Refusal::Full);
        }
        self.slots.push(Some(slot));
        Ok(self.slots.len().saturating_sub(1))
    }

    /// Takes `descriptor` into this slot, of a table that was empty: as it was in the table of the program before.
    pub(super) fn hold_at(&mut self, slot: usize, key: u64, descriptor: D) {
        if slot < self.most {
            if self.slots.len() <= slot {
                self.slots.resize_with(slot.saturating_add(1), || None);
            }
            if let Some(place) = self.slots.get_mut(slot) {
                *place = Some(Slot { key, descriptor, noticed: false, watch: Watch::default() });
            }
        }
    }

    /// All that is held: slot, key and descriptor.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, u64, &D)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(number, slot)| slot.as_ref().map(|slot| (number, slot.key, &slot.descriptor)))
    }

    /// Gives the descriptor back, out of its slot.
    pub(super) fn release(&mut self, key: u64) -> Result<D, Refusal> {
        let number = self.find(key).ok_or(Refusal::NotFound)?;
        let slot = self.slots.get_mut(number).and_then(Option::take).ok_or(Refusal::NotFound)?;
        self.noticed.retain(|noticed| *noticed != number);
        Ok(slot.descriptor)
    }

    /// The slot and descriptor held under `key`.
    pub(super) fn fetch(&self, key: u64) -> Result<(usize, &D), Refusal> {
        let number = self.find(key).ok_or(Refusal::NotFound)?;
        self.at(number).map(|descriptor| (number, descriptor)).ok_or(Refusal::NotFound)
    }

    pub(super) fn at(&self, slot: usize) -> Option<&D> {
        self.slots.get(slot).and_then(Option::as_ref).map(|slot| &slot.descriptor)
    }

    pub(super) fn watch_at(&mut self, slot: usize) -> Option<(&D, &mut Watch)> {
        self.slots.get_mut(slot).and_then(Option::as_mut).map(|slot| (&slot.descriptor, &mut slot.watch))
    }

    /// The stream in `slot` has bytes to read: look at it when it is time.
    pub(super) fn notice(&mut self, slot: usize) {
        if let Some(held) = self.slots.get_mut(slot).and_then(Option::as_mut)
            && !held.noticed
        {
            held.noticed = true;
            self.noticed.push(slot);
        }
    }

    /// The next stream to look at, or `None` when all have been.
    pub(super) fn next_noticed(&mut self) -> Option<usize> {
        let slot = self.noticed.pop()?;
        if let Some(held) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            held.noticed = false;
        }
        Some(slot)
    }

    fn find(&self, key: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.key == key))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_keeps_its_slot_and_a_free_slot_is_taken_again() {
        let mut held = Held::new(3);
        assert_eq!(held.hold(40, 'a'), Ok(0));
        assert_eq!(held.hold(41, 'b'), Ok(1));
        assert_eq!(held.hold(40, 'x'), Err(Refusal::InUse));
        assert_eq!(held.release(40), Ok('a'));
        assert_eq!(held.release(40), Err(Refusal::NotFound));
        assert_eq!(held.fetch(41), Ok((1, &'b')));
        assert_eq!(held.hold(42, 'c'), Ok(0));
        assert_eq!(held.hold(43, 'd'), Ok(2));
        assert_eq!(held.hold(44, 'e'), Err(Refusal::Full));
    }

    #[test]
    fn a_table_that_is_handed_over_keeps_its_slots() {
        let mut held = Held::new(4);
        held.hold_at(2, 40, 'a');
        held.hold_at(0, 41, 'b');
        held.hold_at(4, 42, 'x');
        assert_eq!(held.all().collect::<Vec<_>>(), [(0, 41, &'b'), (2, 40, &'a')]);
        assert_eq!(held.fetch(40), Ok((2, &'a')));
        assert_eq!(held.hold(43, 'c'), Ok(1));
    }

    #[test]
    fn a_stream_that_was_noticed_is_looked_at_once() {
        let mut held = Held::new(3);
        held.hold(1, ()).unwrap();
        held.hold(2, ()).unwrap();
        held.notice(0);
        held.notice(0);
        held.notice(1);
        held.notice(7);
        held.release(2).unwrap();
        assert_eq!(held.next_noticed(), Some(0));
        assert_eq!(held.next_noticed(), None);
        held.notice(0);
        assert_eq!(held.next_noticed(), Some(0));
    }

    #[test]
    fn only_a_stream_full_at_two_looks_without_a_batch_read_in_between_is_discarded() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(true, 5), Verdict::Leave);
        assert_eq!(watch.look(true, 6), Verdict::Leave, "somebody reads, just not fast enough");
        assert_eq!(watch.look(false, 6), Verdict::Leave);
        assert_eq!(watch.look(true, 6), Verdict::Leave, "it was not full the last time");
        assert_eq!(watch.look(true, 6), Verdict::Discard);
        assert_eq!(watch.look(true, 6), Verdict::Leave, "after a discard it has a second again");
        assert_eq!(watch.look(true, 6), Verdict::Discard);
    }
}
