//! [`Response`]: an answer of HTTP/1.1. What a server sends is bounded in size here or by whoever reads the body.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use gatepost::probe::words;

use crate::http::Failed;
use crate::stream::Stream;

/// Largest head of an answer in bytes.
const HEAD: usize = 32 << 10;
/// Longest line between chunks, and how many of them may end a body.
const LINE: usize = 256;
const TRAILERS: u32 = 32;
/// So much of what nobody wants is read so that the connection can be used again.
const UNWANTED: u64 = 16 << 10;

/// Connections that wait for the next request, each with what it leads to.
pub(crate) type Idle = Rc<RefCell<Vec<(String, Stream)>>>;

/// One answer.
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Response {
    /// Reads the head. The connection comes to `idle` under this name when the body has been read.
    pub(crate) fn read(mut stream: Stream, idle: &Idle, name: &str) -> io::Result<Self> {
        let mut text = Vec::new();
        let head = loop {
            let head = read_head(&mut stream, &mut text)?;
            // What comes before an answer.
            if !matches!(head.status, 100 | 102..=199) {
                break head;
            }
        };
        stream.watch().begin(true);
        let stays = head.stays();
        let framing = head.framing().map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        let home = Some((Rc::clone(idle), name.to_owned())).filter(|_| stays);
        let mut body = Body { stream: Some(stream), home, rest: text, at: 0, framing };
        body.settle();
        Ok(Self { head, body })
    }

    /// The body, if it is not longer than that.
    pub(crate) fn document(&mut self, most: usize) -> Result<Vec<u8>, Failed> {
        let mut document = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.body).take(limit).read_to_end(&mut document);
        read.map_err(|error| Failed::Unreachable(words(&error)))?;
        if document.len() > most {
            return Err(Failed::Other(format!("the answer is longer than {most} bytes")));
        }
        Ok(document)
    }

    /// Nobody wants the body.
    pub(crate) fn discard(&mut self) {
        // Whether it works is seen at the next request.
        let _ = io::copy(&mut (&mut self.body).take(UNWANTED), &mut io::sink());
    }
}

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// By HTTP/1.1 a connection stays.
    minor: u8,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let version = lines.next()?.strip_prefix("HTTP/1.")?;
        let minor = *version.as_bytes().first()?;
        let status = version.get(2..5)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Some(Self { status, minor, headers })
    }

    /// The first header of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All headers of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn stays(&self) -> bool {
        let connection = self.find("connection").unwrap_or_default().to_lowercase();
        if self.minor == b'0' { connection.contains("keep-alive") } else { !connection.contains("close") }
    }

    fn framing(&self) -> Result<Framing, String> {
        Ok(match (self.find("transfer-encoding"), self.find("content-length")) {
            _ if matches!(self.status, 204 | 304) => Framing::Length(0),
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::ChunkSize(true),
            (Some(coding), _) => return Err(format!("transfer coding {coding:?}")),
            (None, Some(length)) => {
                Framing::Length(length.parse().map_err(|_| format!("bad Content-Length {length:?}"))?)
            }
            (None, None) => Framing::Close,
        })
    }
}

/// A head; what came after it is left in `text`.
pub(crate) fn read_head(stream: &mut impl Read, text: &mut Vec<u8>) -> io::Result<Head> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = text.split_off(end.saturating_add(4));
            let head = std::mem::replace(text, rest);
            return Head::parse(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer of HTTP"));
        }
        if text.len() > HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("response headers exceeded {HEAD} bytes")));
        }
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "EOF"));
        }
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

/// The content of an answer.
pub(crate) struct Body {
    /// Gone to `home` once all is read.
    stream: Option<Stream>,
    home: Option<(Idle, String)>,
    rest: Vec<u8>,
    at: usize,
    framing: Framing,
}

/// Where it ends.
enum Framing {
    Length(u64),
    Close,
    /// So many more bytes of this chunk.
    Chunk(u64),
    /// A size comes; `true`: it is the first.
    ChunkSize(bool),
}

impl Body {
    /// The connection is free when all was read, and nothing else came.
    fn settle(&mut self) {
        if !matches!(self.framing, Framing::Length(0)) {
            return;
        }
        let (stream, home) = (self.stream.take(), self.home.take());
        if let (Some(stream), Some((idle, name)), true) = (stream, home, self.at >= self.rest.len()) {
            idle.borrow_mut().push((name, stream));
        }
    }

    fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return self.stream.as_mut().map_or(Ok(0), |stream| stream.read(buffer));
        }
        let count = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at = self.at.saturating_add(count);
        Ok(count)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.raw(&mut byte)? == 1 && line.len() < LINE {
            if byte == *b"\n" {
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            line.extend(byte);
        }
        Err(malformed())
    }

    fn limited(&mut self, left: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.raw(buffer.get_mut(..most).unwrap_or_default())?;
        if count == 0 && most > 0 {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF"))
        } else {
            Ok(count)
        }
    }

    fn chunk(&mut self, first: bool) -> io::Result<Framing> {
        if !first {
            self.line()?;
        }
        let line = self.line()?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        if size.as_ref().is_ok_and(|size| *size > 0) {
            return Ok(Framing::Chunk(size.unwrap_or_default()));
        }
        size.map_err(|_| malformed())?;
        for _ in 0..TRAILERS {
            if self.line()?.is_empty() {
                return Ok(Framing::Length(0));
            }
        }
        Err(malformed())
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunked encoding")
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.framing {
                Framing::Length(0) => return Ok(0),
                Framing::Length(left) => {
                    let count = self.limited(left, buffer)?;
                    self.framing = Framing::Length(left.saturating_sub(count as u64));
                    self.settle();
                    return Ok(count);
                }
                Framing::Close => return self.raw(buffer),
                Framing::Chunk(0) => self.framing = Framing::ChunkSize(false),
                Framing::Chunk(left) => {
                    let count = self.limited(left, buffer)?;
                    self.framing = Framing::Chunk(left.saturating_sub(count as u64));
                    return Ok(count);
                }
                Framing::ChunkSize(first) => {
                    self.framing = self.chunk(first)?;
                    self.settle();
                }
            }
        }
    }
}
