//! Every command a person types, and the way into the internal roles.
//!
//! [`main`] reads the first argument. A role runs at once; a command is parsed by the table in `commands`, from which help, completions and
//! `docs/cli.md` come too. What is printed about pods is computed here from v1 objects, as kubectl does.

mod apply;
mod boot_chart;
mod command;
mod commands;
mod completion;
mod console;
mod describe;
mod events;
mod exec;
mod failure;
mod gateway;
mod get;
mod help;
mod host;
mod image;
mod image_commands;
mod image_upkeep;
mod invocation;
mod last_boot;
mod logs;
mod manifests;
mod node;
mod order;
mod output;
mod prepare;
mod progress;
mod roles;
mod run;
mod selector;
mod services;
mod session;
mod stderr_log;
mod suggest;
mod target;
mod top;
mod validate;
mod version;
mod watch;
mod worker;
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::printer::{age, columns, tabs, view};
use failure::{Failure, Outcome};
use invocation::Wanted;

pub use help::reference;
pub use worker::worker;

/// Roles of `gatepost-worker` that `gatepost` has, too.
#[cfg(feature = "complete")]
const WORKER_ROLES: &[roles::Role] = worker::ROLES;
#[cfg(not(feature = "complete"))]
const WORKER_ROLES: &[roles::Role] = &[];

/// Entry of the binary `gatepost`.
pub fn main() -> ExitCode {
    if let Some(main) = roles::of_name() {
        return main();
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut all = roles::ROLES.iter().chain(WORKER_ROLES);
    let role = arguments.first().and_then(|first| all.find(|(name, _)| first == name));
    stderr_log::install(role.map(|(name, _)| *name));
    if let Some(role) = role {
        // Started by descriptor or by /proc/self/exe: without this, `ps` and `top` would show a number, or `exe`.
        let _ = rustix::thread::set_name(c"gatepost");
        return role.1();
    }
    ended(command(&arguments))
}

/// The exit status of a command, once a failure of it has been told.
fn ended(outcome: Outcome) -> ExitCode {
    outcome.unwrap_or_else(|failure| {
        if !matches!(failure, Failure::BrokenPipe) {
            output::note(&format!("error: {failure}"));
        }
        failure.exit_code()
    })
}

fn command(arguments: &[OsString]) -> Outcome {
    match invocation::parse(arguments)? {
        Wanted::Run(invocation) => (invocation.command.action)(&invocation),
        Wanted::Help(command) => output::print(&help::command(command)).map(|()| ExitCode::SUCCESS),
        Wanted::Version => output::print(&format!("gatepost {}\n", version::VERSION)).map(|()| ExitCode::SUCCESS),
        Wanted::Overview if arguments.is_empty() => {
            Err(Failure::usage(format!("no command given\n\n{}", help::overview())))
        }
        Wanted::Overview => output::print(&help::overview()).map(|()| ExitCode::SUCCESS),
    }
}
