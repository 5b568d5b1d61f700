//! [`Attempt`]: one connection of a probe or hook, which never waits.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

use super::fetch::Question;
use super::http::{Reader, Request, Response};
use super::target::{Connection, Place};
use super::{Outcome, words};
use crate::sys::namespace::Home;

/// Go's HTTP client, and so kubelet's.
pub const REDIRECTS: u8 = 10;
/// Bytes read at a time; one attempt gets no more than that before the others have their turn.
const PIECE: usize = 8 << 10;

/// One connection.
#[derive(Debug)]
pub struct Attempt {
    socket: OwnedFd,
    connection: Connection,
    step: Step,
    redirects: u8,
}

#[derive(Debug)]
enum Step {
    Connecting,
    Sending { text: Vec<u8>, sent: usize },
    Receiving(Box<Reader>),
}

/// What the socket must become for the attempt to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Readable.
    Read,
    /// Writable.
    Write,
}

/// How far an attempt has come.
#[derive(Debug)]
pub enum Progress {
    /// It goes on when its socket is so; `true`: it is another socket than before.
    Waits(Interest, bool),
    /// It is over.
    Ended(Outcome),
    /// It was sent on to where TLS is spoken: the rest is for `gatepost-fetch`.
    Secured(Question),
}

impl Attempt {
    /// Begins to connect; from within `namespace` if that is given.
    ///
    /// # Errors
    /// How it has ended already.
    pub fn begin(connection: Connection, home: &Home, namespace: Option<&File>) -> Result<Self, Outcome> {
        let socket = open(&connection, home, namespace)?;
        Ok(Self { socket, connection, step: Step::Connecting, redirects: 0 })
    }

    /// Goes on as far as it can.
    pub fn advance(&mut self, home: &Home, namespace: Option<&File>) -> Progress {
        let mut moved = false;
        loop {
            match self.step() {
                Ok(Next::Wait(interest)) => return Progress::Waits(interest, moved),
                Ok(Next::On) => {}
                Ok(Next::Redirected(to, request)) if request.is_secure() => {
                    return Progress::Secured(Question::Https { to: to.to_string(), request, any_answer: false });
                }
                Ok(Next::Redirected(to, request)) => {
                    self.connection.to = to;
                    self.connection.request = Some(request);
                    match open(&self.connection, home, namespace) {
                        Ok(socket) => self.socket = socket,
                        Err(outcome) => return Progress::Ended(outcome),
                    }
                    self.step = Step::Connecting;
                    moved = true;
                }
                Err(outcome) => return Progress::Ended(outcome),
            }
        }
    }

    /// From where it connects.
    pub fn place(&self) -> Place {
        self.connection.place
    }

    /// What to say of it when its time is over, in Go's words.
    pub fn timed_out(&self) -> Outcome {
        let text = match (&self.step, &self.connection.request) {
            (_, None) => "i/o timeout",
            (Step::Receiving(reader), _) if reader.has_head() => {
                return Outcome::Bad(
                    "context deadline exceeded (Client.Timeout or context cancellation while reading body)".to_owned(),
                );
            }
            (_, Some(_)) => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        };
        match &self.connection.request {
            None => self.connection.failed(text),
            Some(request) => Outcome::Bad(format!("Get \"{}\": {text}", request.url())),
        }
    }

    fn step(&mut self) -> Result<Next, Outcome> {
        match &mut self.step {
            Step::Connecting => {
                if let Err(error) = sockopt::socket_error(&self.socket).and_then(|inner| inner) {
                    return Err(self.connection.refused(error));
                }
                match net::getpeername(&self.socket) {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(Errno::NOTCONN) => return Ok(Next::Wait(Interest::Write)),
                    Err(error) => return Err(self.connection.refused(error)),
                }
                let Some(request) = &self.connection.request else { return Err(Outcome::Good) };
                let text = request.text().map_err(Outcome::Bad)?;
                self.step = Step::Sending { text, sent: 0 };
                Ok(Next::On)
            }
            Step::Sending { text, sent } => {
                let rest = text.get(*sent..).unwrap_or_default();
                if rest.is_empty() {
                    self.step = Step::Receiving(Box::default());
                    return Ok(Next::On);
                }
                match net::send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    Ok(count) => *sent = sent.saturating_add(count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(Next::Wait(Interest::Write)),
                    // A server may answer, and close, before it has read all.
                    Err(Errno::PIPE | Errno::CONNRESET) => self.step = Step::Receiving(Box::default()),
                    Err(error) => return Err(self.connection.broken("write", error)),
                }
                Ok(Next::On)
            }
            Step::Receiving(reader) => {
                let mut piece = [0; PIECE];
                let response = match rustix::io::read(&self.socket, &mut piece) {
                    Ok(0) => reader.end().map(Some),
                    Ok(count) => reader.push(piece.get(..count).unwrap_or_default()),
                    Err(Errno::INTR) => return Ok(Next::On),
                    Err(Errno::AGAIN) => return Ok(Next::Wait(Interest::Read)),
                    Err(error) => return Err(self.connection.broken("read", error)),
                };
                match response {
                    // To a hook the head is answer enough.
                    Ok(None) if self.connection.any_answer && reader.has_head() => Err(Outcome::Good),
                    // Level-triggered: what else has come is told again, after others have had their turn.
                    Ok(None) => Ok(Next::Wait(Interest::Read)),
                    Ok(Some(response)) => self.judge(&response),
                    Err(text) => Err(self.connection.answered_badly(&text)),
                }
            }
        }
    }

    fn judge(&mut self, response: &Response) -> Result<Next, Outcome> {
        if self.connection.any_answer {
            return Err(Outcome::Good);
        }
        if let (true, Some(location), Some(request)) =
            (response.is_redirect(), &response.location, &self.connection.request)
            && let Some((to, next)) = request.redirected(self.connection.to, location)
        {
            self.redirects = self.redirects.saturating_add(1);
            return if self.redirects < REDIRECTS {
                Ok(Next::Redirected(to, next))
            } else {
                Err(self.connection.answered_badly(&format!("stopped after {REDIRECTS} redirects")))
            };
        }
        Err(Outcome::of_answer(response))
    }
}

impl AsFd for Attempt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

enum Next {
    On,
    Wait(Interest),
    Redirected(SocketAddr, Request),
}

impl Connection {
    fn refused(&self, error: Errno) -> Outcome {
        if matches!(error, Errno::ADDRNOTAVAIL | Errno::NOMEM | Errno::NOBUFS) {
            // This node has no port or memory for it.
            return Outcome::Unable(format!("dial tcp {}: connect: {}", self.to, words(&error.into())));
        }
        self.failed(&format!("connect: {}", words(&error.into())))
    }

    fn failed(&self, text: &str) -> Outcome {
        let dial = format!("dial tcp {}: {text}", self.to);
        Outcome::Bad(match &self.request {
            Some(request) => format!("Get \"{}\": {dial}", request.url()),
            None => dial,
        })
    }

    fn broken(&self, verb: &str, error: Errno) -> Outcome {
        self.answered_badly(&format!("{verb} tcp {}: {verb}: {}", self.to, words(&error.into())))
    }

    fn answered_badly(&self, text: &str) -> Outcome {
        let url = self.request.as_ref().map(Request::url).unwrap_or_default();
        Outcome::Bad(format!("Get \"{url}\": {text}"))
    }
}

/// A socket that connects.
fn open(connection: &Connection, home: &Home, namespace: Option<&File>) -> Result<OwnedFd, Outcome> {
    let family = if connection.to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let make = || net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None);
    let made = match namespace {
        None => make().map_err(std::io::Error::from),
        Some(namespace) => home.within(namespace, make).and_then(|made| made.map_err(std::io::Error::from)),
    };
    // No socket to be had is this node's trouble, not the container's.
    let socket = made.map_err(|error| Outcome::Unable(format!("no socket: {}", words(&error))))?;
    match net::connect(&socket, &connection.to) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(connection.refused(error)),
    }
}
