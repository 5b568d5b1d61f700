//! [`Token`]: what an event of the loop's epoll is about.

use super::helpers::Descriptor;
use crate::pod::event::Seq;

/// The source of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A signal has come.
    Signals,
    /// The earliest deadline has come.
    Timer,
    /// Init says something.
    Link,
    /// Exit records wait.
    ExitRecords,
    /// Something changed in a manifest directory.
    Manifests,
    /// Something was mounted or unmounted.
    Mounts,
    /// A start condition may have changed.
    Conditions,
    /// A device has come or gone.
    Devices,
    /// The node's routes have changed.
    Routes,
    /// Somebody connects to the control socket.
    Listener,
    /// The log writer answers.
    LogSocket,
    /// The log writer has ended.
    LogProcess,
    /// A peer of the control socket.
    Client(u64),
    /// A helper.
    Helper(u64, Descriptor),
    /// The first process of a container that is not init's child has ended.
    Foreign(Seq),
    /// The runtime hands over a terminal.
    Terminal(Seq),
    /// A connection of a probe or hook.
    Attempt(u64),
}

/// The kind is the highest byte, the number the rest: numbers count up from 1 and never reach 2^56.
const KIND_SHIFT: u32 = 56;
const NUMBER: u64 = (1 << KIND_SHIFT) - 1;

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        let (kind, number) = match token {
            Token::Signals => (0, 0),
            Token::Timer => (1, 0),
            Token::Link => (2, 0),
            Token::ExitRecords => (3, 0),
            Token::Manifests => (4, 0),
            Token::Mounts => (5, 0),
            Token::Conditions => (6, 0),
            Token::Listener => (7, 0),
            Token::LogSocket => (8, 0),
            Token::LogProcess => (9, 0),
            Token::Client(number) => (10, number),
            Token::Helper(number, Descriptor::Process) => (11, number),
            Token::Helper(number, Descriptor::Report) => (12, number),
            Token::Foreign(seq) => (13, seq.0),
            Token::Terminal(seq) => (14, seq.0),
            Token::Attempt(number) => (15, number),
            Token::Devices => (16, 0),
            Token::Routes => (17, 0),
        };
        (kind << KIND_SHIFT) | (number & NUMBER)
    }
}

impl Token {
    /// The token of an epoll event; `None` for a number that is none.
    pub(crate) fn of(data: u64) -> Option<Self> {
        let number = data & NUMBER;
        Some(match data >> KIND_SHIFT {
            0 => Self::Signals,
            1 => Self::Timer,
            2 => Self::Link,
            3 => Self::ExitRecords,
            4 => Self::Manifests,
            5 => Self::Mounts,
            6 => Self::Conditions,
            7 => Self::Listener,
            8 => Self::LogSocket,
            9 => Self::LogProcess,
            10 => Self::Client(number),
            11 => Self::Helper(number, Descriptor::Process),
            12 => Self::Helper(number, Descriptor::Report),
            13 => Self::Foreign(Seq(number)),
            14 => Self::Terminal(Seq(number)),
            15 => Self::Attempt(number),
            16 => Self::Devices,
            17 => Self::Routes,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        let some = [
            Token::Signals,
            Token::Timer,
            Token::Link,
            Token::ExitRecords,
            Token::Manifests,
            Token::Mounts,
            Token::Conditions,
            Token::Routes,
            Token::Listener,
            Token::LogSocket,
            Token::LogProcess,
            Token::Client(7),
            Token::Helper(8, Descriptor::Process),
            Token::Helper(8, Descriptor::Report),
            Token::Foreign(Seq(9)),
            Token::Terminal(Seq(10)),
            Token::Attempt(11),
            Token::Devices,
        ];
        for token in some {
            assert_eq!(Token::of(token.into()), Some(token));
        }
        assert_eq!(Token::of(u64::MAX), None);
    }
}
