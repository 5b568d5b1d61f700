//! [`Now`]: the two clocks the core is told, moved by hand in tests.

use crate::json::{Deserialize, Serialize};

/// Milliseconds of `CLOCK_BOOTTIME`. Every duration and deadline is in this clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `millis` later; saturates.
    #[must_use]
    pub fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since the Unix epoch. Printed, never compared: it may jump both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wall(pub i64);

/// Both clocks, read once per turn of the event loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// What decisions use.
    pub boot: Instant,
    /// What people read.
    pub wall: Wall,
}
