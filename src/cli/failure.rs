//! [`Failure`]: why a command ends without success, and the exit status that says so.

use std::io;
use std::process::ExitCode;

use super::suggest;
use crate::control::ClientError;
use crate::state::StateError;

/// What a command gives back.
pub(super) type Outcome<T = ExitCode> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line is wrong: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// What was asked for could not be done: exit status 1.
    #[error("{0}")]
    Failed(String),
    /// The reader of our output has gone: not our failure.
    #[error("the reader of the output has gone")]
    BrokenPipe,
}

impl Failure {
    /// A wrong command line.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A failure.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// An unknown word, with the nearest known one.
    pub(super) fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>, help: &str) -> Self {
        let near = suggest::nearest(word, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Self::Usage(format!("unknown {what} {word:?}{near}\n{help}"))
    }

    /// The exit status: 2 for a wrong command line, 1 for a failure, as `grep` and `ls` have it.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.to_string())
    }
}
