//! [`Server`] and its [`Connection`]s: the supervisor's half. Nothing here waits, allocates without bound, or fails upwards:
//! a connection that misbehaves answers with an error where it can, and is then finished.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{AnyVersion, Line};
use super::{Reply, Request, VERSION};
use crate::json;

/// Connections open at a time; one more is told so and closed.
pub const MAX_CONNECTIONS: usize = 32;
/// Bytes of one request line.
pub const MAX_REQUEST: usize = 64 << 10;
/// Bytes that may wait for a peer before another reply is queued; the first reply may be of any size.
pub const MAX_BACKLOG: usize = 1 << 20;

/// Connections the kernel queues before `accept`.
const LISTEN_BACKLOG: i32 = 32;

/// The listening socket. Watch its descriptor for readability, level-triggered.
#[derive(Debug)]
pub struct Server {
    socket: OwnedFd,
    path: PathBuf,
    /// Each connection holds a clone, so the count of clones is the count of connections.
    open: Rc<()>,
    /// Given up for a moment to accept and close a peer when the process has no descriptor left: otherwise the waiting
    /// peer would keep the socket readable and the loop spinning.
    spare: Option<OwnedFd>,
}

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A step of making the socket failed.
    #[error("control socket {}: cannot {step}: {error}", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Which step.
        step: &'static str,
        /// Why.
        error: Errno,
    },
    /// A peer could not be accepted. The server goes on; worth a line in the log.
    #[error("control socket: cannot accept a connection: {0}")]
    Accept(Errno),
}

impl Server {
    /// Makes the socket at `path` with mode 0600, in place of whatever an earlier supervisor left there.
    ///
    /// The socket gets its mode and listens under a temporary name first: nobody sees it half made.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let failed = |step| move |error| ServerError::Bind { path: path.to_owned(), step, error };
        let temporary = path.with_extension("new");
        match rustix::fs::unlink(&temporary) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("remove an old temporary socket")(error)),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(failed("make a socket"))?;
        let address = SocketAddrUnix::new(&temporary).map_err(failed("use this path as a socket address"))?;
        rustix::net::bind(&socket, &address).map_err(failed("bind"))?;
        rustix::fs::chmod(&temporary, Mode::RUSR | Mode::WUSR).map_err(failed("set mode 0600"))?;
        rustix::net::listen(&socket, LISTEN_BACKLOG).map_err(failed("listen"))?;
        rustix::fs::rename(&temporary, path).map_err(failed("rename into place"))?;
        Ok(Self { socket, path: path.to_owned(), open: Rc::new(()), spare: spare() })
    }

    /// The next waiting peer; `Ok(None)` when none waits. Peers that are not root, and those above [`MAX_CONNECTIONS`], are
    /// told so and closed here.
    pub fn accept(&mut self) -> Result<Option<Connection>, ServerError> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let peer = match rustix::net::accept_with(&self.socket, flags) {
                Ok(peer) => peer,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error @ (Errno::MFILE | Errno::NFILE)) => {
                    self.turn_one_away();
                    return Err(ServerError::Accept(error));
                }
                Err(error) => return Err(ServerError::Accept(error)),
            };
            let mut connection = Connection::new(UnixStream::from(peer), Rc::clone(&self.open));
            if let Some((message, remedy)) = self.objection(&connection) {
                connection.refuse(message, remedy);
                connection.flush();
                continue;
            }
            return Ok(Some(connection));
        }
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        Rc::strong_count(&self.open).saturating_sub(1)
    }

    /// Why this new connection, already counted, is not served.
    fn objection(&self, connection: &Connection) -> Option<(&'static str, &'static str)> {
        match rustix::net::sockopt::socket_peercred(&connection.stream) {
            Ok(peer) if peer.uid.is_root() => {}
            Ok(_) | Err(_) => return Some(("only root may use the control socket", "run the command as root")),
        }
        (self.connections() > MAX_CONNECTIONS).then_some((
            "too many connections to the control socket",
            "end some running `gatepost get -w` and try again",
        ))
    }

    /// Accepts and closes one peer with the spare descriptor.
    fn turn_one_away(&mut self) {
        self.spare = None;
        drop(rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC));
        self.spare = spare();
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the next supervisor replaces it anyway.
        rustix::fs::unlink(&self.path).ok();
    }
}

/// A descriptor to give up in need.
fn spare() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// One accepted peer, non-blocking.
///
/// When its descriptor is ready: take [`Self::read_request`] until `None`, [`Self::queue`] the replies, [`Self::flush`]; then drop it
/// if [`Self::is_finished`], else wait for readability, and for writability while [`Self::wants_write`].
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` already sent.
    sent: usize,
    /// Nothing more is read; what is queued is still sent.
    closing: bool,
    /// Nothing can be sent any more.
    dead: bool,
    _open: Rc<()>,
}

impl Connection {
    fn new(stream: UnixStream, open: Rc<()>) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new(), sent: 0, closing: false, dead: false, _open: open }
    }

    /// The next complete request, if one has arrived. Garbage, another version and oversize are answered here, and finish the
    /// connection.
    pub fn read_request(&mut self) -> Option<Request> {
        loop {
            if self.closing || self.dead {
                return None;
            }
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.understand(&line);
            }
            if self.input.len() > MAX_REQUEST {
                self.refuse("the request is longer than 64 KiB", "");
                return None;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.closing = true;
                    return None;
                }
                Ok(count) => self.input.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.dead = true;
                    return None;
                }
            }
        }
    }

    /// Queues a reply and sends what the socket takes at once. A peer that reads too slowly is dropped: see [`MAX_BACKLOG`].
    pub fn queue(&mut self, reply: &Reply) {
        if self.dead {
            return;
        }
        self.flush();
        if self.backlog() > MAX_BACKLOG {
            self.dead = true;
            self.output = Vec::new();
            self.sent = 0;
            return;
        }
        let Ok(line) = json::to_vec(&Line { version: VERSION, reply }) else {
            // Only a map with keys that are no strings gets here, and there is none.
            self.dead = true;
            return;
        };
        self.output.extend_from_slice(&line);
        self.output.push(b'\n');
        self.flush();
    }

    /// Sends what the socket takes without waiting.
    pub fn flush(&mut self) {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            // std sends with MSG_NOSIGNAL, so a gone peer is an error here and no SIGPIPE.
            match self.stream.write(rest) {
                Ok(0) => self.dead = true,
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.dead = true,
            }
            if self.dead {
                break;
            }
        }
        self.output = Vec::new();
        self.sent = 0;
    }

    /// Whether bytes wait for the peer: wait for writability, then [`Self::flush`].
    pub fn wants_write(&self) -> bool {
        self.backlog() > 0
    }

    /// Whether requests are still read: otherwise do not wait for readability, it would report the peer's end for ever.
    pub fn wants_read(&self) -> bool {
        !self.closing && !self.dead
    }

    /// Bytes queued and not yet taken by the socket. A watcher above 0 can be left out until it has read the last snapshot.
    pub fn backlog(&self) -> usize {
        self.output.len().saturating_sub(self.sent)
    }

    /// Whether there is nothing left to do with this connection: drop it.
    pub fn is_finished(&self) -> bool {
        self.dead || (self.closing && !self.wants_write())
    }

    /// Decodes one line; answers it itself when that fails.
    fn understand(&mut self, line: &[u8]) -> Option<Request> {
        match json::from_slice::<AnyVersion>(line) {
            Ok(AnyVersion { version: VERSION }) => {}
            Ok(AnyVersion { version }) => {
                let message =
                    format!("the request has protocol version {version}, this supervisor speaks version {VERSION}");
                self.refuse(&message, "use the gatepost binary that is running here");
                return None;
            }
            Err(error) => {
                self.refuse(
                    &format!("the request is not understood: {error}"),
                    "send one JSON object with `version` a line",
                );
                return None;
            }
        }
        match json::from_slice(line) {
            Ok(request) => Some(request),
            Err(error) => {
                self.refuse(&format!("the request is not understood: {error}"), "");
                None
            }
        }
    }

    /// Answers with an error and reads no further.
    fn refuse(&mut self, message: &str, remedy: &str) {
        self.queue(&Reply::Error { message: message.to_owned(), remedy: remedy.to_owned() });
        self.closing = true;
        self.input = Vec::new();
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
