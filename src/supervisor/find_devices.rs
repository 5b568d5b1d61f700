//! The role `find-devices`: which devices of the node are those that the setting `devices` names, and what tells when that
//! changes. A process of its own, since looking up a path may wait for a disk. Main functions: [`main`], [`find`].

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use super::look::look;
use crate::config::{self, Match, Usb};
use crate::json::{Deserialize, Serialize};
use crate::pod::event::Device;
use crate::sorted::BTreeMap;
use crate::sys::helper::Helper;

/// Version of request and report.
pub(crate) const VERSION: u32 = 1;

/// What to look for, with the inotify instance at [`PASSED`](crate::sys::helper::PASSED).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The setting.
    pub(crate) devices: Vec<config::Device>,
}

/// What was found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Whether there was an instance to watch with.
    pub(crate) ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The devices that are there, by name.
    pub(crate) there: BTreeMap<String, Device>,
    /// Watches of directories, and the name in each that matters.
    pub(crate) watches: Vec<(i32, String)>,
}

/// The role `find-devices`.
pub(crate) fn main() -> ExitCode {
    let mut helper = match Helper::start("find-devices") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = match helper.request_with::<Request>(VERSION, "inotify instance") {
        Ok((changes, request)) => {
            // Before the look, so that nothing falls between.
            let watches = watches(changes.as_fd(), &request.devices);
            let there = find(&request.devices, Path::new("/sys"));
            Report { version: VERSION, ok: true, error: None, there, watches }
        }
        Err(error) => Report { version: VERSION, error: Some(error), ..Report::default() },
    };
    helper.report(&report, report.ok)
}

/// The kernel tells of its own devices; a path may be a link, or made by hand.
fn watches(changes: BorrowedFd<'_>, devices: &[config::Device]) -> Vec<(i32, String)> {
    let watch = |device: &config::Device| match &device.rule {
        Match::Path(path) => look(changes, path).watch,
        Match::Plug(_) | Match::Usb(_) => None,
    };
    devices.iter().filter_map(watch).collect()
}

/// The devices that are there, by name, by the tree `sys` (sysfs). What one name has no other gets.
pub(crate) fn find(devices: &[config::Device], sys: &Path) -> BTreeMap<String, Device> {
    let by_path = devices.iter().all(|device| matches!(device.rule, Match::Path(_)));
    let nodes = if by_path { Vec::new() } else { nodes(sys) };
    let mut there: BTreeMap<String, Device> = BTreeMap::new();
    for device in devices {
        let free = |found: &Device| !there.values().any(|other| other.is(found));
        let of_nodes =
            |is_it: &dyn Fn(&Path) -> bool| nodes.iter().filter(|node| is_it(&node.place)).map(Node::device).find(free);
        let found = match &device.rule {
            Match::Path(path) => at_path(path).filter(free),
            Match::Plug(plug) => of_nodes(&|place| is_in(place, sys, plug)),
            Match::Usb(usb) => of_nodes(&|place| is_usb(place, sys, usb)),
        };
        if let Some(found) = found {
            there.insert(device.name.clone(), found);
        }
    }
    there
}

fn at_path(path: &Path) -> Option<Device> {
    let metadata = path.metadata().ok()?;
    let kind = metadata.file_type();
    let number = metadata.rdev();
    (kind.is_block_device() || kind.is_char_device()).then(|| Device {
        path: path.display().to_string(),
        block: kind.is_block_device(),
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
    })
}

/// A device that has a node.
struct Node {
    /// Its directory in sysfs.
    place: PathBuf,
    block: bool,
    number: (u32, u32),
}

impl Node {
    fn device(&self) -> Device {
        let name = fs::read_to_string(self.place.join("uevent")).unwrap_or_default();
        let name = name.lines().find_map(|line| line.strip_prefix("DEVNAME=")).unwrap_or("?");
        let (major, minor) = self.number;
        Device { path: format!("/dev/{name}"), block: self.block, major, minor }
    }
}

/// All nodes of hardware. Of several of one device a terminal comes first, and the raw one of USB last; then as they are plugged.
fn nodes(sys: &Path) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (kind, block) in [("char", false), ("block", true)] {
        let dir = sys.join("dev").join(kind);
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let number = entry.file_name().into_string().ok();
            let number = number.as_deref().and_then(|number| number.split_once(':'));
            let number = number.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            let (Some(number), Ok(link)) = (number, fs::read_link(entry.path())) else { continue };
            // `../../devices/…`: lexically, since canonicalising takes a system call for each part.
            let below = link.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>();
            if !below.starts_with("devices/virtual") {
                nodes.push(Node { place: sys.join(below), block, number });
            }
        }
    }
    nodes.sort_by_cached_key(|node| {
        let rank = match subsystem(&node.place).as_str() {
            "tty" => 0,
            "usb" => 2,
            _ => 1,
        };
        (rank, node.place.clone())
    });
    nodes
}

fn subsystem(place: &Path) -> String {
    let link = fs::read_link(place.join("subsystem")).unwrap_or_default();
    link.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn attribute(place: &Path, name: &str) -> Option<String> {
    fs::read_to_string(place.join(name)).ok().map(|text| text.trim_end_matches('\n').to_owned())
}

/// The directories from a device up to the root of all devices.
fn upwards<'a>(place: &'a Path, sys: &Path) -> impl Iterator<Item = &'a Path> {
    let root = sys.join("devices");
    place.ancestors().take_while(move |place| *place != root)
}

/// Whether it belongs to that device on USB: the nearest one above it, not a hub.
fn is_usb(place: &Path, sys: &Path, usb: &Usb) -> bool {
    let is = |wanted: &str, place: &Path, name: &str| {
        wanted.is_empty() || attribute(place, name).is_some_and(|found| found == wanted)
    };
    let interface = upwards(place, sys).find(|place| place.join("bInterfaceNumber").exists());
    upwards(place, sys).find(|place| place.join("idVendor").exists()).is_some_and(|device| {
        is(&usb.vendor, device, "idVendor")
            && is(&usb.product, device, "idProduct")
            && is(&usb.serial, device, "serial")
            && (usb.interface.is_empty()
                || interface.is_some_and(|interface| is(&usb.interface, interface, "bInterfaceNumber")))
    })
}

/// Whether it is in that plug: udev's `ID_PATH`, and for a port of a USB serial converter its number behind it.
fn is_in(place: &Path, sys: &Path, plug: &str) -> bool {
    let (plug, port) = match plug.rsplit_once("-port") {
        Some((plug, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (plug, Some(port)),
        _ => (plug, None),
    };
    let number = || upwards(place, sys).find_map(|place| attribute(place, "port_number"));
    id_path(place, sys) == plug && port.is_none_or(|port| number().is_none_or(|number| number == port))
}

/// udev's `ID_PATH` (systemd: udev-builtin-path_id.c) for what is on USB, PCI, or the board itself.
fn id_path(place: &Path, sys: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut last = String::new();
    for place in upwards(place, sys) {
        let subsystem = subsystem(place);
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        // Of several of one kind the one next to the device counts.
        if subsystem == last {
            continue;
        }
        match subsystem.as_str() {
            "usb" => parts.extend(name.split_once('-').map(|(_, port)| format!("usb-0:{port}"))),
            "pci" | "platform" => parts.push(format!("{subsystem}-{name}")),
            _ => {}
        }
        if matches!(subsystem.as_str(), "usb" | "pci" | "platform") {
            last = subsystem;
        }
    }
    parts.reverse();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    const BUS: &str = "devices/platform/soc/3f980000.usb/usb1";

    /// A sysfs with two converters of one make on a hub, one of them with two ports.
    fn sysfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path();
        let file = |path: &str, text: &str| {
            let path = sys.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        };
        let of = |path: &str, subsystem: &str| {
            fs::create_dir_all(sys.join(path)).unwrap();
            symlink(format!("/sys/bus/{subsystem}"), sys.join(path).join("subsystem")).unwrap();
        };
        of("devices/platform/soc/3f980000.usb", "platform");
        of("devices/platform/soc", "platform");
        for (port, vendor, serial) in
            [("", "1d6b", "hub"), ("/1-1", "0424", ""), ("/1-1/1-1.2", "0403", "A1"), ("/1-1/1-1.3", "0403", "B2")]
        {
            let path = format!("{BUS}{port}");
            of(&path, "usb");
            file(&format!("{path}/idVendor"), vendor);
            file(&format!("{path}/idProduct"), "6001");
            file(&format!("{path}/serial"), serial);
        }
        fs::create_dir_all(sys.join("dev/char")).unwrap();
        for (port, interface, minor) in [("1-1.2", "00", 1), ("1-1.2", "01", 0), ("1-1.3", "00", 2)] {
            let number: u32 = interface.parse().unwrap();
            let path = format!("{BUS}/1-1/{port}/{port}:1.{number}");
            of(&path, "usb");
            file(&format!("{path}/bInterfaceNumber"), interface);
            let tty = format!("{path}/ttyUSB{minor}");
            of(&tty, "usb-serial");
            file(&format!("{tty}/port_number"), "0");
            of(&format!("{tty}/tty/ttyUSB{minor}"), "tty");
            file(
                &format!("{tty}/tty/ttyUSB{minor}/uevent"),
                &format!("MAJOR=188\nMINOR={minor}\nDEVNAME=ttyUSB{minor}"),
            );
            symlink(format!("../../{tty}/tty/ttyUSB{minor}"), sys.join(format!("dev/char/188:{minor}"))).unwrap();
        }
        file(&format!("{BUS}/1-1/1-1.2/uevent"), "DEVNAME=bus/usb/001/004");
        symlink(format!("../../{BUS}/1-1/1-1.2"), sys.join("dev/char/189:3")).unwrap();
        dir
    }

    fn named(name: &str, rule: Match) -> config::Device {
        config::Device { name: format!("a.io/{name}"), rule, container_path: PathBuf::from("/dev/x") }
    }

    fn usb(product: &str, serial: &str, interface: &str) -> Match {
        let [vendor, product, serial, interface] = ["0403", product, serial, interface].map(str::to_owned);
        Match::Usb(Usb { vendor, product, serial, interface })
    }

    #[test]
    fn a_device_on_usb_is_known_by_ids_serial_and_interface_and_its_terminal_is_meant() {
        let sys = sysfs();
        for (rule, path) in [
            (usb("6001", "", ""), Some("/dev/ttyUSB1")),
            (usb("6001", "A1", "01"), Some("/dev/ttyUSB0")),
            (usb("", "B2", ""), Some("/dev/ttyUSB2")),
            (usb("6002", "", ""), None),
            (usb("6001", "C3", ""), None),
        ] {
            let found = find(&[named("m", rule.clone())], sys.path());
            assert_eq!(found.get("a.io/m").map(|device| device.path.as_str()), path, "{rule:?}");
        }
        let pair = find(&[named("m", usb("", "", "00")), named("n", usb("", "", "00"))], sys.path());
        let paths: Vec<&str> = pair.values().map(|device| device.path.as_str()).collect();
        assert_eq!(paths, ["/dev/ttyUSB1", "/dev/ttyUSB2"], "two of one make are two devices");
    }

    #[test]
    fn a_plug_has_the_name_that_udev_gives_it() {
        let sys = sysfs();
        for (plug, path) in [
            ("platform-3f980000.usb-usb-0:1.3:1.0", Some("/dev/ttyUSB2")),
            ("platform-3f980000.usb-usb-0:1.2:1.1-port0", Some("/dev/ttyUSB0")),
            ("platform-3f980000.usb-usb-0:1.2:1.1-port1", None),
            ("platform-3f980000.usb-usb-0:1.4:1.0", None),
        ] {
            let found = find(&[named("m", Match::Plug(plug.to_owned()))], sys.path());
            assert_eq!(found.get("a.io/m").map(|device| device.path.as_str()), path, "{plug}");
        }
    }

    #[test]
    fn a_path_is_a_device_or_nothing_and_links_lead_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/dev/full", &link).unwrap();
        let found = find(&[named("m", Match::Path(link.clone()))], dir.path());
        let device = found.get("a.io/m").unwrap();
        assert_eq!((device.block, device.major, device.minor), (false, 1, 7));
        let both = [named("m", Match::Path(link.clone())), named("n", Match::Path("/dev/full".into()))];
        assert_eq!(find(&both, dir.path()).len(), 1, "a device has one name");
        assert!(find(&[named("m", Match::Path(dir.path().to_owned()))], dir.path()).is_empty());
        assert!(find(&[named("m", Match::Path(dir.path().join("none")))], dir.path()).is_empty());
    }
}
