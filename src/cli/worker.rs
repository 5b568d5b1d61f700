//! [`worker`]: the roles and commands of the binary `gatepost-worker`, which reads what others wrote: manifests and images.
//!
//! On a gateway they are not in `gatepost`, whose every byte is locked in memory for as long as it runs. Elsewhere (the feature `complete`)
//! `gatepost` does the same by itself, and is the only binary that is needed.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command as Process, ExitCode};

use super::command::{Action, Command};
use super::commands::{APPLY, DELETE, ROLLBACK, VALIDATE};
use super::failure::{Failure, Outcome};
use super::image_commands::{IMAGE_DF, IMAGE_IMPORT, IMAGE_LS, IMAGE_PRUNE, IMAGE_RM, IMAGE_SAVE, IMAGE_VERIFY};
use super::invocation::{self, Invocation, Wanted};
use super::roles::Role;
use super::{apply, ended, image, image_upkeep, output, session, stderr_log, validate, version};
#[cfg(feature = "complete")]
use crate::config::OWN_BINARY;
use crate::config::{Config, WORKER_REMEDY};
use crate::manifest::{source, watch};
use crate::sys::helper::{Helper, PASSED};
use crate::sys::{confine, inherited};

/// As in `roles`.
pub(super) const ROLES: &[Role] = &[
    ("read-manifests", read_manifests),
    ("image-worker", crate::image::worker::main),
    ("sealed-state", crate::state::sealed::main),
];

/// Commands that read manifests or images, and what does them.
static COMMANDS: &[(Command, Action)] = &[
    (VALIDATE, validate::run),
    (APPLY, apply::apply),
    (ROLLBACK, apply::rollback),
    (DELETE, apply::delete),
    (IMAGE_LS, image::ls),
    (IMAGE_IMPORT, image::import),
    (IMAGE_SAVE, image_upkeep::save),
    (IMAGE_RM, image::rm),
    (IMAGE_PRUNE, image_upkeep::prune),
    (IMAGE_DF, image_upkeep::df),
    (IMAGE_VERIFY, image_upkeep::verify),
];

/// Entry of the binary `gatepost-worker`.
pub fn worker() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some((first, words)) = arguments.split_first() else { return refused() };
    if let Some((name, main)) = ROLES.iter().find(|(name, _)| first == name) {
        stderr_log::install(Some(name));
        return main();
    }
    let Some((command, action)) = COMMANDS.iter().find(|(command, _)| first == command.name) else { return refused() };
    stderr_log::install(None);
    let Some((own, words)) = words.split_first() else { return refused() };
    if own != version::VERSION {
        return ended(Err(Failure::failed(format!(
            "gatepost-worker is of version {}, and gatepost of {}; install both of one release",
            version::VERSION,
            own.display()
        ))));
    }
    match invocation::parse_flags(command, words) {
        Ok(Wanted::Run(invocation)) => ended(action(&invocation)),
        Ok(_) => refused(),
        Err(failure) => ended(Err(failure)),
    }
}

/// Does a command as `gatepost-worker`: its name, the version of `gatepost`, and what was typed.
pub(super) fn hand_over(invocation: &Invocation) -> Outcome {
    let program = program(invocation);
    #[cfg(feature = "complete")]
    if program.as_os_str() == OWN_BINARY {
        let done = COMMANDS.iter().find(|(command, _)| command.name == invocation.command.name);
        return done.map_or_else(|| Ok(refused()), |(_, action)| action(invocation));
    }
    let mut worker = Process::new(&program);
    worker.arg0("gatepost-worker").args([invocation.command.name, version::VERSION]).args(invocation.arguments());
    let error = worker.exec();
    Err(Failure::failed(format!("cannot start {}: {error}; {WORKER_REMEDY}", program.display())))
}

/// Where the binary is: this one if it does the same, else beside it, else where the running gatepost has it.
pub(super) fn program(invocation: &Invocation) -> PathBuf {
    let program = Config::default().worker_program();
    if program.exists() {
        return program;
    }
    let told = session::info(invocation).map(|info| info.worker).unwrap_or_default();
    if told.as_os_str().is_empty() { program } else { told }
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
