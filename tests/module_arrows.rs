//! Keeps the module map: which room of `src/` may use which others. The same table is in `docs/design.md`, section 8;
//! a test compares the two. A new arrow is a decision about the architecture: change both, and say why in the second.
//!
//! The scanner below reads tokens, not text, so comments, doc links and strings do not count, and `use` groups, `super`
//! chains and paths in the middle of an expression do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use of ours.
const MAP: &[(&str, &[&str])] = &[
    ("wire", &["json"]),
    ("sorted", &[]),
    ("json", &["sorted"]),
    ("spec", &["json", "sorted"]),
    ("sys", &["json"]),
    ("document", &["json"]),
    ("control", &["json", "sorted"]),
    ("printer", &[]),
    ("trust", &["document"]),
    ("config", &["document", "json", "policy", "sorted"]),
    ("policy", &["json", "sorted"]),
    ("manifest", &["document", "json", "policy", "sorted", "trust"]),
    ("pod", &["json", "manifest", "sorted"]),
    ("oci", &["json", "manifest", "sorted", "spec"]),
    ("init", &["json", "sorted", "sys", "wire"]),
    ("boot", &["config", "json", "sys", "wire"]),
    ("state", &["json", "sys"]),
    ("log", &["json", "sorted", "sys", "wire"]),
    ("image", &["config", "json", "sorted", "spec", "sys"]),
    ("volume", &["config", "json", "manifest", "sorted", "sys"]),
    ("network", &["config", "json", "manifest", "sorted", "sys"]),
    ("runtime", &["config", "image", "json", "manifest", "network", "oci", "sorted", "spec", "sys", "volume"]),
    ("probe", &["json", "manifest", "runtime", "sorted", "sys"]),
    (
        "supervisor",
        &[
            "config", "control", "image", "json", "log", "manifest", "network", "oci", "pod", "policy", "probe",
            "runtime", "sorted", "state", "sys", "volume", "wire",
        ],
    ),
    ("console", &["config", "control", "json", "printer", "sorted", "sys"]),
    (
        "cli",
        &[
            "boot", "config", "control", "image", "json", "log", "manifest", "policy", "printer", "runtime", "sorted",
            "state", "trust",
        ],
    ),
];

/// Files that start a role, and so may name its room whatever the map says.
const ROLE_FILES: &[(&str, &[&str])] = &[
    ("main.rs", &["cli", "runtime"]),
    ("cli/roles.rs", &["init", "probe", "state", "supervisor", "sys"]),
    ("cli/console.rs", &["console"]),
    ("cli/stderr_log.rs", &["sys"]),
    ("cli/host.rs", &["init", "pod", "supervisor", "sys", "wire"]),
    ("cli/prepare.rs", &["state", "supervisor", "sys"]),
    ("cli/worker.rs", &["sys"]),
];

#[test]
fn a_room_uses_only_what_the_map_allows() {
    let mut offences = Vec::new();
    for file in sources() {
        let room = room_of(&file);
        let mut allowed: BTreeSet<&str> = BTreeSet::from([room.as_str()]);
        for (_, may_use) in MAP.iter().filter(|(name, _)| *name == room) {
            allowed.extend(*may_use);
        }
        for (_, may_use) in ROLE_FILES.iter().filter(|(name, _)| Path::new(name) == file) {
            allowed.extend(*may_use);
        }
        for used in uses(&file, &fs::read_to_string(src().join(&file)).unwrap()) {
            if !allowed.contains(used.name.as_str()) {
                offences.push(format!("src/{}:{}: `{room}` uses `{}`", file.display(), used.line, used.name));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "uses that the module map does not allow (docs/design.md, section 8):\n{}",
        offences.join("\n")
    );
}

#[test]
fn every_room_is_in_the_map_and_the_map_names_only_rooms() {
    let rooms: BTreeSet<String> =
        sources().iter().map(|file| room_of(file)).filter(|r| r != "lib" && r != "main").collect();
    let named: BTreeSet<String> = MAP.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, named);
    for (room, may_use) in MAP.iter().chain(ROLE_FILES) {
        for other in *may_use {
            assert!(named.contains(*other), "{room} may use {other}, which is no room");
        }
    }
}

#[test]
fn the_map_has_no_circle() {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    loop {
        let next: Vec<&str> = MAP
            .iter()
            .filter(|(room, may_use)| !settled.contains(room) && may_use.iter().all(|other| settled.contains(other)))
            .map(|(room, _)| *room)
            .collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    let rest: Vec<&str> = MAP.iter().map(|(room, _)| *room).filter(|room| !settled.contains(room)).collect();
    assert!(rest.is_empty(), "these rooms use each other in a circle: {rest:?}");
}

#[test]
fn the_design_document_has_the_same_map() {
    let design = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md")).unwrap();
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in design.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if let [room, _, may_use] = cells[..]
            && MAP.iter().any(|(name, _)| room == format!("`{name}`"))
        {
            let may_use = may_use.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            written.insert(room.trim_matches('`').to_owned(), may_use);
        }
    }
    let kept = MAP
        .iter()
        .map(|(room, may_use)| ((*room).to_owned(), may_use.iter().map(|o| (*o).to_owned()).collect()))
        .collect();
    assert_eq!(written, kept, "left: docs/design.md, section 8; right: the map in this test");
}

#[test]
fn only_the_room_sys_has_unsafe_code() {
    for file in sources().iter().filter(|file| room_of(file) != "sys") {
        let text = fs::read_to_string(src().join(file)).unwrap();
        let found = tokens(&text).into_iter().find(|t| t.text == "unsafe");
        assert!(found.is_none(), "src/{}:{}: unsafe code outside src/sys", file.display(), found.unwrap().line);
    }
}

/// The linker leaves out of `gatepost`, which is locked in memory, only what nothing there calls.
#[test]
fn what_reads_manifests_and_images_is_called_by_the_worker_alone() {
    let entries = ["read_manifests(", "validate_files(", "validate_bytes(", "image::worker::main", "worker::run("];
    let own = |file: &Path| {
        ["manifest", "image"].contains(&room_of(file).as_str())
            || ["cli/worker.rs", "cli/validate.rs", "cli/apply.rs"].iter().any(|name| Path::new(name) == file)
    };
    for file in sources().iter().filter(|file| !own(file)) {
        let text = fs::read_to_string(src().join(file)).unwrap();
        let found = entries.iter().find(|entry| text.contains(**entry));
        assert!(
            found.is_none(),
            "src/{}: {} brings all of it into the binary in memory",
            file.display(),
            found.unwrap()
        );
    }
}

/// Lints deny all else that panics there; there is none for assertions.
#[test]
fn what_pid_1_runs_asserts_nothing() {
    let asserts = ["assert!(", "assert_eq!(", "assert_ne!("];
    for file in sources() {
        let ours = ["init", "sys", "wire"].contains(&room_of(&file).as_str()) && !file.ends_with("tests.rs");
        let text = fs::read_to_string(src().join(&file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim().starts_with("//"));
        let found: Vec<_> = code.filter(|line| asserts.iter().any(|word| line.contains(word))).collect();
        assert!(!ours || found.is_empty(), "{}: {found:?}", file.display());
    }
}

#[test]
fn the_scanner_finds_every_way_to_name_a_room() {
    let found = |file: &str, text: &str| -> Vec<String> {
        uses(Path::new(file), text).into_iter().map(|used| used.name).collect()
    };
    assert_eq!(found("pod/node.rs", "use crate::sys::clock;"), ["sys"]);
    assert_eq!(found("pod/node.rs", "use crate::{sys::{clock, epoll}, wire, log as journal};"), ["sys", "wire", "log"]);
    assert_eq!(found("pod/node.rs", "fn f() -> crate::oci::Facts { gatepost::image::x() }"), ["oci", "image"]);
    assert_eq!(found("pod/mod.rs", "use super::sys;"), ["sys"]);
    assert_eq!(found("pod/mod.rs", "mod tests { use super::*; use super::super::sys; }"), ["sys"]);
    assert_eq!(found("pod/node.rs", "use super::turn::Turn; mod tests { use super::super::super::wire; }"), ["wire"]);
    assert_eq!(
        found("pod/node.rs", "pub(crate) fn f() {} // crate::sys\n/* crate::sys */ const A: &str = r#\"crate::sys\"#;"),
        [""; 0]
    );
    assert_eq!(
        found("pod/node.rs", "fn f<'a>(x: &'a str) -> char { '\"' } use crate::wire::X; const Q: char = '\\'';"),
        ["wire"]
    );
    assert_eq!(found("pod/node.rs", "use crate::*;"), ["*"]);
    assert_eq!(found("pod/node.rs", "use crate as whole;"), ["as"]);
}

/// A room named in a file; `name` is no room's where the file names the crate as a whole.
struct Use {
    name: String,
    line: usize,
}

/// Every room that a file names.
fn uses(file: &Path, text: &str) -> Vec<Use> {
    let tokens = tokens(text);
    let text_at = |at: usize| tokens.get(at).map_or("", |t| t.text.as_str());
    let mut found = Vec::new();
    // For each open inline module the depth of braces it was opened at.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let path_begins = at == 0 || text_at(at - 1) != "::";
        match text_at(at) {
            "mod" if text_at(at + 2) == "{" => inline.push(depth),
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|opened| *opened == depth);
            }
            "crate" if path_begins && text_at(at + 1) != ")" => at = name_rooms(&tokens, at + 1, &mut found),
            "gatepost" if path_begins && text_at(at + 1) == "::" => at = name_rooms(&tokens, at + 1, &mut found),
            "super" if path_begins => {
                let mut ups = 1;
                while text_at(at + 1) == "::" && text_at(at + 2) == "super" {
                    ups += 1;
                    at += 2;
                }
                if ups >= module_depth(file) + inline.len() && text_at(at + 1) == "::" {
                    at = name_rooms(&tokens, at + 1, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Notes the rooms named after `crate`, with `at` on what follows it. Returns the last token taken.
fn name_rooms(tokens: &[Token], at: usize, found: &mut Vec<Use>) -> usize {
    let mut note = |token: &Token| found.push(Use { name: token.text.clone(), line: token.line });
    if tokens[at].text != "::" {
        note(&tokens[at]);
        return at;
    }
    if tokens[at + 1].text != "{" {
        note(&tokens[at + 1]);
        return at + 1;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[index - 1].text.as_str(), "{" | ",") => note(token),
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// How many `super` lead from a file's module to the crate.
fn module_depth(file: &Path) -> usize {
    let names = file.components().count();
    if file.ends_with("mod.rs") { names - 1 } else { names }
}

struct Token {
    text: String,
    line: usize,
}

/// Words, `::` and single punctuation marks; no comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let begin = at;
        let next = chars.get(at + 1).copied().unwrap_or('\0');
        match chars[at] {
            '/' if next == '/' => at += chars[at..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - at),
            '/' if next == '*' => at = after_block_comment(&chars, at),
            '"' => at = after_quoted(&chars, at),
            'r' if matches!(next, '"' | '#') && raw_string_begins(&chars, at) => at = after_raw_string(&chars, at),
            '\'' if next == '\\' => at = after_quoted(&chars, at),
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            '\'' => at += 1 + chars[at + 1..].iter().take_while(|c| word(**c)).count(),
            ':' if next == ':' => {
                tokens.push(Token { text: "::".to_owned(), line });
                at += 2;
            }
            c if word(c) => {
                at += chars[at..].iter().take_while(|c| word(**c)).count();
                let text: String = chars[begin..at].iter().collect();
                // b"…", c"…", br"…": the letters belong to the string that follows.
                if !(matches!(text.as_str(), "b" | "c" | "br" | "cr")
                    && matches!(chars.get(at), Some('"' | '\'' | '#')))
                {
                    tokens.push(Token { text, line });
                } else if text.ends_with('r') {
                    at = after_raw_string(&chars, at - 1);
                }
            }
            c if c.is_whitespace() => at += 1,
            c => {
                tokens.push(Token { text: c.to_string(), line });
                at += 1;
            }
        }
        line += chars[begin..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn after_quoted(chars: &[char], mut at: usize) -> usize {
    let quote = chars[at];
    at += 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string_begins(chars: &[char], at: usize) -> bool {
    chars[at + 1..].iter().find(|c| **c != '#') == Some(&'"')
}

/// With `at` on the `r`.
fn after_raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let mut end = at + 2 + hashes;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}

/// The room of a file, given relative to `src`: its folder, or its own name at the top.
fn room_of(file: &Path) -> String {
    let first = file.components().next().unwrap();
    Path::new(&first).file_stem().unwrap().to_str().unwrap().to_owned()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files, relative to `src`, in order.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path.strip_prefix(src()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
