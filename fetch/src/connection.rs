//! [`Connection`]: a TCP connection that is over at a certain time, whatever the other side does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How often a wait may be shorter than asked for, so that a time of zero, which means for ever, is never set.
const LEAST: Duration = Duration::from_millis(1);

/// A connection with an end.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    end: Instant,
    /// The first bytes that came.
    first: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(to: SocketAddr, end: Instant) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&to, left(end)?)?;
        // Small requests, and then an answer is waited for.
        socket.set_nodelay(true)?;
        Ok(Self { socket, end, first: Vec::new() })
    }

    /// Whether the other side speaks HTTP in clear text.
    pub(crate) fn speaks_http(&self) -> bool {
        self.first.starts_with(b"HTTP/")
    }
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.max(LEAST)) }
}

/// Whether an error means that its time was over.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.end)?))?;
        let count = self.socket.read(buffer)?;
        if self.first.len() < 5 {
            self.first.extend(buffer.iter().take(count).take(5_usize.saturating_sub(self.first.len())));
        }
        Ok(count)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.end)?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
