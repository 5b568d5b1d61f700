//! [`Client`]: GET requests of HTTP/1.1 for a registry: TLS, redirects, proxies. What a server sends is bounded in size here or by
//! whoever reads the body, and in time by [`Watch`]: not by how long it takes, but by how little comes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost::probe::words;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::resolve::Resolver;
use crate::url::Url;

/// Largest head of an answer in bytes.
const HEAD: usize = 32 << 10;
/// As containerd's and Go's client.
const REDIRECTS: u32 = 10;
/// What must come in each period that a server may stall, in bytes.
const LEAST: u64 = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No server could be reached, or none that can be trusted.
    Unreachable(String),
    /// It was reached.
    Other(String),
}

impl Failed {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Unreachable(text) | Self::Other(text) => text,
        }
    }
}

/// What requests have in common.
pub(crate) struct Client {
    pub(crate) resolver: Resolver,
    pub(crate) stall: Duration,
    /// For what is neither an endpoint nor in its trust.
    pub(crate) proxies: Proxies,
}

/// One answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers of a name.
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body, if it is not longer than that.
    pub(crate) fn document(&mut self, most: usize) -> Result<Vec<u8>, Failed> {
        let mut document = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.body).take(limit).read_to_end(&mut document);
        read.map_err(|error| Failed::Other(words(&error)))?;
        if document.len() > most {
            return Err(Failed::Other(format!("the answer is longer than {most} bytes")));
        }
        Ok(document)
    }
}

impl Client {
    /// Asks, and follows redirects. What is `secret` stays with the host; `tls` is for it, others are verified by `common`.
    pub(crate) fn get(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        secret: Option<&str>,
        tls: &Arc<ClientConfig>,
        common: &Arc<ClientConfig>,
    ) -> Result<Response, Failed> {
        let mut at = url.clone();
        for _ in 0..REDIRECTS {
            let same = at.same_server(url);
            let response = self.once(&at, headers, secret.filter(|_| same), if same { tls } else { common })?;
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.header("location").unwrap_or_default();
            let next = at.joined(location).ok_or_else(|| {
                Failed::Other(format!("{at} redirects to {location:?}, which is neither http nor https"))
            })?;
            if at.secure && !next.secure {
                return Err(Failed::Other(format!("{at} redirects to {next}, which is without TLS")));
            }
            at = next;
        }
        Err(Failed::Other(format!("{url}: stopped after {REDIRECTS} redirects")))
    }

    fn once(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        secret: Option<&str>,
        tls: &Arc<ClientConfig>,
    ) -> Result<Response, Failed> {
        let unreachable = |error: io::Error| Failed::Unreachable(format!("Get \"{url}\": {}", cause(&error)));
        let proxy = self.proxies.of(url);
        let target = proxy.unwrap_or(url);
        let mut socket = Watch::new(self.connect(target).map_err(unreachable)?, self.stall);
        let mut path = url.path.clone();
        let mut proxy_secret = String::new();
        if let Some(proxy) = proxy {
            if let Some(secret) = &proxy.secret {
                proxy_secret = format!("Proxy-Authorization: Basic {secret}\r\n");
            }
            if url.secure {
                tunnel(&mut socket, url, &proxy_secret).map_err(unreachable)?;
                proxy_secret.clear();
            } else {
                path = format!("http://{}{}", url.authority(), url.path);
            }
        }
        let mut stream = if url.secure {
            let name = ServerName::try_from(url.host.trim_matches(['[', ']']).to_owned());
            let name = name.map_err(|error| Failed::Other(format!("{url}: {error}")))?;
            let client =
                ClientConnection::new(Arc::clone(tls), name).map_err(|error| Failed::Other(error.to_string()))?;
            Stream::Tls(Box::new(StreamOwned::new(client, socket)))
        } else {
            Stream::Plain(socket)
        };
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gatepost\r\nConnection: close\r\n",
            url.authority()
        );
        for (name, value) in headers.iter().copied().chain(secret.map(|secret| ("Authorization", secret))) {
            if value.bytes().any(|byte| byte < b' ') {
                return Err(Failed::Other(format!("header {name} cannot be sent")));
            }
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text = text + &proxy_secret + "\r\n";
        stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).map_err(unreachable)?;
        let (head, rest) = read_head(&mut stream).map_err(unreachable)?;
        let (status, headers) = parse(&head).ok_or_else(|| Failed::Other(format!("{url}: no answer of HTTP")))?;
        let framing = framing(status, &headers).map_err(|why| Failed::Other(format!("{url}: {why}")))?;
        stream.watch().begin();
        Ok(Response { status, headers, body: Body { stream, rest, at: 0, framing } })
    }

    fn connect(&self, url: &Url) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.resolver.addresses(&url.host)? {
            let address = SocketAddr::new(address, url.port);
            match TcpStream::connect_timeout(&address, self.stall.min(Duration::from_secs(15))) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(socket);
                }
                Err(error) => {
                    last = io::Error::new(error.kind(), format!("dial tcp {address}: connect: {}", words(&error)));
                }
            }
        }
        Err(last)
    }
}

/// What an error is about, in words.
fn cause(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let text = format!("tls: failed to verify certificate: {why:?}");
            if text.contains("Expired") || text.contains("NotValidYet") {
                text + "; is this node's clock right?"
            } else {
                text
            }
        }
        Some(error) => format!("tls: {error}"),
        None => words(error),
    }
}

fn tunnel(socket: &mut Watch, url: &Url, secret: &str) -> io::Result<()> {
    let to = format!("{}:{}", url.host, url.port);
    socket.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{secret}\r\n").as_bytes())?;
    let (head, _) = read_head(socket)?;
    match parse(&head) {
        Some((200..=299, _)) => Ok(()),
        Some((status, _)) => Err(io::Error::other(format!("the proxy answered CONNECT {to} with status {status}"))),
        None => Err(io::Error::other("the proxy does not speak HTTP")),
    }
}

/// A head, and what came after it.
fn read_head(stream: &mut impl Read) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "EOF"));
        }
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = text.split_off(end.saturating_add(4));
            return Ok((text, rest));
        }
        if text.len() > HEAD {
            return Err(io::Error::other(format!("response headers exceeded {HEAD} bytes")));
        }
    }
}

fn parse(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some((status, headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
}

fn framing(status: u16, headers: &[(String, String)]) -> Result<Framing, String> {
    let find = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    Ok(match (find("transfer-encoding"), find("content-length")) {
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::ChunkSize(true),
        (Some(coding), _) => return Err(format!("transfer coding {coding:?}")),
        (None, Some(length)) => Framing::Length(length.parse().map_err(|_| format!("bad Content-Length {length:?}"))?),
        (None, None) => Framing::Close,
    })
}

/// The content of an answer.
pub(crate) struct Body {
    stream: Stream,
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
    fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return self.stream.read(buffer);
        }
        let count = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at = self.at.saturating_add(count);
        Ok(count)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.raw(&mut byte)? == 1 && line.len() < 256 {
            if byte == *b"\n" {
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            line.extend(byte);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunked encoding"))
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
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.framing {
                Framing::Length(0) => return Ok(0),
                Framing::Length(left) => {
                    let count = self.limited(left, buffer)?;
                    self.framing = Framing::Length(left.saturating_sub(count as u64));
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
                    if !first {
                        self.line()?;
                    }
                    let line = self.line()?;
                    let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                    let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "malformed chunked encoding");
                    self.framing = match size.map_err(bad)? {
                        0 => Framing::Length(0),
                        size => Framing::Chunk(size),
                    };
                }
            }
        }
    }
}

enum Stream {
    Plain(Watch),
    Tls(Box<StreamOwned<ClientConnection, Watch>>),
}

impl Stream {
    fn watch(&mut self) -> &mut Watch {
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

/// A connection that must bring [`LEAST`] in each period; until the head of the answer is there, all of that must come in one.
struct Watch {
    socket: TcpStream,
    stall: Duration,
    since: Instant,
    came: u64,
    has_head: bool,
}

impl Watch {
    fn new(socket: TcpStream, stall: Duration) -> Self {
        Self { socket, stall, since: Instant::now(), came: 0, has_head: false }
    }

    /// The body begins.
    fn begin(&mut self) {
        (self.since, self.came, self.has_head) = (Instant::now(), 0, true);
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.stall.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no progress for {} s", self.stall.as_secs())));
        }
        Ok(left.max(Duration::from_millis(1)))
    }
}

impl Read for Watch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        let count = match self.socket.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.left()?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no progress for {} s", self.stall.as_secs()),
                ));
            }
            read => read?,
        };
        self.came = self.came.saturating_add(count as u64);
        if self.has_head && self.came >= LEAST {
            (self.since, self.came) = (Instant::now(), 0);
        }
        Ok(count)
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The proxies of the environment, as curl and Go read it.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    none: Vec<String>,
}

impl Proxies {
    pub(crate) fn read() -> Self {
        let variable = |name: &str| {
            let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).unwrap_or_default();
            Some(value).filter(|value| !value.is_empty())
        };
        let url = |name| variable(name).and_then(|value| Url::parse_or_http(&value));
        let none = variable("NO_PROXY").unwrap_or_default();
        let none =
            none.split(',').map(|host| host.trim().trim_start_matches('.').to_lowercase()).filter(|h| !h.is_empty());
        Self { http: url("HTTP_PROXY"), https: url("HTTPS_PROXY"), none: none.collect() }
    }

    fn of(&self, url: &Url) -> Option<&Url> {
        let host = url.host.to_lowercase();
        let local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let spared = |none: &String| *none == "*" || host == *none || host.ends_with(&format!(".{none}"));
        let proxy = if url.secure { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !local && !self.none.iter().any(spared))
    }
}
