//! [`mount_file`]: a file with a file system in it, mounted read-only by a loop device. The device goes with its last mount, and all
//! mounts of one file share one, so that they share what of it is cached.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::mount::MountFlags;

/// linux/loop.h
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// How often another process may take the device that was free a moment ago.
const TRIES: u32 = 64;

/// `struct loop_info64`
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`
#[repr(C)]
struct Config {
    descriptor: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const NOTHING: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// Mounts the file system of this kind in `file` on `target`: read-only, without devices and set-user-id bits of its own. Needs Linux
/// 5.8; `NotFound` for what is not the file itself means that the kernel has no loop devices.
pub fn mount_file(file: &Path, kind: &str, target: &Path) -> io::Result<()> {
    // Others that mount the same file wait, and then find the device. Another descriptor than the device's, which would keep the lock.
    let lock = File::open(file)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    // Held until it is mounted: a device goes with whoever has it open last.
    let (_device, path) = match present(&lock)? {
        Some(found) => found,
        None => attach(&File::open(file)?)?,
    };
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    Ok(rustix::mount::mount(&path, target, kind, flags, None::<&CStr>)?)
}

/// The device that shows this file already.
fn present(file: &File) -> io::Result<Option<(File, PathBuf)>> {
    let wanted = file.metadata()?;
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if !entry.path().join("loop/backing_file").exists() {
            continue;
        }
        let path = Path::new("/dev").join(entry.file_name());
        let Ok(device) = File::open(&path) else { continue };
        let mut info = NOTHING;
        // SAFETY: the kernel fills the structure, which outlives the call.
        let known = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) } == 0;
        let whole =
            info.offset == 0 && info.size_limit == 0 && info.flags & (READ_ONLY | AUTOCLEAR) == READ_ONLY | AUTOCLEAR;
        if known && whole && (info.device, info.inode) == (wanted.dev(), wanted.ino()) {
            return Ok(Some((device, path)));
        }
    }
    Ok(None)
}

/// A new device for this file.
fn attach(file: &File) -> io::Result<(File, PathBuf)> {
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    let descriptor = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let info = Info { flags: READ_ONLY | AUTOCLEAR, ..NOTHING };
    let config = Config { descriptor, block_size: 0, info, reserved: [0; 8] };
    for _ in 0..TRIES {
        // SAFETY: the call takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path)?;
        // SAFETY: the kernel reads the structure, which outlives the call, as does the file that it names.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } == 0 {
            return Ok((device, path));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy))
}
