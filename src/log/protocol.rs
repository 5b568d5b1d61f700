//! [`Request`] and [`Answer`]: the messages between the supervisor and the log-writer.
//!
//! One JSON document per `SOCK_SEQPACKET` message, at most [`MESSAGE_MAX`] bytes, wrapped in a [`Message`] that carries the
//! version. `Open` carries one descriptor by `SCM_RIGHTS`, the others none.

use std::path::PathBuf;

use crate::json::{Deserialize, Serialize};

/// Version of every message. A message with another version is refused.
pub const VERSION: u32 = 1;

/// Longest message in bytes.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// The log-writer's end of the control socket.
pub const CONTROL_FD: i32 = 3;
/// The stream table that init and the log-writer count in.
pub const STREAM_TABLE_FD: i32 = 4;
/// Read end of the journal pipe; init holds both ends for ever.
pub const JOURNAL_READ_FD: i32 = 5;
/// Write end of the journal pipe.
pub const JOURNAL_WRITE_FD: i32 = 6;

/// What travels: the version and the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<T> {
    /// [`VERSION`].
    pub version: u32,
    /// The request or answer.
    pub body: T,
}

impl<T> Message<T> {
    /// Wraps `body` in the current version.
    pub fn new(body: T) -> Self {
        Self { version: VERSION, body }
    }
}

/// From the supervisor to the log-writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Copy this stream from now on; the message carries the FIFO's read end or the pty's master.
    Open(Open),
    /// The container has ended: store what is still in the FIFO, then answer [`Answer::Closed`].
    #[serde(rename_all = "camelCase")]
    Close {
        /// The stream's hold key.
        stream_id: u64,
    },
    /// Bound in bytes for all container logs together; 0 means no bound.
    Limits {
        /// Bytes.
        total: u64,
    },
    /// Delete this directory below the log root: its pod is gone. Streams into it must be closed before.
    Remove {
        /// Absolute path.
        directory: PathBuf,
    },
}

/// One stream to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// The hold key: `seq * 4 + stream`.
    pub stream_id: u64,
    /// The stream's slot in the stream table, from init's answer to `Hold`. init zeroes the slot at `Hold`.
    pub slot: u32,
    /// The live log file, `<directory>/<restart count>.log`. Directories are made as needed.
    pub path: PathBuf,
    /// Which stream the lines are marked with.
    pub stream: StreamKind,
    /// The descriptor is a pty master and not a FIFO.
    pub tty: bool,
    /// A log file is rotated before it grows beyond this many bytes.
    pub max_size: u64,
    /// Files of one container instance, the live one included.
    pub max_files: u32,
}

/// A container's output stream, as CRI names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Standard output; also everything a tty prints.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamKind {
    /// The word in a CRI line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// From the log-writer to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Sent once: the predecessor is gone and its unfinished batch is stored.
    Ready,
    /// Everything the stream's FIFO held is stored; its holds may be released now. Also sent for a stream not open.
    #[serde(rename_all = "camelCase")]
    Closed {
        /// The stream's hold key.
        stream_id: u64,
        /// Bytes of this stream that never reached the log.
        dropped_bytes: u64,
    },
    /// A request that cannot be carried out.
    #[serde(rename_all = "camelCase")]
    Refused {
        /// The stream it was about; 0 when it was about none.
        stream_id: u64,
        /// What and why.
        reason: String,
    },
}
