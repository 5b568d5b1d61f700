//! [`check`]: `grpc.health.v1.Health/Check`, one call on one HTTP/2 connection in clear text (RFC 9113), with kubelet's words
//! (`pkg/probe/grpc`).
//!
//! The server can make it hold no more than [`BLOCK`] of headers and [`DATA`] of content: it is never given a larger window.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use gatepost::probe::{Outcome, words};

use crate::connection::{Connection, is_timeout};

/// Largest block of headers in bytes.
const BLOCK: usize = 32 << 10;
/// Largest content in bytes: what a server may send that was never told that it may go on.
const DATA: usize = 65_535;
/// Largest frame in bytes, as long as nobody has agreed on more.
const FRAME: usize = 16_384;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_DATA: u8 = 0;
const FRAME_HEADERS: u8 = 1;
const FRAME_RST_STREAM: u8 = 3;
const FRAME_SETTINGS: u8 = 4;
const FRAME_PING: u8 = 6;
const FRAME_GOAWAY: u8 = 7;
const FRAME_CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Names of the status codes, from 0 on.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
/// Those that kubelet has words of its own for.
const DEADLINE_EXCEEDED: usize = 4;
const UNIMPLEMENTED: usize = 12;
const UNAVAILABLE: usize = 14;
const UNKNOWN: usize = 2;

/// Names of `HealthCheckResponse.ServingStatus`.
const SERVING_STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

/// What a call ended with.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    code: usize,
    message: String,
}

/// Asks for the health of `service`.
pub(crate) fn check(to: SocketAddr, service: &str, agent: &str, bound_ms: u64, end: Instant) -> Outcome {
    let within = seconds(bound_ms);
    let mut connection = match Connection::open(to, end) {
        Ok(connection) => connection,
        Err(error) if is_timeout(&error) => {
            let why = format!("timeout: failed to connect service \"{to}\" within {within}: context deadline exceeded");
            return Outcome::Bad(why);
        }
        Err(error) => {
            return Outcome::Bad(format!("error: failed to connect service at \"{to}\": {}", words(&error)));
        }
    };
    let status = match call(&mut connection, &to.to_string(), service, agent) {
        Ok(SERVING) => return Outcome::Good,
        Ok(other) => {
            let name = usize::try_from(other).ok().and_then(|other| SERVING_STATUS.get(other).copied());
            let name = name.map_or_else(|| other.to_string(), str::to_owned);
            return Outcome::Bad(format!("service unhealthy (responded with {name:?})"));
        }
        Err(status) => status,
    };
    let Status { code, message } = status;
    Outcome::Bad(match code {
        UNIMPLEMENTED => {
            format!("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}")
        }
        DEADLINE_EXCEEDED => format!("timeout: health rpc did not complete within {within}: {message}"),
        _ => {
            let name = CODES.get(code).map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
            format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}")
        }
    })
}

/// As Go prints a duration: `1s`, `1.5s`, `20ms`.
fn seconds(ms: u64) -> String {
    match (ms / 1000, ms % 1000) {
        (0, rest) => format!("{rest}ms"),
        (whole, 0) => format!("{whole}s"),
        (whole, rest) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned() + "s",
    }
}

fn call(stream: &mut (impl Read + Write), authority: &str, service: &str, agent: &str) -> Result<u64, Status> {
    let status = |code, message: &str| Status { code, message: message.to_owned() };
    let failed = |error: &io::Error| {
        if is_timeout(error) {
            return status(DEADLINE_EXCEEDED, "context deadline exceeded");
        }
        status(UNAVAILABLE, &format!("connection error: {}", words(error)))
    };
    stream.write_all(&request(authority, service, agent)).map_err(|error| failed(&error))?;
    let mut answer = Answer::default();
    while !answer.ended {
        let frame = Frame::read(stream).map_err(|error| failed(&error))?;
        let reply = answer.take(&frame).map_err(|why| status(UNAVAILABLE, why))?;
        if !reply.is_empty() {
            stream.write_all(&reply).map_err(|error| failed(&error))?;
        }
    }
    answer.result()
}

/// The client's preface, its settings (none), the request's headers and its message.
fn request(authority: &str, service: &str, agent: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", agent),
        ("te", "trailers"),
    ];
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let block = loona_hpack::Encoder::new().encode(headers);
    // HealthCheckRequest: field 1, a string.
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len(), &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    // Not compressed, and its length.
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
    data.append(&mut message);
    let mut text = PREFACE.to_vec();
    text.extend(frame(FRAME_SETTINGS, 0, 0, &[]));
    text.extend(frame(FRAME_HEADERS, END_HEADERS, 1, &block));
    text.extend(frame(FRAME_DATA, END_STREAM, 1, &data));
    text
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut frame = length.get(1..).unwrap_or_default().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// One frame from the server.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream_id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "http2: frame too large"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        Ok(Self { kind, flags, stream: u32::from_be_bytes(stream_id) & 0x7fff_ffff, payload })
    }

    /// The payload without padding and priority.
    fn content(&self) -> Option<&[u8]> {
        let mut content = self.payload.as_slice();
        if self.flags & PADDED != 0 {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == FRAME_HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..)?;
        }
        Some(content)
    }
}

/// What has come of the answer.
#[derive(Default)]
struct Answer {
    decoder: Option<loona_hpack::Decoder<'static>>,
    block: Vec<u8>,
    data: Vec<u8>,
    http_status: String,
    grpc_status: Option<usize>,
    message: String,
    /// The block that is coming ends the answer.
    last: bool,
    ended: bool,
}

impl Answer {
    /// Takes a frame in, and gives what is to be said to it.
    fn take(&mut self, frame: &Frame) -> Result<Vec<u8>, &'static str> {
        match (frame.kind, frame.stream) {
            (FRAME_SETTINGS, 0) if frame.flags & ACK == 0 => return Ok(self::frame(FRAME_SETTINGS, ACK, 0, &[])),
            (FRAME_PING, 0) if frame.flags & ACK == 0 => {
                return Ok(self::frame(FRAME_PING, ACK, 0, &frame.payload));
            }
            (FRAME_GOAWAY, 0) => return Err("the server is going away"),
            (FRAME_RST_STREAM, 1) => return Err("stream terminated by RST_STREAM"),
            (FRAME_DATA, 1) => {
                self.data.extend_from_slice(frame.content().ok_or("http2: bad padding")?);
                if self.data.len() > DATA {
                    return Err("http2: more data than was asked for");
                }
                self.ended = frame.flags & END_STREAM != 0;
            }
            (FRAME_HEADERS | FRAME_CONTINUATION, 1) => {
                self.block.extend_from_slice(frame.content().ok_or("http2: bad padding")?);
                if self.block.len() > BLOCK {
                    return Err("http2: headers too large");
                }
                self.last |= frame.kind == FRAME_HEADERS && frame.flags & END_STREAM != 0;
                if frame.flags & END_HEADERS != 0 {
                    let block = std::mem::take(&mut self.block);
                    self.headers(&block)?;
                    self.ended = self.last;
                }
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn headers(&mut self, block: &[u8]) -> Result<(), &'static str> {
        let decoder = self.decoder.get_or_insert_with(loona_hpack::Decoder::new);
        let headers = decoder.decode(block).map_err(|_| "http2: headers that cannot be decoded")?;
        for (name, value) in headers {
            let value = String::from_utf8_lossy(&value).into_owned();
            match name.as_slice() {
                b":status" => self.http_status = value,
                b"grpc-status" => self.grpc_status = Some(value.parse().unwrap_or(UNKNOWN)),
                b"grpc-message" => self.message = unescaped(&value),
                _ => {}
            }
        }
        Ok(())
    }

    /// The serving status, or what the call ended with.
    fn result(self) -> Result<u64, Status> {
        let status = |code, message: String| Err(Status { code, message });
        match self.grpc_status {
            Some(0) => {}
            Some(code) => return status(code, self.message),
            None if self.http_status != "200" => {
                let message = format!("unexpected HTTP status code received from server: {}", self.http_status);
                return status(UNKNOWN, message);
            }
            None => return status(13, "server closed the stream without sending trailers".to_owned()),
        }
        let Some((head, message)) = self.data.split_at_checked(5) else {
            return status(13, "the answer has no message".to_owned());
        };
        if head.first() != Some(&0) {
            return status(UNIMPLEMENTED, "the message is compressed".to_owned());
        }
        serving_status(message).ok_or_else(|| Status { code: 13, message: "the message is malformed".to_owned() })
    }
}

/// Field 1 of a `HealthCheckResponse`; 0 when it is left out.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut found = 0;
    while !message.is_empty() {
        let key = read_varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                let value = read_varint(&mut message)?;
                if key >> 3 == 1 {
                    found = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(length..)?;
    }
    Some(found)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// `grpc-message` is percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = [ahead.next(), ahead.next()];
        match (byte, digits.map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)))) {
            (b'%', [Some(high), Some(low)]) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_may_hold_more_than_the_status() {
        assert_eq!(serving_status(&[]), Some(0));
        assert_eq!(serving_status(&[0x08, 1]), Some(1));
        assert_eq!(serving_status(&[0x12, 2, 7, 7, 0x08, 2, 0x3d, 0, 0, 0, 0]), Some(2));
        for broken in [&[0x08][..], &[0x12, 200, 1], &[0x0b], &[0xff; 11]] {
            assert_eq!(serving_status(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn texts_and_times_are_written_as_go_does() {
        assert_eq!(unescaped("unknown%20service %zz%"), "unknown service %zz%");
        assert_eq!([1000, 1500, 20, 90_000].map(seconds), ["1s", "1.5s", "20ms", "90s"]);
    }

    #[test]
    fn whatever_a_server_sends_ends_in_an_answer_or_an_error() {
        let take = |kind, flags, payload: &[u8]| {
            Answer::default().take(&Frame { kind, flags, stream: 1, payload: payload.to_vec() }).map(|_| ())
        };
        assert!(take(FRAME_DATA, PADDED, &[9, 1]).is_err());
        assert!(take(FRAME_HEADERS, PRIORITY, &[1]).is_err());
        assert!(take(FRAME_HEADERS, END_HEADERS, &[0xff; 64]).is_err());
        let mut answer = Answer::default();
        let block = Frame { kind: FRAME_CONTINUATION, flags: 0, stream: 1, payload: vec![0; FRAME] };
        assert!((0..3).any(|_| answer.take(&block).is_err()));
        assert_eq!(Answer::default().result().unwrap_err().code, UNKNOWN);
    }
}
