//! Thin named wrappers over Linux: the only room with `unsafe`.

pub mod cgroup;
pub mod confine;
pub mod helper;
pub mod mount;
pub mod namespace;
