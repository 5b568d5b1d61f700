//! `/init` of the initramfs: from the kernel's hands to `/sbin/init` of the root file system. Entry: [`main`].
//!
//! In order: 1. `/proc`, `/sys`, `/dev`; 2. a console; 3. the modules of `/etc/modules-initramfs`; 4. the root partition that
//! `gatepost.root=` names, waited for 30 s at most; 5. its file system, read-only; 6. the mounts moved over, the initramfs
//! emptied, the root switched; 7. `/sbin/init`. What fails is told on the console, and the board is started again 10 s later:
//! nobody is there to type anything, and the boot loader may have another root to try.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};
use rustix::system::RebootCommand;

use super::command_line::CommandLine;
use super::modules::{self, Catalogue};
use super::partition;

/// How long the root partition is waited for: slow SD cards and USB disks are found within a few seconds.
const ROOT_BOUND: Duration = Duration::from_secs(30);
/// How long a failure stays on the console.
const READ_TIME: Duration = Duration::from_secs(10);
/// Where the root file system is mounted first.
const NEW_ROOT: &str = "/newroot";
/// The root partition where the command line names none.
const DEFAULT_ROOT: &str = "PARTLABEL=rootA";
/// What a root file system may be, in this order.
const ROOT_TYPES: &[&str] = &["squashfs", "erofs", "ext4"];
/// Magic numbers of the file systems an initramfs lives on: emptying any other one would be a disaster.
const RAMFS: u32 = 0x8584_58f6;
const TMPFS: u32 = 0x0102_1994;

/// File system, where, flags.
const MOUNTS: &[(&str, &str, MountFlags)] = &[
    ("devtmpfs", "/dev", MountFlags::NOSUID.union(MountFlags::NOEXEC)),
    ("proc", "/proc", MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV)),
    ("sysfs", "/sys", MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV)),
];

macro_rules! say {
    ($($text:tt)*) => { super::say::say("initramfs", format_args!($($text)*)) };
}

/// Whether the kernel started this process as the initramfs' `/init`.
pub fn is_asked_for() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Never comes back: another program runs, or the board starts again.
pub fn main() -> ExitCode {
    let Err(error) = switch();
    say!("FAILED: {error}");
    say!("starting the board again in {} s", READ_TIME.as_secs());
    std::thread::sleep(READ_TIME);
    rustix::fs::sync();
    let _ = rustix::system::reboot(RebootCommand::Restart);
    // The kernel panics when PID 1 ends, and starts the board again if `panic=` says so.
    ExitCode::FAILURE
}

fn switch() -> Result<Infallible, String> {
    for (kind, target, flags) in MOUNTS {
        let _ = fs::create_dir(target);
        match mount(*kind, *target, *kind, *flags, None) {
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(format!("cannot mount {target}: {error}")),
        }
    }
    take_console();
    let command_line = CommandLine::of_this_boot().map_err(|e| format!("/proc/cmdline: {e}"))?;
    load_modules(&command_line);
    let setting = command_line.value("gatepost.root").unwrap_or(DEFAULT_ROOT);
    let root = partition::wait_for(setting, Instant::now().checked_add(ROOT_BOUND).unwrap_or_else(Instant::now))
        .ok_or_else(|| format!("no partition {setting} within {} s; {}", ROOT_BOUND.as_secs(), disks()))?;
    mount_root(&root.device())?;
    say!("root: {} ({setting})", root.device().display());
    let io = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    for (_, target, _) in MOUNTS {
        let moved = Path::new(NEW_ROOT).join(target.trim_start_matches('/'));
        mount_move(*target, &moved).map_err(|e| format!("cannot move {target} to {}: {e}", moved.display()))?;
    }
    std::env::set_current_dir(NEW_ROOT).map_err(io("cannot enter the new root"))?;
    empty_initramfs();
    mount_move(".", "/").map_err(|e| format!("cannot move the new root over the old one: {e}"))?;
    rustix::process::chroot(".").map_err(|e| format!("cannot change the root: {e}"))?;
    std::env::set_current_dir("/").map_err(io("cannot enter the root"))?;
    Err(format!("cannot run /sbin/init: {}", Command::new("/sbin/init").arg0("/sbin/init").exec()))
}

/// The kernel opens `/dev/console` before there is a `/dev`, so it may have found none.
fn take_console() {
    let console = File::options().read(true).write(true).open("/dev/console");
    let Ok(console) = console.or_else(|_| File::options().read(true).write(true).open("/dev/null")) else { return };
    let _ = rustix::stdio::dup2_stdin(console.as_fd());
    let _ = rustix::stdio::dup2_stdout(console.as_fd());
    let _ = rustix::stdio::dup2_stderr(console.as_fd());
}

fn load_modules(command_line: &CommandLine) {
    let list = match fs::read_to_string("/etc/modules-initramfs") {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return say!("/etc/modules-initramfs: {error}"),
    };
    for failure in modules::load(&Catalogue::of_this_kernel(), &modules::lines(&list), command_line).failures {
        say!("{failure}");
    }
}

fn mount_root(device: &Path) -> Result<(), String> {
    let _ = fs::create_dir(NEW_ROOT);
    let mut errors = Vec::new();
    for kind in ROOT_TYPES {
        match mount(device, NEW_ROOT, *kind, MountFlags::RDONLY, None) {
            Ok(()) => return Ok(()),
            Err(error) => errors.push(format!("as {kind}: {error}")),
        }
    }
    Err(format!("cannot mount {}: {}", device.display(), errors.join("; ")))
}

/// Gives the memory of the initramfs back; everything in it was needed only so far.
fn empty_initramfs() {
    // The field is a signed word, of 32 or 64 bits as the architecture has it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let ours = rustix::fs::statfs("/").is_ok_and(|stat| matches!(stat.f_type as u32, RAMFS | TMPFS));
    if !ours {
        return;
    }
    for entry in fs::read_dir("/").into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        // The new root is all that is still mounted.
        if path != Path::new(NEW_ROOT) {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

/// What is there instead.
fn disks() -> String {
    let names = fs::read_dir("/sys/class/block").into_iter().flatten().filter_map(Result::ok);
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if names.is_empty() {
        "there is no disk at all: is its driver in /etc/modules-initramfs?".to_owned()
    } else {
        format!("there are only {}", names.join(", "))
    }
}
