//! [`Client`]: the command line's half, blocking, with errors that say what to do.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::message::Line;
use super::{Call, Reply, Request, VERSION};
use crate::json;

/// How long an answer may take. The supervisor's loop never waits, so this is long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of one reply line; far above what any real node has.
const MAX_REPLY: usize = 256 << 20;

/// A connection to the running supervisor.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    /// Bytes of `input` known to hold no end of line.
    searched: usize,
}

/// Why the supervisor could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket.
    #[error("gatepost is not running here (no socket at {}): start it with `gatepost run`, or name its directory with --run-dir", .0.display())]
    NotRunning(PathBuf),
    /// A socket without a listener.
    #[error("gatepost does not answer at {}: it has ended, or its supervisor is being restarted; try again in a moment, or start it with `gatepost run`", .0.display())]
    NoListener(PathBuf),
    /// Not root.
    #[error("permission denied at {}: this command must be run as root", .0.display())]
    NotRoot(PathBuf),
    /// Another failure of the system.
    #[error("cannot {step} the control socket: {error}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The connection ended without a reply.
    #[error(
        "gatepost closed the connection before it answered: its supervisor may be restarting; try again in a moment"
    )]
    Closed,
    /// No reply in time.
    #[error("gatepost has not answered for {0} s: if it does not recover by itself, see its log")]
    Timeout(u64),
    /// A reply of another version, or no reply at all.
    #[error("gatepost's answer is not understood ({0}): use the gatepost binary that is running here")]
    Protocol(String),
    /// The supervisor refused.
    #[error("{message}{}{remedy}", if .remedy.is_empty() { "" } else { ": " })]
    Refused {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
}

impl Client {
    /// Connects to the supervisor that listens at `socket`.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ClientError::NotRunning(socket.to_owned()),
            io::ErrorKind::ConnectionRefused => ClientError::NoListener(socket.to_owned()),
            io::ErrorKind::PermissionDenied => ClientError::NotRoot(socket.to_owned()),
            _ => ClientError::Io { step: "connect to", error },
        })?;
        Ok(Self { stream, input: Vec::new(), searched: 0 })
    }

    /// Asks once. [`Reply::Error`] comes back as [`ClientError::Refused`].
    pub fn ask(&mut self, call: Call) -> Result<Reply, ClientError> {
        self.send(call)?;
        self.next(PATIENCE)?.ok_or(ClientError::Timeout(PATIENCE.as_secs()))
    }

    /// Sends a request; its replies are taken with [`Self::next`].
    pub fn send(&mut self, call: Call) -> Result<(), ClientError> {
        let mut line = json::to_vec(&Request { version: VERSION, call })
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        line.push(b'\n');
        match self.stream.write_all(&line) {
            // A refused peer may find the socket closed: the reason waits to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| ClientError::Io { step: "write to", error }),
        }
    }

    /// The next reply; `None` when none came within `patience`.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Reply>, ClientError> {
        let started = Instant::now();
        loop {
            if let Some(line) = self.take_line() {
                return decode(&line).map(Some);
            }
            if self.input.len() > MAX_REPLY {
                return Err(ClientError::Protocol("longer than 256 MiB".to_owned()));
            }
            let Some(left) = patience.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(None);
            };
            let failed = |error| ClientError::Io { step: "read from", error };
            self.stream.set_read_timeout(Some(left)).map_err(failed)?;
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => self.input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The next reply among what has arrived; waits for none. For an event loop: watch the descriptor for readability.
    pub fn arrived(&mut self) -> Result<Option<Reply>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return decode(&line).map(Some);
            }
            if self.input.len() > MAX_REPLY {
                return Err(ClientError::Protocol("longer than 256 MiB".to_owned()));
            }
            let mut chunk = [0; 16 << 10];
            match rustix::net::recv(&self.stream, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Err(ClientError::Closed),
                Ok((_, count)) => self.input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(ClientError::Io { step: "read from", error: error.into() }),
            }
        }
    }

    /// A complete line out of what was read.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.input.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.input.len();
            return None;
        };
        let end = self.searched.saturating_add(end);
        self.searched = 0;
        Some(self.input.drain(..=end).collect())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn decode(line: &[u8]) -> Result<Reply, ClientError> {
    let line: Line<Reply> = json::from_slice(line).map_err(|error| ClientError::Protocol(error.to_string()))?;
    match line {
        Line { version: VERSION, reply: Reply::Error { message, remedy } } => {
            Err(ClientError::Refused { message, remedy })
        }
        Line { version: VERSION, reply } => Ok(reply),
        Line { version, .. } => Err(ClientError::Protocol(format!("protocol version {version}"))),
    }
}
