//! [`lines`]: what a container's log files hold, over restarts and rotation.

use std::fs;
use std::path::{Path, PathBuf};

/// One stored line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub stream: String,
    pub text: String,
}

/// The directory of the logs of `pod` (its full name) in namespace `default`.
pub fn directory(logs: &Path, pod: &str, uid: &str) -> PathBuf {
    logs.join(format!("default_{pod}_{uid}"))
}

/// Every line of a container's log, from the oldest to the newest.
pub fn lines(directory: &Path) -> Vec<Line> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_by_key(|path| age(path.file_name().unwrap().to_str().unwrap()));
    let mut lines = Vec::new();
    let mut partial: [String; 2] = [String::new(), String::new()];
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        assert!(content.is_empty() || content.ends_with('\n'), "{} ends within a line", file.display());
        for line in content.lines() {
            let mut fields = line.splitn(4, ' ');
            let [_, stream, tag, text] =
                [(); 4].map(|()| fields.next().unwrap_or_else(|| panic!("no CRI line: {line:?}")));
            let held = &mut partial[usize::from(stream == "stderr")];
            held.push_str(text);
            if tag == "F" {
                lines.push(Line { stream: stream.to_owned(), text: std::mem::take(held) });
            }
        }
    }
    lines
}

/// Sorts `<n>.log.<stamp>[.<k>]` before `<n>.log`.
fn age(name: &str) -> (u32, bool, String, u32) {
    let (instance, rest) = name.split_once(".log").unwrap_or_else(|| panic!("{name} is no log file"));
    let rest = rest.trim_start_matches('.');
    let (stamp, count) = rest.split_once('.').unwrap_or((rest, "0"));
    (instance.parse().unwrap(), rest.is_empty(), stamp.to_owned(), count.parse().unwrap())
}

/// Asserts that the lines of `stream` are `prefix 1`, `prefix 2` … without a gap or a repeat; gives the last number.
pub fn assert_gapless(lines: &[Line], stream: &str, prefix: &str) -> u64 {
    let mut last = 0;
    for line in lines.iter().filter(|line| line.stream == stream) {
        let Some(number) = line.text.strip_prefix(prefix).and_then(|rest| rest.trim().parse::<u64>().ok()) else {
            panic!("after {prefix}{last} on {stream} comes {:?}", line.text);
        };
        assert_eq!(number, last + 1, "on {stream} after {prefix}{last}");
        last = number;
    }
    last
}
