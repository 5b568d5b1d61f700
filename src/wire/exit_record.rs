//! [`ExitRecord`]: how a registered process ended.

use super::{Fields, VERSION, record};

/// How a registered process ended. Written to the exit-record pipe in one piece, in the order of the numbers.
///
/// Layout, little-endian: number u64, token u64, pid u32, si_code i32, si_status i32, version u16, zero u16, boottime u64,
/// wall time i64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitRecord {
    /// Counts from 1 over init's life: a supervisor knows a record it has seen before by it.
    pub number: u64,
    /// What the process was registered under.
    pub token: u64,
    /// Its pid.
    pub pid: u32,
    /// `CLD_EXITED` 1, `CLD_KILLED` 2 or `CLD_DUMPED` 3 (waitid(2)).
    pub si_code: i32,
    /// Its exit status, or the signal that killed it.
    pub si_status: i32,
    /// When init noticed, CLOCK_BOOTTIME in milliseconds.
    pub boottime_ms: u64,
    /// The same moment in milliseconds since 1970, as the clock then stood.
    pub wall_ms: i64,
}

impl ExitRecord {
    /// Bytes of a record; far below `PIPE_BUF`, so a write is whole or not at all.
    pub const SIZE: usize = 48;

    /// The record as it lies in the pipe.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        record(
            (self.number.to_le_bytes().into_iter())
                .chain(self.token.to_le_bytes())
                .chain(self.pid.to_le_bytes())
                .chain(self.si_code.to_le_bytes())
                .chain(self.si_status.to_le_bytes())
                .chain(VERSION.to_le_bytes())
                .chain([0; 2])
                .chain(self.boottime_ms.to_le_bytes())
                .chain(self.wall_ms.to_le_bytes()),
        )
    }

    /// The record in `bytes`, or `None` when there is none this version knows.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut fields = Fields(bytes);
        let (number, token, pid) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let (si_code, si_status) = (fields.i32()?, fields.i32()?);
        let (version, _zero) = (fields.u16()?, fields.u16()?);
        let (boottime_ms, wall_ms) = (fields.u64()?, fields.i64()?);
        (version == VERSION).then_some(Self { number, token, pid, si_code, si_status, boottime_ms, wall_ms })
    }
}
