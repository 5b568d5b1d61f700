//! [`RouteChange`]: a descriptor that becomes readable when the kernel's routes change (rtnetlink(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, netlink};

/// `RTMGRP_IPV4_ROUTE` of rtnetlink(7).
const IPV4_ROUTES: u32 = 0x40;
/// `RTMGRP_IPV6_ROUTE` of rtnetlink(7).
const IPV6_ROUTES: u32 = 0x400;

/// A subscription to route changes.
#[derive(Debug)]
pub struct RouteChange(OwnedFd);

impl RouteChange {
    /// Subscribes to changes of IPv4 and IPv6 routes of this network namespace.
    ///
    /// An address comes and goes with a route, so the groups of addresses are not needed: the one of IPv6 speaks at each
    /// announcement of a router that renews an address, and those of routes only when something is another than before.
    pub fn watch() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        net::bind(&socket, &netlink::SocketAddrNetlink::new(0, IPV4_ROUTES | IPV6_ROUTES))?;
        Ok(Self(socket))
    }

    /// Takes what is there; what changed is read elsewhere, so messages that overflowed are no loss.
    pub fn acknowledge(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return,
                // ENOBUFS: the queue overflowed; a change all the same.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl AsFd for RouteChange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
