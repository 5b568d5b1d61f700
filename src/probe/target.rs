//! [`Call`]: what a probe's or hook's handler wants, with addresses and ports looked up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::fetch::Question;
use super::http::Request;
use crate::manifest::v1::{self, Port};

/// Names and versions that servers see, and write into their logs.
const PROBE_AGENT: &str = "kube-probe/1.36";
const HOOK_AGENT: &str = "kube-lifecycle/1.36";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Connect, and ask if there is something to ask.
    Connect(Connection),
    /// Run this in the container.
    Exec(Vec<String>),
    /// `gatepost-fetch` does it, from there.
    Fetch(Question, Place),
}

/// A connection to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where to.
    pub to: SocketAddr,
    /// Where from.
    pub place: Place,
    /// What to ask; `None`: that it is taken is all.
    pub(super) request: Option<Request>,
    /// Any answer will do (hooks).
    pub(super) any_answer: bool,
}

/// A network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The node's.
    Node,
    /// The pod's own.
    Pod,
}

/// How a pod is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// At which address.
    pub address: IpAddr,
    /// From where.
    pub place: Place,
}

impl Reach {
    /// The pod at one of its addresses; one that has none is reached from within.
    pub fn of(addresses: &[String]) -> Self {
        let address = addresses.first().and_then(|address| address.parse().ok());
        address.map_or(Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), place: Place::Pod }, |address| Self {
            address,
            place: Place::Node,
        })
    }
}

/// What a probe wants.
///
/// # Errors
/// Why it cannot be done, in words.
pub fn of_probe(container: &v1::Container, probe: &v1::Probe, reach: Reach) -> Result<Call, String> {
    if let Some(exec) = &probe.exec {
        Ok(Call::Exec(exec.command.clone()))
    } else if let Some(get) = &probe.http_get {
        http(container, get, reach, false)
    } else if let Some(tcp) = &probe.tcp_socket {
        let (to, place) = address(container, &tcp.port, &tcp.host, reach)?;
        Ok(Call::Connect(Connection { to, place, request: None, any_answer: false }))
    } else if let Some(grpc) = &probe.grpc {
        let (to, place) = address(container, &Port::Number(grpc.port), "", reach)?;
        Ok(Call::Fetch(
            Question::Grpc { to: to.to_string(), service: grpc.service.clone(), agent: PROBE_AGENT.to_owned() },
            place,
        ))
    } else {
        Err("missing probe handler".to_owned())
    }
}

/// What a hook wants; a pause is not done here.
///
/// # Errors
/// Why it cannot be done, in words.
pub fn of_hook(container: &v1::Container, handler: &v1::LifecycleHandler, reach: Reach) -> Result<Call, String> {
    if let Some(exec) = &handler.exec {
        Ok(Call::Exec(exec.command.clone()))
    } else if let Some(get) = &handler.http_get {
        http(container, get, reach, true)
    } else {
        Err("no handler that can be carried out".to_owned())
    }
}

fn http(container: &v1::Container, get: &v1::HttpGetAction, reach: Reach, hook: bool) -> Result<Call, String> {
    let (to, place) = address(container, &get.port, &get.host, reach)?;
    let headers = get.http_headers.iter().map(|header| (header.name.as_str(), header.value.as_str()));
    let agent = if hook { HOOK_AGENT } else { PROBE_AGENT };
    let request = Request::new(to, &get.path, headers, agent);
    if get.scheme.eq_ignore_ascii_case("https") {
        let (to, request) = (to.to_string(), request.by_tls());
        return Ok(Call::Fetch(Question::Https { to, request, any_answer: hook }, place));
    }
    let request = Some(request);
    Ok(Call::Connect(Connection { to, place, request, any_answer: hook }))
}

/// As kubelet: a host that is written down is looked for from the node.
fn address(container: &v1::Container, port: &Port, host: &str, reach: Reach) -> Result<(SocketAddr, Place), String> {
    let number = match port {
        Port::Number(number) => i64::from(*number),
        Port::Name(name) => {
            let named = container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port.into());
            named.or_else(|| name.parse().ok()).ok_or_else(|| format!("port {name} not found"))?
        }
    };
    let port =
        u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let (address, place) = match bare {
        "" => (reach.address, reach.place),
        "localhost" => (IpAddr::V4(Ipv4Addr::LOCALHOST), Place::Node),
        _ => {
            let address =
                bare.parse().map_err(|_| format!("host {host} is no address, and names are not looked up"))?;
            (address, Place::Node)
        }
    };
    Ok((SocketAddr::new(address, port), place))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn container() -> v1::Container {
        let port = v1::ContainerPort { name: "web".to_owned(), container_port: 8080, ..Default::default() };
        v1::Container { ports: vec![port], ..Default::default() }
    }

    fn tcp(port: Port, host: &str, reach: Reach) -> Result<(String, Place), String> {
        let tcp_socket = Some(v1::TcpSocketAction { port, host: host.to_owned() });
        let probe = v1::Probe { tcp_socket, ..Default::default() };
        match of_probe(&container(), &probe, reach)? {
            Call::Connect(connection) => Ok((connection.to.to_string(), connection.place)),
            Call::Exec(_) | Call::Fetch(..) => panic!("a connection was asked for"),
        }
    }

    #[test]
    fn a_pod_without_an_address_is_reached_from_within_and_others_from_the_node() {
        let number = |reach| tcp(Port::Number(80), "", reach).unwrap();
        assert_eq!(number(Reach::of(&[])), ("127.0.0.1:80".to_owned(), Place::Pod));
        assert_eq!(number(Reach::of(&["10.1.2.3".to_owned()])), ("10.1.2.3:80".to_owned(), Place::Node));
        assert_eq!(number(Reach::of(&["fd00::2".to_owned()])), ("[fd00::2]:80".to_owned(), Place::Node));
    }

    #[test]
    fn a_host_that_is_written_down_is_looked_for_from_the_node() {
        let host = |host| tcp(Port::Number(80), host, Reach::of(&[]));
        assert_eq!(host("192.0.2.7").unwrap(), ("192.0.2.7:80".to_owned(), Place::Node));
        assert_eq!(host("localhost").unwrap(), ("127.0.0.1:80".to_owned(), Place::Node));
        assert_eq!(host("[::1]").unwrap(), ("[::1]:80".to_owned(), Place::Node));
        assert!(host("example.org").unwrap_err().contains("names are not looked up"));
    }

    #[test]
    fn ports_go_by_number_by_name_and_by_a_number_in_quotes() {
        let port = |port| tcp(port, "", Reach::of(&[])).map(|(to, _)| to);
        assert_eq!(port(Port::Name("web".to_owned())).unwrap(), "127.0.0.1:8080");
        assert_eq!(port(Port::Name("81".to_owned())).unwrap(), "127.0.0.1:81");
        assert_eq!(port(Port::Name("db".to_owned())).unwrap_err(), "port db not found");
        assert_eq!(port(Port::Number(0)).unwrap_err(), "invalid port number: 0");
        assert_eq!(port(Port::Number(65_536)).unwrap_err(), "invalid port number: 65536");
    }

    #[test]
    fn tls_and_grpc_are_for_the_second_binary() {
        let get =
            |scheme: &str| v1::HttpGetAction { scheme: scheme.to_owned(), port: Port::Number(1), ..Default::default() };
        let probe = v1::Probe { http_get: Some(get("HTTPS")), ..Default::default() };
        let call = of_probe(&container(), &probe, Reach::of(&[])).unwrap();
        let Call::Fetch(Question::Https { to, request, any_answer: false }, Place::Pod) = call else {
            panic!("{call:?}")
        };
        assert_eq!((to.as_str(), request.url().as_str()), ("127.0.0.1:1", "https://127.0.0.1:1/"));
        let grpc = v1::GrpcAction { port: 2, service: "s".to_owned() };
        let probe = v1::Probe { grpc: Some(grpc), ..Default::default() };
        let call = of_probe(&container(), &probe, Reach::of(&[])).unwrap();
        assert!(matches!(call, Call::Fetch(Question::Grpc { .. }, Place::Pod)), "{call:?}");
    }

    #[test]
    fn what_cannot_be_carried_out_says_so() {
        let hook = v1::LifecycleHandler { tcp_socket: Some(v1::TcpSocketAction::default()), ..Default::default() };
        assert!(of_hook(&container(), &hook, Reach::of(&[])).is_err());
    }
}
