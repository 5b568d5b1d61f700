//! [`Link`]: the supervisor's end of what connects it with init: commands, exit records, held descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::clock::boottime_ms;
use crate::sys::{inherited, pipe, socket};
use crate::wire::{self, Command, ExitRecord, Message, Refusal, Request};

/// How long init may take to answer. It waits for nothing itself, so a longer silence means that something is badly wrong.
const ANSWER_MS: u64 = 5_000;

/// The supervisor's end. Calls wait for their answer, at most 5 s.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    records: OwnedFd,
    /// A pipe of our own, to which records are copied in order to be read without being consumed.
    copy: (OwnedFd, OwnedFd),
    last_number: u32,
}

/// What else a supervisor is given by init at its start, mostly for the log-writer.
#[derive(Debug)]
pub struct LogDescriptors {
    /// A memfd of [`wire::STREAM_TABLE_WORDS`] words.
    pub stream_table: OwnedFd,
    /// The journal pipe's read end, non-blocking.
    pub journal_read: OwnedFd,
    /// The journal pipe's write end, non-blocking.
    pub journal_write: OwnedFd,
}

/// A process whose end init will tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It lives, or has ended just now.
    Living,
    /// It had ended before: its record lies in the pipe, or follows as soon as there is room.
    Ended,
}

/// Why init did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Init refuses.
    #[error("init refuses to {what}: {refusal}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Why not.
        refusal: Refusal,
    },
    /// Init has ended, or has let go of this supervisor.
    #[error("init is gone; whoever starts gatepost again finds the containers running")]
    Gone,
    /// Init did not answer in time.
    #[error("init did not answer within 5 s when asked to {what}; is it stopped?")]
    Silent {
        /// What was asked.
        what: &'static str,
    },
    /// A system call failed.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The error.
        error: Errno,
    },
    /// What came is no record of this version.
    #[error("init sent something that is no {what} of version {}; restart gatepost as a whole", wire::VERSION)]
    Malformed {
        /// What should have come.
        what: &'static str,
    },
}

impl LinkError {
    /// Why init refused, if it was that.
    pub fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused { refusal, .. } = self { Some(*refusal) } else { None }
    }
}

impl Link {
    /// Takes over the fixed descriptors that init gave this process. To be called once, before anything else is opened.
    pub fn from_fixed_fds() -> Result<(Self, LogDescriptors), LinkError> {
        let take = |number, what| inherited::take(number).map_err(|error| LinkError::System { what, error });
        let logs = LogDescriptors {
            stream_table: take(wire::STREAM_TABLE, "take over the stream table (is this process started by init?)")?,
            journal_read: take(wire::JOURNAL_READ, "take over the journal pipe")?,
            journal_write: take(wire::JOURNAL_WRITE, "take over the journal pipe")?,
        };
        let socket = take(wire::COMMAND_SOCKET, "take over the command socket")?;
        let records = take(wire::EXIT_RECORDS, "take over the pipe of exit records")?;
        let copy = pipe::pair(wire::EXIT_PIPE_BYTES)
            .map_err(|error| LinkError::System { what: "make a pipe for exit records", error })?;
        Ok((Self { socket, records, copy, last_number: 0 }, logs))
    }

    /// Readable when init has something to say: call [`Self::answer_pings`].
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Readable when there are exit records. Level-triggered it stays readable until they are consumed.
    pub fn records(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }

    /// The first command: agrees on the version.
    pub fn hello(&mut self) -> Result<(), LinkError> {
        self.call("accept this supervisor", Command::Hello { version: wire::VERSION }, None).map(drop)
    }

    /// See [`Command::Register`]. After a refusal with [`Refusal::NotAChild`] look at the exit records once more: the
    /// process may have been registered by a former supervisor and have ended since.
    pub fn register(&mut self, pid: u32, token: u64) -> Result<Registered, LinkError> {
        let (ended, _) = self.call("tell how a process ends", Command::Register { pid, token }, None)?;
        Ok(if ended == 0 { Registered::Living } else { Registered::Ended })
    }

    /// See [`Command::Unregister`].
    pub fn unregister(&mut self, token: u64) -> Result<(), LinkError> {
        self.call("forget a process", Command::Unregister { token }, None).map(drop)
    }

    /// See [`Command::Hold`]. Returns the slot in the stream table.
    pub fn hold(&mut self, key: u64, descriptor: BorrowedFd<'_>) -> Result<usize, LinkError> {
        let (slot, _) = self.call("hold a descriptor", Command::Hold { key }, Some(descriptor))?;
        slot_number(slot)
    }

    /// See [`Command::Release`].
    pub fn release(&mut self, key: u64) -> Result<(), LinkError> {
        self.call("release a descriptor", Command::Release { key }, None).map(drop)
    }

    /// See [`Command::Fetch`]. Returns a copy of the descriptor, sharing init's open file, and the slot.
    pub fn fetch(&mut self, key: u64) -> Result<(OwnedFd, usize), LinkError> {
        let what = "give back a descriptor";
        let (slot, descriptor) = self.call(what, Command::Fetch { key }, None)?;
        let descriptor = descriptor.ok_or(LinkError::System { what, error: Errno::MFILE })?;
        Ok((descriptor, slot_number(slot)?))
    }

    /// Tells the earliest deadline (CLOCK_BOOTTIME in milliseconds), or that there is none. Does not wait for an answer.
    pub fn deadline(&mut self, boottime_ms: Option<u64>) -> Result<(), LinkError> {
        let command = Command::Deadline { boottime_ms: boottime_ms.unwrap_or(0) };
        self.send("be told a deadline", Request { number: 0, command }, None, answer_by())
    }

    /// See [`Command::KeepUnknown`].
    pub fn keep_unknown(&mut self, on: bool) -> Result<(), LinkError> {
        self.call("keep unknown processes", Command::KeepUnknown { on }, None).map(drop)
    }

    /// See [`Command::NothingLeft`].
    pub fn nothing_left(&mut self) -> Result<(), LinkError> {
        self.call("know that nothing is left", Command::NothingLeft, None).map(drop)
    }

    /// Answers what init has asked on its own account. Never waits.
    pub fn answer_pings(&mut self) -> Result<(), LinkError> {
        loop {
            match self.receive()? {
                None => return Ok(()),
                Some((Message::Ping, _)) => self.pong()?,
                // The late answer to a call that has given up.
                Some((Message::Answer { .. }, _)) => {}
            }
        }
    }

    /// The exit records that wait, oldest first, without consuming them. Store what they say, then
    /// [consume](Self::consume_exit_records) them.
    pub fn peek_exit_records(&mut self) -> Result<Vec<ExitRecord>, LinkError> {
        let failed = |error| LinkError::System { what: "look at the exit records", error };
        match pipe::tee(&self.records, &self.copy.1, wire::EXIT_PIPE_BYTES) {
            Err(Errno::AGAIN) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let mut records = Vec::new();
        let mut bytes = [0; ExitRecord::SIZE];
        // Empties the copy even after a record that is none, so that the next look begins at a record's border.
        let mut malformed = false;
        loop {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.copy.0, &mut bytes)) {
                Err(Errno::AGAIN) | Ok(0) => break,
                Err(error) => return Err(failed(error)),
                Ok(length) => match bytes.get(..length).and_then(ExitRecord::from_bytes) {
                    Some(record) => records.push(record),
                    None => malformed = true,
                },
            }
        }
        if malformed { Err(LinkError::Malformed { what: "exit record" }) } else { Ok(records) }
    }

    /// Consumes the `count` oldest exit records, or as many as there are.
    pub fn consume_exit_records(&mut self, count: usize) -> Result<(), LinkError> {
        let mut bytes = [0; ExitRecord::SIZE];
        for _ in 0..count {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.records, &mut bytes)) {
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(LinkError::System { what: "consume exit records", error }),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        what: &'static str,
        command: Command,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(u64, Option<OwnedFd>), LinkError> {
        let by = answer_by();
        // 0 would mean that no answer is wanted.
        self.last_number = self.last_number.checked_add(1).unwrap_or(1);
        self.send(what, Request { number: self.last_number, command }, descriptor, by)?;
        loop {
            match self.receive()? {
                None => wait_for(&self.socket, PollFlags::IN, what, by)?,
                Some((Message::Ping, _)) => self.pong()?,
                Some((Message::Answer { number, answer }, descriptor)) if number == self.last_number => {
                    let value = answer.map_err(|refusal| LinkError::Refused { what, refusal })?;
                    return Ok((value, descriptor));
                }
                Some((Message::Answer { .. }, _)) => {}
            }
        }
    }

    fn pong(&self) -> Result<(), LinkError> {
        self.send("be answered", Request { number: 0, command: Command::Pong }, None, answer_by())
    }

    fn send(
        &self,
        what: &'static str,
        request: Request,
        descriptor: Option<BorrowedFd<'_>>,
        by: u64,
    ) -> Result<(), LinkError> {
        loop {
            match socket::send(&self.socket, &request.to_bytes(), descriptor) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => wait_for(&self.socket, PollFlags::OUT, what, by)?,
                Err(error) => return Err(LinkError::System { what: "write to init", error }),
            }
        }
    }

    /// One message if there is one; never waits.
    fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>, LinkError> {
        let mut buffer = [0; Message::SIZE + 1];
        match socket::receive(&self.socket, &mut buffer) {
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(LinkError::System { what: "read from init", error }),
            Ok(received) if received.length == 0 => Err(LinkError::Gone),
            Ok(received) => {
                let message = buffer.get(..received.length).and_then(Message::from_bytes);
                let message = message.ok_or(LinkError::Malformed { what: "answer" })?;
                Ok(Some((message, received.descriptor)))
            }
        }
    }
}

fn answer_by() -> u64 {
    boottime_ms().saturating_add(ANSWER_MS)
}

fn slot_number(value: u64) -> Result<usize, LinkError> {
    usize::try_from(value)
        .ok()
        .filter(|slot| *slot < wire::STREAM_SLOTS)
        .ok_or(LinkError::Malformed { what: "slot number" })
}

fn wait_for(socket: &OwnedFd, flags: PollFlags, what: &'static str, by: u64) -> Result<(), LinkError> {
    let left = by.saturating_sub(boottime_ms());
    if left == 0 {
        return Err(LinkError::Silent { what });
    }
    let seconds = i64::try_from(left / 1000).unwrap_or(0);
    let nanoseconds = i64::try_from(left % 1000).unwrap_or(0).saturating_mul(1_000_000);
    match poll(&mut [PollFd::new(socket, flags)], Some(&Timespec { tv_sec: seconds, tv_nsec: nanoseconds })) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(LinkError::System { what: "wait for init", error }),
    }
}
