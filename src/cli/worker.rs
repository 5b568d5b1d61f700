//! [`worker`]: the roles of the binary `gatepost-worker`, which reads what others wrote: manifests and images.
//!
//! They are not in `gatepost`, whose every byte is locked in memory for as long as a gateway runs.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::invocation::Invocation;
use super::roles::Role;
use super::{ended, output, session, stderr_log, validate};
use crate::config::Config;
use crate::manifest::{source, watch};
use crate::sys::helper::{Helper, PASSED};
use crate::sys::{confine, inherited};

/// As in `roles`.
const ROLES: &[Role] = &[("read-manifests", read_manifests), ("image-worker", crate::image::worker::main)];

/// Entry of the binary `gatepost-worker`.
pub fn worker() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some((role, words)) = arguments.split_first() else { return refused() };
    if let Some((name, main)) = ROLES.iter().find(|(name, _)| role == name) {
        stderr_log::install(Some(name));
        return main();
    }
    if role != validate::COMMAND {
        return refused();
    }
    stderr_log::install(None);
    ended(validate::carry_out(words))
}

/// Where the binary is: beside this one, else where the running gatepost has it.
pub(super) fn program(invocation: &Invocation) -> PathBuf {
    let beside = Config::default().worker_program();
    if beside.is_file() {
        return beside;
    }
    let told = session::info(invocation).map(|info| info.worker).unwrap_or_default();
    if told.as_os_str().is_empty() { beside } else { told }
}

fn refused() -> ExitCode {
    output::note("gatepost-worker is started by gatepost itself only");
    ExitCode::from(2)
}

/// Confines itself, watches what it is about to read, so that no change falls between, then reads.
fn read_manifests() -> ExitCode {
    let mut helper = match Helper::start("read-manifests") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let changes = inherited::take(PASSED).ok();
    for warning in confine::reader() {
        log::debug!("read-manifests: {warning}");
    }
    let report = match helper.request::<source::Request>(source::VERSION) {
        Ok(request) => {
            let watched = |changes| watch::watch(changes, &request.directories, &request.watched);
            let watches = changes.as_ref().map(|changes| watched(changes.as_fd())).unwrap_or_default();
            source::Report { watches, ..source::read_manifests(&request) }
        }
        Err(error) => source::Report::refused(error),
    };
    helper.report(&report, report.ok)
}
