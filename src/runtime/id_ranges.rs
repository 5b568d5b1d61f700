//! Which host ids stand for the users of a pod with `hostUsers: false`: [`allocate`], [`of`].
//!
//! kubelet: 65536 ids a pod, beginning at a multiple of 65536 and not at 0, no two pods the same. A pod's range is noted in its
//! directory, and free again with that. What `/etc/subuid` and `/etc/subgid` give to users of the host (rootless containers) is left
//! out.

use std::fs::{self, File};
use std::io;

use rustix::fs::FlockOperation;

use super::failure::{Failure, context};
use super::sandbox::REASON;
use crate::config::Layout;
use crate::sys::id_map::IdRange;
use crate::sys::replace::replace;

/// Ids of a pod.
const SIZE: u32 = 65_536;

/// The range of a pod, if it was given one.
pub(super) fn of(layout: &Layout, uid: &str) -> Option<IdRange> {
    let start = fs::read_to_string(layout.pod_id_range(uid)).ok()?.trim().parse().ok()?;
    Some(IdRange { start, size: SIZE })
}

/// The range of a pod, the lowest free one where it has none yet.
pub(super) fn allocate(layout: &Layout, uid: &str) -> Result<IdRange, Failure> {
    if let Some(range) = of(layout, uid) {
        return Ok(range);
    }
    let lock = layout.id_ranges_lock();
    let held = File::options().create(true).append(true).open(&lock);
    let _held = held
        .and_then(|file| rustix::fs::flock(&file, FlockOperation::LockExclusive).map(|()| file).map_err(Into::into))
        .map_err(context(REASON, "locking", &lock))?;
    let mut taken = taken(layout).map_err(context(REASON, "listing", &layout.pods()))?;
    for file in ["/etc/subuid", "/etc/subgid"] {
        taken.extend(subordinate(&fs::read_to_string(file).unwrap_or_default()));
    }
    let range = lowest(&taken).ok_or_else(|| Failure::new(REASON, "hostUsers: false: all host ids are taken"))?;
    let path = layout.pod_id_range(uid);
    replace(&path, range.start.to_string().as_bytes(), 0o600).map_err(context(REASON, "writing", &path))?;
    Ok(range)
}

/// First ids and numbers of ids of the other pods.
fn taken(layout: &Layout) -> io::Result<Vec<(u64, u64)>> {
    let mut taken = Vec::new();
    for entry in fs::read_dir(layout.pods())? {
        let name = entry?.file_name();
        let range = name.to_str().and_then(|uid| of(layout, uid));
        taken.extend(range.map(|range| (u64::from(range.start), u64::from(range.size))));
    }
    Ok(taken)
}

/// subuid(5): `user:first:count` lines.
fn subordinate(text: &str) -> impl Iterator<Item = (u64, u64)> + '_ {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// The last range would hold the id -1, which means none.
fn lowest(taken: &[(u64, u64)]) -> Option<IdRange> {
    let free = |start: u32| {
        let (from, to) = (u64::from(start), u64::from(start).saturating_add(u64::from(SIZE)));
        !taken.iter().any(|(first, count)| *first < to && first.saturating_add(*count) > from)
    };
    (1..u32::MAX / SIZE)
        .map(|n| n.saturating_mul(SIZE))
        .find(|start| free(*start))
        .map(|start| IdRange { start, size: SIZE })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn ranges_begin_at_multiples_and_go_round_what_others_have() {
        assert_eq!(lowest(&[]).unwrap().start, 65_536);
        assert_eq!(lowest(&[(65_536, 65_536)]).unwrap().start, 131_072);
        // The usual range of the first user of a Debian: two of ours.
        let users: Vec<_> = subordinate("me:100000:65536\nbroken\n:x:y\n").collect();
        assert_eq!(users, [(100_000, 65_536)]);
        assert_eq!(lowest(&users).unwrap().start, 196_608);
        assert!(lowest(&[(0, 1 << 32)]).is_none());
    }

    #[test]
    fn a_pod_keeps_its_range_and_no_two_have_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout { run: dir.path().to_owned(), ..Layout::default() };
        for uid in ["a", "b", "c"] {
            fs::create_dir_all(layout.pod(uid)).unwrap();
        }
        let first = allocate(&layout, "a").unwrap();
        let second = allocate(&layout, "b").unwrap();
        assert_ne!(first, second);
        assert_eq!(allocate(&layout, "a").unwrap(), first);
        fs::remove_dir_all(layout.pod("a")).unwrap();
        assert_eq!(allocate(&layout, "c").unwrap(), first, "a range is free again with its pod");
    }
}
