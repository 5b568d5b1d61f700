//! [`main`], the role `log-writer`: the one process of the node that copies what containers print into their logs.
//!
//! A child of the supervisor, driven over the socket at descriptor 3 (`protocol`), with the stream table at 4 and the
//! journal pipe at 5 and 6. It waits without a timer while nobody prints; each stream gets one batch a turn. It ends when
//! the supervisor's end of the socket closes, and may be killed at any instant: see `journal`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::cri::CONTENT_MAX;
use super::journal::Target;
use super::protocol::{
    Answer, CONTROL_FD, JOURNAL_READ_FD, JOURNAL_WRITE_FD, Message, Open, Request, STREAM_TABLE_FD, VERSION,
};
use super::store::{Bounds, Store, Turn, split};
use crate::json;
use crate::sys::epoll::{Epoll, EventFlags, NO_EVENT};
use crate::sys::memory;
use crate::sys::socket::{self, Received};
use crate::sys::{inherited, pipe};

/// How long the beginning of a line is kept back for its end. A prompt then appears as a partial line.
const PATIENCE: Duration = Duration::from_secs(1);

/// The control socket's key in epoll; no stream has it.
const CONTROL: u64 = u64::MAX;

/// Runs `gatepost log-writer --journal-page FILE --logs DIR`.
///
/// Ends with status 0 when the supervisor closes the socket, 1 when it cannot work (said on standard error).
pub fn main() -> ExitCode {
    match arguments().and_then(|(page, logs)| run(&page, logs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// One line in the supervisor's log.
pub(crate) fn warn(text: &str) {
    log::warn!("container logs: {text}");
}

fn arguments() -> io::Result<(PathBuf, PathBuf)> {
    let (mut page, mut logs) = (None, None);
    let mut arguments = std::env::args_os().skip(2);
    while let Some(name) = arguments.next() {
        let place: &mut Option<OsString> = match name.to_str() {
            Some("--journal-page") => &mut page,
            Some("--logs") => &mut logs,
            _ => return Err(invalid(&format!("unknown argument {}", name.display()))),
        };
        *place = arguments.next();
    }
    match (page, logs) {
        (Some(page), Some(logs)) => Ok((page.into(), logs.into())),
        _ => Err(invalid("needs --journal-page FILE --logs DIR")),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn run(page: &Path, logs: PathBuf) -> io::Result<()> {
    let inherit = |number, what: &str| {
        inherited::take(number).map_err(|error| invalid(&format!("descriptor {number}, {what}, is not there: {error}")))
    };
    let control = inherit(CONTROL_FD, "the control socket")?;
    let table = inherit(STREAM_TABLE_FD, "the stream table")?;
    let read = inherit(JOURNAL_READ_FD, "the journal pipe's read end")?;
    let write = inherit(JOURNAL_WRITE_FD, "the journal pipe's write end")?;
    let store = Store::open(page, &logs, &table, read, write)
        .map_err(|error| io::Error::new(error.kind(), format!("journal page {}: {error}", page.display())))?;
    Writer::new(control, store, logs)?.serve()
}

/// A stream being copied.
#[derive(Debug)]
struct Stream {
    source: OwnedFd,
    target: Target,
    bounds: Bounds,
    tty: bool,
    /// Longest unfinished line kept back in the FIFO, in bytes.
    patience: usize,
    /// Since when one is kept back.
    held_since: Option<Instant>,
    closing: bool,
    ready: bool,
}

#[derive(Debug)]
struct Writer {
    control: OwnedFd,
    epoll: Epoll,
    store: Store,
    logs: PathBuf,
    streams: BTreeMap<u64, Stream>,
    /// Streams that may have something, in the order of their turns.
    turns: VecDeque<u64>,
    /// Answers that the socket had no room for.
    answers: VecDeque<Answer>,
    gone: bool,
}

impl Writer {
    fn new(control: OwnedFd, store: Store, logs: PathBuf) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&control, CONTROL, EventFlags::IN)?;
        let (streams, turns) = (BTreeMap::new(), VecDeque::new());
        let answers = VecDeque::from([Answer::Ready]);
        Ok(Self { control, epoll, store, logs, streams, turns, answers, gone: false })
    }

    fn serve(mut self) -> io::Result<()> {
        self.send_answers()?;
        memory::forget_text();
        let mut events = [NO_EVENT; 32];
        while !self.gone {
            let ready = self.epoll.wait_for(&mut events, self.timeout())?;
            for event in events.iter().take(ready) {
                match event.data.u64() {
                    CONTROL => {
                        self.receive()?;
                        self.send_answers()?;
                    }
                    id => self.make_ready(id),
                }
            }
            self.release_late_lines();
            for _ in 0..self.turns.len() {
                if let Some(id) = self.turns.pop_front() {
                    self.turn(id)?;
                }
            }
        }
        Ok(())
    }

    /// How long to sleep: not at all while streams wait for their turn, for ever while nobody prints.
    fn timeout(&self) -> Option<Duration> {
        if !self.turns.is_empty() {
            return Some(Duration::ZERO);
        }
        let oldest = self.streams.values().filter_map(|stream| stream.held_since).min()?;
        Some(PATIENCE.saturating_sub(oldest.elapsed()))
    }

    fn make_ready(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.ready) {
            stream.ready = true;
            self.turns.push_back(id);
        }
    }

    fn release_late_lines(&mut self) {
        let late = |stream: &Stream| stream.held_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let ids: Vec<u64> = self.streams.iter().filter(|(_, stream)| late(stream)).map(|(id, _)| *id).collect();
        for id in ids {
            self.make_ready(id);
        }
    }

    /// One batch of one stream.
    fn turn(&mut self, id: u64) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let late = stream.held_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let turn = if stream.tty {
            self.store.take_tty(&stream.source, &stream.target, stream.bounds)?
        } else {
            let flush = late || stream.closing;
            self.store.take_fifo(&stream.source, &stream.target, stream.bounds, stream.patience, flush)?
        };
        match turn {
            Turn::Stored => {
                stream.held_since = None;
                self.turns.push_back(id);
            }
            Turn::Held => {
                stream.held_since.get_or_insert_with(Instant::now);
                stream.ready = false;
            }
            Turn::Empty => {
                stream.held_since = None;
                stream.ready = false;
                if stream.closing {
                    self.finish(id)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, id: u64) -> io::Result<()> {
        let Some(stream) = self.streams.remove(&id) else { return Ok(()) };
        self.store.end(&stream.target, stream.bounds)?;
        let dropped_bytes = self.store.dropped(stream.target.slot);
        self.answers.push_back(Answer::Closed { stream_id: id, dropped_bytes });
        self.send_answers()
    }

    /// Takes in all waiting requests.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.store.buffer();
            let Received { length, descriptor } = match socket::receive(&self.control, buffer) {
                Ok(Received { length: 0, .. }) | Err(Errno::CONNRESET) => {
                    self.gone = true;
                    return Ok(());
                }
                Ok(message) => message,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // A message cut to the buffer's size is no JSON.
            let request = decode(buffer.get(..length).unwrap_or_default());
            if let Err(answer) =
                request.map_err(|reason| refused(0, reason)).and_then(|r| self.carry_out(r, descriptor))
            {
                self.answers.push_back(answer);
            }
        }
    }

    fn carry_out(&mut self, request: Request, descriptor: Option<OwnedFd>) -> Result<(), Answer> {
        match request {
            Request::Open(open) => {
                let id = open.stream_id;
                self.open(open, descriptor).map_err(|reason| refused(id, reason))
            }
            Request::Close { stream_id } => match self.streams.get_mut(&stream_id) {
                Some(stream) => {
                    stream.closing = true;
                    self.make_ready(stream_id);
                    Ok(())
                }
                None => Err(Answer::Closed { stream_id, dropped_bytes: 0 }),
            },
            Request::Limits { total } => {
                self.store.set_total(total);
                Ok(())
            }
            Request::Remove { directory } => {
                let plain = directory.components().all(|part| !matches!(part, std::path::Component::ParentDir));
                if !plain || directory == self.logs || !directory.starts_with(&self.logs) {
                    let reason = format!("{} is not below {}", directory.display(), self.logs.display());
                    return Err(refused(0, reason));
                }
                let removed = self.store.remove(&directory);
                removed.map_err(|error| refused(0, format!("removing {}: {error}", directory.display())))
            }
        }
    }

    fn open(&mut self, open: Open, source: Option<OwnedFd>) -> Result<(), String> {
        let source = source.ok_or("the message carries no descriptor")?;
        if !self.store.has_slot(open.slot) {
            return Err(format!("the stream table has no slot {}", open.slot));
        }
        if self.streams.contains_key(&open.stream_id) || open.stream_id == CONTROL {
            return Err(format!("stream {} is open already", open.stream_id));
        }
        if !open.path.is_absolute() || open.path.as_os_str().len() > 4096 || split(&open.path).is_none() {
            return Err(format!("{} is no absolute path of a log file <n>.log", open.path.display()));
        }
        let patience = if open.tty {
            // Its flags are shared with whoever else holds it; nobody reads it but us.
            let flags = rustix::fs::fcntl_getfl(&source).map_err(|error| format!("pty master: {error}"))?;
            let flags = flags | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&source, flags).map_err(|error| format!("pty master: {error}"))?;
            0
        } else {
            let size = pipe::size(&source).map_err(|error| format!("not a FIFO: {error}"))?;
            // A FIFO that could not be made large must not fill up while a line is kept back.
            CONTENT_MAX.min(size / 4)
        };
        // Edge-triggered: a held line or a terminal without processes is no reason to wake up.
        let flags = EventFlags::IN | EventFlags::ET;
        self.epoll
            .add(&source, open.stream_id, flags)
            .map_err(|error| format!("cannot wait for stream {}: {error}", open.stream_id))?;
        let target = Target { stream_id: open.stream_id, slot: open.slot, kind: open.stream, path: open.path };
        self.store.begin(&target).map_err(|error| format!("the journal page has no room for the stream: {error}"))?;
        let bounds = Bounds { max_size: open.max_size, max_files: open.max_files };
        let stream =
            Stream { source, target, bounds, tty: open.tty, patience, held_since: None, closing: false, ready: false };
        self.streams.insert(open.stream_id, stream);
        self.make_ready(open.stream_id);
        Ok(())
    }

    /// Sends what the socket takes; a supervisor that does not read must not hold up the logs.
    fn send_answers(&mut self) -> io::Result<()> {
        let before = self.answers.len();
        while let Some(answer) = self.answers.front() {
            let bytes = json::to_vec(&Message::new(answer))?;
            match socket::send(&self.control, &bytes, None) {
                Ok(()) => drop(self.answers.pop_front()),
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    self.gone = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if before > 0 {
            let flags = if self.answers.is_empty() { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
            self.epoll.modify(&self.control, CONTROL, flags)?;
        }
        Ok(())
    }
}

fn refused(stream_id: u64, reason: String) -> Answer {
    Answer::Refused { stream_id, reason }
}

fn decode(bytes: &[u8]) -> Result<Request, String> {
    // The version first: the body of another version need not be readable.
    let message: Message<serde_json::Value> = json::from_slice(bytes).map_err(|error| error.to_string())?;
    if message.version != VERSION {
        return Err(format!("version {} of the log protocol is not known, only {VERSION}", message.version));
    }
    json::from_value(message.body).map_err(|error| error.to_string())
}
