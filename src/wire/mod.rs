//! The records between the roles init and supervisor: [`Command`], [`Message`], [`ExitRecord`], and what lies at which
//! fixed descriptor of a supervisor. Those between init and boot are in [`boot`];
//! what one boot leaves for the next, in [`farewell`].
//!
//! Records have a fixed size, are little-endian and carry [`VERSION`]. Turning bytes into records cannot panic: what does
//! not have the right size, version or kind is no record. A number that has been given a meaning never gets another one.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects
)]

pub mod boot;
mod command;
mod exit_record;
pub mod farewell;
mod message;

use std::ffi::CStr;

pub use command::{Command, Request};
pub use exit_record::ExitRecord;
pub use message::{Answer, Message, Refusal};

/// Version of all records here.
pub const VERSION: u16 = 1;

/// The supervisor's descriptor of its command socket (`SOCK_SEQPACKET`, one record a message).
pub const COMMAND_SOCKET: i32 = 3;
/// The supervisor's descriptor of the read end of the exit-record pipe; non-blocking. The pipe outlives supervisors.
pub const EXIT_RECORDS: i32 = 4;
/// The supervisor's descriptor of the stream table (a memfd, see [`stream_word`]).
pub const STREAM_TABLE: i32 = 5;
/// The supervisor's descriptor of the journal pipe's read end; non-blocking. The pipe outlives supervisors.
pub const JOURNAL_READ: i32 = 6;
/// The supervisor's descriptor of the journal pipe's write end; non-blocking.
pub const JOURNAL_WRITE: i32 = 7;

/// The last argument of a supervisor whose predecessor ended by its own fault: a status other than 0, a fatal signal, or
/// init's SIGKILL because it was wedged. One that others killed says nothing against the pod it was acting on.
pub const CRASHED: &CStr = c"crashed";

/// The argument after the run directory of a supervisor whose init is PID 1 of a gateway: it locks itself into memory, and a SIGTERM
/// stops the pods, a second one with a shorter grace.
pub const GATEWAY: &CStr = c"gateway";

/// Capacity of the exit-record pipe, in bytes, as init makes it.
pub const EXIT_PIPE_BYTES: usize = 64 * 1024;
/// Capacity of the journal pipe, in bytes: the whole of one stream's FIFO.
pub const JOURNAL_BYTES: usize = 256 * 1024;

/// How many descriptors init can hold, and so how many slots the stream table has.
pub const STREAM_SLOTS: usize = 8192;
/// How many pids can be registered with init.
pub const REGISTERED_PIDS: usize = 4096;
/// Words in the stream table.
pub const STREAM_TABLE_WORDS: usize = STREAM_SLOTS * 2;

/// A counter of a stream. Both start at 0 when init takes the stream's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamCounter {
    /// The log-writer adds 1 for each batch it takes from the stream; init only reads it.
    ReadBatches,
    /// Init adds the bytes it threw away because nobody read a full stream; the log-writer only reads it.
    DroppedBytes,
}

/// Which 64-bit word of the stream table holds `counter` of the stream in `slot` (from the answer to [`Command::Hold`]).
/// A slot that does not exist gives a word that does not exist.
pub fn stream_word(slot: usize, counter: StreamCounter) -> usize {
    let within: usize = match counter {
        StreamCounter::ReadBatches => 0,
        StreamCounter::DroppedBytes => 1,
    };
    slot.saturating_mul(2).saturating_add(within)
}

/// The key under which init holds a container's stream: `seq` is the container's number, `stream` 0 for standard input or the
/// pty master, 1 for standard output, 2 for standard error.
pub fn hold_key(seq: u64, stream: u8) -> u64 {
    seq.saturating_mul(4).saturating_add(u64::from(stream & 3))
}

/// The container's number in a key made by [`hold_key`].
pub fn hold_seq(key: u64) -> u64 {
    key / 4
}

/// Takes the fields of a record off its front, one by one.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (field, rest) = self.0.split_first_chunk::<LENGTH>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

/// Lays fields one after the other into a record of a fixed size; the rest is zero.
fn record<const SIZE: usize>(fields: impl Iterator<Item = u8>) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for (byte, value) in bytes.iter_mut().zip(fields) {
        *byte = value;
    }
    bytes
}

#[cfg(test)]
mod tests;
