//! The status is valid v1: it is read with the API's own types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

#[test]
fn moments_are_utc_and_cut_to_seconds() {
    assert_eq!(rfc3339(Wall(1_767_323_045_999)), "2026-01-02T03:04:05Z");
    assert_eq!(rfc3339(Wall(-1)), "1969-12-31T23:59:59Z");
    assert_eq!(rfc3339(Wall(i64::MAX)), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339_exact(Wall(1_767_323_045_120)), "2026-01-02T03:04:05.12Z");
}
