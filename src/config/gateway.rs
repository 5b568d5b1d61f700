//! [`Gateway`]: settings that count only where gatepost is PID 1, because elsewhere the host's own init decides.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value as Json;

use super::read::Reading;
use crate::json::{Deserialize, Serialize};
use crate::sorted::BTreeMap;

/// What the boot sets up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// The host name; empty: that of `/etc/hostname`, else `gateway`.
    pub hostname: String,
    /// The wired network.
    pub network: Network,
    /// Kernel parameters below `/proc/sys`, by name.
    pub sysctls: BTreeMap<String, String>,
    /// Kernel modules with their parameters, after those of `/etc/modules`.
    pub modules: Vec<String>,
    /// The data partition, mounted on `/var/lib`; empty for none.
    pub data_partition: String,
    /// What becomes of a data partition that cannot be repaired.
    pub data_on_failure: DataOnFailure,
    /// The partition with manifests and images, mounted on `/flash`; empty for none.
    pub flash_partition: String,
    /// The watchdog's time-out that is wanted; `None`: init's default.
    pub watchdog_timeout: Option<Duration>,
    /// The longest time-out that the hardware keeps; `None`: what its driver says.
    pub watchdog_maximum: Option<Duration>,
    /// How long all pods together may take to stop at a shutdown.
    pub shutdown_bound: Duration,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            hostname: String::new(),
            network: Network::default(),
            sysctls: BTreeMap::new(),
            modules: Vec::new(),
            data_partition: "PARTLABEL=data".to_owned(),
            data_on_failure: DataOnFailure::Tmpfs,
            flash_partition: "PARTLABEL=flash".to_owned(),
            watchdog_timeout: None,
            watchdog_maximum: None,
            shutdown_bound: Duration::from_mins(2),
        }
    }
}

/// What becomes of a data partition that cannot be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataOnFailure {
    /// It is left as it is; this boot keeps its data in memory.
    Tmpfs,
    /// It is formatted: what it held is lost.
    Format,
}

/// The wired network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The interface; empty: the first one with hardware behind it.
    pub interface: String,
    /// A fixed address and the length of its prefix; `None`: DHCP.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The default route.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Neither an address nor DHCP.
    pub off: bool,
}

impl Reading {
    pub(super) fn fill_gateway(&mut self, gateway: &mut Gateway) {
        if let Some(name) = self.text("hostname") {
            if name.len() > 64 || !super::read::is_dns_name(&name) {
                self.wrong("hostname", "must be at most 64 letters, digits, '-' and '.', each part beginning and ending with a letter or digit");
            }
            gateway.hostname = name;
        }
        self.fill_network(&mut gateway.network);
        if let Some(Json::Object(sysctls)) = self.get("sysctls").cloned() {
            for (name, value) in sysctls {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
                if name.is_empty() || name.contains("..") || name.starts_with(['.', '/']) || !name.chars().all(plain) {
                    self.wrong(
                        "sysctls",
                        &format!("{name:?} is no name of a kernel parameter such as net.ipv4.ip_forward"),
                    );
                }
                gateway.sysctls.insert(name, value.as_str().unwrap_or_default().to_owned());
            }
        }
        if let Some(modules) = self.texts("modules") {
            gateway.modules = modules;
        }
        for (key, target) in
            [("dataPartition", &mut gateway.data_partition), ("flashPartition", &mut gateway.flash_partition)]
        {
            // An empty text means none, so it counts.
            if let Some(text) = self.get(key).and_then(Json::as_str).map(str::to_owned) {
                if !(text.is_empty() || text.starts_with("PARTLABEL=") || text.starts_with("/dev/")) {
                    self.wrong(key, &format!("{text:?} is neither PARTLABEL=NAME nor /dev/NAME nor empty for none"));
                }
                *target = text;
            }
        }
        match self.text("dataOnFailure").as_deref() {
            None => {}
            Some("tmpfs") => gateway.data_on_failure = DataOnFailure::Tmpfs,
            Some("format") => gateway.data_on_failure = DataOnFailure::Format,
            Some(other) => self.wrong("dataOnFailure", &format!("{other:?} is neither tmpfs nor format")),
        }
        gateway.watchdog_timeout = self.seconds("watchdogTimeout", 1, 3600);
        gateway.watchdog_maximum = self.seconds("watchdogMaximum", 1, 3600);
        if let Some(bound) = self.seconds("shutdownBound", 1, 3600) {
            gateway.shutdown_bound = bound;
        }
    }

    fn fill_network(&mut self, network: &mut Network) {
        if let Some(name) = self.text("network.interface") {
            // IFNAMSIZ with its end.
            if name.len() > 15 || name.contains(['/', ' ']) || name.starts_with('.') {
                self.wrong("network.interface", &format!("{name:?} is no name of an interface such as eth0"));
            }
            network.interface = name;
        }
        if let Some(text) = self.text("network.address") {
            network.address = address_with_prefix(&text);
            if network.address.is_none() {
                self.wrong(
                    "network.address",
                    &format!("{text:?} is no IPv4 address with its prefix such as 192.168.1.10/24"),
                );
            }
        }
        if let Some(text) = self.text("network.gateway") {
            network.gateway = text.parse().ok();
            if network.gateway.is_none() {
                self.wrong("network.gateway", &format!("{text:?} is no IPv4 address"));
            }
        }
        for text in self.texts("network.dns").unwrap_or_default() {
            match text.parse() {
                Ok(server) => network.dns.push(server),
                Err(_) => self.wrong("network.dns", &format!("{text:?} is no IPv4 address")),
            }
        }
        match (self.get("network.dhcp").and_then(Json::as_bool), network.address) {
            (Some(true), Some(_)) => self.wrong("network.dhcp", "an address is set too; remove one of them"),
            (Some(false), None) => network.off = true,
            _ => {}
        }
        if network.gateway.is_some() && network.address.is_none() {
            self.wrong("network.gateway", "counts only with network.address; DHCP brings its own");
        }
    }

    /// 0 stands for the default.
    fn seconds(&mut self, key: &str, least: u64, most: u64) -> Option<Duration> {
        let duration = self.duration(key).filter(|duration| !duration.is_zero())?;
        if duration < Duration::from_secs(least) || duration > Duration::from_secs(most) {
            self.wrong(key, &format!("must be between {least} and {most} seconds"));
        }
        Some(duration)
    }
}

/// `192.168.1.10/24`.
fn address_with_prefix(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
    (!address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()).then_some((address, prefix))
}
