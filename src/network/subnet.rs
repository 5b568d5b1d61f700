//! [`PodSubnet`]: where pods get their addresses from, [`overlaps`] with what the node reaches elsewhere, and what a subnet
//! [`holds`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conf::NetworkList;
use crate::json::{Deserialize, Serialize};

/// A subnet of a CNI configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSubnet {
    /// As written: `10.85.0.0/24`.
    pub subnet: String,
    /// The node's interface in it; empty where the plugin is no bridge.
    pub bridge: String,
    /// The network's name.
    pub network: String,
}

/// The subnets of a configuration's host-local ranges.
pub(super) fn of(list: &NetworkList) -> Vec<PodSubnet> {
    let mut found = Vec::new();
    for plugin in &list.plugins {
        let ipam = &plugin["ipam"];
        let ranges = ipam["ranges"].as_array().into_iter().flatten().filter_map(|set| set.as_array()).flatten();
        let subnets = ranges.map(|range| &range["subnet"]).chain([&ipam["subnet"]]).filter_map(|s| s.as_str());
        let bridge = match plugin["bridge"].as_str() {
            Some(name) => name,
            // The plugin's default.
            None if plugin["type"] == "bridge" => "cni0",
            None => "",
        };
        found.extend(subnets.map(|subnet| PodSubnet {
            subnet: subnet.to_owned(),
            bridge: bridge.to_owned(),
            network: list.name.clone(),
        }));
    }
    found
}

/// What to tell people of subnets that overlap with the node's routes, as `/proc/net/route` and `/proc/net/ipv6_route` have them.
pub fn overlaps<'a>(subnets: impl IntoIterator<Item = &'a PodSubnet>, routes_v4: &str, routes_v6: &str) -> Vec<String> {
    let routes: Vec<(&str, Net)> =
        routes_v4.lines().skip(1).filter_map(route_v4).chain(routes_v6.lines().filter_map(route_v6)).collect();
    let mut found = Vec::new();
    for subnet in subnets {
        let Some(own) = parse(&subnet.subnet) else { continue };
        for (interface, route) in &routes {
            // The default route is everybody's; on the bridge it is the pods' own.
            if route.length != 0 && *interface != subnet.bridge && route.meets(own) {
                found.push(format!(
                    "the pods' subnet {} of network {:?} overlaps with the node's route to {}/{} by {interface}: \
                     what lies there is out of reach for pods, or pods are for the node; give the pods another subnet \
                     (podSubnet, or the CNI configuration)",
                    subnet.subnet, subnet.network, route.address, route.length
                ));
            }
        }
    }
    found
}

/// Whether an address lies in a subnet such as `10.0.0.0/8`.
pub fn holds(subnet: &str, address: IpAddr) -> bool {
    // No subnet has more bits than that.
    parse(subnet).is_some_and(|net| net.meets(Net { address, length: 128 }))
}

/// Addresses with the same first bits.
#[derive(Clone, Copy)]
struct Net {
    address: IpAddr,
    length: u32,
}

impl Net {
    /// Whether one holds the other.
    fn meets(self, other: Self) -> bool {
        let common = self.length.min(other.length);
        let (left, right, width) = match (self.address, other.address) {
            (IpAddr::V4(left), IpAddr::V4(right)) => (u128::from(left.to_bits()), u128::from(right.to_bits()), 32_u32),
            (IpAddr::V6(left), IpAddr::V6(right)) => (left.to_bits(), right.to_bits(), 128),
            _ => return false,
        };
        (left ^ right).checked_shr(width.saturating_sub(common)).unwrap_or(0) == 0
    }
}

fn parse(subnet: &str) -> Option<Net> {
    let (address, length) = subnet.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    Some(Net { address, length: length.parse().ok().filter(|length| *length <= width)? })
}

/// Interface and destination of a line: hexadecimal, as the bytes lie in memory.
fn route_v4(line: &str) -> Option<(&str, Net)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |at: usize| {
        let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
        Some(u32::from_be_bytes(number.to_ne_bytes()))
    };
    let (to, mask) = (number(1)?, number(7)?);
    Some((fields.first()?, Net { address: Ipv4Addr::from(to).into(), length: mask.leading_ones() }))
}

/// The same of IPv6. What every interface has (link-local, multicast) and what leads nowhere (`lo`) is left out.
fn route_v6(line: &str) -> Option<(&str, Net)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
    let length = u32::from_str_radix(fields.get(1)?, 16).ok()?;
    let interface = fields.last().filter(|interface| **interface != "lo")?;
    let own = !address.is_unicast_link_local() && !address.is_multicast();
    own.then_some((*interface, Net { address: address.into(), length }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::network::conf;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn an_overlap_names_the_subnet_and_the_route() {
        let subnets = of(&conf::bridge("10.85.0.0/24", Path::new("/run")));
        let hex = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let line = |name: &str, to, of| format!("{name}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hex(to), hex(of));
        let quiet = [
            line("eth0", [0, 0, 0, 0], [0, 0, 0, 0]),
            line("eth0", [192, 168, 1, 0], [255, 255, 255, 0]),
            line("gatepost0", [10, 85, 0, 0], [255, 255, 255, 0]),
            line("eth0", [10, 85, 1, 0], [255, 255, 255, 0]),
        ];
        assert!(overlaps(&subnets, &format!("Iface\n{}", quiet.concat()), "").is_empty());
        for (to, of, shown) in [
            ([10, 0, 0, 0], [255, 0, 0, 0], "10.0.0.0/8"),
            ([10, 85, 0, 128], [255, 255, 255, 128], "10.85.0.128/25"),
            ([10, 85, 0, 7], [255, 255, 255, 255], "10.85.0.7/32"),
        ] {
            let found = overlaps(&subnets, &format!("Iface\n{}", line("wlan0", to, of)), "");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("10.85.0.0/24") && found[0].contains(shown) && found[0].contains("wlan0"));
        }
    }

    #[test]
    fn the_subnets_of_both_forms_of_host_local_are_known() {
        let mut list = conf::bridge("10.85.0.0/24", Path::new("/run"));
        list.plugins[0] = json!({"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/16"}});
        let found = of(&list);
        assert_eq!((found[0].subnet.as_str(), found[0].bridge.as_str()), ("10.1.0.0/16", "cni0"));
        for wrong in ["10.1.2.3/40", "fd00::/129", "fd00::", "host/8"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_overlap_in_ipv6_is_told_as_well() {
        let mut list = conf::bridge("10.85.0.0/24", Path::new("/run"));
        list.plugins[0] = json!({"type": "bridge", "bridge": "br0", "ipam": {"ranges": [[{"subnet": "fd00:1::/64"}]]}});
        let subnets = of(&list);
        let line = |to: &str, length: &str, interface: &str| {
            format!("{to} {length} {0} 00 {0} 00000400 00000001 00000000 00000001 {interface:>8}\n", "0".repeat(32))
        };
        let own = "fd000001000000000000000000000000";
        let quiet = [
            line(own, "40", "br0"),
            line(&"0".repeat(32), "00", "eth0"),
            line("fe800000000000000000000000000000", "40", "eth0"),
            line("fd000001000000000000000000000001", "80", "lo"),
            line("fd000002000000000000000000000000", "40", "eth0"),
        ];
        assert!(overlaps(&subnets, "", &quiet.concat()).is_empty());
        let found = overlaps(&subnets, "", &line("fd000001000000000000000000000000", "30", "eth0"));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("fd00:1::/64") && found[0].contains("fd00:1::/48 by eth0"), "{found:?}");
    }
}
