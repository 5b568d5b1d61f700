//! [`Netlink`]: interfaces up, IPv4 addresses and the default route, by rtnetlink(7); and [`LinkChange`], to wait for an interface.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType, netlink};

// Message types, flags and attributes of linux/netlink.h and linux/rtnetlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const DUMP: u16 = 0x300;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTMGRP_LINK: u32 = 1;
const FAMILY_IPV4: u8 = 2;
const IFF_UP: u32 = 1;
const HEADER: usize = 16;

/// How long the kernel may take for an answer.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The kernel's number of an interface; `NotFound` when there is no such interface.
pub fn index(interface: &str) -> io::Result<u32> {
    let path = Path::new("/sys/class/net").join(interface).join("ifindex");
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

/// A conversation with the kernel about this network namespace.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sets an interface up.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        let mut body = vec![0; 4];
        for word in [index, IFF_UP, IFF_UP] {
            body.extend(word.to_ne_bytes());
        }
        self.request(NEW_LINK, ACKNOWLEDGE, &body).map(drop)
    }

    /// Gives an interface this IPv4 address; the same address once more is no error.
    pub fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut body = address_header(index, prefix);
        attribute(&mut body, IFA_LOCAL, &address.octets());
        attribute(&mut body, IFA_ADDRESS, &address.octets());
        attribute(&mut body, IFA_BROADCAST, &broadcast(address, prefix).octets());
        self.request(NEW_ADDRESS, ACKNOWLEDGE | CREATE | REPLACE, &body).map(drop)
    }

    /// Takes all IPv4 addresses but `keep` from an interface; its routes through them go too.
    pub fn clear_addresses(&self, index: u32, keep: Option<(Ipv4Addr, u8)>) -> io::Result<()> {
        for (address, prefix) in self.addresses(index)? {
            if keep != Some((address, prefix)) {
                let mut body = address_header(index, prefix);
                attribute(&mut body, IFA_LOCAL, &address.octets());
                self.request(DELETE_ADDRESS, ACKNOWLEDGE, &body)?;
            }
        }
        Ok(())
    }

    /// The IPv4 addresses of an interface, with the lengths of their prefixes.
    pub fn addresses(&self, index: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
        let answer = self.request(GET_ADDRESS, DUMP, &address_header(0, 0))?;
        let mut found = Vec::new();
        for (kind, body) in messages(&answer) {
            let (Some(prefix), Some(of)) = (body.get(1), body.get(4..8).and_then(|b| b.try_into().ok())) else {
                continue;
            };
            let local = attributes(body.get(8..).unwrap_or_default()).find(|(kind, _)| *kind == IFA_LOCAL);
            let octets: Option<[u8; 4]> = local.and_then(|(_, value)| value.try_into().ok());
            if let (NEW_ADDRESS, true, Some(octets)) = (kind, u32::from_ne_bytes(of) == index, octets) {
                found.push((Ipv4Addr::from(octets), *prefix));
            }
        }
        Ok(found)
    }

    /// Makes `gateway`, reached through the interface, the default route, in place of the one there was.
    pub fn set_default_route(&self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        // table main, set at boot time, universe, unicast
        let mut body = vec![FAMILY_IPV4, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        attribute(&mut body, RTA_GATEWAY, &gateway.octets());
        self.request(NEW_ROUTE, ACKNOWLEDGE | CREATE | REPLACE, &body).map(drop)
    }

    /// Sends a request, and reads until the kernel has acknowledged it or has listed everything.
    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let length = HEADER.saturating_add(body.len());
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        net::send(&self.0, &message, net::SendFlags::empty())?;
        let mut all = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        loop {
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&PATIENCE))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let (count, _) = net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let received = buffer.get(..count).unwrap_or_default();
            for (kind, body) in messages(received) {
                match (kind, body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code))) {
                    (ERROR, Some(code)) if code != 0 => {
                        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                    }
                    (ERROR | DONE, _) => {
                        all.extend_from_slice(received);
                        return Ok(all);
                    }
                    _ => {}
                }
            }
            all.extend_from_slice(received);
        }
    }
}

fn address_header(index: u32, prefix: u8) -> Vec<u8> {
    let mut body = vec![FAMILY_IPV4, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    body
}

fn broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    // A link between two has no broadcast address.
    if prefix >= 31 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::from(u32::from(address) | hosts) }
}

/// Every attribute here is a multiple of four bytes long, so none needs padding.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// Kind and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Kind and value of each attribute.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A subscription to changes of interfaces: they appear, vanish, gain and lose their carrier.
#[derive(Debug)]
pub struct LinkChange(OwnedFd);

impl LinkChange {
    /// Subscribes.
    pub fn watch() -> io::Result<Self> {
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        net::bind(&socket, &netlink::SocketAddrNetlink::new(0, RTMGRP_LINK))?;
        Ok(Self(socket))
    }

    /// Waits for the next change, for ever.
    pub fn wait(&self) -> io::Result<()> {
        match net::recv(&self.0, &mut [0_u8; 8192][..], RecvFlags::TRUNC) {
            // ENOBUFS: so many that some were lost; a change all the same.
            Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for LinkChange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_broadcast_address_has_all_host_bits_set() {
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 24), Ipv4Addr::new(10, 1, 2, 255));
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 0), Ipv4Addr::BROADCAST);
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 31), Ipv4Addr::UNSPECIFIED);
        assert_eq!(broadcast(Ipv4Addr::new(10, 1, 2, 3), 255), Ipv4Addr::UNSPECIFIED);
    }

    #[test]
    fn broken_messages_end_the_reading() {
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0xff; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[5, 0, 1, 0, 7]).collect::<Vec<_>>(), [(1, &[7_u8][..])]);
    }
}
