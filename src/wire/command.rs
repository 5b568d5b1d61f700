//! [`Command`]: what the supervisor asks of init.

use super::{Fields, VERSION, record};

/// A command as it travels, with its number.
///
/// Layout, little-endian: request number u32, kind u16, version u16, key or token or time u64, pid or switch u32, zero u32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the answer. 0: no answer is wanted.
    pub number: u32,
    /// What is asked.
    pub command: Command,
}

/// What the supervisor asks of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A supervisor's first command. Answered with init's version; refused when init does not speak `version`.
    Hello {
        /// [`VERSION`] as the supervisor knows it.
        version: u16,
    },
    /// Tell how `pid` ends, under `token`. Refused when it is no child of init (any more): if its record does not already lie in
    /// the pipe, that process never belonged to a container. Answered with 1 when the child has ended already (its record
    /// follows), else 0. Registering the same pair again is allowed.
    Register {
        /// A child of init.
        pid: u32,
        /// The container's sequence number.
        token: u64,
    },
    /// No longer tell how the process registered under `token` ends.
    Unregister {
        /// As in `Register`.
        token: u64,
    },
    /// Hold the descriptor that comes with this command. A FIFO must be open for reading and writing with an open(2) of
    /// its own. Answered with its slot in the stream table. A key that is held already is refused.
    Hold {
        /// See [`super::hold_key`].
        key: u64,
    },
    /// Close the descriptor held under `key`.
    Release {
        /// As in `Hold`.
        key: u64,
    },
    /// Give back a copy of the descriptor held under `key`: it comes with the answer, whose value is its slot.
    Fetch {
        /// As in `Hold`.
        key: u64,
    },
    /// The supervisor's earliest deadline; init ends a supervisor that has not told a newer one 10 s after it.
    Deadline {
        /// CLOCK_BOOTTIME in milliseconds; 0: it has none.
        boottime_ms: u64,
    },
    /// Whether children that ended without being registered are kept as zombies, so that they can still be registered.
    KeepUnknown {
        /// On or off.
        on: bool,
    },
    /// The answer to [`super::Message::Ping`].
    Pong,
    /// After crashes the supervisor leaves even all pods alone: nothing is left that could be spared at its next crash.
    NothingLeft,
}

impl Request {
    /// Bytes of a command.
    pub const SIZE: usize = 24;

    /// The command as it travels.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, long, short): (u16, u64, u32) = match self.command {
            Command::Hello { version } => (1, 0, u32::from(version)),
            Command::Register { pid, token } => (2, token, pid),
            Command::Unregister { token } => (3, token, 0),
            Command::Hold { key } => (4, key, 0),
            Command::Release { key } => (5, key, 0),
            Command::Fetch { key } => (6, key, 0),
            Command::Deadline { boottime_ms } => (7, boottime_ms, 0),
            Command::KeepUnknown { on } => (8, 0, u32::from(on)),
            Command::Pong => (9, 0, 0),
            Command::NothingLeft => (10, 0, 0),
        };
        record(
            (self.number.to_le_bytes().into_iter())
                .chain(kind.to_le_bytes())
                .chain(VERSION.to_le_bytes())
                .chain(long.to_le_bytes())
                .chain(short.to_le_bytes()),
        )
    }

    /// The command in `bytes`, or `None` when there is none this version knows. A `Hello` of another version is understood,
    /// so that it can be refused.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut fields = Fields(bytes);
        let (number, kind, version) = (fields.u32()?, fields.u16()?, fields.u16()?);
        let (long, short) = (fields.u64()?, fields.u32()?);
        if version != VERSION && kind != 1 {
            return None;
        }
        let command = match kind {
            1 => Command::Hello { version: u16::try_from(short).ok()? },
            2 => Command::Register { pid: short, token: long },
            3 => Command::Unregister { token: long },
            4 => Command::Hold { key: long },
            5 => Command::Release { key: long },
            6 => Command::Fetch { key: long },
            7 => Command::Deadline { boottime_ms: long },
            8 => Command::KeepUnknown { on: short != 0 },
            9 => Command::Pong,
            10 => Command::NothingLeft,
            _ => return None,
        };
        Some(Self { number, command })
    }
}
