//! The roles a process of this binary can have besides that of a command: one line each.

use std::path::PathBuf;
use std::process::ExitCode;

/// Internal roles: the first argument names one, and it takes no others. Not commands for people, so no help lists them.
pub(super) const ROLES: &[(&str, fn() -> ExitCode)] = &[
    ("sandbox", crate::runtime::sandbox::main),
    ("launch", crate::runtime::launch::main),
    ("cleanup", crate::runtime::cleanup::main),
    ("image-worker", crate::image::worker::main),
    ("log-writer", crate::log::writer::main),
];

/// What `gatepost run` does once its command line is understood.
pub(super) const RUN: Option<fn(RunOptions) -> ExitCode> = None;

/// The command line of `gatepost run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// The configuration file; the default one when missing.
    pub config: Option<PathBuf>,
    /// Settings that override the file's, in order: key and value.
    pub overrides: Vec<(String, String)>,
    /// Stop all pods when gatepost is told to end.
    pub stop_pods: bool,
}
