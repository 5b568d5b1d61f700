//! [`Watched`]: the pods as last told, and the lines that say what has changed since.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::printer::columns::PodRow;
use crate::printer::event;
use crate::printer::view::{int, list, part, text};

/// The pods as last told.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pods: BTreeMap<(String, String), Brief>,
    warnings: Vec<String>,
    /// Something was told before: what is unknown now is new.
    begun: bool,
}

/// What a line says of a pod.
#[derive(Debug, PartialEq, Eq)]
struct Brief {
    uid: String,
    /// `get pods`' STATUS.
    status: String,
    /// `get pods`' READY.
    ready: String,
    restarts: i64,
    /// Why it is not as it should be; may be empty.
    detail: String,
}

impl Watched {
    /// Takes the pods as they are now, and the supervisor's warnings. One line, room and text, for each that is new, gone or otherwise
    /// than before.
    pub(super) fn update(&mut self, pods: &[Value], warnings: &[String]) -> Vec<(&'static str, String)> {
        let now: BTreeMap<_, _> = pods.iter().map(|pod| (key(pod), Brief::of(pod))).collect();
        let mut lines = Vec::new();
        for (namespace, name) in self.pods.keys().filter(|key| !now.contains_key(*key)) {
            lines.push(("pods", format!("{namespace}/{name}: gone")));
        }
        for (key @ (namespace, name), brief) in &now {
            let was = match self.pods.get(key) {
                Some(known) if known == brief => continue,
                Some(known) if known.uid == brief.uid => "",
                None if !self.begun => "",
                Some(_) => "replaced, ",
                None => "new, ",
            };
            lines.push(("pods", format!("{namespace}/{name}: {was}{}", brief.words())));
        }
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            lines.push(("warning", warning.clone()));
        }
        self.pods = now;
        self.begun = true;
        self.warnings = warnings.to_vec();
        lines
    }
}

fn key(pod: &Value) -> (String, String) {
    (text(pod, "/metadata/namespace").to_owned(), text(pod, "/metadata/name").to_owned())
}

impl Brief {
    fn of(pod: &Value) -> Self {
        // Ages are not shown: any time will do.
        let row = PodRow::new(pod, 0);
        let statuses =
            || list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"));
        Self {
            uid: text(pod, "/metadata/uid").to_owned(),
            restarts: statuses().map(|status| int(status, "/restartCount")).fold(0, i64::saturating_add),
            detail: statuses().find_map(trouble).unwrap_or_else(|| first_line(text(pod, "/status/message"))),
            status: row.status,
            ready: row.ready,
        }
    }

    fn words(&self) -> String {
        let restarts = match self.restarts {
            0 => String::new(),
            1 => ", 1 restart".to_owned(),
            count => format!(", {count} restarts"),
        };
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) };
        format!("{} {}{restarts}{detail}", self.status, self.ready)
    }
}

/// Why a container does not run, if it should.
fn trouble(status: &Value) -> Option<String> {
    let name = text(status, "/name");
    if let Some(waiting) = part(status, "/state/waiting") {
        let message = text(waiting, "/message");
        if text(waiting, "/reason") == "CrashLoopBackOff" {
            let wait = message.strip_prefix("back-off ").and_then(|rest| rest.split(' ').next()).unwrap_or("a while");
            let end = part(status, "/lastState/terminated").map(ended).unwrap_or_default();
            return Some(format!("{name} {end}next try after {wait}"));
        }
        // When it is tried next moves with the clock and is no news.
        let message = message.split("; next try ").next().unwrap_or_default();
        return (!message.is_empty()).then(|| format!("{name}: {}", first_line(message)));
    }
    let end = part(status, "/state/terminated").filter(|end| int(end, "/exitCode") != 0)?;
    Some(format!("{name} {}", ended(end).trim_end_matches(", ")))
}

fn ended(end: &Value) -> String {
    let code = int(end, "/exitCode");
    match text(end, "/reason") {
        "" | "Error" | "Completed" => format!("ended with exit code {code}, "),
        reason => format!("ended with exit code {code} ({reason}), "),
    }
}

fn first_line(message: &str) -> String {
    message.trim().lines().next().unwrap_or_default().to_owned()
}

/// Reasons of warnings that the pods' own lines, or the node's warnings, tell as well.
const TOLD_OTHERWISE: [&str; 4] = ["BackOff", "FailedValidation", "ManifestWarning", "BootProblem"];

/// The line for an event that people should know of: only warnings, and not what the pods' own lines say.
pub(super) fn event_line(happened: &Value) -> Option<String> {
    let reason = text(happened, "/reason");
    if text(happened, "/type") != "Warning" || TOLD_OTHERWISE.contains(&reason) {
        return None;
    }
    let object = |field: &str| text(happened, &format!("/involvedObject/{field}"));
    let times = match event::count(happened) {
        1 => String::new(),
        count => format!(" (x{count})"),
    };
    Some(format!("{}/{}: {reason}{times}: {}", object("namespace"), object("name"), event::message(happened)))
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
