//! Containers outlive the supervisor, and gatepost as a whole: supervisors killed, wedged, crashed, replaced; frozen disks; what
//! is left lying about. The real binary, the real runtime, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]
// Seeds and figures.
#![allow(clippy::print_stdout)]

#[path = "survival/confined.rs"]
mod confined;
#[path = "survival/crashes.rs"]
mod crashes;
#[path = "survival/frozen.rs"]
mod frozen;
mod gateway;
#[path = "survival/growth.rs"]
mod growth;
#[path = "survival/handover.rs"]
mod handover;
#[path = "survival/imports.rs"]
mod imports;
#[path = "survival/kills.rs"]
mod kills;
#[path = "survival/log.rs"]
mod log;
#[path = "survival/node.rs"]
mod node;
#[path = "survival/random.rs"]
mod random;
#[path = "survival/reboot.rs"]
mod reboot;
#[path = "survival/secrets.rs"]
mod secrets;
#[path = "survival/stall.rs"]
mod stall;
