//! [`TABLE`]: what PID 1 mounts, and [`mount`], one row of it. What is mounted already stays as it is; what cannot be mounted is
//! told, and the boot goes on without it.

use std::ffi::CStr;

use rustix::fs::{AtFlags, CWD, Mode, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::say;

/// One file system of the kernel's.
pub(super) struct Mount {
    target: &'static CStr,
    kind: &'static CStr,
    flags: MountFlags,
    /// Options of the file system. Sizes are caps; all pods together leave them free (`runtime::node::pods_memory`).
    data: &'static CStr,
    /// A kernel without it has no such directory, and boots as well.
    optional: bool,
}

const NOSUID: MountFlags = MountFlags::NOSUID;
const NO_PROGRAMS: MountFlags = NOSUID.union(MountFlags::NOEXEC);
const NO_DEVICES: MountFlags = NOSUID.union(MountFlags::NODEV);
const NOTHING: MountFlags = NO_PROGRAMS.union(MountFlags::NODEV);

/// `/dev` is the first, since the watchdog is opened right after it.
pub(super) const DEV: Mount = row(c"/dev", c"devtmpfs", NO_PROGRAMS, c"mode=0755");

/// The others, in their order.
pub(super) const TABLE: &[Mount] = &[
    row(c"/proc", c"proc", NOTHING, c""),
    row(c"/sys", c"sysfs", NOTHING, c""),
    row(c"/dev/pts", c"devpts", NO_PROGRAMS, c"gid=5,mode=0620,ptmxmode=0666"),
    row(c"/dev/shm", c"tmpfs", NOTHING, c"mode=1777,size=2%,nr_inodes=4k"),
    row(c"/run", c"tmpfs", NO_DEVICES, c"mode=0755,size=5%,nr_inodes=16k"),
    row(c"/tmp", c"tmpfs", NO_DEVICES, c"mode=1777,size=5%,nr_inodes=16k"),
    // The bound of all container logs is the configuration's; this one holds when they are not gatepost's.
    row(c"/var/log", c"tmpfs", NOTHING, c"mode=0755,size=10%,nr_inodes=16k"),
    // Without it each helper waits 10 to 30 ms for its way into a cgroup; before Linux 6.0 there is no choice.
    row(c"/sys/fs/cgroup", c"cgroup2", NOTHING, c"favordynmods"),
    optional(c"/sys/fs/pstore", c"pstore", NOTHING, c""),
    optional(c"/sys/fs/bpf", c"bpf", NOTHING, c"mode=0700"),
];

const fn row(target: &'static CStr, kind: &'static CStr, flags: MountFlags, data: &'static CStr) -> Mount {
    Mount { target, kind, flags, data, optional: false }
}

const fn optional(target: &'static CStr, kind: &'static CStr, flags: MountFlags, data: &'static CStr) -> Mount {
    Mount { target, kind, flags, data, optional: true }
}

/// Mounts it, unless something is mounted there already.
pub(super) fn mount(mount: &Mount) {
    let Mount { target, kind, flags, data, optional } = mount;
    if is_mount_point(target) {
        return;
    }
    // Where its parent is a fresh file system, or the image forgot it.
    let _ = rustix::fs::mkdir(*target, Mode::from_raw_mode(0o755));
    let mut result = rustix::mount::mount(*kind, *target, *kind, *flags, *data);
    if result == Err(Errno::INVAL) && !data.is_empty() {
        // An option that this kernel does not know: none of them is worth going without the mount.
        result = rustix::mount::mount(*kind, *target, *kind, *flags, c"");
    }
    match result {
        Ok(()) => {}
        Err(Errno::NODEV | Errno::NOENT) if *optional => {}
        // The kernel was told to mount it before it started us, and does not tell.
        Err(Errno::BUSY) => {}
        Err(error) => say(format_args!("cannot mount {} ({}): {error}", shown(target), shown(kind))),
    }
}

/// From now on mounts made in the directories of `/` are seen in the mount namespaces copied from this one, as containers with
/// shared volumes expect. The kernel begins with the opposite.
pub(super) fn share_root() {
    if let Err(error) = rustix::mount::mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC) {
        say(format_args!("cannot share the mounts below /: {error}"));
    }
}

fn is_mount_point(path: &CStr) -> bool {
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO) {
        Ok(found) if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        }
        // Before Linux 5.8: a file system of its own.
        Ok(found) => statx(CWD, c"/", AtFlags::empty(), StatxFlags::INO)
            .is_ok_and(|root| (root.stx_dev_major, root.stx_dev_minor) != (found.stx_dev_major, found.stx_dev_minor)),
        Err(_) => false,
    }
}

fn shown(text: &'static CStr) -> &'static str {
    text.to_str().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn all() -> Vec<&'static Mount> {
        std::iter::once(&DEV).chain(TABLE).collect()
    }

    #[test]
    fn a_row_comes_after_the_one_it_is_mounted_in() {
        let targets: Vec<&str> = all().iter().map(|mount| shown(mount.target)).collect();
        for (place, target) in targets.iter().enumerate() {
            let parent = targets.iter().position(|other| target.starts_with(&format!("{other}/")));
            assert!(parent.is_none_or(|parent| parent < place), "{target}");
            assert_eq!(targets.iter().filter(|other| *other == target).count(), 1);
        }
    }

    #[test]
    fn every_tmpfs_has_a_cap_and_no_row_lets_a_program_gain_rights() {
        for mount in all() {
            assert!(mount.flags.contains(MountFlags::NOSUID), "{:?}", mount.target);
            let data = mount.data.to_str().unwrap();
            if mount.kind == c"tmpfs" {
                assert!(data.contains("size=") && data.contains("nr_inodes=") && data.contains("mode="));
            }
            assert_eq!(mount.flags.contains(MountFlags::NODEV), !data.contains("ptmx") && mount.kind != c"devtmpfs");
        }
    }

    #[test]
    fn mount_points_are_known_without_reading_the_mount_table() {
        assert!(is_mount_point(c"/proc"));
        assert!(!is_mount_point(c"/proc/self"));
        assert!(!is_mount_point(c"/nonexistent"));
    }
}
