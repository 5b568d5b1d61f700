//! Project quotas: bytes that a directory and all below it may take, counted and enforced by the file system: [`limit`].
//!
//! Works where the file system was mounted with `prjquota` (ext4 with the features `quota` and `project`, XFS) and the kernel
//! has quotactl_fd(2) (Linux 5.14).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

const GET_ATTRIBUTES: Opcode = opcode::read::<Attributes>(b'X', 31);
const SET_ATTRIBUTES: Opcode = opcode::write::<Attributes>(b'X', 32);
/// What is made in the directory belongs to its project (linux/fs.h).
const INHERIT: u32 = 0x200;
/// linux/quota.h.
const PRJQUOTA: u32 = 2;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_GETQUOTA: u32 = 0x80_0007;
const QIF_BLIMITS: u32 = 1;
/// Unit of limits in bytes.
const BLOCK: u64 = 1024;
/// linux/dqblk_xfs.h: `XQM_CMD(5)`, and its flag that project limits are enforced.
const Q_XGETQSTAT: u32 = ((b'X' as u32) << 8) + 5;
const PROJECT_LIMITS_ENFORCED: u16 = 1 << 5;

/// Bounds what `directory` may hold to `bytes`, under the number `project`, which no other directory of the file system has.
/// False when the file system enforces no project quotas.
pub fn limit(directory: impl AsFd, project: u32, bytes: u64) -> io::Result<bool> {
    let directory = directory.as_fd();
    if !enforced(directory) {
        return Ok(false);
    }
    let mut attributes = get(directory)?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    set(directory, attributes)?;
    set_limit(directory, project, bytes.div_ceil(BLOCK))?;
    Ok(true)
}

/// Forgets the limit of a directory that is about to be removed, if it has one.
pub fn forget(directory: impl AsFd) -> io::Result<()> {
    let directory = directory.as_fd();
    match get(directory) {
        Ok(attributes) if attributes.project != 0 && enforced(directory) => set_limit(directory, attributes.project, 0),
        _ => Ok(()),
    }
}

/// Bytes that a directory with a project of its own takes; `None` where nobody counts, or nobody enforces.
pub fn used(directory: impl AsFd) -> Option<u64> {
    let directory = directory.as_fd();
    let project = get(directory).ok()?.project;
    let mut quota = no_quota();
    (project != 0 && enforced(directory)).then_some(())?;
    control(directory, Q_GETQUOTA, PRJQUOTA, project, &raw mut quota).ok()?;
    Some(quota.dqb_curspace)
}

fn enforced(directory: BorrowedFd<'_>) -> bool {
    // `struct fs_quota_stat`: a version byte, and flags from byte 2 on; 80 bytes in all.
    let mut state = [0_u16; 128];
    control(directory, Q_XGETQSTAT, PRJQUOTA, 0, state.as_mut_ptr()).is_ok()
        && state.get(1).is_some_and(|flags| flags & PROJECT_LIMITS_ENFORCED != 0)
}

fn set_limit(directory: BorrowedFd<'_>, project: u32, blocks: u64) -> io::Result<()> {
    let mut quota = no_quota();
    quota.dqb_bhardlimit = blocks;
    quota.dqb_valid = QIF_BLIMITS;
    control(directory, Q_SETQUOTA, PRJQUOTA, project, &raw mut quota)
}

fn no_quota() -> libc::dqblk {
    // SAFETY: dqblk is plain data for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

/// quotactl_fd(2). `data` points to what the command reads or fills.
fn control<T>(directory: BorrowedFd<'_>, command: u32, kind: u32, id: u32, data: *mut T) -> io::Result<()> {
    // SAFETY: each caller gives a pointer to memory that outlives the call and is as large as its command takes.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, directory.as_raw_fd(), (command << 8) | kind, id, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn get(directory: BorrowedFd<'_>) -> io::Result<Attributes> {
    // SAFETY: FS_IOC_FSGETXATTR fills this structure.
    Ok(unsafe { ioctl(directory, Getter::<GET_ATTRIBUTES, Attributes>::new()) }?)
}

fn set(directory: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    // SAFETY: FS_IOC_FSSETXATTR reads this structure.
    Ok(unsafe { ioctl(directory, Setter::<SET_ATTRIBUTES, Attributes>::new(attributes)) }?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_system_without_project_quotas_bounds_nothing() {
        // A tmpfs has none of them, whatever the kernel.
        let directory = std::fs::File::open("/dev/shm").unwrap();
        assert!(!limit(&directory, 1 << 31, 4096).unwrap());
        assert_eq!(used(&directory), None);
        forget(&directory).unwrap();
    }
}
