//! [`Handover`]: what one program of PID 1 leaves to the next one over an execve(2): records in a memfd, and the descriptors they
//! name, which stay open.
//!
//! Records have a fixed size, are little-endian, and carry a version; a program that does not know one leaves it out. Two programs
//! that do not understand each other at all cost the supervisor's tables, not the machine.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;

use crate::sys::sealed;
use crate::wire::boot::Service;

/// The first word after `argv[0]` of a PID 1 that takes over; the number of the memfd follows.
const RESUMED: &str = "resumed";
const VERSION: u16 = 1;
/// kind u16, version u16, descriptor or pid u32, value u64, place u64.
const RECORD: usize = 24;

/// One thing that is handed over. `D` is a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<D> {
    /// When PID 1 began, CLOCK_BOOTTIME in milliseconds.
    Began(u64),
    /// The hardware watchdog, its maximum as the board says, and the time-out that is wanted, in seconds; 0: not known yet.
    Watchdog(D, u16, u16),
    /// From here on only from a PID 1 that has booted. How long pods may take to stop, in milliseconds.
    Booted(u64),
    Service(Service),
    /// The ends of the pipe of exit records, and how many were written.
    ExitsRead(D, u64),
    ExitsWrite(D),
    JournalRead(D),
    JournalWrite(D),
    Streams(D),
    /// A held descriptor: its key and its slot.
    Held(D, u64, u64),
    /// A registered pid and its token.
    Registered(u32, u64),
}

/// What is handed over, all of it.
#[derive(Debug, Default)]
pub(super) struct Handover(pub(super) Vec<Item<OwnedFd>>);

impl Handover {
    /// What the program before left, if there was one.
    pub(super) fn received() -> Option<Self> {
        let mut words = std::env::args().skip(1);
        if words.next()? != RESUMED {
            return None;
        }
        let number = words.next()?.parse().ok()?;
        // The kernel passes unknown words of its command line on as arguments: only a program in memory was started by us.
        if !sealed::is_sealed(std::fs::File::open("/proc/self/exe").ok()?) {
            return None;
        }
        let memory = sealed::take_over(number).ok()?;
        let mut items = Vec::new();
        let mut record = [0; RECORD];
        while matches!(rustix::io::read(&memory, &mut record), Ok(RECORD)) {
            items.extend(Item::from_bytes(&record).and_then(|item| item.with(|number| sealed::take_over(number).ok())));
        }
        Some(Self(items))
    }
}

impl Handover {
    /// From a PID 1 that has just begun.
    pub(super) fn first(began_ms: u64, watchdog: Option<OwnedFd>) -> Self {
        Self(std::iter::once(Item::Began(began_ms)).chain(watchdog.map(|fd| Item::Watchdog(fd, 0, 0))).collect())
    }

    pub(super) fn borrowed(&self) -> Vec<Item<BorrowedFd<'_>>> {
        self.0.iter().filter_map(Item::borrowed).collect()
    }

    pub(super) fn watchdog(&self) -> Option<BorrowedFd<'_>> {
        self.0.iter().find_map(|item| if let Item::Watchdog(fd, ..) = item { Some(fd.as_fd()) } else { None })
    }
}

impl Item<OwnedFd> {
    fn borrowed(&self) -> Option<Item<BorrowedFd<'_>>> {
        Some(match self {
            Self::Began(at) => Item::Began(*at),
            Self::Watchdog(fd, max_s, wanted_s) => Item::Watchdog(fd.as_fd(), *max_s, *wanted_s),
            // Nothing else was there when PID 1 had just begun.
            _ => return None,
        })
    }
}

/// Executes `program` as PID 1 with all this. Returns only when that failed, and then nothing has changed.
pub(super) fn pass(items: &[Item<BorrowedFd<'_>>], program: BorrowedFd<'_>) -> Errno {
    match write(items).and_then(|memory| execute(items, program, &memory)) {
        Ok(error) | Err(error) => error,
    }
}

fn write(items: &[Item<BorrowedFd<'_>>]) -> Result<OwnedFd, Errno> {
    let memory = memfd_create("handover", MemfdFlags::CLOEXEC)?;
    for item in items {
        rustix::io::write(&memory, &item.clone().with(|fd| Some(fd.as_raw_fd())).ok_or(Errno::INVAL)?.to_bytes())?;
    }
    seek(&memory, SeekFrom::Start(0))?;
    Ok(memory)
}

fn execute(items: &[Item<BorrowedFd<'_>>], program: BorrowedFd<'_>, memory: &OwnedFd) -> Result<Errno, Errno> {
    let kept = || items.iter().filter_map(Item::descriptor).copied().chain([memory.as_fd()]);
    let number = CString::new(memory.as_raw_fd().to_string()).map_err(|_| Errno::INVAL)?;
    let resumed = CString::new(RESUMED).map_err(|_| Errno::INVAL)?;
    for descriptor in kept() {
        sealed::keep_open(descriptor, true)?;
    }
    let error = sealed::execute(program, &[c"init".to_owned(), resumed, number]);
    for descriptor in kept() {
        let _ = sealed::keep_open(descriptor, false);
    }
    Ok(error)
}

impl<D> Item<D> {
    fn descriptor(&self) -> Option<&D> {
        match self {
            Self::Watchdog(fd, ..) | Self::ExitsRead(fd, _) | Self::Held(fd, _, _) => Some(fd),
            Self::ExitsWrite(fd) | Self::JournalRead(fd) | Self::JournalWrite(fd) | Self::Streams(fd) => Some(fd),
            Self::Began(_) | Self::Booted(_) | Self::Service(_) | Self::Registered(..) => None,
        }
    }

    /// The same with another kind of descriptor; `None` when there is none.
    fn with<E>(self, change: impl FnOnce(D) -> Option<E>) -> Option<Item<E>> {
        Some(match self {
            Self::Began(at) => Item::Began(at),
            Self::Watchdog(fd, max_s, wanted_s) => Item::Watchdog(change(fd)?, max_s, wanted_s),
            Self::Booted(bound_ms) => Item::Booted(bound_ms),
            Self::Service(kind) => Item::Service(kind),
            Self::ExitsRead(fd, written) => Item::ExitsRead(change(fd)?, written),
            Self::ExitsWrite(fd) => Item::ExitsWrite(change(fd)?),
            Self::JournalRead(fd) => Item::JournalRead(change(fd)?),
            Self::JournalWrite(fd) => Item::JournalWrite(change(fd)?),
            Self::Streams(fd) => Item::Streams(change(fd)?),
            Self::Held(fd, key, slot) => Item::Held(change(fd)?, key, slot),
            Self::Registered(pid, token) => Item::Registered(pid, token),
        })
    }
}

impl Item<i32> {
    fn to_bytes(&self) -> [u8; RECORD] {
        let fd = self.descriptor().map_or(0, |fd| u32::try_from(*fd).unwrap_or(u32::MAX));
        let (kind, number, value, place): (u16, u32, u64, u64) = match *self {
            Self::Began(at) => (1, 0, at, 0),
            Self::Watchdog(_, max_s, wanted_s) => (2, fd, u64::from(max_s), u64::from(wanted_s)),
            Self::Booted(bound_ms) => (3, 0, bound_ms, 0),
            Self::Service(Service::Console) => (4, 0, 1, 0),
            Self::Service(Service::Dhcp) => (4, 0, 2, 0),
            Self::ExitsRead(_, written) => (5, fd, written, 0),
            Self::ExitsWrite(_) => (6, fd, 0, 0),
            Self::JournalRead(_) => (7, fd, 0, 0),
            Self::JournalWrite(_) => (8, fd, 0, 0),
            Self::Streams(_) => (9, fd, 0, 0),
            Self::Held(_, key, slot) => (10, fd, key, slot),
            Self::Registered(pid, token) => (11, pid, token, 0),
        };
        let fields = (kind.to_le_bytes().into_iter())
            .chain(VERSION.to_le_bytes())
            .chain(number.to_le_bytes())
            .chain(value.to_le_bytes())
            .chain(place.to_le_bytes());
        let mut bytes = [0; RECORD];
        for (byte, field) in bytes.iter_mut().zip(fields) {
            *byte = field;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD]) -> Option<Self> {
        let (kind, rest) = bytes.split_first_chunk::<2>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<8>()?;
        let (value, place) = (u64::from_le_bytes(*value), u64::from_le_bytes(*rest.first_chunk()?));
        let number = u32::from_le_bytes(*number);
        let fd = i32::try_from(number).unwrap_or(-1);
        if u16::from_le_bytes(*version) != VERSION {
            return None;
        }
        match (u16::from_le_bytes(*kind), value) {
            (1, _) => Some(Self::Began(value)),
            (2, _) => Some(Self::Watchdog(fd, u16::try_from(value).ok()?, u16::try_from(place).ok()?)),
            (3, _) => Some(Self::Booted(value)),
            (4, 1) => Some(Self::Service(Service::Console)),
            (4, 2) => Some(Self::Service(Service::Dhcp)),
            (5, _) => Some(Self::ExitsRead(fd, value)),
            (6, _) => Some(Self::ExitsWrite(fd)),
            (7, _) => Some(Self::JournalRead(fd)),
            (8, _) => Some(Self::JournalWrite(fd)),
            (9, _) => Some(Self::Streams(fd)),
            (10, _) => Some(Self::Held(fd, value, place)),
            (11, _) => Some(Self::Registered(number, value)),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_read_as_it_was_written() {
        let items = [
            Item::Began(5),
            Item::Watchdog(7, 16, 12),
            Item::Booted(120_000),
            Item::Service(Service::Console),
            Item::Service(Service::Dhcp),
            Item::ExitsRead(8, u64::MAX),
            Item::ExitsWrite(9),
            Item::JournalRead(10),
            Item::JournalWrite(11),
            Item::Streams(12),
            Item::Held(8000, 4097, 8191),
            Item::Registered(u32::MAX, 77),
        ];
        for item in items {
            assert_eq!(Item::from_bytes(&item.to_bytes()), Some(item));
        }
    }

    #[test]
    fn other_versions_and_kinds_are_left_out() {
        let mut bytes = Item::Began(5).to_bytes();
        bytes[2] = 9;
        assert_eq!(Item::from_bytes(&bytes), None);
        assert_eq!(Item::from_bytes(&[0; RECORD]), None);
        assert_eq!(Item::from_bytes(&[0xff; RECORD]), None);
    }
}
