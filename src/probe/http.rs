//! [`Request`] and [`Reader`]: as much HTTP/1.1 as a probe needs, safe against any answer.
//!
//! What is kept of an answer is bounded by [`HEAD`] and [`BODY`], and reading ends there.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::json::{Deserialize, Serialize};

/// Largest head of an answer in bytes, interim answers included.
const HEAD: usize = 32 << 10;
/// kubelet: what is read of a body, in bytes.
const BODY: usize = 10 << 10;

/// A GET request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// By TLS.
    pub(super) secure: bool,
    /// The address, as it stands in a URL.
    authority: String,
    /// Path and query, encoded.
    path: String,
    /// The head without its first line.
    headers: String,
    /// A header that cannot be sent.
    bad_header: Option<String>,
}

impl Request {
    /// kubelet's: `User-Agent` and `Accept` are added unless given, and left out where given empty; `Host` replaces the address.
    pub(super) fn new<'a>(
        to: SocketAddr,
        path: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        agent: &str,
    ) -> Self {
        let authority = to.to_string();
        let mut host = authority.clone();
        let mut text = String::new();
        let (mut has_agent, mut has_accept, mut bad_header) = (false, false, None);
        for (name, value) in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if name.is_empty()
                || !name.bytes().all(is_token)
                || !value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 127))
            {
                bad_header = Some(format!("invalid header field {name:?}"));
                continue;
            }
            has_agent |= is("user-agent");
            has_accept |= is("accept");
            if is("host") {
                value.clone_into(&mut host);
            } else if !(is("connection") || is("content-length") || is("transfer-encoding"))
                && !(value.is_empty() && (is("user-agent") || is("accept")))
            {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        let mut headers = format!("Host: {host}\r\n");
        if !has_agent {
            let _ = write!(headers, "User-Agent: {agent}\r\n");
        }
        if !has_accept {
            headers.push_str("Accept: */*\r\n");
        }
        headers.push_str(&text);
        headers.push_str("Connection: close\r\n\r\n");
        Self { secure: false, authority, path: encoded(path), headers, bad_header }
    }

    /// What is sent.
    ///
    /// # Errors
    /// A header that cannot be sent.
    pub fn text(&self) -> Result<Vec<u8>, String> {
        match &self.bad_header {
            None => Ok(format!("GET {} HTTP/1.1\r\n{}", self.path, self.headers).into_bytes()),
            Some(bad) => Err(format!("Get \"{}\": {bad}", self.url())),
        }
    }

    /// Where it leads to, as one writes it.
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }

    /// The same by TLS.
    #[must_use]
    pub(super) fn by_tls(self) -> Self {
        Self { secure: true, ..self }
    }

    /// The same without TLS, and without what only a server that speaks it may see.
    #[must_use]
    pub fn in_clear(self) -> Self {
        let kept = self.headers.split_inclusive("\r\n").filter(|line| strip_scheme(line, "authorization:").is_none());
        Self { secure: false, headers: kept.collect(), ..self }
    }

    /// Whether it goes by TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The request that a redirect of `from` to `location` leads to, and its port; `None` when that is another host, or neither
    /// HTTP nor HTTPS.
    pub fn redirected(&self, from: SocketAddr, location: &str) -> Option<(SocketAddr, Self)> {
        let mut secure = self.secure;
        let (authority, path) = if let Some(rest) = strip_scheme(location, "http://") {
            secure = false;
            split_authority(rest)
        } else if let Some(rest) = strip_scheme(location, "https://") {
            secure = true;
            split_authority(rest)
        } else if let Some(rest) = location.strip_prefix("//") {
            split_authority(rest)
        } else if location.starts_with('/') {
            (self.authority.as_str(), location.to_owned())
        } else if has_scheme(location) {
            return None;
        } else if location.starts_with('?') {
            let own = self.path.split('?').next().unwrap_or_default();
            (self.authority.as_str(), format!("{own}{location}"))
        } else {
            let own = self.path.split('?').next().unwrap_or_default();
            let directory = own.rsplit_once('/').map_or("", |(directory, _)| directory);
            (self.authority.as_str(), format!("{directory}/{location}"))
        };
        let to: SocketAddr = authority.parse().ok().or_else(|| {
            let bare = authority.trim_start_matches('[').trim_end_matches(']');
            bare.parse().ok().map(|address| SocketAddr::new(address, if secure { 443 } else { 80 }))
        })?;
        let same_host = to.ip() == from.ip();
        let next = Self { secure, authority: authority.to_owned(), path: encoded(&path), ..self.clone() };
        same_host.then_some((to, next))
    }
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let start = text.get(..scheme.len())?;
    if start.eq_ignore_ascii_case(scheme) { text.get(scheme.len()..) } else { None }
}

/// Whether it begins as `name:` does.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, _)| !name.is_empty() && !name.contains(['/', '?', '#']))
}

fn split_authority(rest: &str) -> (&str, String) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (rest.get(..end).unwrap_or_default(), rest.get(end..).unwrap_or_default().to_owned())
}

/// A path with its query as it is sent: from the root, without fragment, and with nothing that ends a request line.
fn encoded(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut out = String::new();
    if !path.starts_with('/') {
        out.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An answer, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where it sends the client.
    pub location: Option<String>,
    /// The first 10 KiB of it.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether it sends the client on, as HTTP clients take it.
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

/// Reads one answer, piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    /// What is not yet taken in: of the head, or of a chunk's size.
    pending: Vec<u8>,
    /// Bytes of all heads so far.
    seen: usize,
    answer: Option<(Response, Framing)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// With the connection.
    Close,
    /// In chunks: so many more bytes of this one, 0 for its end.
    Chunk(u64),
    /// At the size of a next chunk.
    ChunkSize,
}

impl Reader {
    /// Takes in what has come; the answer, once there is nothing more to wait for.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Response>, String> {
        while self.answer.is_none() {
            let Some(head) = self.take_head(&mut bytes)? else { return Ok(None) };
            self.answer = parse_head(&head)?;
        }
        self.push_body(bytes)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The answer is not complete.
    pub fn end(&mut self) -> Result<Response, String> {
        match self.answer.take() {
            Some((response, Framing::Close)) => Ok(response),
            Some(_) => Err("unexpected EOF".to_owned()),
            None => Err("EOF".to_owned()),
        }
    }

    /// Whether an answer has begun.
    pub fn has_head(&self) -> bool {
        self.answer.is_some()
    }

    /// One head, once it is there wholly; `bytes` is what comes after it.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, String> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.pending.push(*byte);
            self.seen = self.seen.saturating_add(1);
            if self.seen > HEAD {
                return Err(format!("server response headers exceeded {HEAD} bytes; aborted"));
            }
            if self.pending.ends_with(b"\n\r\n") || self.pending.ends_with(b"\n\n") {
                return Ok(Some(std::mem::take(&mut self.pending)));
            }
            // What does not speak HTTP may never send an empty line.
            if self.pending.len() == 5 && !self.pending.starts_with(b"HTTP/") {
                return Err(malformed(&self.pending));
            }
        }
        Ok(None)
    }

    fn push_body(&mut self, mut bytes: &[u8]) -> Result<Option<Response>, String> {
        let Some((response, framing)) = &mut self.answer else { return Ok(None) };
        loop {
            let part = match framing {
                Framing::Length(0) => break,
                Framing::Length(left) | Framing::Chunk(left) if *left > 0 => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left = left.saturating_sub(size as u64);
                    size
                }
                Framing::Length(_) | Framing::Close => bytes.len(),
                Framing::Chunk(_) | Framing::ChunkSize => {
                    let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
                    bytes = rest;
                    if *byte != b'\n' {
                        self.pending.push(*byte);
                        if self.pending.len() > 256 {
                            return Err("malformed chunked encoding".to_owned());
                        }
                        continue;
                    }
                    let line = std::mem::take(&mut self.pending);
                    let line = String::from_utf8_lossy(&line);
                    let line = line.split(';').next().unwrap_or_default().trim();
                    if matches!(framing, Framing::Chunk(_)) {
                        // The end of a chunk's content.
                        if !line.is_empty() {
                            return Err("malformed chunked encoding".to_owned());
                        }
                        *framing = Framing::ChunkSize;
                        continue;
                    }
                    match u64::from_str_radix(line, 16) {
                        // Nobody here reads trailers.
                        Ok(0) => break,
                        Ok(size) => *framing = Framing::Chunk(size),
                        Err(_) => return Err("malformed chunked encoding".to_owned()),
                    }
                    continue;
                }
            };
            let (now, rest) = bytes.split_at_checked(part).unwrap_or((bytes, &[]));
            let room = BODY.saturating_sub(response.body.len());
            response.body.extend_from_slice(now.get(..room.min(now.len())).unwrap_or_default());
            if response.body.len() >= BODY {
                break;
            }
            bytes = rest;
            if bytes.is_empty() && !matches!(framing, Framing::Length(0)) {
                return Ok(None);
            }
        }
        Ok(self.answer.take().map(|(response, _)| response))
    }
}

/// The head of an answer; `None` for an interim one.
fn parse_head(head: &[u8]) -> Result<Option<(Response, Framing)>, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(1..)?.trim_start().get(..3)?.parse::<u16>().ok())
        .filter(|status| *status >= 100)
        .ok_or_else(|| malformed(first.as_bytes()))?;
    if (100..200).contains(&status) && status != 101 {
        return Ok(None);
    }
    let (mut location, mut framing) = (None, Framing::Close);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("location") {
            location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::ChunkSize;
        } else if name.eq_ignore_ascii_case("content-length") && framing != Framing::ChunkSize {
            framing = Framing::Length(value.parse().map_err(|_| format!("bad Content-Length {value:?}"))?);
        }
    }
    if matches!(status, 101 | 204 | 304) {
        framing = Framing::Length(0);
    }
    Ok(Some((Response { status, location, body: Vec::new() }, framing)))
}

fn malformed(line: &[u8]) -> String {
    format!("malformed HTTP response {:?}", String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default()))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
