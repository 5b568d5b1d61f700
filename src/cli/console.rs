//! `gatepost console`: the serial console, started by init, or by hand on a terminal.

use std::path::PathBuf;

use super::failure::Outcome;
use super::invocation::Invocation;
use crate::console;

/// `gatepost console`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(1)?;
    let _ = rustix::thread::set_name(c"gatepost");
    let named = invocation.words.first().map(PathBuf::from);
    Ok(console::run(named.as_deref(), invocation.layout()))
}
