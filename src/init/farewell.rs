//! The role `farewell`: all of a shutdown that may have to wait for a disk. Entry: [`main`].
//!
//! A process of its own, since PID 1 waits for no disk; it is given a time, and then the machine goes down without it. In order:
//! 1. the report of this shutdown, for the next boot: `/var/lib/gatepost/state/last-boot`;
//! 2. unmounting everything but the kernel's own, the newest first, again and again while something gives way;
//! 3. what is still busy: read-only, then detached;
//! 4. `/` read-only;
//! 5. sync.
//!
//! A second form counts the reboots of a gateway that cannot run its pods, see `reboots`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use super::reboots;
use super::say::say_as;
use crate::sys::clock::{boottime_ms, wall_ms};
use crate::sys::mount::{MountEntry, mounts};
use crate::sys::process;
use crate::sys::replace;
use crate::wire::farewell::{Farewell, NAME};

/// Where reports are kept. `dataDir` is not asked for: reading the configuration is what may have failed.
pub(crate) const STATE: &str = "/var/lib/gatepost/state";
/// How often unmounting is tried, and the wait between.
const ROUNDS: usize = 10;
const WAIT: Duration = Duration::from_millis(100);

/// The role `farewell GOAL CAUSE BEGAN-MS KILLED`, or `farewell may-reboot`.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["may-reboot"] => reboots::main(),
        [goal, cause, began, killed] => {
            report(goal, cause, began.parse().unwrap_or(0), killed.parse().unwrap_or(0));
            let_go();
            rustix::fs::sync();
            ExitCode::SUCCESS
        }
        _ => {
            say_as("farewell", format_args!("the role `farewell` is started by PID 1 only"));
            ExitCode::from(2)
        }
    }
}

fn report(goal: &str, cause: &str, began_ms: u64, killed: u32) {
    let report = Farewell {
        version: Farewell::VERSION,
        action: goal.to_owned(),
        reason: cause.to_owned(),
        wall_ms: wall_ms(),
        took_ms: boottime_ms().saturating_sub(began_ms),
        killed,
    };
    if let Err(error) = serde_json::to_vec(&report).map_err(std::io::Error::from).and_then(|text| keep(NAME, &text)) {
        say_as("farewell", format_args!("the report of this shutdown cannot be kept: {STATE}/{NAME}: {error}"));
    }
}

/// Replaces a file of the state directory durably.
pub(super) fn keep(name: &str, content: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(STATE)?;
    replace::replace_durably(std::fs::File::open(STATE)?, name, content, 0o600)
}

/// File systems that exist in the kernel only: nothing is lost with them.
const KERNELS_OWN: [&str; 15] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "pstore",
    "bpf",
    "mqueue",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "efivarfs",
    "rootfs",
];

/// Whether a mount is to be let go: it, or what it stands on, may be a disk's.
fn is_to_go(mount: &MountEntry) -> bool {
    let stays = ["/", "/dev", "/run", "/tmp"].iter().any(|target| mount.target == Path::new(target));
    // PID 1 keeps its log there, and nothing of it is lost that would not be lost anyway.
    let stays = stays || (mount.target == Path::new("/var/log") && mount.fs_type == "tmpfs");
    !stays && !KERNELS_OWN.contains(&mount.fs_type.as_str())
}

/// The mounts to be let go, the newest first.
fn to_go() -> Vec<MountEntry> {
    mounts().unwrap_or_default().into_iter().rev().filter(is_to_go).collect()
}

fn let_go() {
    for round in 0..ROUNDS {
        let left = to_go();
        if left.is_empty() {
            break;
        }
        let mut gave_way = false;
        for mount in &left {
            gave_way |= unmount(&*mount.target, UnmountFlags::NOFOLLOW).is_ok();
        }
        if !gave_way && round.saturating_add(1) < ROUNDS {
            std::thread::sleep(WAIT);
        }
    }
    let busy = to_go();
    // A busy tmpfs holds nothing that could be lost.
    let disks = || busy.iter().filter(|mount| mount.fs_type != "tmpfs");
    for mount in disks() {
        make_read_only(&mount.target);
    }
    let names: BTreeSet<PathBuf> = disks().map(|mount| mount.target.clone()).collect();
    for name in names {
        say_as("farewell", format_args!("{} is busy: it is read-only now and detached", name.display()));
    }
    for mount in &busy {
        let _ = unmount(&*mount.target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
    }
    make_read_only(Path::new("/"));
}

/// The file system as a whole, or in a pid namespace of its own, where it belongs to others too, just this mount.
fn make_read_only(target: &Path) {
    let alone = if process::sees_whole_machine() { MountFlags::empty() } else { MountFlags::BIND };
    if let Err(error) = mount_remount(target, MountFlags::RDONLY | alone, "")
        && error != rustix::io::Errno::ROFS
    {
        say_as("farewell", format_args!("{} stays writable: {error}", target.display()));
    }
}
