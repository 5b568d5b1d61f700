//! `gatepost boot-chart`: the boot as a picture, from the lines that init, boot and supervisor leave below `/run/gatepost`.

mod svg;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output;

/// Bytes of the file that are read; its writers keep to 256 lines.
const MAX_BYTES: u64 = 1 << 20;

/// `gatepost boot-chart`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let path = invocation.layout().boot_chart();
    let parts = read(&path)?;
    let picture = if invocation.has("json") { document(&parts) } else { svg::draw(&parts) };
    match invocation.raw("output") {
        None => output::print(&picture)?,
        Some(file) => {
            fs::write(file, picture)
                .map_err(|error| Failure::failed(format!("cannot write {}: {error}", Path::new(file).display())))?;
            if let Some(first) = First::of(&parts) {
                output::note(&first.words());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Something that took a part of the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// CLOCK_BOOTTIME in microseconds.
    begin: u64,
    /// The same; not before `begin`.
    end: u64,
    /// Whose part it is.
    room: String,
    /// What it was.
    name: String,
}

/// The same for programs: the figures, and each part. Times are CLOCK_BOOTTIME in microseconds.
fn document(parts: &[Part]) -> String {
    let first = First::of(parts).map(|first| {
        json!({
            "from": first.from, "atMicros": first.at, "totalMicros": first.total, "runtimeMicros": first.runtime,
            "ownMicros": first.own(),
        })
    });
    let parts: Vec<Value> = parts
        .iter()
        .map(|part| json!({ "beginMicros": part.begin, "endMicros": part.end, "room": part.room, "name": part.name }))
        .collect();
    format!("{}\n", output::to_json(&json!({ "version": 1, "firstContainer": first, "parts": parts })).trim_end())
}

fn read(path: &Path) -> Outcome<Vec<Part>> {
    let failed = |why: String| Failure::failed(format!("{}: {why}", path.display()));
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed("there is no record of a start: does gatepost run here (--run-dir)?".to_owned()));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    if length > MAX_BYTES {
        return Err(failed(format!("larger than {MAX_BYTES} bytes; this is no record of a start")));
    }
    let parts = parse(&String::from_utf8_lossy(&fs::read(path).map_err(|error| failed(error.to_string()))?));
    if parts.is_empty() { Err(failed("nothing is recorded".to_owned())) } else { Ok(parts) }
}

/// Lines of begin, end, room and name, separated by tabs, by their begin. What is no such line is left out: one may be half written.
fn parse(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(4, '\t');
            let begin = fields.next()?.parse().ok()?;
            let end: u64 = fields.next()?.parse().ok()?;
            let (room, name) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            (end >= begin).then_some(Part { begin, end, room, name })
        })
        .collect();
    parts.sort_by_key(|part| (part.begin, part.end));
    parts
}

/// How long it took to the first process of a container.
#[derive(Debug, PartialEq, Eq)]
struct First {
    /// Where it is counted from.
    from: &'static str,
    /// When the process was there, CLOCK_BOOTTIME in microseconds.
    at: u64,
    /// Microseconds to the end of the first start.
    total: u64,
    /// Microseconds of it with a call of the OCI runtime under way.
    runtime: u64,
}

impl First {
    fn of(parts: &[Part]) -> Option<Self> {
        let begin_of = |room: &str| parts.iter().filter(|part| part.room == room).map(|part| part.begin).min();
        let (from, begin) = match (begin_of("init"), begin_of("supervisor")) {
            (Some(begin), _) => ("init's start", begin),
            (None, Some(begin)) => ("the supervisor's start", begin),
            (None, None) => return None,
        };
        let end = parts.iter().filter(|part| part.room == "container").map(|part| part.end).min()?;
        let mut runtime = 0_u64;
        // Calls side by side count once; the parts are in order.
        let mut counted = begin;
        for call in parts.iter().filter(|part| part.room == "runtime") {
            let (from, to) = (call.begin.max(counted), call.end.min(end));
            runtime = runtime.saturating_add(to.saturating_sub(from));
            counted = counted.max(to);
        }
        Some(Self { from, at: end, total: end.saturating_sub(begin), runtime })
    }

    /// Microseconds that are gatepost's own.
    fn own(&self) -> u64 {
        self.total.saturating_sub(self.runtime)
    }

    fn words(&self) -> String {
        format!(
            "From {} to the first container's process: {}; calls of the OCI runtime: {}; own time: {}.",
            self.from,
            milliseconds(self.total),
            milliseconds(self.runtime),
            milliseconds(self.own())
        )
    }
}

/// Microseconds as `1.2 ms` or `123 ms`.
fn milliseconds(us: u64) -> String {
    if us < 10_000 { format!("{}.{} ms", us / 1000, us % 1000 / 100) } else { format!("{} ms", us / 1000) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const RECORD: &str = include_str!("../../tests/data/boot-chart/gateway.tsv");

    #[test]
    fn lines_that_are_none_are_left_out() {
        let parts = parse("5\t7\tinit\ta\tb\nx\t1\tr\tn\n9\t8\tr\tbackwards\n1\t2\tr\n3\t4\troom\t<name>");
        let names: Vec<_> = parts.iter().map(|part| (part.begin, part.end, part.name.as_str())).collect();
        assert_eq!(names, [(3, 4, "<name>"), (5, 7, "a\tb")]);
    }

    #[test]
    fn the_runtimes_share_counts_calls_side_by_side_once() {
        let text = "0\t100\tkernel\tkernel\n100\t200\tinit\tx\n150\t300\truntime\ta\n200\t350\truntime\tb\n\
                    140\t400\tcontainer\ta\n390\t900\truntime\tc\n";
        let first = First::of(&parse(text)).unwrap();
        assert_eq!(first, First { from: "init's start", at: 400, total: 300, runtime: 210 });
        assert_eq!(First::of(&parse("1\t2\tinit\tx\n")), None);
    }

    #[test]
    fn the_picture_of_a_boot_is_the_golden_one() {
        let picture = svg::draw(&parse(RECORD));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/boot-chart/gateway.svg");
        if std::env::var_os("GATEPOST_WRITE_DOCS").is_some() {
            fs::write(&path, &picture).unwrap();
        }
        assert_eq!(
            picture,
            fs::read_to_string(&path).unwrap(),
            "written anew with GATEPOST_WRITE_DOCS=1; look at it then"
        );
    }

    #[test]
    fn the_document_has_the_figures_and_every_part() {
        let document: Value = serde_json::from_str(&document(&parse(RECORD))).unwrap();
        let first = &document["firstContainer"];
        let micros = |name: &str| first[name].as_u64().unwrap();
        assert_eq!(micros("ownMicros"), micros("totalMicros") - micros("runtimeMicros"));
        assert_eq!(micros("atMicros"), 1_961_000);
        assert_eq!(document["parts"].as_array().unwrap().len(), RECORD.lines().count());
        assert_eq!(document["parts"][0]["room"], "kernel");
    }

    #[test]
    fn a_name_cannot_break_the_picture() {
        let picture = svg::draw(&parse("1\t2\tinit\t</text>&\"'\u{1}\u{1b}[2J\n"));
        assert!(picture.contains("&lt;/text&gt;&amp;&quot;&#39;  [2J"), "{picture}");
    }
}
