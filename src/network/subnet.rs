//! [`PodSubnet`]: where pods get their addresses from, and [`overlaps`] with what the node reaches elsewhere.

use std::net::Ipv4Addr;

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

/// What to tell people of subnets that overlap with the node's IPv4 routes; `routes` is `/proc/net/route`.
pub fn overlaps<'a>(subnets: impl IntoIterator<Item = &'a PodSubnet>, routes: &str) -> Vec<String> {
    let mut found = Vec::new();
    for subnet in subnets {
        let Some((network, mask)) = parse(&subnet.subnet) else { continue };
        for line in routes.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(interface), Some(to), Some(of)) = (fields.first(), number(&fields, 1), number(&fields, 7)) else {
                continue;
            };
            let common = mask & of;
            // The default route is everybody's; on the bridge it is the pods' own.
            if of != 0 && *interface != subnet.bridge && network & common == to & common {
                let route = format!("{}/{}", Ipv4Addr::from(to), of.leading_ones());
                found.push(format!(
                    "the pods' subnet {} of network {:?} overlaps with the node's route to {route} by {interface}: \
                     what lies there is out of reach for pods, or pods are for the node; give the pods another subnet \
                     (podSubnet, or the CNI configuration)",
                    subnet.subnet, subnet.network
                ));
            }
        }
    }
    found
}

/// Network and mask.
fn parse(subnet: &str) -> Option<(u32, u32)> {
    let (address, length) = subnet.split_once('/')?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
    Some((u32::from(address.parse::<Ipv4Addr>().ok()?), mask))
}

/// Hexadecimal, as the bytes lie in memory.
fn number(fields: &[&str], at: usize) -> Option<u32> {
    u32::from_str_radix(fields.get(at)?, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()))
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
        assert!(overlaps(&subnets, &format!("Iface\n{}", quiet.concat())).is_empty());
        for (to, of, shown) in [
            ([10, 0, 0, 0], [255, 0, 0, 0], "10.0.0.0/8"),
            ([10, 85, 0, 128], [255, 255, 255, 128], "10.85.0.128/25"),
            ([10, 85, 0, 7], [255, 255, 255, 255], "10.85.0.7/32"),
        ] {
            let found = overlaps(&subnets, &format!("Iface\n{}", line("wlan0", to, of)));
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
        assert_eq!(parse("10.1.2.3/40"), None);
        assert_eq!(parse("fd00::/64"), None);
    }
}
