//! `gatepost run`: the command line of the host mode.

use std::path::PathBuf;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::roles::{RUN, RunOptions};

/// `gatepost run`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    let options = options(invocation)?;
    match RUN {
        Some(run) => Ok(run(options)),
        None => Err(Failure::failed("this binary was built without the supervisor")),
    }
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
