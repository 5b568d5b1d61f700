//! `gatepost validate`: says what of the manifests would be refused, with file, line and field.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output;
use crate::json;
use crate::manifest::{DocumentVerdict, Rules, validate_bytes, validate_files};
use crate::policy::{LEVELS, Level};

/// Bytes read from standard input: more than any file may have, so that the limit itself is reported as for files.
const MOST: u64 = 64 << 20;

/// `gatepost validate`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    if invocation.words.is_empty() {
        return Err(invocation.misuse("name a file, or - for standard input"));
    }
    let json = match invocation.value("output")? {
        None => false,
        Some("json") => true,
        Some(other) => return Err(Failure::unknown("output format", other, ["json"], "Formats: json")),
    };
    let pod_security = match invocation.value("pod-security")? {
        None => Level::Privileged,
        Some(name) => Level::named(name).ok_or_else(|| {
            Failure::unknown("Pod Security Standard", name, LEVELS, "Standards: privileged, baseline, restricted")
        })?,
    };
    // What the node has is not known here; a file may be checked anywhere.
    let rules = Rules { strict: invocation.has("strict"), pod_security, fetch: true, ..Rules::default() };
    let verdicts = if invocation.words.iter().any(|word| word == "-") {
        if invocation.words.len() > 1 {
            return Err(invocation.misuse("- cannot stand beside files"));
        }
        validate_bytes("<stdin>", &standard_input()?, rules)
    } else {
        validate_files(&invocation.words, rules)
    };
    if json {
        let mut lines = String::new();
        for verdict in &verdicts {
            lines.push_str(&json::to_string(verdict).map_err(|error| Failure::failed(error.to_string()))?);
            lines.push('\n');
        }
        // Some readers take these for the ends of lines.
        for end in ['\u{85}', '\u{2028}', '\u{2029}'] {
            lines = lines.replace(end, &format!("\\u{:04x}", u32::from(end)));
        }
        output::print(&lines)?;
    } else {
        output::print(&report(&verdicts))?;
    }
    Ok(if verdicts.iter().all(|verdict| verdict.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All of it, but for what is too long for any file.
pub(super) fn standard_input() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

/// What of these bytes would be refused, and what is odd: a line each.
pub(super) fn findings(file: &str, bytes: &[u8], rules: Rules<'_>) -> (Vec<String>, Vec<String>) {
    let (mut errors, mut warnings) = (String::new(), String::new());
    for verdict in &validate_bytes(file, bytes, rules) {
        for error in &verdict.errors {
            finding(&mut errors, verdict, error.line, "error", &error.field, &error.message);
        }
        for warning in &verdict.warnings {
            finding(&mut warnings, verdict, warning.line, "warning", &warning.field, &warning.message);
        }
    }
    let lines = |text: String| text.lines().map(str::to_owned).collect();
    (lines(errors), lines(warnings))
}

/// A line a finding, then a line a document that is good.
fn report(verdicts: &[DocumentVerdict]) -> String {
    let mut out = String::new();
    for verdict in verdicts {
        for error in &verdict.errors {
            finding(&mut out, verdict, error.line, "error", &error.field, &error.message);
        }
        for warning in &verdict.warnings {
            finding(&mut out, verdict, warning.line, "warning", &warning.field, &warning.message);
        }
        if verdict.ok {
            let what = format!("{}/{}", verdict.kind, verdict.name);
            let class = &verdict.qos;
            let class = if class.is_empty() { String::new() } else { format!(" (QoS class {class})") };
            writeln!(out, "{}: {what} is valid{class}", verdict.file).ok();
        }
    }
    out
}

/// `FILE:LINE: error: FIELD: MESSAGE`.
fn finding(out: &mut String, verdict: &DocumentVerdict, line: u32, level: &str, field: &str, message: &str) {
    let line = if line == 0 { String::new() } else { format!(":{line}") };
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    writeln!(out, "{}{line}: {level}: {field}{message}", verdict.file).ok();
}
