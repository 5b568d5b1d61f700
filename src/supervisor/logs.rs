//! [`Logs`]: drives the node's log writer, the one process that copies the containers' output to files.
//!
//! It may hang on a dead disk for as long as it likes: requests queue here, and init drops what nobody reads. When it dies it
//! is started again and told of every stream that is still open; its journal makes that exact (see [`crate::log`]).

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::config::Layout;
use crate::json;
use crate::log::protocol::{self, Answer, Message, Open, Request};
use crate::pod::time::Instant;
use crate::sorted::BTreeMap;
use crate::supervisor::instance::{End, open_fifo};
use crate::sys::cgroup::Cgroups;
use crate::sys::spawn::{Child, Program, Spawn};
use crate::sys::{process, socket};

/// Wait in milliseconds before a log writer that died is started again.
const RESTART_MS: u64 = 1000;

/// The log writer and the streams it copies.
#[derive(Debug)]
pub(crate) struct Logs {
    cgroups: Cgroups,
    /// Its cgroup; below the helpers', so that a new supervisor ends it too.
    cgroup: String,
    root: PathBuf,
    journal_page: PathBuf,
    stream_table: OwnedFd,
    journal: (OwnedFd, OwnedFd),
    total: u64,
    writer: Option<Writer>,
    start_at: Option<Instant>,
    streams: BTreeMap<u64, Stream>,
    /// To be deleted by the next writer, before it is told of a stream.
    removals: Vec<PathBuf>,
    leaving: bool,
}

#[derive(Debug)]
struct Writer {
    child: Child,
    socket: OwnedFd,
    queue: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
}

#[derive(Debug)]
struct Stream {
    open: Open,
    source: Source,
    closing: bool,
}

/// Where a stream's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A FIFO by its path.
    Fifo(PathBuf),
    /// The master of the container's terminal.
    Terminal(OwnedFd),
}

/// What the log writer has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The stream is stored to its end.
    Closed {
        /// The stream's hold key.
        stream_id: u64,
    },
}

impl Logs {
    /// Nothing runs until [`Self::tend`] is called.
    pub(crate) fn new(
        cgroups: Cgroups,
        cgroup: String,
        layout: &Layout,
        total: u64,
        stream_table: OwnedFd,
        journal: (OwnedFd, OwnedFd),
    ) -> Self {
        Self {
            cgroups,
            cgroup,
            root: layout.logs.clone(),
            journal_page: layout.run.join("log-journal"),
            stream_table,
            journal,
            total,
            writer: None,
            start_at: Some(Instant(0)),
            streams: BTreeMap::new(),
            removals: Vec::new(),
            leaving: false,
        }
    }

    /// When [`Self::tend`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.start_at
    }

    /// Starts the log writer if it is due; true when there is a new one to wait on.
    pub(crate) fn tend(&mut self, now: Instant) -> bool {
        if self.writer.is_some() || self.start_at.is_none_or(|at| at > now) {
            return false;
        }
        match self.spawn() {
            Ok(writer) => {
                self.writer = Some(writer);
                self.start_at = None;
                self.request(&Request::Limits { total: self.total }, None);
                for directory in std::mem::take(&mut self.removals) {
                    self.remove(directory);
                }
                let all: Vec<u64> = self.streams.keys().copied().collect();
                for stream_id in all {
                    self.announce(stream_id);
                }
                true
            }
            Err(error) => {
                log::error!("cannot start the log writer: {error}; trying again in {RESTART_MS} ms");
                self.start_at = Some(now.after(RESTART_MS));
                false
            }
        }
    }

    fn spawn(&self) -> io::Result<Writer> {
        let procs = if self.cgroups.is_none() {
            None
        } else {
            self.cgroups.create_bare(&self.cgroup)?;
            Some(self.cgroups.open_procs(&self.cgroup)?)
        };
        let (socket, theirs) = socket::pair()?;
        let page = CString::new(self.journal_page.as_os_str().as_encoded_bytes())?;
        let root = CString::new(self.root.as_os_str().as_encoded_bytes())?;
        let args = [c"gatepost", c"log-writer", c"--journal-page", &page, c"--logs", &root].map(CString::from);
        let null = File::open("/dev/null")?;
        let mut spawn = Spawn::new(Program::Path(c"/proc/self/exe"), &args);
        spawn.stdin = Some(null.as_fd());
        spawn.extra_fds = vec![
            (theirs.as_fd(), protocol::CONTROL_FD),
            (self.stream_table.as_fd(), protocol::STREAM_TABLE_FD),
            (self.journal.0.as_fd(), protocol::JOURNAL_READ_FD),
            (self.journal.1.as_fd(), protocol::JOURNAL_WRITE_FD),
        ];
        spawn.cgroup_procs = procs.iter().map(AsFd::as_fd).collect();
        spawn.new_session = true;
        Ok(Writer { child: spawn.start()?, socket, queue: VecDeque::new() })
    }

    /// The descriptors to wait on: its socket (writable too while [`Self::wants_write`]) and its end.
    pub(crate) fn descriptors(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        self.writer.as_ref().map(|w| (w.socket.as_fd(), w.child.pidfd.as_fd()))
    }

    /// Whether requests wait for room in the socket.
    pub(crate) fn wants_write(&self) -> bool {
        self.writer.as_ref().is_some_and(|w| !w.queue.is_empty())
    }

    /// Copies a stream from now on.
    pub(crate) fn open(&mut self, open: Open, source: Source) {
        let stream_id = open.stream_id;
        self.streams.insert(stream_id, Stream { open, source, closing: false });
        self.announce(stream_id);
    }

    /// The stream has ended: store the rest; [`News::Closed`] follows.
    pub(crate) fn close(&mut self, stream_id: u64) {
        if let Some(stream) = self.streams.get_mut(&stream_id)
            && !stream.closing
        {
            stream.closing = true;
            self.request(&Request::Close { stream_id }, None);
        }
    }

    /// Deletes the log directory of a pod that is gone.
    pub(crate) fn remove(&mut self, directory: PathBuf) {
        if self.writer.is_none() {
            self.removals.push(directory);
        } else {
            self.request(&Request::Remove { directory }, None);
        }
    }

    /// Whether this stream is not stored to its end yet.
    pub(crate) fn is_open(&self, stream_id: u64) -> bool {
        self.streams.contains_key(&stream_id)
    }

    fn announce(&mut self, stream_id: u64) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let source = match &stream.source {
            Source::Fifo(path) => open_fifo(path, End::Reader),
            Source::Terminal(master) => master.try_clone(),
        };
        let (open, closing) = (Request::Open(stream.open.clone()), stream.closing);
        match source {
            Ok(source) => self.request(&open, Some(source)),
            Err(error) => log::error!("{}: cannot open the container's output: {error}", stream.open.path.display()),
        }
        if closing {
            self.request(&Request::Close { stream_id }, None);
        }
    }

    fn request(&mut self, request: &Request, descriptor: Option<OwnedFd>) {
        // Without a writer no stream is lost: the next one is told of every one.
        let Some(writer) = &mut self.writer else { return };
        match json::to_vec(&Message::new(request)) {
            Ok(message) => writer.queue.push_back((message, descriptor)),
            Err(error) => log::error!("cannot encode a request to the log writer: {error}"),
        }
        self.flush();
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        while let Some((message, descriptor)) = writer.queue.front() {
            match socket::send(&writer.socket, message, descriptor.as_ref().map(AsFd::as_fd)) {
                Ok(()) => drop(writer.queue.pop_front()),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(error) => {
                    // Its end is told by its pidfd.
                    log::debug!("the log writer does not take requests: {error}");
                    return;
                }
            }
        }
    }

    /// Takes the answers that have come.
    pub(crate) fn read(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let mut buffer = vec![0; protocol::MESSAGE_MAX];
        while let Some(writer) = &self.writer {
            let Ok(received) = socket::receive(&writer.socket, &mut buffer) else { break };
            let message = buffer.get(..received.length).unwrap_or_default();
            if message.is_empty() {
                break;
            }
            match json::from_slice::<Message<Answer>>(message).map(|m| m.body) {
                Ok(Answer::Ready) => {}
                Ok(Answer::Closed { stream_id, .. }) => {
                    self.streams.remove(&stream_id);
                    news.push(News::Closed { stream_id });
                }
                Ok(Answer::Refused { stream_id, reason }) => {
                    log::error!("the log writer refuses stream {stream_id}: {reason}");
                    self.streams.remove(&stream_id);
                    news.push(News::Closed { stream_id });
                }
                Err(error) => log::error!("the log writer says what this version does not know: {error}"),
            }
        }
        news
    }

    /// Tells the log writer to end after what it was asked for, and no other is started. True when none is left.
    pub(crate) fn leave(&mut self) -> bool {
        if !self.leaving {
            self.flush();
            self.leaving = true;
            self.start_at = None;
            if let Some(writer) = &self.writer {
                // Its end is told by its pidfd, whatever comes of this.
                let _ = rustix::net::shutdown(&writer.socket, rustix::net::Shutdown::Write);
            }
        }
        self.writer.is_none()
    }

    /// Its process has ended: reaps it and plans the next.
    pub(crate) fn ended(&mut self, now: Instant) {
        let Some(writer) = &self.writer else { return };
        match process::reap(process::Which::Pid(writer.child.pid)) {
            Ok(None) => return,
            Ok(Some(_)) if self.leaving => {}
            Ok(Some(ended)) => log::error!("the log writer has ended ({ended:?}); a new one takes over"),
            Err(error) => log::error!("the log writer has vanished ({error}); a new one takes over"),
        }
        self.writer = None;
        self.start_at = (!self.leaving).then(|| now.after(RESTART_MS));
    }
}
