//! [`Streams`]: what keeps a container from getting stuck on output that nobody reads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::{Errno, Result};

use super::held::Verdict;
use super::{FIRST_STREAM, Init};
use crate::sys::clock::boottime_ms;
use crate::sys::epoll::EventFlags;
use crate::sys::pipe;
use crate::sys::shared_memory::SharedWords;
use crate::wire::{STREAM_TABLE_WORDS, StreamCounter, stream_word};

/// Time between two looks at a stream that has bytes to read.
const LOOK_EVERY_MS: u64 = 1_000;
/// A terminal whose input queue holds this much makes its writer wait (N_TTY_BUF_SIZE less one).
const FULL_TERMINAL_BYTES: u64 = 4_095;
/// Taken from one stream at one look at most, so that a fast writer cannot keep init here.
const MOST_AT_ONCE: usize = 2 * 1024 * 1024;

/// The stream table, shared with the log-writer, and the time of the next look at streams with bytes in them.
pub(super) struct Streams {
    memory: OwnedFd,
    table: SharedWords,
    look_at: Option<u64>,
}

impl Streams {
    pub(super) fn new() -> Result<Self> {
        let (memory, table) = SharedWords::create("gatepost-streams", STREAM_TABLE_WORDS)?;
        Ok(Self { memory, table, look_at: None })
    }

    /// The table of the program before.
    pub(super) fn resume(memory: OwnedFd) -> Result<Self> {
        let table = SharedWords::map(&memory, STREAM_TABLE_WORDS)?;
        Ok(Self { memory, table, look_at: None })
    }

    pub(super) fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.look_at
    }

    /// A slot has a new owner: its counters start at 0.
    pub(super) fn reset(&self, slot: usize) {
        for counter in [StreamCounter::ReadBatches, StreamCounter::DroppedBytes] {
            if let Some(word) = self.table.get(stream_word(slot, counter)) {
                word.store(0, Relaxed);
            }
        }
    }

    fn read_batches(&self, slot: usize) -> u64 {
        self.table.get(stream_word(slot, StreamCounter::ReadBatches)).map_or(0, |word| word.load(Relaxed))
    }

    fn count_dropped(&self, slot: usize, bytes: usize) {
        if let Some(word) = self.table.get(stream_word(slot, StreamCounter::DroppedBytes)) {
            word.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

impl Init {
    /// The event is used up by now (oneshot): the stream is looked at when it is time, and only then watched again.
    pub(super) fn stream_has_bytes(&mut self, slot: u64) {
        if let Ok(slot) = usize::try_from(slot) {
            self.held.notice(slot);
            let look_at = boottime_ms().saturating_add(LOOK_EVERY_MS);
            self.streams.look_at.get_or_insert(look_at);
        }
    }

    pub(super) fn look_at_streams(&mut self, now: u64) {
        if self.streams.look_at.is_none_or(|look_at| now < look_at) {
            return;
        }
        self.streams.look_at = None;
        while let Some(slot) = self.held.next_noticed() {
            let batches = self.streams.read_batches(slot);
            if let Some((descriptor, watch)) = self.held.watch_at(slot) {
                if watch.look(is_full(descriptor), batches) == Verdict::Discard {
                    self.streams.count_dropped(slot, discard(descriptor, &self.null));
                }
                let token = FIRST_STREAM.saturating_add(u64::try_from(slot).unwrap_or(u64::MAX));
                let _ = self.epoll.modify(descriptor, token, EventFlags::IN | EventFlags::ONESHOT);
            }
        }
    }
}

fn is_full(stream: &OwnedFd) -> bool {
    if rustix::termios::isatty(stream) {
        pipe::unread_bytes(stream).is_ok_and(|bytes| bytes >= FULL_TERMINAL_BYTES)
    } else {
        pipe::is_full(stream).unwrap_or(false)
    }
}

/// Returns how many bytes were thrown away.
fn discard(stream: &OwnedFd, null: impl AsFd) -> usize {
    match pipe::discard(stream, null, MOST_AT_ONCE) {
        Ok(bytes) => bytes,
        // Neither end is a pipe: a terminal.
        Err(Errno::INVAL) => read_away(stream),
        Err(_) => 0,
    }
}

fn read_away(terminal: &OwnedFd) -> usize {
    let mut buffer = [0; 4096];
    let mut total: usize = 0;
    while total < MOST_AT_ONCE {
        match rustix::io::read(terminal, &mut buffer) {
            Ok(bytes) if bytes > 0 => total = total.saturating_add(bytes),
            _ => break,
        }
    }
    total
}
