//! How much an emptyDir on disk takes: [`measure`].

use crate::sorted::BTreeSet;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::empty_dir::Medium;
use crate::manifest::Quantity;
use crate::manifest::v1::Volume;
use crate::sys::quota;
use crate::sys::walk::walk;

/// Files with several names that are told apart; those beyond count once for each name.
const LINKED: usize = 100_000;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The file system bounds it itself, and counts this many bytes.
    Bounded(u64),
    /// It takes this many bytes.
    Bytes(u64),
    /// Nested too deep to be measured.
    TooDeep,
}

/// The sizeLimit of an emptyDir in bytes, if it has one.
pub fn size_limit(volume: &Volume) -> Option<u64> {
    let text = volume.empty_dir.as_ref()?.size_limit.as_deref()?;
    u64::try_from(Quantity::parse(text).ok()?.whole()).ok().filter(|bytes| *bytes > 0)
}

/// Whether somebody has to look whether the volume keeps its limit: that of a tmpfs is kept by the kernel.
pub fn is_measured(volume: &Volume) -> bool {
    volume.empty_dir.is_some() && Medium::of(volume) == Medium::Disk && size_limit(volume).is_some()
}

/// Takes the limits of a pod's volumes out of the file system's books, before they are removed.
pub fn forget_limits(pod_data: &Path) {
    for volume in std::fs::read_dir(pod_data.join("volumes")).into_iter().flatten().flatten() {
        let forgotten = std::fs::File::open(volume.path()).and_then(|directory| quota::forget(&directory));
        if let Err(error) = forgotten {
            log::debug!("the limit of {} stays: {error}", volume.path().display());
        }
    }
}

/// Measures the tree at `top`: disk space as `du` counts it, each file once.
pub fn measure(top: &Path) -> io::Result<Usage> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(top, flags, Mode::empty())?;
    if let Some(bytes) = quota::used(&top) {
        return Ok(Usage::Bounded(bytes));
    }
    let mut linked = BTreeSet::new();
    let mut bytes = 0_u64;
    let complete = walk(top, |entry| {
        let stat = &entry.stat;
        let again = entry.kind() != FileType::Directory
            && stat.st_nlink > 1
            && linked.len() < LINKED
            && !linked.insert((stat.st_dev, stat.st_ino));
        if !again {
            // In units of 512 bytes (stat(2)).
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            bytes = bytes.saturating_add(blocks.saturating_mul(512));
        }
        Ok(())
    })?;
    Ok(if complete { Usage::Bytes(bytes) } else { Usage::TooDeep })
}
