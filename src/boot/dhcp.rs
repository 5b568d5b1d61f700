//! The roles `dhcp` ([`main`]) and `dhcp-event` ([`event`]): busybox' udhcpc does the talking, its script is this binary.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Mode, OFlags};

use super::command_line::CommandLine;
use super::network::{self, Lease, apply};
use super::{say, tool};
use crate::config;
use crate::sys::netlink::LinkChange;

/// The name under which udhcpc starts this binary: a link to a descriptor that udhcpc hands on, since this program may live in
/// no file system.
const SCRIPT: &str = "/run/dhcp-event";

/// Environment variable with the path of what standard error was.
const VOICE: &str = "GATEPOST_VOICE";

/// Is there while no server has answered, and that has been told.
const NO_ANSWER: &str = "/run/dhcp-no-answer";

/// Is there from the start of udhcpc until that has told that it has begun.
const BEGINS: &str = "/run/dhcp-begins";

macro_rules! say {
    ($($text:tt)*) => { say::say("network", format_args!($($text)*)) };
}

/// The role `dhcp`: waits for the interface, then becomes udhcpc, or gives it its fixed address. Init starts it again when it ends.
pub fn main() -> ExitCode {
    let Err(error) = serve();
    say!("{error}");
    ExitCode::FAILURE
}

fn serve() -> Result<Infallible, String> {
    let command_line = CommandLine::of_this_boot().unwrap_or_default();
    let file = Path::new(config::DEFAULT_FILE);
    let wanted = file.exists() && !command_line.has("gatepost.safe");
    let (config, _) = config::lenient(wanted.then_some(file), &command_line.settings());
    let network = &config.gateway.network;
    let changes = LinkChange::watch().map_err(|e| format!("cannot watch interfaces: {e}"))?;
    let interface = loop {
        if let Some(interface) = network::interface(network) {
            break interface;
        }
        changes.wait().map_err(|e| format!("cannot wait for an interface: {e}"))?;
    };
    if network.address.is_some() {
        apply(&interface, &network::fixed(network)).map_err(|e| format!("{interface}: {e}"))?;
        say!("{interface} has its fixed address");
        loop {
            std::thread::park();
        }
    }
    let busybox = tool::find("busybox").ok_or("there is no busybox in this image, so no DHCP; set network.address")?;
    lay_out_script().map_err(|e| format!("{SCRIPT}: {e}"))?;
    let host_name = format!("hostname:{}", rustix::system::uname().nodename().to_string_lossy());
    // For ever, a few attempts a minute; nothing of its own in the background or on the disk.
    let args = ["udhcpc", "-f", "-t", "4", "-T", "3", "-A", "20", "-s", SCRIPT, "-x", &host_name, "-i", &interface];
    // Its chatter at each attempt is for nobody; what comes of it is told by the script, in our voice.
    let voice = kept_open(rustix::stdio::stderr()).map_err(|e| format!("standard error: {e}"))?;
    let mut udhcpc = Command::new(busybox);
    let _ = File::create(BEGINS);
    udhcpc.args(args).env(VOICE, voice).stdout(Stdio::null()).stderr(Stdio::null());
    Err(format!("udhcpc: {}", udhcpc.exec()))
}

fn lay_out_script() -> io::Result<()> {
    let program = kept_open(File::open("/proc/self/exe")?)?;
    let _ = fs::remove_file(SCRIPT);
    std::os::unix::fs::symlink(program, SCRIPT)
}

/// A way to the file that udhcpc, which this process becomes, and its script have too.
fn kept_open(file: impl AsFd) -> io::Result<String> {
    // udhcpc takes 3 and 4 for itself.
    let file = rustix::io::fcntl_dupfd_cloexec(file, 10)?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Open until udhcpc ends.
    std::mem::forget(file);
    Ok(path)
}

/// Standard error as it was before udhcpc was silenced.
fn speak() {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOCTTY | OFlags::CLOEXEC;
    let voice = std::env::var(VOICE).ok().and_then(|path| rustix::fs::open(path, flags, Mode::empty()).ok());
    if let Some(voice) = voice {
        // Without it the host log still has the line.
        let _ = rustix::stdio::dup2_stderr(voice);
    }
}

/// Whether this process was started by udhcpc as its script.
pub fn event_is_asked_for() -> bool {
    std::env::args_os().next().is_some_and(|name| name == SCRIPT)
}

/// udhcpc's script: what happened is the first argument, what the server gave lies in the environment.
pub fn event() -> ExitCode {
    speak();
    let happened = std::env::args().nth(1).unwrap_or_default();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let interface = variable("interface");
    let lease = match happened.as_str() {
        // What a client before this one was given holds until a server is asked: the same one may be back at once.
        "deconfig" if fs::remove_file(BEGINS).is_ok() && Path::new(network::RESOLV_CONF).exists() => None,
        "deconfig" => Some(Lease::default()),
        "bound" | "renew" => match lease(variable) {
            Ok(lease) => Some(lease),
            Err(error) => {
                say!("{interface}: the DHCP server's answer makes no sense: {error}");
                return ExitCode::FAILURE;
            }
        },
        // It goes on trying, and this is told once.
        "leasefail" => {
            if File::options().write(true).create_new(true).open(NO_ANSWER).is_ok() {
                say!("{interface}: no DHCP server answers; asked again until one does");
            }
            return ExitCode::SUCCESS;
        }
        // nak: deconfig follows.
        _ => return ExitCode::SUCCESS,
    };
    let address = lease.as_ref().and_then(|lease| lease.address);
    if address.is_some() {
        let _ = fs::remove_file(NO_ANSWER);
    }
    match lease.map_or_else(|| network::set_up(&interface), |lease| apply(&interface, &lease)) {
        Ok(()) => {
            if let (Some((address, prefix)), "bound") = (address, happened.as_str()) {
                say!("{interface} has {address}/{prefix} from DHCP");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            say!("{interface}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The variables of udhcpc(8): `ip`, `mask` (length of the prefix), `router`, `dns`, `domain`. Anybody on the network may have
/// written them.
fn lease(variable: impl Fn(&str) -> String) -> Result<Lease, String> {
    let address: Ipv4Addr = variable("ip").parse().map_err(|_| format!("ip={:?}", variable("ip")))?;
    let prefix = variable("mask").parse().ok().filter(|prefix| *prefix <= 32);
    let prefix = prefix.ok_or_else(|| format!("mask={:?}", variable("mask")))?;
    let addresses = |name: &str| -> Vec<Ipv4Addr> {
        variable(name).split_whitespace().filter_map(|text| text.parse().ok()).collect()
    };
    let domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    Ok(Lease {
        address: Some((address, prefix)),
        gateway: addresses("router").first().copied(),
        dns: addresses("dns").into_iter().take(3).collect(),
        search: Some(variable("domain"))
            .filter(|name| name.len() < 254 && name.chars().all(domain))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Result<Lease, String> {
        lease(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned()).unwrap_or_default())
    }

    #[test]
    fn a_servers_answer_becomes_a_lease() {
        let lease = given(&[
            ("ip", "10.0.2.15"),
            ("mask", "24"),
            ("router", "10.0.2.2 10.0.2.9"),
            ("dns", "10.0.2.3 x 9.9.9.9"),
            ("domain", "lan"),
        ]);
        let expected = Lease {
            address: Some((Ipv4Addr::new(10, 0, 2, 15), 24)),
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: vec![Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(9, 9, 9, 9)],
            search: "lan".to_owned(),
        };
        assert_eq!(lease.unwrap(), expected);
    }

    #[test]
    fn nonsense_from_the_network_reaches_no_file() {
        assert_eq!(given(&[("ip", "10.0.2.300"), ("mask", "24")]).unwrap_err(), "ip=\"10.0.2.300\"");
        assert_eq!(given(&[("ip", "10.0.2.1"), ("mask", "33")]).unwrap_err(), "mask=\"33\"");
        let lease = given(&[("ip", "10.0.2.1"), ("mask", "8"), ("domain", "a\nnameserver 6.6.6.6")]).unwrap();
        assert_eq!(lease.search, "");
    }
}
