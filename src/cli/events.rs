//! Events: the table of `get events`, and the section at the end of `describe`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::failure::Outcome;
use super::invocation::Invocation;
use super::output::{self, Format};
use super::view::text;
use super::{age, get, session, tabs};
use crate::printer::event::{count, first, last, message, sort, source};

/// `gatepost get events`.
pub(super) fn get(invocation: &Invocation) -> Outcome {
    for flag in ["watch", "selector", "show-labels"] {
        if invocation.has(flag) {
            return Err(invocation.misuse(&format!("--{flag} is for pods only")));
        }
    }
    let format = output::format(invocation)?;
    let all = invocation.has("all-namespaces");
    let namespace = if all { None } else { Some(invocation.namespace()?) };
    let mut events = session::events(invocation)?;
    events.retain(|event| namespace.is_none_or(|namespace| text(event, "/metadata/namespace") == namespace));
    sort(&mut events);
    match format {
        Format::Table | Format::Wide if events.is_empty() => output::note(&get::nothing(namespace)),
        Format::Table | Format::Wide => {
            let shown = Shown { namespace: all, wide: format == Format::Wide, headers: !invocation.has("no-headers") };
            output::print(&table(&events, shown, age::now()))?;
        }
        Format::Json | Format::Yaml | Format::Name => output::print_objects(format, "event", events, false)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Which columns are shown.
#[derive(Clone, Copy)]
struct Shown {
    namespace: bool,
    wide: bool,
    headers: bool,
}

fn table(events: &[Value], shown: Shown, now: i64) -> String {
    let mut lines = String::new();
    if shown.headers {
        if shown.namespace {
            lines.push_str("NAMESPACE\t");
        }
        lines.push_str(if shown.wide {
            "LAST SEEN\tTYPE\tREASON\tOBJECT\tSUBOBJECT\tSOURCE\tMESSAGE\tFIRST SEEN\tCOUNT\tNAME\n"
        } else {
            "LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n"
        });
    }
    for event in events {
        if shown.namespace {
            write!(lines, "{}\t", text(event, "/metadata/namespace")).ok();
        }
        let kind = text(event, "/involvedObject/kind").to_ascii_lowercase();
        let object = format!("{kind}/{}", text(event, "/involvedObject/name"));
        let seen = age::ago(last(event), now);
        let (level, reason, message) = (text(event, "/type"), text(event, "/reason"), message(event));
        if shown.wide {
            let host = text(event, "/source/host");
            let source = if host.is_empty() { source(event).to_owned() } else { format!("{}, {host}", source(event)) };
            let part = text(event, "/involvedObject/fieldPath");
            let since = age::ago(first(event), now);
            let name = text(event, "/metadata/name");
            let count = count(event);
            writeln!(
                lines,
                "{seen}\t{level}\t{reason}\t{object}\t{part}\t{source}\t{message}\t{since}\t{count}\t{name}"
            )
        } else {
            writeln!(lines, "{seen}\t{level}\t{reason}\t{object}\t{message}")
        }
        .ok();
    }
    tabs::align(&lines, tabs::TABLE)
}

/// The events of one pod as `describe` ends with them, tabs unaligned.
pub(super) fn describe(events: &[Value], pod: &Value, now: i64) -> String {
    let uid = text(pod, "/metadata/uid");
    let is_of = |event: &&Value| {
        let same =
            |field: &str| text(event, &format!("/involvedObject/{field}")) == text(pod, &format!("/metadata/{field}"));
        same("namespace")
            && same("name")
            && matches!(text(event, "/involvedObject/uid"), event_uid if event_uid.is_empty() || event_uid == uid)
    };
    let mut events: Vec<Value> = events.iter().filter(is_of).cloned().collect();
    if events.is_empty() {
        return "Events:\t<none>\n".to_owned();
    }
    sort(&mut events);
    let mut lines = String::from("Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n");
    for event in &events {
        let seen = age::ago(last(event), now);
        let seen = match count(event) {
            1 => seen,
            count => format!("{seen} (x{count} over {})", age::ago(first(event), now)),
        };
        let part = text(event, "/involvedObject/fieldPath");
        let part = if part.is_empty() { String::new() } else { format!("{part}: ") };
        let (level, reason, message) = (text(event, "/type"), text(event, "/reason"), text(event, "/message").trim());
        let message = message.replace('\t', " ");
        writeln!(lines, "  {level}\t{reason}\t{seen}\t{}\t{part}{message}", source(event)).ok();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2026-01-01T00:10:00Z.
    const NOW: i64 = 1_767_226_200;

    fn events() -> Vec<Value> {
        let object = |part: &str| json!({"kind": "Pod", "namespace": "default", "name": "web-gw", "uid": "u1", "fieldPath": part});
        let mut events = vec![
            json!({"metadata": {"name": "web-gw.2", "namespace": "default"}, "involvedObject": object("spec.containers{app}"),
                   "type": "Warning", "reason": "BackOff", "message": "Back-off restarting failed container app\nmore", "count": 4,
                   "firstTimestamp": "2026-01-01T00:05:00Z", "lastTimestamp": "2026-01-01T00:09:30Z", "source": {"component": "gatepost", "host": "gw"}}),
            json!({"metadata": {"name": "web-gw.1", "namespace": "default"}, "involvedObject": object(""),
                   "type": "Normal", "reason": "Started", "message": "Container started", "count": 1,
                   "firstTimestamp": "2026-01-01T00:05:00Z", "lastTimestamp": "2026-01-01T00:05:00Z", "source": {"component": "gatepost"}}),
        ];
        sort(&mut events);
        events
    }

    #[test]
    fn the_table_has_kubectls_columns() {
        let shown = Shown { namespace: false, wide: false, headers: true };
        assert_eq!(
            table(&events(), shown, NOW),
            "LAST SEEN   TYPE      REASON    OBJECT       MESSAGE\n\
             5m          Normal    Started   pod/web-gw   Container started\n\
             30s         Warning   BackOff   pod/web-gw   Back-off restarting failed container app...\n"
        );
        let wide = table(&events(), Shown { namespace: true, wide: true, headers: true }, NOW);
        assert!(wide.starts_with("NAMESPACE   LAST SEEN   TYPE      REASON    OBJECT       SUBOBJECT"), "{wide}");
        assert!(wide.contains("spec.containers{app}   gatepost, gw"), "{wide}");
    }

    #[test]
    fn describe_merges_and_names_the_container() {
        let pod = json!({"metadata": {"namespace": "default", "name": "web-gw", "uid": "u1"}});
        let lines = tabs::align(&describe(&events(), &pod, NOW), tabs::DESCRIPTION);
        assert_eq!(
            lines,
            "Events:\n\
             \x20 Type     Reason   Age               From      Message\n\
             \x20 ----     ------   ----              ----      -------\n\
             \x20 Normal   Started  5m                gatepost  Container started\n\
             \x20 Warning  BackOff  30s (x4 over 5m)  gatepost  spec.containers{app}: Back-off restarting failed container app\nmore\n"
        );
        let other = json!({"metadata": {"namespace": "default", "name": "web-gw", "uid": "u2"}});
        assert_eq!(describe(&events(), &other, NOW), "Events:\t<none>\n");
    }
}
