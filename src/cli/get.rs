//! `gatepost get`: pods, and what other files show, as tables or v1 objects.

use std::process::ExitCode;

use serde_json::Value;

use super::columns::{PodRow, Shown, header};
use super::events;
use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::node::{self, NODE_WORDS};
use super::output::{self, Format};
use super::selector::Selector;
use super::services::{self, SERVICE_WORDS};
use super::session::{self, Snapshot};
use super::tabs;
use super::view::text;
use super::{age, target, watch};

/// What `get` and `describe` take for a pod.
pub(super) const POD_WORDS: &[&str] = &["pods", "pod", "po"];
const EVENT_WORDS: &[&str] = &["events", "event", "ev"];

/// Which pods are asked for, and how they are shown.
pub(super) struct Query<'a> {
    /// Full or short names; all pods when empty.
    pub(super) names: Vec<&'a str>,
    /// Only this namespace.
    pub(super) namespace: Option<&'a str>,
    /// Only pods with these labels.
    pub(super) selector: Selector,
    /// Columns.
    pub(super) shown: Shown,
    /// Whether the table has a header.
    pub(super) headers: bool,
    /// `-o`.
    pub(super) format: Format,
}

/// `gatepost get`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    let words = invocation.texts()?;
    let Some((kind, names)) = words.split_first() else {
        return Err(invocation.misuse("say what to get: pods, services, events or nodes"));
    };
    if EVENT_WORDS.contains(kind) {
        invocation.at_most(1)?;
        return events::get(invocation);
    }
    if SERVICE_WORDS.contains(kind) {
        return services::get(invocation, names);
    }
    if NODE_WORDS.contains(kind) {
        return node::get(invocation, names);
    }
    let names: Vec<&str> = if kind.contains('/') && target::bare(kind) != *kind {
        words.iter().map(|word| target::bare(word)).collect()
    } else if POD_WORDS.contains(kind) {
        names.to_vec()
    } else {
        return Err(Failure::unknown(
            "resource",
            kind,
            ["pods", "services", "events", "nodes"],
            "There are: pods, services, events, nodes",
        ));
    };
    let query = query(invocation, names)?;
    if invocation.has("watch") {
        return watch::run(invocation, &query);
    }
    let snapshot = session::pods(invocation)?;
    let warnings = snapshot.warnings.clone();
    let outcome = show(&query, snapshot);
    output::warn(&warnings);
    outcome
}

fn query<'a>(invocation: &'a Invocation, names: Vec<&'a str>) -> Outcome<Query<'a>> {
    let all = invocation.has("all-namespaces");
    if all && !names.is_empty() {
        return Err(invocation.misuse("a pod cannot be named together with -A: name its namespace with -n"));
    }
    let format = output::format(invocation)?;
    let selector = Selector::parse(invocation.value("selector")?.unwrap_or_default()).map_err(Failure::Usage)?;
    Ok(Query {
        names,
        namespace: if all { None } else { Some(invocation.namespace()?) },
        selector,
        shown: Shown { namespace: all, wide: format == Format::Wide, labels: invocation.has("show-labels") },
        headers: !invocation.has("no-headers"),
        format,
    })
}

/// The pods of the query, by namespace and name, and failures for names that are not there.
pub(super) fn select(query: &Query<'_>, pods: Vec<Value>) -> (Vec<Value>, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut chosen = if query.names.is_empty() {
        pods.into_iter()
            .filter(|pod| query.namespace.is_none_or(|namespace| text(pod, "/metadata/namespace") == namespace))
            .collect()
    } else {
        let namespace = query.namespace.unwrap_or("default");
        let mut found: Vec<Value> = Vec::new();
        for name in &query.names {
            match target::find(&pods, namespace, name) {
                Ok(pod) if found.contains(pod) => {}
                Ok(pod) => found.push(pod.clone()),
                Err(failure) => failures.push(failure),
            }
        }
        found
    };
    chosen.retain(|pod| query.selector.matches(pod));
    chosen.sort_by(|a, b| key(a).cmp(&key(b)));
    (chosen, failures)
}

/// What orders and identifies a pod.
pub(super) fn key(pod: &Value) -> (&str, &str) {
    (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}

fn show(query: &Query<'_>, snapshot: Snapshot) -> Outcome {
    let (pods, failures) = select(query, snapshot.pods);
    match query.format {
        Format::Table | Format::Wide if pods.is_empty() && failures.is_empty() => {
            output::note(&nothing(query.namespace));
        }
        // Nothing of what was asked for is there: only the errors are printed.
        _ if pods.is_empty() && !failures.is_empty() => {}
        Format::Table | Format::Wide => output::print(&table(query, &pods))?,
        format => output::print_objects(format, "pod", pods, query.names.len() == 1)?,
    }
    for failure in &failures {
        output::note(&format!("error: {failure}"));
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `No resources found in <ns> namespace.`
pub(super) fn nothing(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| "No resources found".to_owned(), |ns| format!("No resources found in {ns} namespace."))
}

/// The aligned table of these pods.
pub(super) fn table(query: &Query<'_>, pods: &[Value]) -> String {
    let now = age::now();
    let mut lines = String::new();
    if query.headers {
        lines.push_str(&header(query.shown));
        lines.push('\n');
    }
    for pod in pods {
        lines.push_str(&PodRow::new(pod, now).line(query.shown));
        lines.push('\n');
    }
    tabs::align(&lines, tabs::TABLE)
}
