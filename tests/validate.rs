//! `gatepost validate` against Kubernetes' own validation: 965 judged manifests, one JSON object a line in
//! `tests/data/validation.jsonl`: `manifest`, `ok`, the `stage` that refused it (`decode`, `kind`, `name`, `validate`), the
//! failing `fields` with their types, `messages`, and of what is valid `qos`, `baseline` and `restricted`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

/// Errors of Kubernetes' that are left out here on purpose: end of the field, type, why. `docs/validation.md` says the same.
const DIFFERENCES: [(&str, &str, &str); 1] =
    [("lifecycle.stopSignal", "Forbidden", "a stop signal needs no spec.os.name here: there is only Linux")];
const KEYS: [&str; 9] = ["document", "errors", "file", "kind", "name", "ok", "podSecurity", "qos", "warnings"];
const TYPES: [&str; 10] = [
    "Duplicate",
    "Forbidden",
    "Invalid",
    "NotFound",
    "NotSupported",
    "Required",
    "TooLong",
    "TooMany",
    "TypeInvalid",
    "Unimplemented",
];

fn validate(args: &[&str], files: &[PathBuf]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.arg("validate").args(args).args(files).stdin(Stdio::null()).output().unwrap()
}

fn lines(output: &Output) -> Vec<Json> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn keys(object: &Json) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// How many cases agree, by what is compared, and where they do not.
#[derive(Default)]
struct Agreement {
    agreeing: [usize; 5],
    differing: String,
}

const COMPARED: [&str; 5] = ["verdict", "fields with types", "messages", "QoS class", "Pod Security"];

impl Agreement {
    fn compare(&mut self, number: usize, what: usize, theirs: &str, ours: &str) {
        if theirs == ours {
            self.agreeing[what] += 1;
        } else {
            let what = COMPARED[what];
            writeln!(self.differing, "case {number}, {what}:\n  theirs {theirs}\n  ours   {ours}").unwrap();
        }
    }

    fn case(&mut self, number: usize, case: &Json, verdict: &Json) {
        // What is valid there and not carried out here is no disagreement.
        let errors: Vec<_> =
            verdict["errors"].as_array().unwrap().iter().filter(|error| error["type"] != "Unimplemented").collect();
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let (mut fields, mut messages) = (Vec::new(), Vec::new());
        for (field, message) in case["fields"].as_array().unwrap().iter().zip(case["messages"].as_array().unwrap()) {
            let (field, kind) = (text(&field["field"]), text(&field["type"]));
            if !DIFFERENCES.iter().any(|(end, known, _)| field.ends_with(end) && kind == *known) {
                fields.push(format!("{field} {kind}"));
                messages.push(words(message.as_str().unwrap()));
            }
        }
        let mut our_fields: Vec<_> =
            errors.iter().map(|error| format!("{} {}", text(&error["field"]), text(&error["type"]))).collect();
        let mut our_messages: Vec<_> = errors
            .iter()
            .map(|error| words(&format!("{}: {}", text(&error["field"]), text(&error["message"]))))
            .collect();
        for list in [&mut fields, &mut messages, &mut our_fields, &mut our_messages] {
            list.sort();
        }
        // Which field it was that could not be decoded, Kubernetes does not say.
        let judged = case["stage"] == "validate";
        let refused = if judged { !fields.is_empty() } else { case["ok"] == false };
        let ours = if errors.is_empty() { "valid".to_owned() } else { "refused".to_owned() };
        self.compare(number, 0, if refused { "refused" } else { "valid" }, &ours);
        if judged {
            self.compare(number, 1, &fields.join("\n"), &our_fields.join("\n"));
            self.compare(number, 2, &messages.join("\n"), &our_messages.join("\n"));
        } else {
            self.agreeing[1] += 1;
            self.agreeing[2] += 1;
        }
        if case["ok"] == true || refused {
            let standards = |from: &Json| format!("{} {}", from["baseline"], from["restricted"]);
            self.compare(number, 3, &text(&case["qos"]), &text(&verdict["qos"]));
            self.compare(number, 4, &standards(case), &standards(&verdict["podSecurity"]));
        } else {
            self.agreeing[3] += 1;
            self.agreeing[4] += 1;
        }
    }
}

/// A message without a value that is an object: Kubernetes prints its internal structs there.
fn words(message: &str) -> String {
    match (message.split_once(": {"), message.rsplit_once("}: ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}: {{}}: {after}"),
        _ => message.to_owned(),
    }
}

/// Each case as a file of its own; `GATEPOST_VALIDATION_CASES` names other cases.
fn write_cases(directory: &std::path::Path) -> (Vec<Json>, Vec<PathBuf>) {
    let path = std::env::var("GATEPOST_VALIDATION_CASES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/validation.jsonl").to_owned());
    let text = std::fs::read_to_string(path).expect("the judged cases");
    let cases: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("a case a line")).collect();
    let write = |(number, case): (usize, &Json)| {
        let file = directory.join(format!("{number}.json"));
        std::fs::write(&file, case["manifest"].to_string()).unwrap();
        file
    };
    let files = cases.iter().enumerate().map(write).collect();
    (cases, files)
}

#[test]
fn verdicts_fields_words_classes_and_standards_agree_with_kubernetes() {
    let directory = tempfile::tempdir().unwrap();
    let (cases, files) = write_cases(directory.path());
    let mut agreement = Agreement::default();
    for (numbered, files) in cases.iter().enumerate().collect::<Vec<_>>().chunks(200).zip(files.chunks(200)) {
        let output = validate(&["-o", "json"], files);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let verdicts = lines(&output);
        assert_eq!(verdicts.len(), files.len(), "a line a document");
        for (((number, case), verdict), file) in numbered.iter().zip(&verdicts).zip(files) {
            assert_eq!(verdict["file"], file.to_str().unwrap());
            assert_shape(verdict);
            agreement.case(*number, case, verdict);
        }
    }
    let figures: Vec<_> =
        COMPARED.iter().zip(agreement.agreeing).map(|(what, count)| format!("{what} {count}")).collect();
    println!("of {} cases agree: {}", cases.len(), figures.join(", "));
    assert!(agreement.differing.is_empty(), "{}\n{}", figures.join(", "), agreement.differing);
}

fn assert_shape(verdict: &Json) {
    assert_eq!(keys(verdict), KEYS);
    assert_eq!(keys(&verdict["podSecurity"]), ["baseline", "restricted"]);
    let errors = verdict["errors"].as_array().unwrap();
    assert_eq!(verdict["ok"], errors.is_empty());
    for error in errors {
        assert_eq!(keys(error), ["field", "line", "message", "type"]);
        assert!(TYPES.contains(&error["type"].as_str().unwrap()), "{error}");
        assert!(error["line"].as_u64().unwrap() > 0, "{error}");
    }
    for warning in verdict["warnings"].as_array().unwrap() {
        assert_eq!(keys(warning), ["field", "line", "message"]);
    }
}

#[test]
fn a_pod_that_does_not_meet_the_named_standard_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  hostPID: true\n  containers: [{name: app, image: 'x:1'}]\n";
    std::fs::write(&file, pod).unwrap();
    let files = [file];
    assert!(validate(&[], &files).status.success());
    assert!(validate(&["--pod-security", "privileged"], &files).status.success());
    let output = validate(&["--pod-security", "baseline", "-o", "json"], &files);
    assert_eq!(output.status.code(), Some(1));
    let verdict = &lines(&output)[0];
    assert_eq!(verdict["errors"][0]["type"], "Forbidden");
    assert_eq!(
        verdict["errors"][0]["message"],
        "Forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
    );
    assert_eq!(validate(&["--pod-security", "strong"], &files).status.code(), Some(2));
}

#[test]
fn what_is_no_manifest_at_all_is_refused_with_the_file_and_the_rest_judged() {
    let directory = tempfile::tempdir().unwrap();
    let contents = [("a.yaml", "a: [\n"), ("b.yaml", ""), ("c.yaml", "- 1\n"), ("d.json", "{\"kind\": 1}")];
    let mut files: Vec<PathBuf> = contents
        .iter()
        .map(|(name, content)| {
            let file = directory.path().join(name);
            std::fs::write(&file, content).unwrap();
            file
        })
        .collect();
    files.push(directory.path().join("none.yaml"));
    let verdicts = lines(&validate(&["-o", "json"], &files));
    assert_eq!(verdicts.len(), files.len());
    for verdict in &verdicts {
        assert_eq!(keys(verdict), KEYS);
        assert_eq!(verdict["ok"], false);
        assert!(TYPES.contains(&verdict["errors"][0]["type"].as_str().unwrap()), "{verdict}");
    }
}

#[test]
fn it_needs_no_root_and_reads_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("gatepost");
    std::fs::copy(env!("CARGO_BIN_EXE_gatepost"), &binary).unwrap();
    let judge = |manifest: &[u8]| {
        let mut command = Command::new(&binary);
        command.args(["validate", "-o", "json", "-"]).uid(65534).gid(65534).current_dir("/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains('\u{2028}'));
        (output.status.code(), lines(&output))
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: app, image: 'x:1'}]}\n";
    let (status, verdicts) = judge(pod.as_bytes());
    assert_eq!(
        (status, &verdicts[0]["ok"], &verdicts[0]["qos"]),
        (Some(0), &Json::from(true), &Json::from("BestEffort"))
    );
    // Whatever comes in, a line a document goes out: what cannot be printed does not break it.
    let (status, verdicts) = judge(pod.replace("name: web", "name: \"a\\u2028b\"").as_bytes());
    assert_eq!(status, Some(1));
    assert_eq!(verdicts[0]["name"], "a\u{2028}b");
    assert!(verdicts[0]["errors"][0]["message"].as_str().unwrap().starts_with("Invalid value: \"a\\u2028b\": "));
    for garbage in [&b""[..], b"\0\x01\xff", b"\xff\xfea\0", &b"[".repeat(100_000), &b"- ".repeat(100_000)] {
        let (status, verdicts) = judge(garbage);
        assert_eq!((status, verdicts.len(), &verdicts[0]["ok"]), (Some(1), 1, &Json::from(false)));
    }
}
