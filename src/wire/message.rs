//! [`Message`]: what init tells the supervisor on the command socket.

use super::{Fields, VERSION, record};

/// A message of init: an answer, or a question of its own.
///
/// Layout, little-endian: request number u32, kind u16, version u16, value u64, refusal u16, zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The answer to the command with this number.
    Answer {
        /// The command's number.
        number: u32,
        /// The answer.
        answer: Answer,
    },
    /// Are you alive? Wants a [`super::Command::Pong`].
    Ping,
}

/// The answer to a command.
pub type Answer = Result<u64, Refusal>;

/// Why init does not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No command this init knows, or of another version.
    #[error("init does not know this command; supervisor and init are of different versions")]
    Unknown,
    /// The pid is no child of init, or no longer.
    #[error("the process is not a child of init (any more)")]
    NotAChild,
    /// The pid or token is registered, or the key held, with another partner.
    #[error("this pid, token or key is in use already")]
    InUse,
    /// Nothing is registered under this token or held under this key.
    #[error("nothing is known under this token or key")]
    NotFound,
    /// The table has no room, or the process no descriptor left.
    #[error("init has no room left")]
    Full,
    /// No descriptor came with the command, or one that cannot be watched.
    #[error("the descriptor is missing or not fit to be held; a FIFO must be open for reading and writing")]
    BadDescriptor,
}

impl Message {
    /// Bytes of a message.
    pub const SIZE: usize = 24;

    /// The message as it travels.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let (number, kind, value, refusal): (u32, u16, u64, u16) = match self {
            Self::Answer { number, answer: Ok(value) } => (number, 1, value, 0),
            Self::Answer { number, answer: Err(refusal) } => (number, 2, 0, refusal.to_number()),
            Self::Ping => (0, 3, 0, 0),
        };
        record(
            (number.to_le_bytes().into_iter())
                .chain(kind.to_le_bytes())
                .chain(VERSION.to_le_bytes())
                .chain(value.to_le_bytes())
                .chain(refusal.to_le_bytes()),
        )
    }

    /// The message in `bytes`, or `None` when there is none this version knows.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::SIZE {
            return None;
        }
        let mut fields = Fields(bytes);
        let (number, kind, version) = (fields.u32()?, fields.u16()?, fields.u16()?);
        let (value, refusal) = (fields.u64()?, fields.u16()?);
        match kind {
            // An answer of another version is one that cannot be relied on, but its number counts.
            1 | 2 if version != VERSION => Some(Self::Answer { number, answer: Err(Refusal::Unknown) }),
            1 => Some(Self::Answer { number, answer: Ok(value) }),
            2 => Some(Self::Answer { number, answer: Err(Refusal::from_number(refusal)) }),
            3 => Some(Self::Ping),
            _ => None,
        }
    }
}

impl Refusal {
    fn to_number(self) -> u16 {
        match self {
            Self::Unknown => 1,
            Self::NotAChild => 2,
            Self::InUse => 3,
            Self::NotFound => 4,
            Self::Full => 5,
            Self::BadDescriptor => 6,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            2 => Self::NotAChild,
            3 => Self::InUse,
            4 => Self::NotFound,
            5 => Self::Full,
            6 => Self::BadDescriptor,
            _ => Self::Unknown,
        }
    }
}
