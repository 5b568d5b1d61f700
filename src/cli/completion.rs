//! `gatepost completion`: scripts for the shells, from the command table. Pod names are asked of the running gatepost.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::command::{Command, Flag, Words};
use super::commands::COMMANDS;
use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output;

/// The shells.
pub(super) const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// How the scripts list pods.
const LIST_PODS: &str = "gatepost get pods -o name 2>/dev/null | sed s,^pod/,,";

/// `gatepost completion`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(1)?;
    let script = match *invocation.texts()? {
        ["bash"] => bash("_gatepost"),
        ["zsh"] => zsh(),
        ["fish"] => fish(),
        [] => return Err(invocation.misuse("name a shell: bash, zsh or fish")),
        [other, ..] => return Err(Failure::unknown("shell", other, SHELLS.iter().copied(), "Shells: bash, zsh, fish")),
    };
    output::print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// First words of all commands, each once.
fn first_words() -> Vec<&'static str> {
    let mut words: Vec<&str> = COMMANDS.iter().filter_map(|command| command.name.split(' ').next()).collect();
    words.dedup();
    words.push("help");
    words
}

/// Second words of the commands that start with this word.
fn second_words(first: &str) -> Vec<&'static str> {
    let of =
        |command: &Command| command.name.split_once(' ').filter(|(word, _)| *word == first).map(|(_, second)| second);
    COMMANDS.iter().filter_map(of).collect()
}

fn flag_words(command: &Command) -> String {
    let words = command.all_flags().flat_map(|flag| {
        let short = flag.short.map(|letter| format!("-{letter}"));
        std::iter::once(format!("--{}", flag.long)).chain(short)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The bash script in zsh's bash mode. Loaded from `fpath` it is the body of `_gatepost` the first time that is called, which then has to
/// answer as well.
fn zsh() -> String {
    format!(
        "#compdef gatepost\nautoload -U +X bashcompinit && bashcompinit\n{}\
         if [[ $funcstack[1] == _gatepost ]]; then _bash_complete -F _gatepost_words; fi\n",
        bash("_gatepost_words")
    )
}

fn bash(function: &str) -> String {
    let mut out = format!(
        "{function}() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}}\n    COMPREPLY=()\n",
    );
    writeln!(
        out,
        "    if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi",
        first_words().join(" ")
    )
    .ok();
    let mut groups: Vec<&str> =
        COMMANDS.iter().filter_map(|command| command.name.split_once(' ')).map(|(word, _)| word).collect();
    groups.dedup();
    for group in groups {
        writeln!(out, "    if [[ $command == {group} ]]; then").ok();
        writeln!(
            out,
            "        if ((COMP_CWORD == 2)); then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi",
            second_words(group).join(" ")
        )
        .ok();
        out.push_str("        command=\"$command ${COMP_WORDS[2]}\"\n    fi\n");
    }
    out.push_str("    case $command in\n");
    for command in COMMANDS {
        writeln!(out, "    '{}')", command.name).ok();
        out.push_str("        case $prev in\n");
        for flag in command.all_flags().filter(|flag| flag.value.is_some()) {
            let short = flag.short.map(|letter| format!("|-{letter}")).unwrap_or_default();
            let reply =
                if flag.values.is_empty() { "-f --".to_owned() } else { format!("-W '{}' --", flag.values.join(" ")) };
            writeln!(out, "        --{}{short}) COMPREPLY=($(compgen {reply} \"$cur\")); return;;", flag.long).ok();
        }
        out.push_str("        esac\n");
        writeln!(
            out,
            "        if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi",
            flag_words(command)
        )
        .ok();
        match command.words {
            Words::None => {}
            Words::Files => out.push_str("        COMPREPLY=($(compgen -f -- \"$cur\"))\n"),
            Words::Pods => {
                writeln!(out, "        COMPREPLY=($(compgen -W \"$({LIST_PODS})\" -- \"$cur\"))").unwrap_or_default();
            }
            Words::OneOf(words) => {
                writeln!(
                    out,
                    "        if ((COMP_CWORD == 2)); then COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return; fi",
                    words.join(" ")
                )
                .ok();
                if words.contains(&"pod") {
                    writeln!(out, "        COMPREPLY=($(compgen -W \"$({LIST_PODS})\" -- \"$cur\"))").ok();
                }
            }
        }
        out.push_str("        ;;\n");
    }
    writeln!(out, "    help) COMPREPLY=($(compgen -W '{}' -- \"$cur\"));;", first_words().join(" ")).ok();
    writeln!(out, "    esac\n}}\ncomplete -F {function} gatepost").ok();
    out
}

fn fish() -> String {
    let mut out = String::from("complete -c gatepost -f\n");
    for word in first_words() {
        let summary = COMMANDS.iter().find(|command| command.name == word).map_or("", |command| command.summary);
        writeln!(out, "complete -c gatepost -n __fish_use_subcommand -a {word} -d {}", quoted(summary)).ok();
    }
    for command in COMMANDS {
        let (first, second) = command.name.split_once(' ').unwrap_or((command.name, ""));
        let mut when = format!("__fish_seen_subcommand_from {first}");
        if !second.is_empty() {
            let others = second_words(first).join(" ");
            writeln!(
                out,
                "complete -c gatepost -n '{when}; and not __fish_seen_subcommand_from {others}' -a {second} -d {}",
                quoted(command.summary)
            )
            .ok();
            write!(when, "; and __fish_seen_subcommand_from {second}").ok();
        }
        for flag in command.all_flags() {
            writeln!(out, "complete -c gatepost -n '{when}' {}", fish_flag(flag)).ok();
        }
        match command.words {
            Words::None => {}
            Words::Files => writeln!(out, "complete -c gatepost -n '{when}' -F").unwrap_or_default(),
            Words::Pods => writeln!(out, "complete -c gatepost -n '{when}' -a '({LIST_PODS})'").unwrap_or_default(),
            Words::OneOf(words) => {
                let all = words.join(" ");
                writeln!(out, "complete -c gatepost -n '{when}; and not __fish_seen_subcommand_from {all}' -a '{all}'")
                    .ok();
                if words.contains(&"pod") {
                    writeln!(out, "complete -c gatepost -n '{when}; and __fish_seen_subcommand_from pod pods po' -a '({LIST_PODS})'").ok();
                }
            }
        }
    }
    out
}

fn fish_flag(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("-s {letter} ")).unwrap_or_default();
    let value = match (flag.value, flag.values) {
        (None, _) => String::new(),
        (Some(_), []) => " -r -F".to_owned(),
        (Some(_), values) => format!(" -x -a '{}'", values.join(" ")),
    };
    format!("{short}-l {}{value} -d {}", flag.long, quoted(flag.help))
}

/// In single quotes for fish.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
