//! [`SharedWords`]: memory shared between processes, a memfd or a file below `/run`, seen as 64-bit words.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of whole 64-bit words. Every access is atomic, since another process may write at any time.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is owned by this value alone and consists of atomics only.
unsafe impl Send for SharedWords {}
// SAFETY: as above; shared references allow nothing but atomic operations.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// A new memfd of `words` zero words, close-on-exec, whose size is sealed, and its mapping. Untouched pages cost nothing.
    pub fn create(name: &str, words: usize) -> Result<(OwnedFd, Self)> {
        let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, byte_length(words)?)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let mapping = Self::map(&memory, words)?;
        Ok((memory, mapping))
    }

    /// Opens or makes the file `path` (mode 0600), grows it with zeros to `words` if it is smaller, and maps it.
    pub fn open(path: &Path, words: usize) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        let length = byte_length(words)?;
        if size_of_file(&file)? < length {
            ftruncate(&file, length)?;
        }
        Self::map(&file, words)
    }

    /// Maps the first `words` words of `file`. `EINVAL` when it is shorter, since touching what lies beyond the end is a SIGBUS.
    pub fn map(file: impl AsFd, words: usize) -> Result<Self> {
        let length = byte_length(words)?;
        if words == 0 || size_of_file(&file)? < length {
            return Err(Errno::INVAL);
        }
        let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, words })
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `words` long, lives as long as `self`, and any bits are a valid AtomicU64.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`; nothing borrows from it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words.saturating_mul(size_of::<AtomicU64>())) };
    }
}

fn byte_length(words: usize) -> Result<u64> {
    let bytes = words.checked_mul(size_of::<AtomicU64>()).ok_or(Errno::INVAL)?;
    u64::try_from(bytes).map_err(|_| Errno::INVAL)
}

fn size_of_file(file: impl AsFd) -> Result<u64> {
    u64::try_from(fstat(file)?.st_size).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn two_mappings_of_one_memfd_see_each_other() {
        let (memory, first) = SharedWords::create("test", 16).unwrap();
        let second = SharedWords::map(&memory, 16).unwrap();
        first[15].store(7, Relaxed);
        assert_eq!(second[15].load(Relaxed), 7);
        assert_eq!(SharedWords::map(&memory, 17).unwrap_err(), Errno::INVAL);
        assert!(ftruncate(&memory, 0).is_err());
    }

    #[test]
    fn a_mapped_file_keeps_its_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("words");
        SharedWords::open(&path, 8).unwrap()[3].store(9, Relaxed);
        assert_eq!(SharedWords::open(&path, 512).unwrap()[3].load(Relaxed), 9);
    }
}
