//! The network: [`loopback`], a fixed address or DHCP's ([`configure`]), and [`apply`], which both end in.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::Boot;
use crate::config::Network;
use crate::sys::netlink::{self, Netlink};
use crate::sys::{namespace, replace};
use crate::wire::boot::Service;

/// What resolvers read: `/etc/resolv.conf` of the image is a link to it.
pub(super) const RESOLV_CONF: &str = "/run/resolv.conf";

/// What an interface is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Option<(Ipv4Addr, u8)>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) dns: Vec<Ipv4Addr>,
    /// Where names without a dot are looked for.
    pub(super) search: String,
}

/// The stage `loopback`.
pub(super) fn loopback(_: &Boot) -> Result<String, String> {
    namespace::loopback_up().map(|()| "up".to_owned()).map_err(|e| e.to_string())
}

/// The stage `network`. Nobody waits for an answer or for a late interface: the supervised role `dhcp` does.
pub(super) fn configure(boot: &Boot) -> Result<String, String> {
    let network = &boot.config().gateway.network;
    if network.off {
        return Ok("left alone".to_owned());
    }
    if let (Some(address), Some(interface)) = (network.address, interface(network)) {
        apply(&interface, &fixed(network)).map_err(|e| format!("{interface}: {e}"))?;
        return Ok(format!("{interface} has {}/{}", address.0, address.1));
    }
    boot.link.service(Service::Dhcp);
    Ok(match &network.address {
        Some((address, prefix)) => format!("{address}/{prefix} as soon as there is an interface"),
        None => "DHCP".to_owned(),
    })
}

/// What the settings give.
pub(super) fn fixed(network: &Network) -> Lease {
    Lease { address: network.address, gateway: network.gateway, dns: network.dns.clone(), search: String::new() }
}

/// The interface of the settings, or the first one with hardware behind it, if it is there.
pub(super) fn interface(network: &Network) -> Option<String> {
    let all = Path::new("/sys/class/net");
    if !network.interface.is_empty() {
        return all.join(&network.interface).exists().then(|| network.interface.clone());
    }
    let mut names: Vec<String> = fs::read_dir(all)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| all.join(name).join("device").exists())
        .collect();
    names.sort();
    names.into_iter().next()
}

/// Lets an interface talk, with what it has.
pub(super) fn set_up(interface: &str) -> io::Result<()> {
    Netlink::open()?.set_up(netlink::index(interface)?)
}

/// Gives an interface what it shall have, and takes what it had.
pub(super) fn apply(interface: &str, lease: &Lease) -> io::Result<()> {
    let (index, kernel) = (netlink::index(interface)?, Netlink::open()?);
    kernel.set_up(index)?;
    kernel.clear_addresses(index, lease.address)?;
    if let Some((address, prefix)) = lease.address {
        kernel.add_address(index, address, prefix)?;
    }
    if let Some(gateway) = lease.gateway {
        kernel.set_default_route(index, gateway)?;
    }
    replace::replace(Path::new(RESOLV_CONF), resolv_conf(lease).as_bytes(), 0o644)
}

fn resolv_conf(lease: &Lease) -> String {
    let mut text = String::new();
    if !lease.search.is_empty() {
        let _ = writeln!(text, "search {}", lease.search);
    }
    for server in &lease.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_file_names_servers_and_domain() {
        let lease = Lease {
            dns: vec![Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(1, 1, 1, 1)],
            search: "example.org".to_owned(),
            ..Lease::default()
        };
        assert_eq!(resolv_conf(&lease), "search example.org\nnameserver 10.0.2.3\nnameserver 1.1.1.1\n");
        assert_eq!(resolv_conf(&Lease::default()), "");
    }
}
