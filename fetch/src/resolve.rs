//! [`Resolver`]: addresses of names, by /etc/hosts and the name servers of /etc/resolv.conf. The C library is not asked: what it reads
//! lies outside of the root directory that this process has then, and a static glibc would load parts of itself.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// How long a name server has, and how often each is asked (resolv.conf(5): 5 s, twice).
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 2;

/// What is known of names.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    hosts: Vec<(String, IpAddr)>,
    servers: Vec<SocketAddr>,
    search: Vec<String>,
}

impl Resolver {
    /// From the machine's files.
    pub(crate) fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::of(&text("/etc/hosts"), &text("/etc/resolv.conf"))
    }

    fn of(hosts: &str, resolv_conf: &str) -> Self {
        let mut resolver = Self::default();
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else { continue };
            resolver.hosts.extend(words.map(|name| (name.to_lowercase(), address)));
        }
        for line in resolv_conf.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver
                        .servers
                        .extend(words.filter_map(|word| word.parse().ok()).map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            resolver.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        resolver
    }

    /// The addresses of a name, or the address that it is.
    pub(crate) fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let name = name.trim_end_matches('.').to_lowercase();
        let known: Vec<IpAddr> = self.hosts.iter().filter(|(host, _)| *host == name).map(|(_, ip)| *ip).collect();
        if !known.is_empty() {
            return Ok(known);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        let searched = self.search.iter().filter(|_| !name.contains('.')).map(|domain| format!("{name}.{domain}"));
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("lookup {name}: no such host"));
        for candidate in searched.chain([name.clone()]) {
            match self.ask(&candidate) {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                Err(error) => last = io::Error::new(error.kind(), format!("lookup {name}: {error}")),
            }
        }
        Err(last)
    }

    fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..TRIES {
            for server in &self.servers {
                let both = ask_server(*server, name, TYPE::A).map(|mut addresses| {
                    // IPv4 is enough where the server does not care for the other question.
                    addresses.extend(ask_server(*server, name, TYPE::AAAA).unwrap_or_default());
                    addresses
                });
                match both {
                    Ok(addresses) => return Ok(addresses),
                    Err(error) => last = io::Error::new(error.kind(), format!("on {server}: {error}")),
                }
            }
        }
        Err(last)
    }
}

fn ask_server(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
    let bad = |error: simple_dns::SimpleDnsError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let id = u16::from_ne_bytes(id);
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let asked = Name::new(name).map_err(bad)?;
    packet.questions.push(Question::new(asked, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    let query = packet.build_bytes_vec().map_err(bad)?;
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&query)?;
    let mut answer = vec![0; 4096];
    let count = socket.recv(&mut answer)?;
    answer.truncate(count);
    let truncated = Packet::parse(&answer).map_err(bad)?.has_flags(PacketFlag::TRUNCATION);
    if truncated {
        answer = by_tcp(server, &query)?;
    }
    let packet = Packet::parse(&answer).map_err(bad)?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question"));
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(io::Error::other(format!("server misbehaving: {other:?}"))),
    }
    // The chain of aliases is the server's affair, who was asked for the whole answer.
    Ok(packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.address.to_be_bytes())),
            _ => None,
        })
        .collect())
}

fn by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut framed = u16::try_from(query.len()).unwrap_or_default().to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn names_come_from_the_hosts_file_first_and_localhost_needs_none() {
        let resolver = Resolver::of(
            "10.0.0.1 Site registry # ours\n::1 six\nbad line\n",
            "nameserver 192.0.2.1\nsearch a.example\n",
        );
        let address =
            |name: &str| resolver.addresses(name).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(address("SITE"), ["10.0.0.1"]);
        assert_eq!(address("registry."), ["10.0.0.1"]);
        assert_eq!(address("six"), ["::1"]);
        assert_eq!(address("localhost"), ["127.0.0.1"]);
        assert_eq!(address("[fd00::1]"), ["fd00::1"]);
        assert_eq!((resolver.servers.len(), resolver.search.len()), (1, 1));
    }

    #[test]
    fn a_name_server_is_asked_for_both_kinds_of_address() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for _ in 0..2 {
                let (count, from) = server.recv_from(&mut buffer).unwrap();
                let query = Packet::parse(&buffer[..count]).unwrap();
                let mut answer = query.clone().into_reply();
                let question = query.questions.first().unwrap();
                let rdata = match question.qtype {
                    QTYPE::TYPE(TYPE::A) => RData::A(simple_dns::rdata::A { address: 0x0a00_0002 }),
                    _ => RData::AAAA(simple_dns::rdata::AAAA { address: 1 }),
                };
                answer.answers.push(simple_dns::ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, rdata));
                server.send_to(&answer.build_bytes_vec().unwrap(), from).unwrap();
            }
        });
        let resolver = Resolver { servers: vec![address], ..Resolver::default() };
        let found: Vec<String> = resolver.addresses("a.example").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2", "::1"]);
        thread.join().unwrap();
    }

    #[test]
    fn what_does_not_fit_into_a_packet_is_asked_for_again_by_tcp() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let answer_to = |query: &[u8], truncated: bool| {
            let query = Packet::parse(query).unwrap();
            let mut answer = query.clone().into_reply();
            let question = query.questions.first().unwrap();
            match (truncated, question.qtype) {
                (true, _) => answer.set_flags(PacketFlag::TRUNCATION),
                (false, QTYPE::TYPE(TYPE::A)) => {
                    let rdata = RData::A(simple_dns::rdata::A { address: 0x0a00_0003 });
                    answer.answers.push(simple_dns::ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, rdata));
                }
                _ => *answer.rcode_mut() = RCODE::NameError,
            }
            answer.build_bytes_vec().unwrap()
        };
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for _ in 0..2 {
                let (count, from) = udp.recv_from(&mut buffer).unwrap();
                udp.send_to(&answer_to(&buffer[..count], true), from).unwrap();
                let (mut stream, _) = tcp.accept().unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let answer = answer_to(&query, false);
                stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        let resolver = Resolver { servers: vec![address], ..Resolver::default() };
        assert_eq!(resolver.addresses("large.example").unwrap(), [IpAddr::from([10, 0, 0, 3])]);
        thread.join().unwrap();
    }
}
