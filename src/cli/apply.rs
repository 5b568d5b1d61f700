//! `gatepost apply`, `gatepost delete -f`, `gatepost rollback`: objects that are brought to this node by hand. They lie in one file of
//! the last manifest directory, so that a change of several counts whole or not at all; the other directories stay as delivered.

use std::path::Path;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::manifests::reading;
use super::{output, validate};
use crate::control::Reading;
use crate::manifest::applied::{Applied, AppliedError, Change, FILE};
use crate::manifest::desired::{DesiredSet, ObjectKey};
use crate::manifest::source::{self, Limits, read_manifests};
use crate::policy::Level;
use crate::state::history::History;
use crate::trust;

/// `gatepost apply`.
pub(super) fn apply(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let reading = reading(invocation)?;
    let request = request(&reading);
    let named = read(invocation, Some(&request))?;
    let dry_run = invocation.has("dry-run");
    let history = open(&reading)?;
    let before = present(&history)?;
    let after = before.with(&named);
    let wrong = forebodings(&request, &named, &after);
    if !wrong.is_empty() {
        return Err(Failure::failed(format!("nothing was applied:\n{}", wrong.join("\n"))));
    }
    let changes = before.changes_to(&after);
    let changes = changes.into_iter().filter(|(key, _)| named.contains(key));
    finish(&history, &after, changes, dry_run)
}

/// `gatepost delete -f`.
pub(super) fn delete(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let reading = reading(invocation)?;
    let named = read(invocation, None)?;
    let history = open(&reading)?;
    let before = present(&history)?;
    let after = before.without(&named);
    let changes = before.changes_to(&after).into_iter().filter(|(_, change)| *change == Change::Deleted);
    let missing = named.keys().filter(|key| !before.contains(key));
    let missing: Vec<String> =
        missing.map(|key| format!("error: {} is not among what was applied", shown(key))).collect();
    finish(&history, &after, changes, false)?;
    for line in &missing {
        output::note(line);
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `gatepost rollback`.
pub(super) fn rollback(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let history = open(&reading(invocation)?)?;
    let Some(earlier) = history.earlier()? else {
        return Err(Failure::failed(
            "no change is left to be taken back; `gatepost get manifests` shows what is there",
        ));
    };
    // A file that cannot be read is what a person wants to get rid of.
    let before = present(&history).unwrap_or_default();
    let after = Applied::stored(&earlier).map_err(|error| damaged(&error))?;
    history.take_back()?;
    let changes = before.changes_to(&after);
    print(changes.into_iter().filter(|(_, change)| *change != Change::Unchanged), "")?;
    Ok(ExitCode::SUCCESS)
}

/// The objects of all files named, checked as this node would if it is known how.
fn read(invocation: &Invocation, request: Option<&source::Request>) -> Outcome<Applied> {
    let files = invocation.values("filename")?;
    if files.is_empty() {
        return Err(invocation.misuse("name a file with -f, or - for standard input"));
    }
    let mut all = Applied::default();
    let mut wrong = Vec::new();
    let mut given = signatures(invocation)?.into_iter();
    for file in files {
        let content = content(file)?;
        let (content, within) = split(&content);
        let signature = match request {
            Some(request) => needed(request, given.next().or(within))?,
            None => None,
        };
        if let Some(request) = request {
            let (errors, warnings) = validate::findings(file, content, request.rules());
            output::warn(&warnings);
            if !errors.is_empty() {
                wrong.extend(errors);
                continue;
            }
        }
        let found = match signature {
            Some(signature) => Applied::signed(content, &signature),
            None => Applied::parse(content),
        };
        match found {
            Ok(found) => {
                let twice = all.keys().find(|key| found.contains(key)).cloned();
                let twice =
                    twice.map(|key| format!("{file}: {} is in another file, too; name one of them", shown(&key)));
                wrong.extend(twice);
                all = all.with(&found);
            }
            Err(error) => wrong.push(format!("{file}: {error}")),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Failure::failed(format!("nothing was changed:\n{}", wrong.join("\n")))) }
}

/// Those of `--signature`, for the files in the same order.
fn signatures(invocation: &Invocation) -> Outcome<Vec<Vec<u8>>> {
    let named = invocation.values("signature")?;
    let read =
        |file: &str| trust::read_file(Path::new(file)).map_err(|error| Failure::failed(format!("{file}: {error}")));
    named.into_iter().map(read).collect()
}

/// What stands before the signature in the last line of a file that carries its own.
const SIGNATURE: &[u8] = b"# signature: ";

/// The documents, and the signature of them that may stand behind them.
fn split(content: &[u8]) -> (&[u8], Option<Vec<u8>>) {
    let text = content.trim_ascii_end();
    let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let (documents, last) = text.split_at(start);
    match last.strip_prefix(SIGNATURE) {
        Some(signature) => (documents, Some(signature.to_vec())),
        None => (content, None),
    }
}

/// The signature if this node wants one. It is looked at with the documents.
fn needed(request: &source::Request, signature: Option<Vec<u8>>) -> Outcome<Option<Vec<u8>>> {
    match (request.keys.is_empty(), signature) {
        (true, _) => Ok(None),
        (false, Some(signature)) => Ok(Some(signature)),
        (false, None) => Err(Failure::failed(
            "nothing was applied: this node takes signed manifests only (manifestKeys); name a --signature for each file, in the same order",
        )),
    }
}

fn content(file: &str) -> Outcome<Vec<u8>> {
    if file != "-" {
        return source::read_file(Path::new(file), crate::manifest::MAX_FILE_BYTES)
            .map_err(|error| Failure::failed(format!("{file}: {error}")));
    }
    validate::standard_input()
}

/// The file of the last directory. A node with one directory has it as delivered.
fn open(reading: &Reading) -> Outcome<History> {
    match reading.directories.as_slice() {
        [_, .., last] => Ok(History::lock(last, FILE)?),
        _ => Err(Failure::failed(
            "this node has no directory for what is applied: name a second, writable one in the setting staticPodPath",
        )),
    }
}

fn present(history: &History) -> Outcome<Applied> {
    Applied::stored(&history.content()?).map_err(|error| damaged(&error))
}

fn damaged(error: &AppliedError) -> Failure {
    Failure::failed(format!(
        "{FILE} is not as it was written: {error}; mend it, or take the last change back by `gatepost rollback`"
    ))
}

/// What would be wrong with these objects beside all others of this node: limits of a namespace, pods that wait for each other.
fn forebodings(request: &source::Request, named: &Applied, after: &Applied) -> Vec<String> {
    let mut report = read_manifests(request);
    let before = DesiredSet::default().update(&report).problems;
    report.suppose(request, FILE, after.render().as_bytes());
    let problems = DesiredSet::default().update(&report).problems;
    let of_named = |kind: &str, namespace: &str| named.keys().any(|key| key.kind == kind && key.namespace == namespace);
    let new = problems.into_iter().filter(|problem| problem.error && !before.contains(problem));
    new.filter(|problem| problem.object.as_ref().is_none_or(|object| of_named(&object.kind, &object.namespace)))
        .map(|problem| problem.message)
        .collect()
}

fn request(reading: &Reading) -> source::Request {
    source::Request {
        version: source::VERSION,
        directories: reading.directories.clone(),
        watched: Vec::new(),
        node_name: reading.node.clone(),
        pod_security: Level::named(&reading.pod_security).unwrap_or_default(),
        devices: reading.devices.clone(),
        cluster_domain: reading.cluster_domain.clone(),
        fetch_binary: reading.fetch_binary.clone(),
        keys: reading.keys.clone(),
        image_policy: Vec::new(),
        limits: Limits::default(),
    }
}

fn finish(
    history: &History,
    after: &Applied,
    changes: impl Iterator<Item = (ObjectKey, Change)>,
    dry_run: bool,
) -> Outcome {
    if dry_run {
        print(changes, " (dry run)")?;
        return Ok(ExitCode::SUCCESS);
    }
    let content = if after.is_empty() { String::new() } else { after.render() };
    history.change(content.as_bytes())?;
    print(changes, "")?;
    Ok(ExitCode::SUCCESS)
}

fn print(changes: impl Iterator<Item = (ObjectKey, Change)>, end: &str) -> Outcome<()> {
    for (key, change) in changes {
        output::print(&format!("{} {}{end}\n", shown(&key), change.word()))?;
    }
    Ok(())
}

/// `pod/web`, and the namespace if it is not the usual one.
fn shown(key: &ObjectKey) -> String {
    let name = format!("{}/{}", key.kind.to_ascii_lowercase(), key.name);
    if key.namespace == "default" { name } else { format!("{name} in namespace {}", key.namespace) }
}
