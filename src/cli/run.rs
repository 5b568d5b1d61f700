//! `gatepost run`: the command line of the host mode.

use std::path::PathBuf;

use super::failure::Outcome;
use super::host::{self, RunOptions};
use super::invocation::Invocation;

/// `gatepost run`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    Ok(host::run(&options(invocation)?))
}

fn options(invocation: &Invocation) -> Outcome<RunOptions> {
    invocation.at_most(0)?;
    let mut overrides = Vec::new();
    for setting in invocation.values("set")? {
        match setting.split_once('=') {
            Some((key, value)) if !key.is_empty() => overrides.push((key.to_owned(), value.to_owned())),
            _ => return Err(invocation.misuse(&format!("--set {setting:?}: expected key=value"))),
        }
    }
    let config = invocation.raw("config").map(PathBuf::from);
    Ok(RunOptions { config, overrides, stop_pods: invocation.has("stop-pods") })
}
