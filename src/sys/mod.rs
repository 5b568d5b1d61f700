//! (stub)
pub mod confine;
