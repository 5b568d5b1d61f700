//! `gatepost version`: this binary, and the one that is running.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::failure::Outcome;
use super::invocation::Invocation;
use super::{output, session};

/// Version of this binary.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `gatepost version`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let mut out = format!("gatepost {VERSION}\n");
    if let Ok(info) = session::info(invocation) {
        writeln!(
            out,
            "running: {} on node {:?} since {}, supervisor pid {}",
            info.version, info.node, info.started_at, info.pid
        )
        .ok();
        writeln!(out, "runtime: {} (state in {})", info.runtime, info.runtime_root.display()).ok();
    } else {
        out.push_str("running: not reachable\n");
    }
    output::print(&out)?;
    Ok(ExitCode::SUCCESS)
}
