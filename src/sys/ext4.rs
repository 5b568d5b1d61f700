//! ext4: what the superblock says before anything is mounted ([`Superblock`]), and [`grow`] of a mounted file system.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// `EXT4_IOC_RESIZE_FS` of linux/fs/ext4: `_IOW('f', 16, u64)`; what resize2fs(8) does to a mounted file system.
const RESIZE_FS: libc::Ioctl = 0x4008_6610;

/// Where the superblock begins, and how much of it is read.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;

const MAGIC: u16 = 0xef53;
/// `s_state`: unmounted or kept whole by its journal.
const VALID: u16 = 1;
/// `s_state`: the kernel has met an error.
const ERRORS: u16 = 2;
/// `s_feature_incompat`: block counts have 64 bits.
const INCOMPAT_64BIT: u32 = 0x80;

/// The part of the superblock that matters at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Whether the kernel noted errors, or the file system has no journal and was not unmounted: e2fsck(8) must look at it.
    pub needs_check: bool,
    /// Size of a block in bytes.
    pub block_size: u64,
    /// Size of the file system in blocks.
    pub blocks: u64,
    /// When it was last written, in seconds since 1970.
    pub written: i64,
}

impl Superblock {
    /// Reads it from a device. `None` where there is no ext2, ext3 or ext4.
    pub fn read(device: &Path) -> io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH];
        match File::open(device)?.read_exact_at(&mut bytes, OFFSET) {
            Ok(()) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        if u16_at(0x38)? != MAGIC {
            return None;
        }
        let state = u16_at(0x3a)?;
        let high = if u32_at(0x60)? & INCOMPAT_64BIT == 0 { 0 } else { u64::from(u32_at(0x150)?) };
        Some(Self {
            needs_check: state & VALID == 0 || state & ERRORS != 0,
            block_size: 1024_u64.checked_shl(u32_at(0x18)?).filter(|size| *size <= 65536 && *size > 0)?,
            blocks: (high << 32) | u64::from(u32_at(0x4)?),
            written: i64::from(u32_at(0x30)?),
        })
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }
}

/// Grows the file system mounted at `mounted_at` to so many blocks. It stays usable meanwhile, and a power cut leaves it whole.
pub fn grow(mounted_at: &Path, blocks: u64) -> io::Result<()> {
    let directory = File::open(mounted_at)?;
    // SAFETY: the kernel reads one u64, which outlives the call.
    if unsafe { libc::ioctl(directory.as_raw_fd(), RESIZE_FS, &raw const blocks) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_superblock_made_by_mkfs_is_read() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(16 << 20).unwrap();
        let made = Command::new("/sbin/mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(image.path()).status().unwrap();
        assert!(made.success());
        let superblock = Superblock::read(image.path()).unwrap().unwrap();
        assert_eq!((superblock.block_size, superblock.blocks, superblock.bytes()), (4096, 4096, 16 << 20));
        assert!(!superblock.needs_check);
        assert!(superblock.written > 1_600_000_000);
        image.as_file().write_all_at(&[3, 0], OFFSET + 0x3a).unwrap();
        assert!(Superblock::read(image.path()).unwrap().unwrap().needs_check);
    }

    #[test]
    fn what_is_no_ext4_is_none_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Superblock::read(file.path()).unwrap(), None);
        file.as_file().set_len(4096).unwrap();
        assert_eq!(Superblock::read(file.path()).unwrap(), None);
        assert_eq!(Superblock::parse(&[0xff; LENGTH]), None);
    }
}
