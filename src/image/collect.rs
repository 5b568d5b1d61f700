//! [`plan`]: which images are deleted when their file system is too full. Pure; the rules are kubelet's
//! (`pkg/kubelet/images/image_gc_manager.go`), but that layers count once however many images have them.

use crate::json::{Deserialize, Serialize};
use crate::sorted::{BTreeMap, BTreeSet};

/// When what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// From this use on, in percent.
    pub high: u8,
    /// Until no more than this is used, in percent.
    pub low: u8,
    /// Nothing that is younger, in seconds.
    pub min_age: u64,
}

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free, and not kept for root.
    pub available: u64,
}

/// An image and what it takes.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its manifest.
    pub(super) digest: String,
    /// When it came or was last seen to be used, in seconds since the epoch.
    pub(super) used: i64,
    /// Somebody wants it.
    pub(super) wanted: bool,
    /// Its blobs and layers, by a name of each, and their bytes on the disk.
    pub(super) parts: BTreeMap<String, u64>,
}

/// What is to go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Manifests of the images, the first to go first.
    pub(super) images: Vec<String>,
    /// Bytes that come free.
    pub(super) bytes: u64,
}

impl Space {
    /// Percent used, as kubelet counts.
    pub fn used_percent(&self) -> u64 {
        let free = u128::from(self.available).saturating_mul(100).checked_div(u128::from(self.total));
        free.map_or(0, |free| 100_u64.saturating_sub(u64::try_from(free).unwrap_or(100)))
    }

    /// Bytes that must come free, when the use has reached the upper threshold.
    pub(super) fn to_free(self, bounds: &Bounds) -> Option<u64> {
        // kubelet: an upper threshold of 100 switches it off.
        if bounds.high >= 100 || self.total == 0 || self.used_percent() < u64::from(bounds.high) {
            return None;
        }
        let wanted = u128::from(self.total).saturating_mul(100_u128.saturating_sub(u128::from(bounds.low))) / 100;
        Some(u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(self.available))
    }
}

/// Seconds between two times. One that is yet to come says that the clock was wrong: the age is not known, and counts as old.
pub(super) fn age(then: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(then)).unwrap_or(u64::MAX)
}

/// The images that go until `bytes` are free: what nobody wants, the least recently used first. What another image has as well
/// comes free only with the last of them.
pub(super) fn plan(images: &[Held], bytes: u64, now: i64, min_age: u64) -> Plan {
    let mut users: BTreeMap<&str, usize> = BTreeMap::default();
    for part in images.iter().flat_map(|image| image.parts.keys()) {
        let count = users.entry(part.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    let mut candidates: Vec<&Held> =
        images.iter().filter(|image| !image.wanted && age(image.used, now) >= min_age).collect();
    candidates.sort_by_key(|image| (image.used, &image.digest));
    let mut plan = Plan::default();
    for image in candidates {
        if plan.bytes >= bytes {
            break;
        }
        for (part, size) in &image.parts {
            if let Some(count) = users.get_mut(part.as_str()) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    plan.bytes = plan.bytes.saturating_add(*size);
                }
            }
        }
        plan.images.push(image.digest.clone());
    }
    plan
}

/// Of each image the bytes that no other has, and those that others have, too.
pub(super) fn own_and_shared(images: &[Held]) -> Vec<(u64, u64)> {
    let mut seen: BTreeSet<&str> = BTreeSet::default();
    let mut shared: BTreeSet<&str> = BTreeSet::default();
    for part in images.iter().flat_map(|image| image.parts.keys()) {
        if !seen.insert(part) {
            shared.insert(part);
        }
    }
    let sum = |image: &Held, is_shared: bool| {
        let parts = image.parts.iter().filter(|(part, _)| shared.contains(part.as_str()) == is_shared);
        parts.fold(0_u64, |sum, (_, size)| sum.saturating_add(*size))
    };
    images.iter().map(|image| (sum(image, false), sum(image, true))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const NOW: i64 = 1_000_000;

    /// What it shows, images, bytes to free, who goes, bytes freed.
    type Row = (&'static str, Vec<Held>, u64, &'static [&'static str], u64);

    fn held(digest: &str, used: i64, wanted: bool, parts: &[(&str, u64)]) -> Held {
        let parts = parts.iter().map(|(part, size)| ((*part).to_owned(), *size)).collect();
        Held { digest: digest.to_owned(), used, wanted, parts }
    }

    #[test]
    fn what_goes_is_unwanted_old_and_the_least_recently_used() {
        let one = |digest: &str, used, wanted| held(digest, used, wanted, &[(digest, 10)]);
        let table: [Row; 8] = [
            ("nothing is there", vec![], 10, &[], 0),
            ("the oldest first", vec![one("a", 5, false), one("b", 3, false), one("c", 4, false)], 15, &["b", "c"], 20),
            ("no more than needed", vec![one("a", 1, false), one("b", 2, false)], 10, &["a"], 10),
            ("never what is wanted", vec![one("a", 1, true), one("b", 2, false)], 100, &["b"], 10),
            ("nothing young", vec![one("a", NOW - 119, false), one("b", NOW - 120, false)], 100, &["b"], 10),
            ("the age of what is to come is not known", vec![one("a", NOW + 9, false)], 100, &["a"], 10),
            ("of the same age by name", vec![one("b", 1, false), one("a", 1, false)], 5, &["a"], 10),
            (
                "layers come free with the last image that has them",
                vec![
                    held("a", 1, false, &[("base", 100), ("a", 1)]),
                    held("b", 2, false, &[("base", 100), ("b", 2)]),
                    held("c", 3, true, &[("lib", 50)]),
                    held("d", 0, false, &[("lib", 50), ("d", 4)]),
                ],
                100,
                &["d", "a", "b"],
                107,
            ),
        ];
        for (what, images, bytes, goes, freed) in table {
            let plan = plan(&images, bytes, NOW, 120);
            assert_eq!(
                (plan.images.as_slice(), plan.bytes),
                (goes.iter().map(|d| (*d).to_owned()).collect::<Vec<_>>().as_slice(), freed),
                "{what}"
            );
        }
    }

    #[test]
    fn thresholds_are_counted_as_kubelet_counts_them() {
        let bounds = |high, low| Bounds { high, low, min_age: 0 };
        let space = |available| Space { total: 1000, available };
        for (available, bounds, percent, to_free) in [
            (160, bounds(85, 80), 84, None),
            (150, bounds(85, 80), 85, Some(50)),
            // kubelet cuts the free percentage off.
            (159, bounds(85, 80), 85, Some(41)),
            (0, bounds(85, 80), 100, Some(200)),
            (0, bounds(100, 80), 100, None),
            (500, bounds(50, 0), 50, Some(500)),
        ] {
            assert_eq!((space(available).used_percent(), space(available).to_free(&bounds)), (percent, to_free));
        }
        assert_eq!(Space::default().to_free(&bounds(85, 80)), None);
    }

    #[test]
    fn a_size_is_shared_when_two_images_have_it() {
        let images = [held("a", 0, false, &[("base", 7), ("a", 1)]), held("b", 0, false, &[("base", 7), ("b", 2)])];
        assert_eq!(own_and_shared(&images), [(1, 7), (2, 7)]);
    }
}
