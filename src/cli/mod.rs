//! Every command a person types, and the way into the internal roles.
//!
//! [`main`] reads the first argument. A role runs at once; a command is parsed by the table in `commands`, from which help, completions and
//! `docs/cli.md` come too. What is printed about pods is computed here from v1 objects, as kubectl does.

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
mod invocation;
mod last_boot;
mod logs;
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
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::printer::{age, columns, tabs, view};
use failure::{Failure, Outcome};
use invocation::Wanted;

pub use help::reference;

/// Entry of the binary.
pub fn main() -> ExitCode {
    if let Some(main) = roles::of_name() {
        return main();
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let role = arguments.first().and_then(|first| roles::ROLES.iter().find(|(name, _)| first == name));
    stderr_log::install(role.map(|(name, _)| *name));
    if let Some(role) = role {
        // Started by descriptor or by /proc/self/exe: without this, `ps` and `top` would show a number, or `exe`.
        let _ = rustix::thread::set_name(c"gatepost");
        return role.1();
    }
    match command(&arguments) {
        Ok(status) => status,
        Err(failure) => {
            if !matches!(failure, Failure::BrokenPipe) {
                output::note(&format!("error: {failure}"));
            }
            failure.exit_code()
        }
    }
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
