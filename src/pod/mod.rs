//! The pure core: from desired pods and observed facts to the next actions. No system call, no clock, no descriptor.

pub mod event;
pub mod time;
