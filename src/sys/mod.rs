//! Thin named wrappers over Linux: the only room with `unsafe`, knowing nothing of pods. PID 1's loop runs in it, so it has no way to
//! panic either.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::arithmetic_side_effects
    )
)]

pub mod beneath;
pub mod cgroup;
pub mod clock;
pub mod clock_change;
pub mod confine;
pub mod entropy;
pub mod epoll;
pub mod ext4;
pub mod fatal;
pub mod held;
pub mod helper;
pub mod host_log;
pub mod id_map;
pub mod inherited;
pub mod keyring;
pub mod loop_device;
pub mod memory;
pub mod mount;
pub mod mount_tree;
pub mod namespace;
pub mod netlink;
pub mod partition;
pub mod pipe;
pub mod process;
pub mod quota;
pub mod reboot;
pub mod replace;
pub mod route;
pub mod sealed;
mod seccomp;
pub mod shared_memory;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod uevent;
pub mod walk;
pub mod watchdog;
