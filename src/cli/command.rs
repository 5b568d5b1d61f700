//! [`Command`] and [`Flag`]: how a command is described. From this come parsing, help, completions and `docs/cli.md`.

use super::failure::Outcome;
use super::invocation::Invocation;

/// One command a person types.
pub(super) struct Command {
    /// One or two words.
    pub(super) name: &'static str,
    /// What follows the name in the usage line, flags aside.
    pub(super) args: &'static str,
    /// One line, without a full stop.
    pub(super) summary: &'static str,
    /// More, in paragraphs of lines of at most 100 characters; may be empty.
    pub(super) about: &'static str,
    /// Flags besides [`COMMON`].
    pub(super) flags: &'static [Flag],
    /// Command lines and what they do.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// What the words after the name are, for completion.
    pub(super) words: Words,
    /// Whether it talks to the supervisor, and so takes `--run-dir`.
    pub(super) online: bool,
    /// Does it.
    pub(super) action: Action,
}

/// What does a command.
pub(super) type Action = fn(&Invocation) -> Outcome;

/// A flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Long name without dashes.
    pub(super) long: &'static str,
    /// Short name.
    pub(super) short: Option<char>,
    /// Name of its value, if it takes one.
    pub(super) value: Option<&'static str>,
    /// One line, without a full stop.
    pub(super) help: &'static str,
    /// The values it can have, for completion; empty when they are free.
    pub(super) values: &'static [&'static str],
}

/// What a command's words are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Words {
    /// It takes none, or nothing that could be guessed.
    None,
    /// Files.
    Files,
    /// Pods.
    Pods,
    /// One of these; after `pod` or `pods` follow pods.
    OneOf(&'static [&'static str]),
}

/// `--help`, understood everywhere.
pub(super) const HELP: Flag =
    Flag { long: "help", short: Some('h'), value: None, help: "Show this help and exit", values: &[] };
/// `--run-dir`, understood by the commands that talk to the supervisor.
pub(super) const RUN_DIR: Flag = Flag {
    long: "run-dir",
    short: None,
    value: Some("DIR"),
    help: "Directory of the running gatepost's volatile state (default $GATEPOST_RUN_DIR, else /run/gatepost)",
    values: &[],
};

impl Command {
    /// All flags it takes.
    pub(super) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        let common: &[&'static Flag] = if self.online { &[&RUN_DIR, &HELP] } else { &[&HELP] };
        self.flags.iter().chain(common.iter().copied())
    }

    /// `gatepost get pods|events [NAME…] [flags]`.
    pub(super) fn usage(&self) -> String {
        let mut usage = format!("gatepost {}", self.name);
        if !self.flags.is_empty() {
            usage.push_str(" [FLAGS]");
        }
        if !self.args.is_empty() {
            usage.push(' ');
            usage.push_str(self.args);
        }
        usage
    }
}
