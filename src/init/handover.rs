//! [`Handover`]: what one program of PID 1 leaves to the next one over an execve(2): records in a memfd, and the descriptors they
//! name, which stay open.
//!
//! Records have a fixed size, are little-endian, and carry a version; a program that does not know one leaves it out. Two programs
//! that do not understand each other at all cost the supervisor's tables, not the machine.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;

use crate::sys::inherited;
use crate::sys::sealed;
use crate::sys::watchdog::Watchdog;

/// The first word after `argv[0]` of a PID 1 that takes over; the number of the memfd follows.
const RESUMED: &str = "resumed";
const VERSION: u16 = 1;
/// kind u16, version u16, number u32, value u64.
const RECORD: usize = 16;

const BEGAN: u16 = 1;
const WATCHDOG: u16 = 2;

/// What is handed over.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// When PID 1 began, CLOCK_BOOTTIME in milliseconds.
    pub(super) began_ms: u64,
    /// Opened, and running.
    pub(super) watchdog: Option<Watchdog>,
}

impl Handover {
    /// From a PID 1 that has just begun.
    pub(super) fn first(began_ms: u64, watchdog: Option<Watchdog>) -> Self {
        Self { began_ms, watchdog }
    }

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
        let memory = inherited::take(number).ok()?;
        let mut handover = Self::default();
        let mut record = [0; RECORD];
        while matches!(rustix::io::read(&memory, &mut record), Ok(RECORD)) {
            handover.take(record);
        }
        Some(handover)
    }

    fn take(&mut self, record: [u8; RECORD]) -> Option<()> {
        let (kind, rest) = record.split_first_chunk::<2>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let number = i32::from_le_bytes(*number);
        let value = u64::from_le_bytes(*rest.first_chunk()?);
        if u16::from_le_bytes(*version) != VERSION {
            return None;
        }
        match u16::from_le_bytes(*kind) {
            BEGAN => self.began_ms = value,
            WATCHDOG => self.watchdog = Some(Watchdog::from_descriptor(inherited::take(number).ok()?)),
            _ => {}
        }
        Some(())
    }

    /// Executes `program` as PID 1 with all this. Returns only when that failed, and then nothing has changed.
    pub(super) fn pass_to(&self, program: BorrowedFd<'_>) -> Errno {
        match self.write().and_then(|memory| self.execute(program, &memory)) {
            Ok(error) | Err(error) => error,
        }
    }

    fn write(&self) -> Result<OwnedFd, Errno> {
        let memory = memfd_create("handover", MemfdFlags::CLOEXEC)?;
        let watchdog = self.watchdog.as_ref().map(|watchdog| (WATCHDOG, watchdog.as_fd().as_raw_fd(), 0));
        let records = std::iter::once((BEGAN, 0, self.began_ms)).chain(watchdog);
        for (kind, number, value) in records {
            let mut bytes = [0; RECORD];
            let fields = (kind.to_le_bytes().into_iter())
                .chain(VERSION.to_le_bytes())
                .chain(number.to_le_bytes())
                .chain(value.to_le_bytes());
            for (byte, field) in bytes.iter_mut().zip(fields) {
                *byte = field;
            }
            rustix::io::write(&memory, &bytes)?;
        }
        seek(&memory, SeekFrom::Start(0))?;
        Ok(memory)
    }

    fn execute(&self, program: BorrowedFd<'_>, memory: &OwnedFd) -> Result<Errno, Errno> {
        let kept: Vec<BorrowedFd<'_>> =
            std::iter::once(memory.as_fd()).chain(self.watchdog.as_ref().map(AsFd::as_fd)).collect();
        let number = CString::new(memory.as_raw_fd().to_string()).map_err(|_| Errno::INVAL)?;
        let resumed = CString::new(RESUMED).map_err(|_| Errno::INVAL)?;
        for descriptor in &kept {
            sealed::keep_open(descriptor, true)?;
        }
        let error = sealed::execute(program, &[c"init".to_owned(), resumed, number]);
        for descriptor in &kept {
            let _ = sealed::keep_open(descriptor, false);
        }
        Ok(error)
    }
}
