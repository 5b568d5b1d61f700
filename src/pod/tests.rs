//! The core's rules, one by one, with a clock moved by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod bench;
mod devices;
mod evicting;
mod hooks;
mod lifecycle;
mod probing;
mod restarting;
mod restoring;
mod sidecars;
mod stopping;
mod waiting;
