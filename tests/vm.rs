//! Virtual gateways of both architectures, in QEMU: what only a machine of one's own can show. `make test-vm` builds the images.
//!
//! A boot takes seconds, so tests do several things in one, in an order in which nothing disturbs what follows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "vm/boot.rs"]
mod boot;
#[path = "vm/cgroup2.rs"]
mod cgroup2;
#[path = "vm/devices.rs"]
mod devices;
#[path = "vm/faults.rs"]
mod faults;
#[path = "vm/machine.rs"]
mod machine;
#[path = "vm/signals.rs"]
mod signals;
#[path = "vm/watchdog.rs"]
mod watchdog;
