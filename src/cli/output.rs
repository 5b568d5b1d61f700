//! Writing for people and for programs: standard output with quiet ends, warnings, and `-o` formats.

use std::io::{self, Write as _};

use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::view::text;
use super::yaml::to_yaml;

/// What `-o` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// v1 objects as JSON.
    Json,
    /// v1 objects as YAML.
    Yaml,
    /// `pod/NAME` lines.
    Name,
}

/// The values of `-o` for `get`.
pub(super) const FORMATS: &[&str] = &["wide", "json", "yaml", "name"];

/// The `-o` of this command line.
pub(super) fn format(invocation: &Invocation) -> Outcome<Format> {
    Ok(match invocation.value("output")? {
        None => Format::Table,
        Some("wide") => Format::Wide,
        Some("json") => Format::Json,
        Some("yaml") => Format::Yaml,
        Some("name") => Format::Name,
        Some(other) => {
            return Err(Failure::unknown(
                "output format",
                other,
                FORMATS.iter().copied(),
                "Formats: wide, json, yaml, name",
            ));
        }
    })
}

/// Writes text to standard output.
pub(super) fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard error. That nobody can read it is no failure.
pub(super) fn note(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// Writes the supervisor's warnings after the table.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

/// Objects as one document: the object itself when one was asked for by name, else a v1 `List`.
pub(super) fn document(objects: Vec<Value>, single: bool) -> Value {
    let mut objects = objects;
    match objects.pop() {
        Some(only) if single && objects.is_empty() => only,
        last => {
            objects.extend(last);
            json!({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}})
        }
    }
}

/// JSON as kubectl indents it, ended by a line feed.
pub(super) fn to_json(value: &Value) -> String {
    let mut out = String::new();
    indent(value, "\n", &mut out);
    out.push('\n');
    out
}

/// `line`: a line feed and the indentation of the line that the value begins on.
fn indent(value: &Value, line: &str, out: &mut String) {
    let deeper = [line, "    "].concat();
    let mut before = "";
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for item in items {
                out.extend([before, &deeper]);
                indent(item, &deeper, out);
                before = ",";
            }
            out.extend([line, "]"]);
        }
        Value::Object(entries) if !entries.is_empty() => {
            out.push('{');
            for (name, item) in entries {
                out.extend([before, &deeper, &json_text(&name), ": "]);
                indent(item, &deeper, out);
                before = ",";
            }
            out.extend([line, "}"]);
        }
        scalar => out.push_str(&json_text(scalar)),
    }
}

/// On one line. Writing fails for a path that is not UTF-8 only, and a [`Value`] has none.
fn json_text(value: &dyn crate::json::Serialize) -> String {
    crate::json::to_string(value).unwrap_or_default()
}

/// Prints objects in a format that is not a table.
pub(super) fn print_objects(format: Format, kind: &str, objects: Vec<Value>, single: bool) -> Outcome<()> {
    match format {
        Format::Json => print(&to_json(&document(objects, single))),
        Format::Yaml => print(&to_yaml(&document(objects, single))),
        Format::Name | Format::Table | Format::Wide => {
            let lines = objects.iter().map(|object| format!("{kind}/{}\n", text(object, "/metadata/name")));
            print(&lines.collect::<String>())
        }
    }
}
