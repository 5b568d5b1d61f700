//! The partitions: data on `/var/lib` ([`mount_data`]), else memory ([`mount_tmpfs_where_nothing_is`]), and flash on `/flash`.
//!
//! An ext4 with a journal is whole after a power cut: the kernel replays the journal when it mounts. So e2fsck runs only when the
//! superblock says that the kernel met an error, or when there is none, or when the mount fails.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};

use super::Boot;
use super::check::{self, Check, FORMAT_S, PREEN_S, REPAIR_S};
use super::partition::{self, Partition, SECTOR};
use super::stages::size;
use super::tool;
use crate::config::DataOnFailure;
use crate::sys::ext4::{self, Superblock};
use crate::sys::mount as mounts;
use crate::sys::partition as sys_partition;

/// The bound of [`mount_data`] in seconds: everything that may be needed, one after the other.
pub(super) const BOUND_S: u64 = WAIT_S + 2 * GROW_S + PREEN_S + REPAIR_S + FORMAT_S;
/// How long a partition is waited for at most.
const WAIT_S: u64 = super::DISKS.as_secs();
/// Time for sfdisk(8), and for the kernel to grow the file system, each.
const GROW_S: u64 = 30;
/// Less than this behind the partition is not worth a new partition table: what alignment and the table's copy take.
const WORTH_GROWING: u64 = 16 << 20;

const DATA: &str = "/var/lib";
const FLASH: &str = "/flash";

/// The stage `data`.
pub(super) fn mount_data(boot: &Boot) -> Result<String, String> {
    let gateway = &boot.config().gateway;
    let target = Path::new(DATA);
    if gateway.data_partition.is_empty() {
        return Ok("no partition is configured".to_owned());
    }
    if mounts::is_mount_point(target).unwrap_or(false) {
        return Ok(format!("{DATA} is mounted already"));
    }
    let partition = partition::wait_for(&gateway.data_partition, boot.disks.until())
        .ok_or_else(|| format!("there is no partition {}", gateway.data_partition))?;
    let device = partition.device();
    grow_partition(boot, &partition);
    let mut state = examine(&device);
    let mut mounted = attempt(&device, &state);
    if mounted.is_err() && state == Check::Clean {
        // The superblock looked well, and all the same it cannot be mounted.
        state = check::check(&device);
        mounted = attempt(&device, &state);
    }
    let mut word = match &state {
        Check::Clean => "clean".to_owned(),
        Check::Repaired(words) => {
            boot.warn("data", &format!("{} was damaged and has been repaired: {words}", device.display()));
            "repaired".to_owned()
        }
        Check::Broken(_) => "broken".to_owned(),
    };
    if let Err(error) = &mounted {
        if gateway.data_on_failure != DataOnFailure::Format {
            return Err(format!("{}: {error}; with dataOnFailure: format it would be made anew", device.display()));
        }
        check::format(&device).map_err(|e| format!("{}: {error}; {e}", device.display()))?;
        mount_ext4(&device)?;
        boot.warn(
            "data",
            &format!(
                "{} could not be repaired ({error}) and was formatted, as dataOnFailure says: all data is lost",
                device.display()
            ),
        );
        "formatted".clone_into(&mut word);
    }
    let bytes = grow_file_system(boot, &partition);
    Ok(format!("mounted {DATA} ({}, ext4, {}, {word})", device.display(), size(bytes)))
}

/// What the superblock says; if that is not good, what e2fsck makes of it.
fn examine(device: &Path) -> Check {
    match Superblock::read(device) {
        Ok(Some(superblock)) if !superblock.needs_check => Check::Clean,
        _ => check::check(device),
    }
}

fn attempt(device: &Path, state: &Check) -> Result<(), String> {
    match state {
        Check::Broken(why) => Err(why.clone()),
        Check::Clean | Check::Repaired(_) => mount_ext4(device),
    }
}

/// `errors=remount-ro`: after an error nothing is written any more, and the next boot repairs.
fn mount_ext4(device: &Path) -> Result<(), String> {
    mount(device, DATA, "ext4", MountFlags::NOATIME, c"errors=remount-ro")
        .map_err(|e| format!("cannot be mounted: {e}"))
}

/// Makes the last partition of the disk reach its end: an image is smaller than the card it was written to.
fn grow_partition(boot: &Boot, partition: &Partition) {
    let Some((disk, number)) = partition.disk().filter(|_| partition.free_behind() > WORTH_GROWING) else { return };
    let (disk, start, bytes) = (disk.device(), partition.start(), partition.bytes_up_to_the_end());
    // The root is on the same disk, so the kernel would refuse to read the table anew; it is told by itself.
    let (index, device) = (number.to_string(), disk.display().to_string());
    let args = ["-q", "--no-reread", "--no-tell-kernel", "--force", "-N", &index, &device];
    let size = format!(", {}\n", bytes / SECTOR);
    let result = match tool::run("sfdisk", &args, &size, Duration::from_secs(GROW_S)) {
        Ok(ended) if ended.status == 0 => {
            sys_partition::resize(&disk, number, start, bytes).map_err(|e| format!("the kernel does not take it: {e}"))
        }
        Ok(ended) => Err(format!("sfdisk ended with {}: {}", ended.status, ended.words)),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        let partition = partition.device();
        boot.warn("data", &format!("{} cannot be grown to the end of {device}: {error}", partition.display()));
    }
}

/// Makes the file system as large as its partition. Returns its size.
fn grow_file_system(boot: &Boot, partition: &Partition) -> u64 {
    let device = partition.device();
    let Ok(Some(superblock)) = Superblock::read(&device) else { return partition.bytes() };
    let wanted = partition.bytes().checked_div(superblock.block_size).unwrap_or(0);
    // A last group too small for its own tables is left out, so a little less is as large as it gets.
    if wanted.saturating_sub(superblock.blocks).saturating_mul(superblock.block_size) < WORTH_GROWING {
        return superblock.bytes();
    }
    match ext4::grow(Path::new(DATA), wanted) {
        Ok(()) => partition.bytes(),
        Err(error) => {
            boot.warn("data", &format!("the file system on {} cannot grow: {error}", device.display()));
            superblock.bytes()
        }
    }
}

/// The stage `memory data`: a node without its data runs its pods all the same, and says so.
pub(super) fn mount_tmpfs_where_nothing_is(boot: &Boot) -> Result<String, String> {
    let target = Path::new(DATA);
    if mounts::is_mount_point(target).map_err(|e| e.to_string())? {
        return Ok(String::new());
    }
    let options = c"mode=755,size=50%";
    mount("tmpfs", target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)
        .map_err(|e| format!("cannot mount a tmpfs on {DATA}: {e}"))?;
    let configured = &boot.config().gateway.data_partition;
    if !configured.is_empty() {
        let message = format!(
            "NO DATA PARTITION: {DATA} is in memory, at most half of it; images, volumes and restart counts are lost at the next reboot"
        );
        boot.warn("data", &message);
    }
    Ok(format!("tmpfs on {DATA}"))
}

/// The stage `manifests`: of the manifest directories those that lie on data are made, so that there is a place for a gateway's own.
/// They may hold Secrets.
pub(super) fn make_manifest_directories(boot: &Boot) -> Result<String, String> {
    let config = boot.config();
    let mut made = Vec::new();
    for path in config.static_pod_path.iter().filter(|path| path.starts_with(&config.layout.data)) {
        if path.exists() {
            continue;
        }
        let failed = |error: std::io::Error| format!("cannot make {}: {error}", path.display());
        std::fs::create_dir_all(&config.layout.data).map_err(failed)?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        made.push(path.display().to_string());
    }
    Ok(if made.is_empty() { String::new() } else { format!("made {}", made.join(", ")) })
}

/// The stage `flash`: read-only, whatever is on it. Without it the last good pods run.
pub(super) fn mount_flash(boot: &Boot) -> Result<String, String> {
    let setting = &boot.config().gateway.flash_partition;
    if setting.is_empty() {
        return Ok(String::new());
    }
    let without = "the last good pods run";
    let partition = partition::wait_for(setting, boot.disks.until())
        .ok_or_else(|| format!("there is no partition {setting}; {without}"))?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let mut errors = Vec::new();
    for kind in ["squashfs", "erofs", "ext4"] {
        match mount(partition.device(), FLASH, kind, flags, None) {
            Ok(()) => {
                return Ok(format!(
                    "mounted {FLASH} ({}, {kind}, {})",
                    partition.device().display(),
                    size(partition.bytes())
                ));
            }
            Err(error) => errors.push(format!("as {kind}: {error}")),
        }
    }
    Err(format!("cannot mount {}: {}; {without}", partition.device().display(), errors.join("; ")))
}
