//! [`Stream`]: a connection with a server, by TLS or not. It must go on ([`Watch`]), and may not be too fast ([`Pace`]).

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

/// What must come in each period that a server may stall, in bytes.
const LEAST: u64 = 1024;

/// A connection.
pub(crate) enum Stream {
    Plain(Watch),
    Tls(Box<StreamOwned<ClientConnection, Watch>>),
}

impl Stream {
    pub(crate) fn watch(&mut self) -> &mut Watch {
        match self {
            Self::Plain(watch) => watch,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(watch) => watch.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(watch) => watch.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(watch) => watch.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A socket that must bring [`LEAST`] in each period; until the head of an answer is there, all of that must come in one. What counts is
/// the time that is waited for the server, not the time that a disk takes here.
pub(crate) struct Watch {
    socket: TcpStream,
    stall: Duration,
    waited: Duration,
    came: u64,
    has_head: bool,
    pace: Pace,
}

impl Watch {
    pub(crate) fn new(socket: TcpStream, stall: Duration, pace: Pace) -> Self {
        Self { socket, stall, waited: Duration::ZERO, came: 0, has_head: false, pace }
    }

    /// An answer is waited for, or its body begins.
    pub(crate) fn begin(&mut self, has_head: bool) {
        (self.waited, self.came, self.has_head) = (Duration::ZERO, 0, has_head);
    }

    fn stalled(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("no progress for {} s", self.stall.as_secs()))
    }

    fn timed<T>(&mut self, act: impl FnOnce(&mut TcpStream, Duration) -> io::Result<T>) -> io::Result<T> {
        let left = self.stall.saturating_sub(self.waited);
        if left.is_zero() {
            return Err(self.stalled());
        }
        let begun = Instant::now();
        // A time of zero would mean for ever.
        let done = act(&mut self.socket, left.max(Duration::from_millis(1)));
        self.waited = self.waited.saturating_add(begun.elapsed());
        done.map_err(|error| if error.kind() == io::ErrorKind::WouldBlock { self.stalled() } else { error })
    }
}

impl Read for Watch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.pace.piece().min(buffer.len());
        let count = self.timed(|socket, left| {
            socket.set_read_timeout(Some(left))?;
            socket.read(buffer.get_mut(..most).unwrap_or_default())
        })?;
        self.came = self.came.saturating_add(count as u64);
        if self.has_head && self.came >= LEAST {
            self.begin(true);
        }
        self.pace.keep(count as u64);
        Ok(count)
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.timed(|socket, left| {
            socket.set_write_timeout(Some(left))?;
            socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// How many bytes may come in a second, over all connections.
#[derive(Clone)]
pub(crate) struct Pace {
    /// 0: as many as there are.
    limit: u64,
    /// When what came so far should have come.
    due: Rc<Cell<Instant>>,
}

impl Pace {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, due: Rc::new(Cell::new(Instant::now())) }
    }

    /// So much is read at once, for an even flow.
    fn piece(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { usize::try_from(self.limit / 8).unwrap_or(usize::MAX).max(512) }
    }

    fn keep(&self, count: u64) {
        if self.limit == 0 {
            return;
        }
        let now = Instant::now();
        let took = Duration::from_micros(count.saturating_mul(1_000_000) / self.limit);
        // What was not used is lost.
        let due = self.due.get().max(now).checked_add(took).unwrap_or(now);
        self.due.set(due);
        std::thread::sleep(due.saturating_duration_since(now));
    }
}
