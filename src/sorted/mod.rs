//! [`BTreeMap`] and [`BTreeSet`]: sorted lists with the methods of std's types of these names.
//!
//! std's trees cost 3 to 6 KB of code for each pair of types, sorted lists some hundred bytes. Looking up takes as long; putting in
//! moves what comes after, so that these are for some thousand entries at most, all of which were let in by a limit. What a
//! stranger may fill without bound takes std's.

mod map;
mod set;

pub use map::{BTreeMap, Entry};
pub use set::BTreeSet;

#[cfg(test)]
mod tests;
