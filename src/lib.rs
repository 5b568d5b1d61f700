//! gatepost: init and supervisor for gateways that run Kubernetes static pods without Kubernetes.
//!
//! One binary, several roles (`docs/design.md`, section 2). Each module is one room; which may use which is decided in
//! the design's module map and kept by `tests/module_arrows.rs`.

pub mod boot;
pub mod cli;
pub mod config;
pub mod console;
pub mod control;
pub mod document;
pub mod image;
pub mod init;
pub mod json;
pub mod log;
pub mod manifest;
pub mod network;
pub mod oci;
pub mod pod;
pub mod policy;
mod printer;
pub mod probe;
pub mod runtime;
pub mod sorted;
pub mod spec;
pub mod state;
pub mod supervisor;
pub mod sys;
pub mod trust;
pub mod volume;
pub mod wire;
