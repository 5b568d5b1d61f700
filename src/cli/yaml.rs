//! [`to_yaml`]: a JSON value as block-style YAML that every reader, YAML 1.1 ones included, takes for the same value.

use std::fmt::Write as _;

use serde_json::Value;

/// The document, ended by a line feed.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0, Place::Line);
    out
}

/// Where a node starts.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// At the start of a line, or right after `- `.
    Line,
    /// After `key:`.
    AfterKey,
}

/// Writes a node and its line feed. `indent`: blanks before the lines of the node.
fn node(out: &mut String, value: &Value, indent: usize, place: Place) {
    let blank = if place == Place::AfterKey { " " } else { "" };
    match value {
        Value::Object(map) if !map.is_empty() => {
            if place == Place::AfterKey {
                out.push('\n');
            }
            let mut first = place == Place::Line;
            for (key, item) in map {
                // The first key of a map that is a list's item stands behind its dash.
                if !first || place == Place::AfterKey {
                    pad(out, indent);
                }
                first = false;
                out.push_str(&scalar(key));
                out.push(':');
                // kubectl's style: a list is not indented below its key.
                let inner = if item.is_array() { indent } else { indent.saturating_add(2) };
                node(out, item, inner, Place::AfterKey);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            if place == Place::AfterKey {
                out.push('\n');
            }
            for (index, item) in items.iter().enumerate() {
                if index > 0 || place == Place::AfterKey {
                    pad(out, indent);
                }
                out.push_str("- ");
                node(out, item, indent.saturating_add(2), Place::Line);
            }
        }
        Value::Object(_) => line(out, blank, "{}"),
        Value::Array(_) => line(out, blank, "[]"),
        Value::Null => line(out, blank, "null"),
        Value::Bool(value) => line(out, blank, if *value { "true" } else { "false" }),
        Value::Number(number) => line(out, blank, &number.to_string()),
        // Not within a list: there the indicator would have to state the dash's own indentation.
        Value::String(text) if place == Place::AfterKey && fits_block(text) => block(out, text, indent),
        Value::String(text) => line(out, blank, &scalar(text)),
    }
}

fn line(out: &mut String, blank: &str, text: &str) {
    out.push_str(blank);
    out.push_str(text);
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a literal block shows exactly this text: printable, several lines, and a first line that does not decide the indentation.
fn fits_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && body.chars().all(|c| c == '\n' || c == '\t' || printable(c))
        && body.lines().all(|line| line.trim_end() == line)
}

/// A literal block with the chomping that gives back the text's end.
fn block(out: &mut String, text: &str, indent: usize) {
    out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A text on one line: plain where nothing can take it for something else, else quoted.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if text.chars().all(printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c if u32::from(c) <= 0xff => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Characters that YAML lets stand unescaped, without the line breaks and the byte order mark.
fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether the text needs no quotes. Stricter than YAML: only words that start with a letter, `/` or `_` and mean nothing but themselves.
fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let inner = text.chars().all(|c| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_' | '.' | '/' | ':' | ' ' | '=' | '@' | '+' | ',' | '(' | ')' | '$')
    });
    starts && inner && !text.contains(": ") && !text.ends_with([':', ' ']) && !is_trap(text)
}

/// Words that some YAML reader takes for a truth value, nothing, or a number.
fn is_trap(text: &str) -> bool {
    const TRAPS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    TRAPS.iter().any(|trap| trap.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use saphyr_parser::{Event, Parser, ScalarStyle};
    use serde_json::{Map, json};

    use super::*;

    /// Reads YAML back through an independent parser; plain scalars are resolved as YAML 1.1 would, quoted ones are text.
    fn read(text: &str) -> Value {
        let mut events = Parser::new_from_str(text).map(|event| event.expect(text).0).collect::<Vec<_>>();
        events.retain(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(_)));
        let mut events = events.into_iter();
        let first = events.next().unwrap();
        value(first, &mut events)
    }

    fn value<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => resolve(&text),
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match events.next().unwrap() {
                        Event::SequenceEnd => return Value::Array(items),
                        event => items.push(value(event, events)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Map::new();
                loop {
                    match events.next().unwrap() {
                        Event::MappingEnd => return Value::Object(map),
                        key => {
                            let Value::String(key) = value(key, events) else { panic!("key is no text") };
                            let next = events.next().unwrap();
                            map.insert(key, value(next, events));
                        }
                    }
                }
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn resolve(text: &str) -> Value {
        match text.to_ascii_lowercase().as_str() {
            "null" | "~" | "" => Value::Null,
            "true" | "yes" | "on" | "y" => json!(true),
            "false" | "no" | "off" | "n" => json!(false),
            _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
                crate::json::from_str(text).unwrap()
            }
            _ => json!(text),
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let texts = [
            "",
            " ",
            "yes",
            "No",
            "ON",
            "off",
            "true",
            "null",
            "~",
            "1",
            "0644",
            "1e3",
            "1:30",
            "-1",
            "+1",
            ".5",
            "0x1f",
            "1_000",
            "2026-01-01",
            "a",
            "hello world",
            "a: b",
            "a #b",
            "#c",
            "- d",
            "-",
            "? x",
            "key:",
            "*a",
            "&a",
            "!t",
            "%x",
            "@x",
            "`x`",
            "{a}",
            "[a]",
            "a, b",
            "'",
            "\"",
            "it's",
            "back\\slash",
            "tab\there",
            "\ttab",
            "line\nfeed",
            "line\nfeed\n",
            "two\n\nfeeds\n",
            "ends\n\n",
            "\nstarts",
            " indented\nfirst",
            "first\n  indented\n",
            "trailing \nblank",
            "cr\rhere",
            "\u{0}",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "umlaut ä",
            "emoji 🚪",
            "<none>",
            "|",
            ">",
            "=",
            "<<",
            ".inf",
            ".NaN",
            "nan",
            "sha256:abc",
            "$(VAR)",
            "---",
            "...",
            "docker.io/library/x:1.0",
            "/var/lib",
            "a\tb\nc",
        ];
        let mut map = Map::new();
        for text in texts {
            map.insert(text.to_owned(), json!(text));
        }
        let document = json!({
            "texts": texts.to_vec(), "keys": map, "numbers": [0, -1, 3.5, 1_000_000_i64, u64::MAX], "truth": [true, false, null],
            "empty": {"map": {}, "list": [], "nested": [[], {}, [[1], [2, [3]]], {"a": [{"b": 1, "c": ["x"]}, "y"]}]},
        });
        let yaml = to_yaml(&document);
        assert_eq!(read(&yaml), document, "{yaml}");
        for text in texts {
            assert_eq!(read(&to_yaml(&json!(text))), json!(text), "{text:?}");
            let deep = json!([[{"k": [{"t": text}]}]]);
            assert_eq!(read(&to_yaml(&deep)), deep, "{text:?}");
        }
    }

    #[test]
    fn it_looks_as_kubectl_writes_it() {
        let document = json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {"containers": [{"args": ["-c", "echo a\necho b\n"], "image": "x:1", "name": "app"}], "volumes": []},
            "data": {"conf": "a = 1\nb = 2\n", "on": "yes"},
        });
        let expected = "\
apiVersion: v1
data:
  conf: |
    a = 1
    b = 2
  'on': 'yes'
kind: Pod
spec:
  containers:
  - args:
    - '-c'
    - \"echo a\\necho b\\n\"
    image: x:1
    name: app
  volumes: []
";
        assert_eq!(to_yaml(&document), expected);
    }
}
