//! Help texts and `docs/cli.md`, from the command table.

use std::fmt::Write as _;

use super::command::{Command, Flag};
use super::commands::COMMANDS;
use super::tabs;

/// What `gatepost --help` prints.
pub(super) fn overview() -> String {
    let mut out = String::from(
        "gatepost runs Kubernetes static pods on a gateway, without Kubernetes.\n\nUsage: gatepost COMMAND [FLAGS] [ARGUMENTS]\n\nCommands:\n",
    );
    let lines: String = COMMANDS.iter().map(|command| format!("  {}\t{}\n", command.name, command.summary)).collect();
    out.push_str(&tabs::align(&lines, tabs::DESCRIPTION));
    out.push_str("\nHelp of a command: gatepost COMMAND --help\n");
    out.push_str("Exit status: 0 done, 1 failed, 2 wrong command line; `exec` has that of what it ran.\n");
    out
}

/// What `gatepost COMMAND --help` prints.
pub(super) fn command(command: &Command) -> String {
    let mut out = format!("{}.\n\nUsage: {}\n", command.summary, command.usage());
    if !command.about.is_empty() {
        write!(out, "\n{}\n", command.about).ok();
    }
    out.push_str("\nFlags:\n");
    let lines: String = command.all_flags().map(|flag| format!("  {}\t{}\n", names(flag), flag.help)).collect();
    out.push_str(&tabs::align(&lines, tabs::DESCRIPTION));
    if !command.examples.is_empty() {
        out.push_str("\nExamples:\n");
        let lines: String = command.examples.iter().map(|(line, what)| format!("  {line}\t# {what}\n")).collect();
        out.push_str(&tabs::align(&lines, tabs::DESCRIPTION));
    }
    out
}

/// `-o, --output FORMAT`.
fn names(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{short}--{}{value}", flag.long)
}

/// The text of `docs/cli.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Command line\n\nMade from the command table in `src/cli/commands.rs`; a test keeps it equal (`gatepost help COMMAND` shows the same).\n\n\
         Exit status: 0 done, 1 failed, 2 wrong command line; `exec` has that of what it ran.\nWarnings go to standard error and change no exit status. `NO_COLOR` turns colours off; \
         they are only used on a live table on a terminal.\n",
    );
    for command in COMMANDS {
        write!(out, "\n## {}\n\n{}.\n\n```\n{}\n```\n", command.name, command.summary, command.usage()).ok();
        if !command.about.is_empty() {
            write!(out, "\n{}\n", command.about).ok();
        }
        out.push_str("\n| Flag | |\n| --- | --- |\n");
        for flag in command.all_flags() {
            writeln!(out, "| `{}` | {} |", names(flag).trim_start(), flag.help.replace('|', "\\|")).ok();
        }
        if !command.examples.is_empty() {
            out.push('\n');
        }
        for (line, what) in command.examples {
            writeln!(out, "* `{line}`: {what}").ok();
        }
    }
    out
}
