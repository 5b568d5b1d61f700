//! Transcripts of the system calls by which PID 1 changes the machine, compared with those in `tests/data/transcripts`.
//! `GATEPOST_WRITE_TRANSCRIPTS=1` writes them anew: read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::machine::{CONFIG, Machine};

/// The calls that are told.
const CALLS: &str = "mount,umount2,reboot,kill,sync,execve,execveat,mkdir,setrlimit,prlimit64,mlockall,memfd_create,\
                     fcntl,ioctl,pidfd_send_signal";

/// Boots, lets `end` bring the machine down, and compares what PID 1 and its farewell did.
pub fn compare(name: &str, end: impl FnOnce(&Machine)) {
    let mut machine = Machine::prepare(CONFIG);
    let output = machine.path("trace");
    let calls = format!("trace={CALLS}");
    machine.start_under(&["strace", "-ff", "-qq", "-e", &calls, "-e", "signal=none", "-o", output.to_str().unwrap()]);
    machine.until_supervised();
    end(&machine);
    machine.ended_by();
    let mut found = String::new();
    for (title, word) in [("PID 1", "[\"init\"]"), ("farewell", "\"farewell\"")] {
        let text = trace_with(machine.path("").as_path(), word);
        let _ = writeln!(found, "# {title}");
        for line in text.lines().filter_map(normal) {
            let _ = writeln!(found, "{line}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts").join(name);
    if std::env::var_os("GATEPOST_WRITE_TRANSCRIPTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}: found\n{found}\nexpected\n{expected}");
}

/// The trace of the process that executed a program with this in its arguments, from there on.
fn trace_with(directory: &Path, word: &str) -> String {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("trace.") {
            let text = fs::read_to_string(entry.path()).unwrap();
            if let Some(line) = text.lines().position(|line| line.starts_with("exec") && line.contains(word)) {
                return text.lines().skip(line).fold(String::new(), |all, line| all + line + "\n");
            }
        }
    }
    panic!("no process executed anything with {word}");
}

/// A line without what differs from run to run and from machine to machine; `None` for calls that change nothing.
fn normal(line: &str) -> Option<String> {
    let (call, rest) = line.split_once('(')?;
    let interesting = match call {
        // Of its many kinds only the seals.
        "fcntl" => rest.contains("F_ADD_SEALS"),
        "ioctl" => rest.contains("WDIOC"),
        // Answers of processes that are there or not.
        _ => true,
    };
    if !interesting {
        return None;
    }
    let mut line = line.to_owned();
    if call == "prlimit64" || call == "setrlimit" {
        // Whether it may be raised is the machine's affair.
        line.truncate(line.rfind(" = ")?);
    }
    if call == "kill" && !rest.starts_with("-1,") {
        return None;
    }
    if call == "mkdir" && line.contains("EEXIST") {
        return None;
    }
    let words: Vec<String> = line.split(' ').map(stable).collect();
    Some(words.join(" "))
}

/// Numbers that are descriptors, pids, times and addresses.
fn stable(word: &str) -> String {
    let digits = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let address = digits.starts_with("0x") && digits.len() > 6;
    let number = digits.len() > 3 && digits.chars().all(|c| c.is_ascii_digit());
    if address || number { word.replace(digits, "N") } else { word.to_owned() }
}
