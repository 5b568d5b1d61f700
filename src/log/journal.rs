//! [`Journal`]: the pipe and the mapped page that make every batch reach its log exactly once.
//!
//! The pipe is held by init and the page lies on tmpfs, so both outlive the log-writer. A batch goes through these phases;
//! the fields a phase needs are stored before the phase itself, in one word:
//!
//! * `Idle`: the pipe is empty.
//! * `Fill`: what is in the pipe came from the named stream and is not in its log yet.
//! * `Append`: as `Fill`, and the log may hold a part of it from `offset` on.
//! * `Appended`: the log has it; the pipe is to be drained until `remain` bytes are left, and the slot's counters take the
//!   values noted. Doing that twice is harmless.
//!
//! Power loss needs nothing: page and pipe are gone with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::protocol::StreamKind;
use crate::sys::pipe;
use crate::sys::shared_memory::SharedWords;
use crate::wire::JOURNAL_BYTES;

/// Largest batch taken from a stream at a time: what a FIFO holds.
pub(crate) const BATCH: usize = JOURNAL_BYTES;

const MAGIC: u64 = u64::from_le_bytes(*b"gatelog\x01");
const PATH_MAX: usize = 4096;
const PATH_AT: usize = 16;
const SLOTS_AT: usize = PATH_AT + PATH_MAX / 8;
const SLOT_WORDS: usize = 4;
const ZERO: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    Fill,
    Append,
    Appended,
}

/// The words at the page's front, in order.
#[derive(Clone, Copy)]
enum Field {
    Magic,
    Phase,
    StreamId,
    Slot,
    Kind,
    WallNs,
    Offset,
    Remain,
    StallNoted,
    DiskDropped,
    DiskNoted,
    PathLength,
}

/// Where a batch belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) stream_id: u64,
    pub(crate) slot: u32,
    pub(crate) kind: StreamKind,
    pub(crate) path: PathBuf,
}

/// What was lost of a stream and what the log says of it already, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Dropped by init and noted in the log.
    pub(crate) stall_noted: u64,
    /// Dropped by the log-writer for want of space.
    pub(crate) disk_dropped: u64,
    /// Of these, noted in the log.
    pub(crate) disk_noted: u64,
}

/// The journal pipe, a private pipe to look into pipes with, and the page.
#[derive(Debug)]
pub(crate) struct Journal {
    page: SharedWords,
    slots: usize,
    read: OwnedFd,
    write: OwnedFd,
    look_read: File,
    look_write: OwnedFd,
    null: OwnedFd,
    /// The page's file, held with `flock`: two writers on one journal would be fatal.
    file: File,
}

impl Journal {
    /// Waits until no other log-writer has the page at `path`, then maps it for `slots` stream slots.
    ///
    /// Returns what was wrong with the page found, if anything; it is then taken as idle.
    pub(crate) fn open(path: &Path, read: OwnedFd, write: OwnedFd, slots: usize) -> io::Result<(Self, Option<String>)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let fresh = file.metadata()?.len() == 0;
        let words = SLOTS_AT + slots * SLOT_WORDS;
        if file.metadata()?.len() < words as u64 * 8 {
            file.set_len(words as u64 * 8)?;
        }
        reserve(&file, 0, SLOTS_AT)?;
        let page = SharedWords::map(&file, words)?;
        let (look_read, look_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // As many page slots as a FIFO; where the limit forbids it, batches are just smaller.
        let _ = pipe::set_size(&look_write, BATCH);
        let _ = pipe::set_size(&write, BATCH);
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
        let journal = Self { page, slots, read, write, look_read: File::from(look_read), look_write, null, file };
        let fault = journal.check_page();
        if fresh || fault.is_some() {
            // Zeros everywhere, without touching (and so filling) the pages of slots that nobody uses.
            rustix::fs::fallocate(&journal.file, ZERO, 0, words as u64 * 8)?;
            reserve(&journal.file, 0, SLOTS_AT)?;
            journal.set(Field::Magic, MAGIC);
        }
        Ok((journal, fault.filter(|_| !fresh)))
    }

    fn check_page(&self) -> Option<String> {
        if self.get(Field::Magic) != MAGIC {
            return Some("it is of another version or no journal page".to_owned());
        }
        if self.get(Field::Phase) > 3 {
            return Some(format!("its phase is {}", self.get(Field::Phase)));
        }
        (self.phase() != Phase::Idle && self.target().is_none()).then(|| "its log path cannot be read".to_owned())
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.get(Field::Phase) {
            1 => Phase::Fill,
            2 => Phase::Append,
            3 => Phase::Appended,
            _ => Phase::Idle,
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.set(Field::Phase, phase as u64);
    }

    /// Where the batch in hand belongs.
    pub(crate) fn target(&self) -> Option<Target> {
        let length = usize::try_from(self.get(Field::PathLength)).ok().filter(|length| *length <= PATH_MAX)?;
        let words = self.page.get(PATH_AT..SLOTS_AT)?;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        bytes.truncate(length);
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        let kind = if self.get(Field::Kind) == 1 { StreamKind::Stderr } else { StreamKind::Stdout };
        let slot = u32::try_from(self.get(Field::Slot)).ok()?;
        path.is_absolute().then(|| Target { stream_id: self.get(Field::StreamId), slot, kind, path })
    }

    /// When the batch in hand was taken; its lines carry this time, also when they are written a second time.
    pub(crate) fn wall_ns(&self) -> u64 {
        self.get(Field::WallNs)
    }

    /// Where in the log the batch in hand begins.
    pub(crate) fn offset(&self) -> u64 {
        self.get(Field::Offset)
    }

    /// From here on the pipe's content belongs to `target`.
    pub(crate) fn begin(&self, target: &Target, wall_ns: u64) {
        // Streams take turns: the path is only written when it is another one.
        let path = target.path.as_os_str().as_bytes();
        for (word, bytes) in self.page.iter().skip(PATH_AT).zip(path.chunks(8)) {
            let mut full = [0_u8; 8];
            full.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u64::from_le_bytes(full), Ordering::Relaxed);
        }
        self.set(Field::PathLength, path.len() as u64);
        self.set(Field::StreamId, target.stream_id);
        self.set(Field::Slot, target.slot.into());
        self.set(Field::Kind, u64::from(target.kind == StreamKind::Stderr));
        self.set(Field::WallNs, wall_ns);
        self.set_phase(Phase::Fill);
    }

    /// The next bytes of the log from `offset` on stand for the pipe's content down to `remain` bytes.
    pub(crate) fn begin_append(&self, offset: u64, remain: u64, after: Losses) {
        self.set(Field::Offset, offset);
        self.set(Field::Remain, remain);
        self.set_losses(after);
        self.set_phase(Phase::Append);
    }

    /// The append could not be done: the bytes count as dropped instead.
    pub(crate) fn set_losses(&self, after: Losses) {
        self.set(Field::StallNoted, after.stall_noted);
        self.set(Field::DiskDropped, after.disk_dropped);
        self.set(Field::DiskNoted, after.disk_noted);
    }

    /// The log has the bytes: takes over the counters and drains the pipe to the noted rest.
    pub(crate) fn finish_append(&self) -> io::Result<()> {
        self.set_phase(Phase::Appended);
        let slot = self.get(Field::Slot);
        let values = [Field::StallNoted, Field::DiskDropped, Field::DiskNoted].map(|field| self.get(field));
        for (word, value) in self.slot_words(slot).iter().skip(1).zip(values) {
            word.store(value, Ordering::SeqCst);
        }
        self.drain_to(self.get(Field::Remain))?;
        self.set_phase(Phase::Fill);
        Ok(())
    }

    /// The batch is stored.
    pub(crate) fn finish(&self) {
        self.set_phase(Phase::Idle);
    }

    /// Takes bytes of the pipe away until only `remain` are left.
    pub(crate) fn drain_to(&self, remain: u64) -> io::Result<()> {
        loop {
            let excess = self.waiting()?.saturating_sub(remain);
            if excess == 0 {
                return Ok(());
            }
            let length = usize::try_from(excess).unwrap_or(BATCH);
            match rustix::pipe::splice(&self.read, None, &self.null, None, length, SpliceFlags::NONBLOCK) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Bytes in the journal pipe.
    pub(crate) fn waiting(&self) -> io::Result<u64> {
        Ok(pipe::unread_bytes(&self.read)?)
    }

    /// Moves up to `length` bytes of `source` into the journal pipe; 0 when there is nothing (any more).
    pub(crate) fn fill(&self, source: impl AsFd, length: usize) -> rustix::io::Result<usize> {
        rustix::pipe::splice(source, None, &self.write, None, length, SpliceFlags::NONBLOCK)
    }

    /// Puts bytes into the journal pipe that could not be spliced.
    pub(crate) fn fill_with(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        rustix::io::write(&self.write, bytes)
    }

    /// Copies the front of the journal pipe into `buffer` without taking it away.
    pub(crate) fn look(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let seen = look_at(&self.read, &self.look_write, buffer.len())?;
        let seen = buffer.get_mut(..seen).unwrap_or_default();
        self.look_read.read_exact(seen)?;
        Ok(seen.len())
    }

    /// Looks at the front of a FIFO without taking it away: (bytes seen, end of the last newline among them).
    pub(crate) fn look_for_lines(&mut self, fifo: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        let seen = look_at(fifo, &self.look_write, BATCH)?;
        let (mut done, mut lines_end) = (0, 0);
        while done < seen {
            let length = buffer.len().min(seen - done);
            let part = buffer.get_mut(..length).unwrap_or_default();
            self.look_read.read_exact(part)?;
            if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
                lines_end = done + at + 1;
            }
            done += length;
        }
        Ok((seen, lines_end))
    }

    /// Binds a slot to its stream; a new stream starts with no losses.
    pub(crate) fn bind_slot(&self, slot: u32, stream_id: u64) -> io::Result<()> {
        reserve(&self.file, SLOTS_AT + slot as usize * SLOT_WORDS, SLOT_WORDS)?;
        let words = self.slot_words(slot.into());
        if words.first().is_some_and(|word| word.load(Ordering::SeqCst) != stream_id) {
            for word in words.iter().skip(1) {
                word.store(0, Ordering::SeqCst);
            }
            words.iter().take(1).for_each(|word| word.store(stream_id, Ordering::SeqCst));
        }
        Ok(())
    }

    pub(crate) fn losses(&self, slot: u32) -> Losses {
        let mut values = self.slot_words(slot.into()).iter().skip(1).map(|word| word.load(Ordering::SeqCst));
        let mut next = || values.next().unwrap_or(0);
        Losses { stall_noted: next(), disk_dropped: next(), disk_noted: next() }
    }

    fn slot_words(&self, slot: u64) -> &[AtomicU64] {
        let slot = usize::try_from(slot).ok().filter(|slot| *slot < self.slots);
        let start = slot.map_or(usize::MAX, |slot| SLOTS_AT + slot * SLOT_WORDS);
        self.page.get(start..start.saturating_add(SLOT_WORDS)).unwrap_or_default()
    }

    fn get(&self, field: Field) -> u64 {
        self.page.get(field as usize).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn set(&self, field: Field, value: u64) {
        if let Some(word) = self.page.get(field as usize) {
            word.store(value, Ordering::SeqCst);
        }
    }
}

/// Makes these words safe to touch: a hole that a full tmpfs cannot fill would be a SIGBUS.
fn reserve(file: &File, word: usize, words: usize) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), word as u64 * 8, words as u64 * 8)?)
}

fn look_at(from: impl AsFd, look: &OwnedFd, length: usize) -> io::Result<usize> {
    loop {
        match rustix::pipe::tee(&from, look, length, SpliceFlags::NONBLOCK) {
            Ok(seen) => return Ok(seen),
            Err(rustix::io::Errno::AGAIN) => return Ok(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn journal(path: &Path) -> (Journal, Option<String>) {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        Journal::open(path, read, write, 4).unwrap()
    }

    #[test]
    fn a_page_tells_the_next_writer_what_was_in_hand() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let target =
            Target { stream_id: 9, slot: 3, kind: StreamKind::Stderr, path: "/var/log/pods/a_b_c/d/0.log".into() };
        {
            let (first, fault) = journal(&path);
            assert_eq!((fault, first.phase()), (None, Phase::Idle));
            first.bind_slot(3, 9).unwrap();
            first.begin(&target, 77);
            first.begin_append(1234, 5, Losses { stall_noted: 1, disk_dropped: 2, disk_noted: 3 });
        }
        let (second, fault) = journal(&path);
        assert_eq!((fault, second.phase(), second.target()), (None, Phase::Append, Some(target)));
        assert_eq!((second.offset(), second.wall_ns(), second.losses(3)), (1234, 77, Losses::default()));
        second.finish_append().unwrap();
        assert_eq!(second.losses(3), Losses { stall_noted: 1, disk_dropped: 2, disk_noted: 3 });
        second.bind_slot(3, 10).unwrap();
        assert_eq!(second.losses(3), Losses::default());
    }

    #[test]
    fn a_foreign_page_is_idle_and_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        std::fs::write(&path, vec![7_u8; 100_000]).unwrap();
        let (page, fault) = journal(&path);
        assert!(fault.is_some());
        assert_eq!((page.phase(), page.losses(0)), (Phase::Idle, Losses::default()));
    }
}
