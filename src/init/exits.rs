//! [`ExitRecords`]: how children's ends become records in a pipe.
//!
//! A registered child is peeked at, its record written, and only then is it reaped: with a full pipe the zombie is the
//! queue. While that pipe is full, other zombies wait too, since waitid(2) shows the same one first again; a supervisor that
//! does not read is ended after 10 s.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

use super::{Init, RECORDS_HAVE_ROOM, say};
use crate::sys::clock::{boottime_ms, wall_ms};
use crate::sys::epoll::{Epoll, EventFlags};
use crate::sys::pipe;
use crate::sys::process::{self, Ended, Which};
use crate::wire::{self, ExitRecord};

/// How many unregistered children are reaped before init looks at its other events again.
const MOST_AT_ONCE: usize = 1024;

/// The pipe of exit records; init keeps both ends for ever, so what lies in it outlives supervisors.
pub(super) struct ExitRecords {
    read_end: OwnedFd,
    write_end: OwnedFd,
    written: u64,
    /// The pipe was full; it tells when there is room.
    waits_for_room: bool,
    /// There are ended children to be dealt with, without a further SIGCHLD.
    goes_on: bool,
}

impl ExitRecords {
    pub(super) fn new(epoll: &Epoll) -> Result<Self> {
        let (read_end, write_end) = pipe::pair(wire::EXIT_PIPE_BYTES)?;
        // Not watched until it is full.
        epoll.add(&write_end, RECORDS_HAVE_ROOM, EventFlags::ONESHOT)?;
        Ok(Self { read_end, write_end, written: 0, waits_for_room: false, goes_on: false })
    }

    /// The pipe of the program before, with what lies in it.
    pub(super) fn resume(epoll: &Epoll, read_end: OwnedFd, write_end: OwnedFd, written: u64) -> Result<Self> {
        epoll.add(&write_end, RECORDS_HAVE_ROOM, EventFlags::ONESHOT)?;
        // What ended meanwhile has sent its signal to nobody.
        Ok(Self { read_end, write_end, written, waits_for_room: false, goes_on: true })
    }

    /// Both ends, and how many records were written.
    pub(super) fn parts(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>, u64) {
        (self.read_end.as_fd(), self.write_end.as_fd(), self.written)
    }

    pub(super) fn read_end(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }

    pub(super) fn collecting_goes_on(&self) -> bool {
        self.goes_on
    }

    pub(super) fn collect_soon(&mut self) {
        self.goes_on = true;
    }

    /// Returns whether there was room.
    fn write(&mut self, token: u64, ended: Ended) -> Result<bool> {
        let number = self.written.saturating_add(1);
        let record = ExitRecord {
            number,
            token,
            pid: ended.pid,
            si_code: ended.code,
            si_status: ended.status,
            boottime_ms: boottime_ms(),
            wall_ms: wall_ms(),
        };
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.write_end, &record.to_bytes())) {
            Ok(_) => {
                self.written = number;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many records have been consumed in all, and how many lie unread.
    fn counts(&self) -> (u64, u64) {
        let size = u64::try_from(ExitRecord::SIZE).unwrap_or(u64::MAX);
        let unread = pipe::unread_bytes(&self.read_end).unwrap_or(0).checked_div(size).unwrap_or(0);
        (self.written.saturating_sub(unread), unread)
    }
}

/// What became of the end of a registered child.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forwarded {
    Yes,
    NoRoom,
}

impl Init {
    /// Deals with all children that have ended.
    pub(super) fn collect_exits(&mut self) {
        self.records.goes_on = false;
        if self.ends_processes() {
            return self.reap_everyone();
        }
        self.collect_own();
        if let Some(pid) = self.supervisor.as_ref().map(super::Supervisor::pid)
            && let Ok(Some(ended)) = process::peek(Which::Pid(pid))
        {
            self.bury_supervisor(ended);
        }
        if self.supervision.keeps_unknown() { self.collect_registered() } else { self.collect_all() }
    }

    pub(super) fn continue_collecting(&mut self) {
        if self.records.goes_on {
            self.collect_exits();
        }
    }

    pub(super) fn records_have_room(&mut self) {
        self.records.waits_for_room = false;
        self.collect_exits();
    }

    pub(super) fn look_at_records(&mut self) {
        let (consumed, unread) = self.records.counts();
        if let Some(due) = self.supervision.records_looked_at(consumed, unread, boottime_ms()) {
            self.act(due);
        }
    }

    /// One by one, so that unknown zombies stay.
    fn collect_registered(&mut self) {
        let mut place: usize = 0;
        while let Some(pid) = self.registered.pid_at(place) {
            if self.collect_pid(pid) == Forwarded::NoRoom {
                return;
            }
            // A pid that was forwarded has left the table, and the next one took its place.
            if self.registered.pid_at(place) == Some(pid) {
                place = place.saturating_add(1);
            }
        }
    }

    /// Forwards the end of a registered pid if it has ended.
    pub(super) fn collect_registered_pid(&mut self, pid: u32) {
        self.collect_pid(pid);
    }

    fn collect_pid(&mut self, pid: u32) -> Forwarded {
        match (process::peek(Which::Pid(pid)), self.registered.token_of(pid)) {
            (Ok(Some(ended)), Some(token)) => self.forward(token, ended),
            _ => Forwarded::Yes,
        }
    }

    fn collect_all(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            // ECHILD, the only error here, means that there is no child at all.
            let Ok(Some(ended)) = process::peek(Which::Any) else { return };
            if self.is_supervisor(ended.pid) {
                // From its death on unknown zombies are kept.
                self.bury_supervisor(ended);
                self.collect_registered();
                return;
            }
            match self.registered.token_of(ended.pid) {
                Some(token) => {
                    if self.forward(token, ended) == Forwarded::NoRoom {
                        return;
                    }
                }
                None => match self.own_child(ended.pid) {
                    Some(own) => self.own_child_ended(own, ended),
                    None => {
                        let _ = process::reap(Which::Pid(ended.pid));
                    }
                },
            }
        }
        self.records.collect_soon();
    }

    fn forward(&mut self, token: u64, ended: Ended) -> Forwarded {
        match self.records.write(token, ended) {
            Ok(true) => {
                self.registered.forget(ended.pid);
                let _ = process::reap(Which::Pid(ended.pid));
                let (consumed, unread) = self.records.counts();
                self.supervision.records_written(consumed, unread, boottime_ms());
                Forwarded::Yes
            }
            Ok(false) => {
                self.wait_for_room();
                Forwarded::NoRoom
            }
            Err(error) => {
                say(format_args!("cannot write an exit record: {error}"));
                self.wait_for_room();
                Forwarded::NoRoom
            }
        }
    }

    fn wait_for_room(&mut self) {
        if !self.records.waits_for_room {
            let flags = EventFlags::OUT | EventFlags::ONESHOT;
            match self.epoll.modify(&self.records.write_end, RECORDS_HAVE_ROOM, flags) {
                Ok(()) => self.records.waits_for_room = true,
                Err(error) => say(format_args!("cannot wait for room in the pipe of exit records: {error}")),
            }
        }
    }
}
