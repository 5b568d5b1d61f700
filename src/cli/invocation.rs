//! [`Invocation`]: a command line, parsed by the command table.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg;

use super::command::{Command, Flag};
use super::commands::COMMANDS;
use super::failure::{Failure, Outcome};
use crate::config::Layout;

/// A parsed command line.
pub(super) struct Invocation {
    /// The command.
    pub(super) command: &'static Command,
    /// Words that are neither command nor flags.
    pub(super) words: Vec<OsString>,
    /// What follows `--`, where the command keeps it apart.
    pub(super) after: Option<Vec<OsString>>,
    /// Flags as given, by long name, and their values.
    flags: Vec<(&'static str, OsString)>,
}

/// What a command line asks for.
pub(super) enum Wanted {
    /// To run a command.
    Run(Invocation),
    /// The help of a command.
    Help(&'static Command),
    /// The overview: nothing was named, or help in general.
    Overview,
    /// `--version`.
    Version,
}

/// Parses the arguments after the program's name.
pub(super) fn parse(args: &[OsString]) -> Outcome<Wanted> {
    let Some(first) = args.first() else { return Ok(Wanted::Overview) };
    let first = text(first)?;
    match first {
        "-h" | "--help" => return Ok(Wanted::Overview),
        "-V" | "--version" => return Ok(Wanted::Version),
        "help" => {
            let words: Vec<&str> = args.iter().skip(1).map(|word| text(word)).collect::<Outcome<_>>()?;
            if words.is_empty() {
                return Ok(Wanted::Overview);
            }
            return find(&words).map(|(command, _)| Wanted::Help(command));
        }
        _ if first.starts_with('-') => {
            return Err(Failure::unknown(
                "flag",
                first,
                ["--help", "--version"],
                "Flags come after the command; see `gatepost --help`",
            ));
        }
        _ => {}
    }
    let words: Vec<&str> = args.iter().take(2).map(|word| word.to_str().unwrap_or_default()).collect();
    if let ["image", "-h" | "--help"] | ["image"] = *words {
        return Ok(Wanted::Overview);
    }
    let (command, used) = find(&words)?;
    parse_flags(command, args.get(used..).unwrap_or_default())
}

/// The command these words start with, and how many of them it takes.
fn find(words: &[&str]) -> Outcome<(&'static Command, usize)> {
    for count in [2, 1] {
        let name = words.get(..count).unwrap_or_default().join(" ");
        if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
            return Ok((command, count));
        }
    }
    let first = words.first().copied().unwrap_or_default();
    let group = format!("{first} ");
    let is_group = COMMANDS.iter().any(|command| command.name.starts_with(&group));
    let word = if is_group { words.get(..2).unwrap_or(words).join(" ") } else { first.to_owned() };
    let names = COMMANDS.iter().map(|command| command.name);
    Err(Failure::unknown("command", &word, names, "All commands: `gatepost --help`"))
}

pub(super) fn parse_flags(command: &'static Command, args: &[OsString]) -> Outcome<Wanted> {
    let mut invocation = Invocation { command, words: Vec::new(), after: None, flags: Vec::new() };
    let dashes = args.iter().position(|arg| arg == "--");
    let (args, after) = args.split_at(dashes.unwrap_or(args.len()));
    let after = after.split_first().map(|(_, after)| after.to_vec());
    let mut parser = lexopt::Parser::from_args(args.iter().cloned());
    let usage = |message: String| Failure::usage(format!("{message}\nSee `gatepost {} --help`", command.name));
    while let Some(arg) = parser.next().map_err(|error| usage(error.to_string()))? {
        let (flag, shown) = match arg {
            Arg::Value(word) => {
                invocation.words.push(word);
                continue;
            }
            Arg::Long(name) => (command.all_flags().find(|flag| flag.long == name), format!("--{name}")),
            Arg::Short(letter) => (command.all_flags().find(|flag| flag.short == Some(letter)), format!("-{letter}")),
        };
        let Some(flag) = flag else { return Err(unknown_flag(command, &shown)) };
        if flag.long == "help" {
            return Ok(Wanted::Help(command));
        }
        let value = match flag.value {
            Some(name) => parser.value().map_err(|_| usage(format!("{shown} needs a value: {shown} {name}")))?,
            None => OsString::new(),
        };
        invocation.flags.push((flag.long, value));
    }
    // Only a command whose usage line shows `--` keeps what follows it apart.
    if command.args.contains("-- ") {
        invocation.after = after;
    } else {
        invocation.words.extend(after.unwrap_or_default());
    }
    Ok(Wanted::Run(invocation))
}

fn unknown_flag(command: &Command, shown: &str) -> Failure {
    let known: Vec<String> = command.all_flags().map(|flag: &Flag| format!("--{}", flag.long)).collect();
    let help = format!("Its flags: `gatepost {} --help`", command.name);
    Failure::unknown("flag", shown, known.iter().map(String::as_str), &help)
}

fn text(word: &OsStr) -> Outcome<&str> {
    word.to_str().ok_or_else(|| Failure::usage(format!("{}: not valid UTF-8", word.to_string_lossy())))
}

impl Invocation {
    /// Whether the flag was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.flags.iter().any(|(flag, _)| *flag == long)
    }

    /// The flag's value as given; the last one counts.
    pub(super) fn raw(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(flag, _)| *flag == long).map(|(_, value)| value.as_os_str())
    }

    /// The flag's value as text.
    pub(super) fn value(&self, long: &str) -> Outcome<Option<&str>> {
        self.raw(long).map(text).transpose()
    }

    /// All values of a flag that may be repeated.
    pub(super) fn values(&self, long: &str) -> Outcome<Vec<&str>> {
        self.flags.iter().filter(|(flag, _)| *flag == long).map(|(_, value)| text(value)).collect()
    }

    /// The words as text.
    pub(super) fn texts(&self) -> Outcome<Vec<&str>> {
        self.words.iter().map(|word| text(word)).collect()
    }

    /// The command line again, without the command's name.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        for (flag, value) in &self.flags {
            arguments.push(OsString::from(format!("--{flag}")));
            let takes_value = self.command.all_flags().any(|known| known.long == *flag && known.value.is_some());
            arguments.extend(takes_value.then(|| value.clone()));
        }
        arguments.push("--".into());
        arguments.extend(self.words.iter().cloned());
        arguments
    }

    /// A wrong use of this command.
    pub(super) fn misuse(&self, message: &str) -> Failure {
        Failure::usage(format!("{message}\nUsage: {}", self.command.usage()))
    }

    /// The namespace asked for.
    pub(super) fn namespace(&self) -> Outcome<&str> {
        Ok(self.value("namespace")?.unwrap_or("default"))
    }

    /// Where the running gatepost's volatile state lies.
    pub(super) fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        let given = self.raw("run-dir").map(OsStr::to_owned).or_else(|| std::env::var_os("GATEPOST_RUN_DIR"));
        if let Some(run) = given.filter(|run| !run.is_empty()) {
            layout.run = PathBuf::from(run);
        }
        layout
    }

    /// Refuses more words than `most`.
    pub(super) fn at_most(&self, most: usize) -> Outcome<()> {
        match self.words.get(most) {
            Some(extra) => Err(self.misuse(&format!("unexpected argument {:?}", extra.to_string_lossy()))),
            None => Ok(()),
        }
    }
}
