//! [`resize`]: tells the kernel that a partition in use has another length.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// `BLKPG` of linux/blkpg.h: `_IO(0x12, 105)`.
const BLKPG: libc::Ioctl = 0x1269;
/// `BLKPG_RESIZE_PARTITION`.
const RESIZE: libc::c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Request {
    op: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *const Extent,
}

/// `struct blkpg_partition`. The kernel ignores the names.
#[repr(C)]
struct Extent {
    start: i64,
    length: i64,
    number: libc::c_int,
    names: [[u8; 64]; 2],
}

/// Gives partition `number` of `disk` the length `bytes`. It keeps its `start` (in bytes), which the kernel compares, and may be
/// mounted, as may others of the disk: reading the whole table anew is refused then (BLKRRPART). The table on the disk is not touched.
pub fn resize(disk: &Path, number: u32, start: u64, bytes: u64) -> io::Result<()> {
    let disk = File::open(disk)?;
    let signed = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let number = i32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let extent = Extent { start: signed(start)?, length: signed(bytes)?, number, names: [[0; 64]; 2] };
    let length = i32::try_from(size_of::<Extent>()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let request = Request { op: RESIZE, flags: 0, length, data: &raw const extent };
    // SAFETY: the kernel reads the request and the extent it points to, which outlive the call.
    if unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw const request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
