//! Mounts: overlay, bind, tmpfs, detach, and the mount table ([`MountEntry`]).

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// mount(2) takes at most one page of options, the closing NUL included.
const OPTIONS_MAX: usize = 4096;

/// One line of `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Mount id.
    pub id: u64,
    /// Id of the mount it stands on.
    pub parent: u64,
    /// `major:minor` of the file system.
    pub device: String,
    /// Directory of the file system that forms the root of this mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Per-mount options, for example `rw,relatime`.
    pub options: String,
    /// Whether it is in a peer group (`shared:N`).
    pub shared: bool,
    /// Whether it receives from a peer group (`master:N`).
    pub slave: bool,
    /// File system type.
    pub fs_type: String,
    /// Source as given to mount(2).
    pub source: String,
    /// Options of the file system, for example `rw,memory`.
    pub super_options: String,
}

/// The mount table of this process.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    Ok(parse_mountinfo(&std::fs::read("/proc/thread-self/mountinfo")?))
}

/// Whether what lies there is still there after a reboot. Nothing is looked up: `path` may not be there yet.
pub fn is_on_disk(path: &Path) -> bool {
    lies_on_disk(&mounts().unwrap_or_default(), path)
}

fn lies_on_disk(mounts: &[MountEntry], path: &Path) -> bool {
    let below = mounts.iter().filter(|mount| path.starts_with(&mount.target));
    // Of several on one directory the last one shows.
    below.max_by_key(|mount| mount.target.as_os_str().len()).is_some_and(|mount| mount.fs_type != "tmpfs")
}

/// Parses the text of a mountinfo file; lines that do not parse are left out.
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = text(fields.next()?);
    let root = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    let options = text(fields.next()?);
    let (mut shared, mut slave) = (false, false);
    loop {
        match fields.next()? {
            b"-" => break,
            optional => {
                shared |= optional.starts_with(b"shared:");
                slave |= optional.starts_with(b"master:");
            }
        }
    }
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    let super_options = text(fields.next().unwrap_or_default());
    Some(MountEntry { id, parent, device, root, target, options, shared, slave, fs_type, source, super_options })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        if let Some(digits) = octal {
            out.push(
                digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))),
            );
            rest = tail.get(3..).unwrap_or_default();
        } else {
            out.push(first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Whether something is mounted exactly at `path`.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let root = StatxAttributes::MOUNT_ROOT;
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty()) {
        Ok(found) if found.stx_attributes_mask.contains(root) => return Ok(found.stx_attributes.contains(root)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(false),
        // Before Linux 5.8 the table has to be read, which takes the longer the more pods there are.
        Ok(_) | Err(_) => {}
    }
    Ok(mounts()?.iter().any(|mount| mount.target == path))
}

/// A read-write overlay at `target`.
///
/// `lower` is topmost first, at least one. mount(2) takes one page of options, so the names are shortened: where all lower
/// directories lie below `base`, the working directory of the process is `base` during the call and is `/` afterwards.
/// 127 layers fit when their names below `base` have at most 28 bytes.
pub fn overlay(base: &Path, lower: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> io::Result<()> {
    let options = overlay_options(base, lower, Some((upper, work)))?;
    mount_overlay(base, target, MountFlags::empty(), &options)
}

fn mount_overlay(base: &Path, target: &Path, flags: MountFlags, options: &CStr) -> io::Result<()> {
    std::env::set_current_dir(base)?;
    let mounted = rustix::mount::mount("overlay", target, "overlay", flags, options);
    std::env::set_current_dir("/")?;
    Ok(mounted?)
}

/// `writable`: upper and work directory.
fn overlay_options(base: &Path, lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> io::Result<CString> {
    let mut options = b"lowerdir=".to_vec();
    for (index, layer) in lower.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        escape_into(&mut options, layer.strip_prefix(base).unwrap_or(layer), b":,\\");
    }
    let writable = writable.map(|(upper, work)| [(",upperdir=", upper), (",workdir=", work)]);
    for (key, path) in writable.into_iter().flatten() {
        options.extend_from_slice(key.as_bytes());
        escape_into(&mut options, path, b",\\");
    }
    if options.len() >= OPTIONS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::ArgumentListTooLong,
            format!(
                "{} layers make {} bytes of mount options, the kernel takes {OPTIONS_MAX}",
                lower.len(),
                options.len()
            ),
        ));
    }
    CString::new(options).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "NUL in a path"))
}

fn escape_into(options: &mut Vec<u8>, path: &Path, special: &[u8]) {
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            options.push(b'\\');
        }
        options.push(*byte);
    }
}

/// A tmpfs at `target` (nosuid, nodev, noexec unless `exec`) with at most `size` bytes where given.
pub fn tmpfs(target: &Path, size: Option<u64>, mode: u32, exec: bool) -> io::Result<()> {
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size {
        let _ = write!(options, ",size={size}");
    }
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    if !exec {
        flags |= MountFlags::NOEXEC;
    }
    mount_tmpfs(target, flags, &options)
}

/// As [`tmpfs`], and never swapped out where the kernel has that (Linux 6.4); programs in it may be run.
pub fn tmpfs_unswapped(target: &Path, size: Option<u64>, mode: u32) -> io::Result<()> {
    let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    match mount_tmpfs(target, flags, &format!("mode={mode:o}{size},noswap")) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            mount_tmpfs(target, flags, &format!("mode={mode:o}{size}"))
        }
        done => done,
    }
}

/// A hugetlbfs at `target` with pages of this size, written as in resource names: `2Mi`.
pub fn hugetlbfs(target: &Path, page_size: &str) -> io::Result<()> {
    let options = format!("pagesize={}", page_size.trim_end_matches('i'));
    let options = CString::new(options).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount("nodev", target, "hugetlbfs", flags, options.as_c_str())?)
}

/// An overlay of layers only, read-only, at `target`; `lower` and `base` as for [`overlay`]. Of a single layer the kernel makes no
/// overlay, so `empty` is put below it: an empty directory.
pub fn overlay_read_only(base: &Path, lower: &[PathBuf], empty: &Path, target: &Path) -> io::Result<()> {
    let mut lower = lower.to_vec();
    lower.push(empty.to_owned());
    let options = overlay_options(base, &lower, None)?;
    mount_overlay(base, target, MountFlags::RDONLY, &options)
}

/// A tmpfs for a container's writable layer: programs, set-user-id bits and device nodes work in it as in the image.
pub fn tmpfs_for_layer(target: &Path, size: u64) -> io::Result<()> {
    mount_tmpfs(target, MountFlags::empty(), &format!("mode=700,size={size}"))
}

fn mount_tmpfs(target: &Path, flags: MountFlags, options: &str) -> io::Result<()> {
    let options = CString::new(options).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::mount::mount("tmpfs", target, "tmpfs", flags, options.as_c_str())?)
}

/// Bind-mounts `source` on `target`.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind(source, target)?)
}

/// Stops propagation from and to `target` and all below it.
pub fn make_private(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_change(target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Detaches the mount at `path` without following a link; nothing mounted there is no error.
pub fn detach(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Detaches every mount at or below `path`, the newest first, and says how many there were.
pub fn detach_below(path: &Path) -> io::Result<usize> {
    let mut count = 0_usize;
    for mount in mounts()?.iter().rev().filter(|mount| mount.target.starts_with(path)) {
        detach(&mount.target)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// Whether `path` is relative and made of plain names only: no `..`, no `.`, no root, not empty.
pub fn is_plain_relative(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_mountinfo_line_with_escapes_and_peers_parses() {
        let text =
            b"36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\nbroken\n";
        let entries = parse_mountinfo(text);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].target, Path::new("/mnt/a b"));
        assert_eq!((entries[0].id, entries[0].parent, entries[0].shared), (36, 35, true));
        assert_eq!(entries[0].fs_type, "ext3");
        assert_eq!(entries[0].super_options, "rw,errors=continue");
    }

    #[test]
    fn layers_are_named_relative_to_their_base_and_escaped() {
        let lower = [PathBuf::from("/d/layers/l/a:b"), PathBuf::from("/elsewhere")];
        let options =
            overlay_options(Path::new("/d/layers"), &lower, Some((Path::new("/u,1"), Path::new("/w")))).unwrap();
        assert_eq!(options.to_str().unwrap(), r"lowerdir=l/a\:b:/elsewhere,upperdir=/u\,1,workdir=/w");
    }

    #[test]
    fn a_hundred_and_twenty_seven_short_names_fit_and_long_ones_are_refused() {
        let names = |length: usize| -> Vec<PathBuf> {
            (0..127).map(|n| PathBuf::from(format!("/d/l/{n:0>length$}"))).collect()
        };
        let data = Path::new("/var/lib/gatepost/containers/container-12345678-1234567890/upper");
        assert!(overlay_options(Path::new("/d"), &names(26), Some((data, data))).is_ok());
        assert!(overlay_options(Path::new("/d"), &names(64), Some((data, data))).is_err());
    }
}
