//! `get pods -w`: on a terminal a table that redraws itself in place, else one line a change as kubectl writes it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use serde_json::Value;

use super::age;
use super::columns::{PodRow, header};
use super::failure::Outcome;
use super::get::{Query, key, select, table};
use super::invocation::Invocation;
use super::output::{self, Format};
use super::session::{connect, unexpected};
use super::tabs;
use super::yaml::to_yaml;
use crate::control::{Call, Client, Reply};
use crate::sorted::BTreeMap;

/// How long one wait for a change is, where nothing has to be redrawn meanwhile.
const LONG: Duration = Duration::from_hours(1);
/// Ages move on a live table.
const SECOND: Duration = Duration::from_secs(1);

/// Shows the pods of the query and each change, until interrupted.
pub(super) fn run(invocation: &Invocation, query: &Query<'_>) -> Outcome {
    let mut client = connect(invocation)?;
    client.send(Call::Watch)?;
    let is_table = matches!(query.format, Format::Table | Format::Wide);
    if is_table && io::stdout().is_terminal() { live(&mut client, query) } else { lines(&mut client, query) }
}

/// The next snapshot; `None` when none came in time.
fn next(client: &mut Client, patience: Duration) -> Outcome<Option<(Vec<Value>, Vec<String>)>> {
    match client.next(patience)? {
        None => Ok(None),
        Some(Reply::Pods { items, warnings }) => Ok(Some((items, warnings))),
        Some(other) => Err(unexpected(&other)),
    }
}

/// One line (or document) for each pod that is new, changed or gone.
fn lines(client: &mut Client, query: &Query<'_>) -> Outcome {
    let mut known: Option<BTreeMap<(String, String), Value>> = None;
    let mut told: Vec<String> = Vec::new();
    loop {
        let Some((pods, warnings)) = next(client, LONG)? else { continue };
        let (pods, failures) = select(query, pods);
        let current: BTreeMap<_, _> = pods
            .into_iter()
            .map(|pod| {
                let (namespace, name) = key(&pod);
                ((namespace.to_owned(), name.to_owned()), pod)
            })
            .collect();
        match &known {
            // The first time a pod that is not there is a failure; later it may come.
            None => match failures.into_iter().next() {
                Some(failure) => return Err(failure),
                None => first(query, &current)?,
            },
            Some(known) => {
                let gone = known.iter().filter(|(key, _)| !current.contains_key(*key)).map(|(_, pod)| pod);
                let changed = current.iter().filter(|(key, pod)| known.get(*key) != Some(*pod)).map(|(_, pod)| pod);
                for pod in gone.chain(changed) {
                    output::print(&one(query, pod))?;
                }
            }
        }
        output::warn(&warnings.iter().filter(|warning| !told.contains(warning)).cloned().collect::<Vec<_>>());
        told = warnings;
        known = Some(current);
    }
}

/// The first snapshot, with a header.
fn first(query: &Query<'_>, pods: &BTreeMap<(String, String), Value>) -> Outcome<()> {
    let pods: Vec<Value> = pods.values().cloned().collect();
    match query.format {
        Format::Table | Format::Wide if pods.is_empty() => Ok(()),
        Format::Table | Format::Wide => output::print(&table(query, &pods)),
        Format::Json | Format::Yaml | Format::Name => pods.iter().try_for_each(|pod| output::print(&one(query, pod))),
    }
}

/// One changed pod.
fn one(query: &Query<'_>, pod: &Value) -> String {
    match query.format {
        Format::Json => output::to_json(pod),
        Format::Yaml => format!("---\n{}", to_yaml(pod)),
        Format::Name => format!("pod/{}\n", key(pod).1),
        Format::Table | Format::Wide => {
            // kubectl keeps the header's widths; at least the header's own are known here.
            let line = PodRow::new(pod, age::now()).line(query.shown);
            let aligned = tabs::align(&format!("{}\n{line}\n", header(query.shown)), tabs::TABLE);
            aligned.lines().nth(1).map(|line| format!("{line}\n")).unwrap_or_default()
        }
    }
}

/// A table in place, redrawn at each change and each second.
fn live(client: &mut Client, query: &Query<'_>) -> Outcome {
    let mut latest: Option<(Vec<Value>, Vec<String>)> = None;
    let mut drawn = 0;
    loop {
        let patience = if latest.is_some() { SECOND } else { LONG };
        if let Some(fresh) = next(client, patience)? {
            latest = Some(fresh);
        }
        let Some((pods, warnings)) = &latest else { continue };
        let (pods, failures) = select(query, pods.clone());
        let mut text =
            if pods.is_empty() { format!("{}\n", super::get::nothing(query.namespace)) } else { table(query, &pods) };
        for failure in &failures {
            writeln!(text, "{failure}").ok();
        }
        for warning in warnings {
            writeln!(text, "warning: {warning}").ok();
        }
        drawn = draw(&text, drawn)?;
    }
}

/// Draws the text over the `drawn` lines of the one before, cut to the screen. Gives the number of its lines.
pub(super) fn draw(text: &str, drawn: usize) -> Outcome<usize> {
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A serial line knows no size and says 0.
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let width = size.map_or(80, |size| usize::from(size.ws_col)).max(20);
    let height = size.map_or(24, |size| usize::from(size.ws_row)).max(2);
    let frame = frame(text, width, height, colours);
    output::print(&redraw(&frame, drawn))?;
    Ok(frame.len())
}

/// The lines of the text that fit the screen, with the last one left free for the cursor.
fn frame(text: &str, width: usize, height: usize, colours: bool) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(1);
    let shown = if all.len() > room { room.saturating_sub(1) } else { all.len() };
    let mut lines: Vec<String> = all.iter().take(shown).map(|line| line.chars().take(width).collect()).collect();
    if shown < all.len() {
        lines.push(format!("… and {} more lines", all.len().saturating_sub(shown)));
    }
    if colours {
        lines = lines.into_iter().map(|line| coloured(&line)).collect();
    }
    lines
}

/// Colours the words that need a look.
fn coloured(line: &str) -> String {
    const RED: &[&str] =
        &["CrashLoopBackOff", "Error", "OOMKilled", "ErrImagePull", "ImagePullBackOff", "Failed", "warning:"];
    const YELLOW: &[&str] =
        &["Pending", "ContainerCreating", "PodInitializing", "Terminating", "WaitingFor", "Init:", "NotReady"];
    const GREEN: &[&str] = &["Running", "Completed"];
    for (words, colour) in [(RED, 31), (YELLOW, 33), (GREEN, 32)] {
        for word in words {
            if let Some((before, after)) = line.split_once(&format!(" {word}")) {
                return format!("{before} \x1b[{colour}m{word}\x1b[0m{after}");
            }
        }
    }
    line.to_owned()
}

/// What turns a drawn frame of `drawn` lines into this one.
fn redraw(frame: &[String], drawn: usize) -> String {
    let mut out = String::new();
    if drawn > 0 {
        write!(out, "\x1b[{drawn}A\r").ok();
    }
    for line in frame {
        write!(out, "{line}\x1b[K\r\n").ok();
    }
    out.push_str("\x1b[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_screen() {
        let text = "NAME   STATUS\na      Running\nb      Running\nc      Running\n";
        assert_eq!(frame(text, 80, 24, false).len(), 4);
        assert_eq!(frame(text, 8, 4, false), ["NAME   S", "a      R", "… and 2 more lines"]);
    }

    #[test]
    fn colours_stand_only_around_the_status() {
        assert_eq!(frame("a  Running  x\n", 80, 24, true), ["a  \x1b[32mRunning\x1b[0m  x"]);
        assert_eq!(frame("a  Running  x\n", 80, 24, false), ["a  Running  x"]);
    }

    #[test]
    fn a_redraw_goes_back_over_what_was_drawn() {
        assert_eq!(redraw(&["x".to_owned()], 0), "x\x1b[K\r\n\x1b[J");
        assert_eq!(redraw(&["x".to_owned()], 3), "\x1b[3A\rx\x1b[K\r\n\x1b[J");
    }
}
