//! [`Device`]: the setting `devices`, which gives a device of the node a name that pods ask for.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::read::{Reading, is_dns_name};
use crate::json::{Deserialize, Serialize};
use crate::sorted::BTreeMap;

/// One device that pods may ask for by a resource name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The extended resource: `gatepost.io/modbus0`.
    pub name: String,
    /// Which device of the machine it is.
    pub rule: Match,
    /// Where a container finds it.
    pub container_path: PathBuf,
}

/// How a device is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Match {
    /// By a path of the host, symbolic links followed.
    Path(PathBuf),
    /// By the plug it is in: udev's `ID_PATH`, as the names in `/dev/serial/by-path` have it.
    Plug(String),
    /// By what it says of itself on USB.
    Usb(Usb),
}

/// A device on USB; what is empty is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usb {
    /// Four hex digits.
    pub vendor: String,
    /// Four hex digits.
    pub product: String,
    /// As `lsusb -v` shows it.
    pub serial: String,
    /// Two hex digits, for a device with several ports.
    pub interface: String,
}

/// Nodes that every container has.
const TAKEN: [&str; 10] = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm"];

impl Reading {
    pub(super) fn fill_devices(&mut self, devices: &mut Vec<Device>) {
        let Some(Json::Object(settings)) = self.get("devices").cloned() else { return };
        let mut places: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (name, setting) in settings {
            match device(&name, &setting) {
                Ok(device) => {
                    if let Some(other) = places.insert(device.container_path.clone(), name.clone()) {
                        let message = format!("has the containerPath of {other}; give one of them another");
                        self.wrong(&format!("devices.{name}"), &message);
                    }
                    devices.push(device);
                }
                Err(message) => self.wrong(&format!("devices.{name}"), &message),
            }
        }
    }
}

/// Whether domain and name are those of an extended resource (Kubernetes: `ValidateResourceRequirements`).
fn is_extended((domain, name): (&str, &str)) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let domain_is_good = is_dns_name(domain) && domain == domain.to_ascii_lowercase();
    let name_is_good = edge(name.bytes().next()) && edge(name.bytes().last()) && name.bytes().all(inner);
    domain_is_good && !domain.contains("kubernetes.io") && name_is_good && name.len() <= 63 && domain.len() <= 244
}

fn device(name: &str, setting: &Json) -> Result<Device, String> {
    let text = |value: &Json, key: &str| value.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let absolute = |key: &str, path: String| {
        let plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
        if plain { Ok(PathBuf::from(path)) } else { Err(format!("{key} {path:?} is not an absolute path without ..")) }
    };
    let Some((_, last)) = name.split_once('/').filter(|parts| is_extended(*parts)) else {
        return Err("is no extended resource; write a name such as gatepost.io/modbus0".to_owned());
    };
    let mut rules = Vec::new();
    if let Some(usb) = setting.get("usb") {
        let hex = |key: &str, digits: usize| {
            let value = text(usb, key).trim_start_matches("0x").to_ascii_lowercase();
            let good = value.is_empty() || (value.len() == digits && value.bytes().all(|b| b.is_ascii_hexdigit()));
            if good { Ok(value) } else { Err(format!("usb.{key} {value:?} is not {digits} hex digits")) }
        };
        let (vendor, product, interface) = (hex("vendor", 4)?, hex("product", 4)?, hex("interface", 2)?);
        let usb = Usb { vendor, product, serial: text(usb, "serial"), interface };
        if usb.vendor.is_empty() && usb.serial.is_empty() {
            return Err("usb needs a vendor (see `lsusb`), or a serial".to_owned());
        }
        rules.push(Match::Usb(usb));
    }
    match text(setting, "path") {
        path if path.is_empty() => {}
        path => rules.push(Match::Path(absolute("path", path)?)),
    }
    match text(setting, "byPath") {
        plug if plug.is_empty() => {}
        // People paste the whole of what `ls -l /dev/serial/by-path` shows.
        plug => rules.push(Match::Plug(plug.rsplit('/').next().unwrap_or_default().to_owned())),
    }
    let (Some(rule), true) = (rules.pop(), rules.is_empty()) else {
        return Err("needs exactly one of path, byPath and usb, to tell which device it is".to_owned());
    };
    let container_path = match text(setting, "containerPath") {
        path if path.is_empty() => PathBuf::from(format!("/dev/{last}")),
        path => absolute("containerPath", path)?,
    };
    if container_path.strip_prefix("/dev").is_ok_and(|below| {
        below.components().next().is_none_or(|first| TAKEN.iter().any(|taken| first.as_os_str() == *taken))
    }) {
        let path = container_path.display();
        return Err(format!("containers have something else at {path}; set containerPath to another path"));
    }
    Ok(Device { name: name.to_owned(), rule, container_path })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Config, parse};

    fn read(setting: &str) -> Result<Config, String> {
        parse("c", format!("devices:\n  {setting}\n").as_bytes(), &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_is_matched_in_one_of_three_ways_and_lies_at_its_own_name_by_default() {
        let device = |setting: &str| read(setting).unwrap().devices.remove(0);
        let modbus = device("gatepost.io/modbus0: {usb: {vendor: \"0x0403\", product: \"6001\", serial: A50285BI}}");
        let usb = Usb {
            vendor: "0403".to_owned(),
            product: "6001".to_owned(),
            serial: "A50285BI".to_owned(),
            interface: String::new(),
        };
        assert_eq!((modbus.rule, modbus.container_path), (Match::Usb(usb), PathBuf::from("/dev/modbus0")));
        let by_path = device("a.io/b: {byPath: /dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0}");
        assert_eq!(by_path.rule, Match::Plug("pci-0000:00:14.0-usb-0:2:1.0-port0".to_owned()));
        let path = device("a.io/b: {path: /dev/ttyS1, containerPath: /dev/ttyMeter}");
        assert_eq!((path.rule, path.container_path), (Match::Path("/dev/ttyS1".into()), "/dev/ttyMeter".into()));
    }

    #[test]
    fn a_device_can_be_set_from_outside_key_by_key() {
        let words = ["usb.vendor=0403", "usb.product=6001", "containerPath=/dev/meter"];
        let words = words.map(|word| format!("gatepost.devices.gatepost.io/modbus0.{word}"));
        let device = parse("c", b"", &words).unwrap().devices.remove(0);
        assert_eq!((device.name.as_str(), device.container_path), ("gatepost.io/modbus0", "/dev/meter".into()));
        assert!(matches!(device.rule, Match::Usb(usb) if usb.vendor == "0403" && usb.product == "6001"));
        let wrong = parse("c", b"", &["gatepost.devices.gatepost.io/modbus0.pth=/dev/x".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("unknown key"), "{wrong}");
    }

    #[test]
    fn what_is_wrong_with_a_device_is_told_at_its_line() {
        for (setting, problem) in [
            (
                "modbus0: {path: /dev/x}",
                "c:2: devices.modbus0: is no extended resource; write a name such as gatepost.io/modbus0",
            ),
            (
                "a.io/b: {}",
                "c:2: devices.a.io/b: needs exactly one of path, byPath and usb, to tell which device it is",
            ),
            ("a.io/b: {path: dev/x}", "c:2: devices.a.io/b: path \"dev/x\" is not an absolute path without .."),
            ("a.io/b: {usb: {vendor: \"4\"}}", "c:2: devices.a.io/b: usb.vendor \"4\" is not 4 hex digits"),
            ("a.io/b: {usb: {}}", "c:2: devices.a.io/b: usb needs a vendor (see `lsusb`), or a serial"),
            (
                "a.io/null: {path: /dev/x}",
                "c:2: devices.a.io/null: containers have something else at /dev/null; set containerPath to another path",
            ),
            (
                "{a.io/b: {path: /dev/x}, c.io/b: {path: /dev/y}}",
                "c:2: devices.c.io/b: has the containerPath of a.io/b; give one of them another",
            ),
        ] {
            assert_eq!(read(setting).unwrap_err(), problem);
        }
    }
}
