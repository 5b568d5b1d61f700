//! `gatepost get manifests`: which object comes from which file, and whether what is written there is in effect.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output::{self, Format};
use super::view::or_none;
use super::{get, session, tabs};
use crate::control::{Call, Manifest, ManifestState, Reading, Reply};
use crate::json;

/// What `get` takes for manifests.
pub(super) const MANIFEST_WORDS: &[&str] = &["manifests", "manifest"];

/// `gatepost get manifests`.
pub(super) fn get(invocation: &Invocation, names: &[&str]) -> Outcome {
    for flag in ["watch", "show-labels", "selector"] {
        if invocation.has(flag) {
            return Err(invocation.misuse(&format!("--{flag} is not for manifests")));
        }
    }
    let (mut items, _) = ask(invocation)?;
    if let Some(namespace) = invocation.value("namespace")? {
        items.retain(|item| item.namespace == namespace);
    }
    if let Some(missing) = names.iter().find(|name| !items.iter().any(|item| item.name == **name)) {
        return Err(Failure::failed(format!("manifests {missing:?} not found")));
    }
    items.retain(|item| names.is_empty() || names.contains(&item.name.as_str()));
    match output::format(invocation)? {
        Format::Table | Format::Wide if items.is_empty() => output::note(&get::nothing(None)),
        format @ (Format::Table | Format::Wide) => {
            output::print(&table(&items, format == Format::Wide, !invocation.has("no-headers")))?;
        }
        Format::Json => {
            let items = json::to_value(&items).map_err(|error| Failure::failed(error.to_string()))?;
            output::print(&output::to_json(&items))?;
        }
        Format::Yaml | Format::Name => return Err(invocation.misuse("for manifests there is -o wide and -o json")),
    }
    Ok(ExitCode::SUCCESS)
}

/// How this node reads manifests.
pub(super) fn reading(invocation: &Invocation) -> Outcome<Reading> {
    ask(invocation).map(|(_, reading)| reading)
}

fn ask(invocation: &Invocation) -> Outcome<(Vec<Manifest>, Reading)> {
    match session::connect(invocation)?.ask(Call::Manifests)? {
        Reply::Manifests { items, reading } => Ok((items, reading)),
        other => Err(session::unexpected(&other)),
    }
}

fn table(items: &[Manifest], wide: bool, headers: bool) -> String {
    let mut lines = String::new();
    if headers {
        let last = if wide { "\tMESSAGE" } else { "" };
        writeln!(lines, "NAMESPACE\tKIND\tNAME\tSTATE\tFILE{last}").ok();
    }
    for item in items {
        let columns = [&item.namespace, &item.kind, &item.name].map(|column| or_none(column));
        write!(lines, "{}\t{}\t{}", columns.join("\t"), word(item.state), item.file.display()).ok();
        if wide {
            write!(lines, "\t{}", or_none(&item.message)).ok();
        }
        lines.push('\n');
    }
    tabs::align(&lines, tabs::TABLE)
}

fn word(state: ManifestState) -> &'static str {
    match state {
        ManifestState::InEffect => "InEffect",
        ManifestState::Replaced => "Replaced",
        ManifestState::LastGood => "LastGood",
        ManifestState::Refused => "Refused",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn each_object_is_shown_with_its_file_and_what_became_of_it() {
        let item = |namespace: &str, name: &str, file: &str, state| Manifest {
            kind: if name.is_empty() { "" } else { "Pod" }.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            file: file.into(),
            state,
            message: if state == ManifestState::Replaced { "by /data/applied.yaml" } else { "" }.to_owned(),
        };
        let items = [
            item("default", "web-gw", "/flash/web.yaml", ManifestState::Replaced),
            item("default", "web-gw", "/data/applied.yaml", ManifestState::InEffect),
            item("", "", "/flash/torn.yaml", ManifestState::Refused),
        ];
        assert_eq!(
            table(&items, true, true),
            "NAMESPACE   KIND     NAME     STATE      FILE                 MESSAGE\n\
             default     Pod      web-gw   Replaced   /flash/web.yaml      by /data/applied.yaml\n\
             default     Pod      web-gw   InEffect   /data/applied.yaml   <none>\n\
             <none>      <none>   <none>   Refused    /flash/torn.yaml     <none>\n"
        );
    }
}
