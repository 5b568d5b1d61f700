//! Thin named wrappers over Linux: the only room with `unsafe`, knowing nothing of pods.

pub mod cgroup;
pub mod clock;
pub mod clock_change;
pub mod confine;
pub mod entropy;
pub mod epoll;
pub mod ext4;
pub mod fatal;
pub mod helper;
pub mod inherited;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod partition;
pub mod pipe;
pub mod process;
pub mod reboot;
pub mod replace;
pub mod route;
pub mod sealed;
pub mod shared_memory;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod watchdog;
