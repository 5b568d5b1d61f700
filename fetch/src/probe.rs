//! The task `probe`: one question of a probe or hook, by https ([`https`]) or gRPC ([`crate::grpc`]).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gatepost::probe::fetch::{Question, Report, Request, VERSION};
use gatepost::probe::{Outcome, REDIRECTS, http, words};
use gatepost::sys::helper::{Helper, PASSED};
use gatepost::sys::{confine, inherited, namespace};
use rustls::{ClientConnection, StreamOwned};

use crate::connection::{Connection, is_timeout};
use crate::{grpc, tls};

/// The longest time anything may take: there is no clock that goes further.
const FOR_EVER: Duration = Duration::from_hours(366 * 24);
/// Any directory that is there: a root without anything is built on it.
const STAGE: &str = "/proc";

/// The task's entry.
pub(crate) fn main() -> ExitCode {
    let mut helper = match Helper::start("gatepost-fetch probe") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let passed = inherited::take(PASSED).ok().map(File::from);
    let outcome = helper.request::<Request>(VERSION).and_then(|request| {
        let bound = Duration::from_millis(request.bound_ms).min(FOR_EVER);
        let end = Instant::now().checked_add(bound).ok_or("its time cannot be told")?;
        match passed.as_ref().filter(|_| request.in_pod) {
            Some(network) => {
                namespace::enter_file(network).map_err(|error| format!("the pod's network namespace: {error}"))?;
            }
            None if request.in_pod => return Err("the pod's network namespace was not given".to_owned()),
            None => {}
        }
        drop(passed);
        confine::client(Path::new(STAGE), &[]);
        ask(&request.question, request.bound_ms, end)
    });
    let outcome = outcome.unwrap_or_else(Outcome::Unable);
    helper.report(&Report { version: VERSION, outcome }, true)
}

fn ask(question: &Question, bound_ms: u64, end: Instant) -> Result<Outcome, String> {
    let address = |to: &str| to.parse::<SocketAddr>().map_err(|error| format!("address {to}: {error}"));
    match question {
        Question::Https { to, request, any_answer } => https(address(to)?, request.clone(), *any_answer, end),
        Question::Grpc { to, service, agent } => Ok(grpc::check(address(to)?, service, agent, bound_ms, end)),
    }
}

/// Asks, and follows redirects as long as they stay with the host.
fn https(mut to: SocketAddr, mut request: http::Request, any_answer: bool, end: Instant) -> Result<Outcome, String> {
    let mut redirects = 0;
    let mut in_clear = false;
    loop {
        let url = request.url();
        let bad = |why: &str| Ok(Outcome::Bad(format!("Get \"{url}\": {why}")));
        let response = match get(to, &request, any_answer, end) {
            Ok(response) => response,
            // kubelet does so for hooks.
            Err(Failed::SpeaksHttp) if any_answer => {
                request = request.in_clear();
                in_clear = true;
                continue;
            }
            Err(Failed::SpeaksHttp) => return bad("http: server gave HTTP response to HTTPS client"),
            Err(Failed::Bad(why)) => return bad(&why),
            Err(Failed::Unable(why)) => return Err(why),
        };
        if in_clear {
            return Ok(Outcome::Warned(format!(
                "request to HTTPS lifecycle hook {to} got HTTP response, retry with HTTP succeeded"
            )));
        }
        let Some(response) = response else { return Ok(Outcome::Good) };
        if let (true, Some(location)) = (response.is_redirect(), &response.location)
            && let Some((next_to, next)) = request.redirected(to, location)
        {
            redirects += 1;
            if redirects >= REDIRECTS {
                return bad(&format!("stopped after {REDIRECTS} redirects"));
            }
            (to, request) = (next_to, next);
            continue;
        }
        return Ok(Outcome::of_answer(&response));
    }
}

/// Why there is no answer.
enum Failed {
    /// In the words of Go.
    Bad(String),
    /// Nothing that the server did.
    Unable(String),
    SpeaksHttp,
}

/// One request; `None`: there was an answer, and nobody wants to know more.
fn get(
    to: SocketAddr,
    request: &http::Request,
    any_answer: bool,
    end: Instant,
) -> Result<Option<http::Response>, Failed> {
    let text = request.text().map_err(Failed::Bad)?;
    let connection = Connection::open(to, end).map_err(|error| {
        if is_timeout(&error) {
            return Failed::Bad(format!("dial tcp {to}: i/o timeout"));
        }
        Failed::Bad(format!("dial tcp {to}: connect: {}", words(&error)))
    })?;
    if !request.is_secure() {
        let mut connection = connection;
        return exchange(&mut connection, to, &text, any_answer);
    }
    let config = tls::unverified().map_err(|error| Failed::Unable(error.to_string()))?;
    let name = rustls::pki_types::ServerName::IpAddress(to.ip().into());
    let client = ClientConnection::new(config, name).map_err(|error| Failed::Unable(error.to_string()))?;
    let mut stream = StreamOwned::new(client, connection);
    let answer = exchange(&mut stream, to, &text, any_answer);
    if stream.sock.speaks_http() { Err(Failed::SpeaksHttp) } else { answer }
}

fn exchange(
    stream: &mut (impl Read + Write),
    to: SocketAddr,
    text: &[u8],
    any_answer: bool,
) -> Result<Option<http::Response>, Failed> {
    let mut reader = http::Reader::default();
    if let Err(error) = stream.write_all(text).and_then(|()| stream.flush()) {
        // A server may answer, and close, before it has read all.
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Err(broken(&error, to, &reader));
        }
    }
    let mut piece = [0; 8 << 10];
    loop {
        let response = match stream.read(&mut piece) {
            Ok(0) => reader.end().map(Some),
            Ok(count) => reader.push(piece.get(..count).unwrap_or_default()),
            // A server need not say goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => reader.end().map(Some),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(&error, to, &reader)),
        };
        match response.map_err(Failed::Bad)? {
            None if any_answer && reader.has_head() => return Ok(None),
            None => {}
            Some(_) if any_answer => return Ok(None),
            Some(response) => return Ok(Some(response)),
        }
    }
}

fn broken(error: &io::Error, to: SocketAddr, reader: &http::Reader) -> Failed {
    Failed::Bad(if is_timeout(error) {
        let doing = if reader.has_head() {
            "or context cancellation while reading body"
        } else {
            "exceeded while awaiting headers"
        };
        format!("context deadline exceeded (Client.Timeout {doing})")
    } else if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        format!("tls: {error}")
    } else {
        format!("read tcp {to}: {}", words(error))
    })
}
