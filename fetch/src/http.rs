//! [`Client`]: requests of HTTP/1.1 to a registry: TLS, redirects, proxies, one connection a server as long as it lasts. Answers are
//! bounded in time by [`crate::stream::Watch`]: not by how long they take, but by how little comes.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost::probe::words;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, StreamOwned};

use crate::answer::{Idle, Response, read_head};
use crate::proxy::Proxies;
use crate::resolve::Resolver;
use crate::stream::{Pace, Stream, Watch};
use crate::url::Url;

/// As containerd's and Go's client.
const REDIRECTS: u32 = 10;
/// How long one address of a server has to take a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No server could be reached, or none that can be trusted or is in order.
    Unreachable(String),
    /// It was reached.
    Other(String),
}

impl Failed {
    /// A server that is in trouble, or wants to be left alone, is as good as none.
    pub(crate) fn of_status(text: String, status: u16) -> Self {
        if status >= 500 || status == 429 { Self::Unreachable(text) } else { Self::Other(text) }
    }

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
    pub(crate) proxies: Proxies,
    pub(crate) pace: Pace,
    pub(crate) idle: Idle,
}

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The header `Authorization`, which stays with the server.
    pub(crate) secret: Option<&'a str>,
    /// A form to send by POST, which stays with the server too.
    pub(crate) form: Option<&'a str>,
    /// Whom to trust at the server.
    pub(crate) tls: &'a Arc<ClientConfig>,
    /// Whom to trust at others, which it redirects to.
    pub(crate) common: &'a Arc<ClientConfig>,
}

impl Client {
    /// Asks, and follows redirects.
    pub(crate) fn ask(&self, ask: Ask<'_>) -> Result<Response, Failed> {
        let mut at = ask.url.clone();
        for _ in 0..REDIRECTS {
            let same = at.same_server(ask.url);
            let kept = if same { ask } else { Ask { secret: None, form: None, tls: ask.common, ..ask } };
            let mut response = self.once(&Ask { url: &at, ..kept })?;
            if !matches!(response.head.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.head.find("location").unwrap_or_default();
            let next = at.joined(location).ok_or_else(|| {
                Failed::Other(format!("{at} redirects to {location:?}, which is neither http nor https"))
            })?;
            if at.secure && !next.secure {
                return Err(Failed::Other(format!("{at} redirects to {next}, which is without TLS")));
            }
            response.discard();
            at = next;
        }
        Err(Failed::Other(format!("{}: stopped after {REDIRECTS} redirects", ask.url)))
    }

    fn once(&self, ask: &Ask<'_>) -> Result<Response, Failed> {
        let url = ask.url;
        let proxy = self.proxies.for_server(url);
        let text = request(ask, proxy)?;
        // What is trusted differs between endpoints, so a connection is for one of them.
        let name = format!("{}://{} {:p}", url.secure, url.authority(), Arc::as_ptr(ask.tls));
        let idle = {
            let mut all = self.idle.borrow_mut();
            all.iter().position(|(known, _)| *known == name).map(|at| all.swap_remove(at).1)
        };
        if let Some(stream) = idle {
            match exchange(stream, &text, &self.idle, &name) {
                Ok(response) => return Ok(response),
                // The server has closed it in the meantime.
                Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
                Err(error) => return Err(unreachable(url, &error)),
            }
        }
        let stream = self.open(url, proxy, ask.tls)?;
        exchange(stream, &text, &self.idle, &name).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData if error.get_ref().is_none_or(|inner| !inner.is::<Error>()) => {
                Failed::Other(format!("{url}: {error}"))
            }
            _ => unreachable(url, &error),
        })
    }

    fn open(&self, url: &Url, proxy: Option<&Url>, tls: &Arc<ClientConfig>) -> Result<Stream, Failed> {
        let socket = self.connect(proxy.unwrap_or(url)).map_err(|error| unreachable(url, &error))?;
        let mut socket = Watch::new(socket, self.stall, self.pace.clone());
        if !url.secure {
            return Ok(Stream::Plain(socket));
        }
        if let Some(proxy) = proxy {
            tunnel(&mut socket, url, proxy).map_err(|error| unreachable(url, &error))?;
            socket.begin(false);
        }
        let name = ServerName::try_from(url.host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| Failed::Other(format!("{url}: {error}")))?;
        let client = ClientConnection::new(Arc::clone(tls), name);
        let client = client.map_err(|error| Failed::Other(format!("{url}: {error}")))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(client, socket))))
    }

    fn connect(&self, url: &Url) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.resolver.addresses(&url.host)? {
            let address = SocketAddr::new(address, url.port);
            match TcpStream::connect_timeout(&address, self.stall.min(CONNECT)) {
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

fn exchange(mut stream: Stream, text: &str, idle: &Idle, name: &str) -> io::Result<Response> {
    stream.watch().begin(false);
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush())?;
    Response::read(stream, &Rc::clone(idle), name)
}

fn request(ask: &Ask<'_>, proxy: Option<&Url>) -> Result<String, Failed> {
    let url = ask.url;
    let method = if ask.form.is_some() { "POST" } else { "GET" };
    let plain_proxy = proxy.filter(|_| !url.secure);
    let path = if plain_proxy.is_some() { format!("http://{}{}", url.authority(), url.path) } else { url.path.clone() };
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gatepost\r\n", url.authority());
    let proxy_secret = plain_proxy.and_then(proxy_secret);
    let headers = ask.headers.iter().copied();
    let headers = headers.chain(ask.secret.map(|secret| ("Authorization", secret)));
    for (name, value) in headers.chain(proxy_secret.as_deref().map(|secret| ("Proxy-Authorization", secret))) {
        if value.bytes().any(|byte| byte < b' ') {
            return Err(Failed::Other(format!("header {name} cannot be sent")));
        }
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(form) = ask.form {
        let length = form.len();
        text.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        ));
    } else {
        text.push_str("\r\n");
    }
    Ok(text)
}

fn proxy_secret(proxy: &Url) -> Option<String> {
    proxy.secret.as_ref().map(|secret| format!("Basic {secret}"))
}

fn tunnel(socket: &mut Watch, url: &Url, proxy: &Url) -> io::Result<()> {
    let to = format!("{}:{}", url.host, url.port);
    let secret = proxy_secret(proxy).map(|secret| format!("Proxy-Authorization: {secret}\r\n")).unwrap_or_default();
    socket.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{secret}\r\n").as_bytes())?;
    let head = read_head(socket, &mut Vec::new())?;
    match head.status {
        200..=299 => Ok(()),
        status => Err(io::Error::other(format!("the proxy {proxy} answered CONNECT {to} with status {status}"))),
    }
}

fn unreachable(url: &Url, error: &io::Error) -> Failed {
    Failed::Unreachable(format!("Get \"{url}\": {}", cause(error)))
}

/// What an error is about, in words.
fn cause(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => {
            let hint = match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => "; is this node's clock right?",
                CertificateError::UnknownIssuer | CertificateError::Other(_) => {
                    "; a certificate authority of the site is named by `ca` in the setting registries"
                }
                _ => "",
            };
            format!("tls: failed to verify certificate: {why}{hint}")
        }
        Some(error) => format!("tls: {error}"),
        None => words(error),
    }
}
