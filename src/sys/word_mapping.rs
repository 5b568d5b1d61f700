//! [`WordMapping`]: a shared mapping of a file or memfd, seen as 64-bit atomic words.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A `MAP_SHARED` mapping from offset 0. What is stored in it survives the process and is seen by the other mappers.
#[derive(Debug)]
pub(crate) struct WordMapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

impl WordMapping {
    /// Maps the first `words` 64-bit words of `file` read-write.
    ///
    /// The file must be at least that long and its blocks reserved: touching a page beyond its end, or one that a full
    /// tmpfs cannot provide, is a SIGBUS. A file that is too short is refused.
    pub(crate) fn new(file: impl AsFd, words: usize) -> io::Result<Self> {
        let length = words.checked_mul(8).ok_or(io::ErrorKind::InvalidInput)?;
        let size = rustix::fs::fstat(&file)?.st_size;
        if words == 0 || u64::try_from(size).unwrap_or(0) < length as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "file is shorter than the mapping asked for"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address the kernel picks; nothing else refers to it.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { start, words })
    }

    /// The mapped words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words` 8-byte words long, page aligned, readable and writable, lives as long as self,
        // and is only touched through atomics; every bit pattern is a valid AtomicU64.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for WordMapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range mapped in `new`; no borrow of it can outlive self.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
