//! `gatepost image`: the store of this node. The work is done by a confined worker; a running supervisor is told of it afterwards.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::progress::Progress;
use super::view::{list, or_none, text};
use super::{age, image_upkeep, output, session, tabs, worker};
use crate::config::Layout;
use crate::control::Call;
use crate::image::command::call;
use crate::image::worker::{Command, Report};
use crate::image::{ImageSummary, import_command, remove_command};
use crate::json;

/// `gatepost image ls`.
pub(super) fn ls(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let json = match invocation.value("output")? {
        None => false,
        Some("json") => true,
        Some(other) => return Err(Failure::unknown("output format", other, ["json"], "Formats: json")),
    };
    let keep = session::pods(invocation).map(|snapshot| image_upkeep::keep(&snapshot.pods)).unwrap_or_default();
    let report = finished(call(&worker::program(invocation), &layout(invocation), Command::Usage { keep }, |_| ()))?;
    if json {
        let images = json::to_value(&report.images).map_err(|error| Failure::failed(error.to_string()))?;
        output::print(&output::to_json(&images))?;
    } else {
        output::print(&table(&report.images, !invocation.has("no-headers"), age::now()))?;
    }
    output::warn(&report.warnings);
    Ok(ExitCode::SUCCESS)
}

/// `gatepost image import`.
pub(super) fn import(invocation: &Invocation) -> Outcome {
    let name = invocation.value("name")?;
    match invocation.words.len() {
        0 => return Err(invocation.misuse("name an archive")),
        1 => {}
        _ if name.is_some() => return Err(invocation.misuse("--name is for one file")),
        _ => {}
    }
    let (program, layout) = (worker::program(invocation), layout(invocation));
    let discard = session::info(invocation).is_ok_and(|info| info.discard_layers);
    each(invocation, |word| {
        let path = Path::new(word);
        let mut progress = Progress::new("importing", &path.display().to_string());
        let report = import_command(&program, &layout, path, name, discard, |step| {
            progress.step(step.done, step.total, &step.what);
        });
        progress.end();
        report
    })
}

/// `gatepost image build-flash`.
#[cfg(feature = "complete")]
pub(super) fn build_flash(invocation: &Invocation) -> Outcome {
    use crate::image::{build_flash, flash::KINDS};
    let [archive, out] = invocation.words.as_slice() else {
        return Err(invocation.misuse("name an archive, and a directory for the files"));
    };
    let kind = invocation.value("format")?.unwrap_or(KINDS[0]);
    if !KINDS.contains(&kind) {
        return Err(Failure::unknown("file system", kind, KINDS, "File systems: squashfs, erofs"));
    }
    let (archive, worker) = (Path::new(archive), worker::program(invocation));
    let build =
        build_flash::Build { worker: &worker, archive, name: invocation.value("name")?, kind, out: Path::new(out) };
    let mut progress = Progress::new("reading", &archive.display().to_string());
    let report = build_flash::build(&build, |step| progress.step(step.done, step.total, &step.what));
    progress.end();
    let report = finished(report)?;
    for line in &report.done {
        output::print(&format!("{line}\n"))?;
    }
    output::warn(&report.warnings);
    Ok(ExitCode::SUCCESS)
}

/// `gatepost image rm`.
pub(super) fn rm(invocation: &Invocation) -> Outcome {
    if invocation.words.is_empty() {
        return Err(invocation.misuse("name an image"));
    }
    invocation.texts()?;
    let (program, layout) = (worker::program(invocation), layout(invocation));
    // Without a supervisor nothing is known to be in use but by containers it left running: their images' layers stay mounted.
    let in_use = session::pods(invocation).map(|snapshot| in_use(&snapshot.pods)).unwrap_or_default();
    each(invocation, |word| remove_command(&program, &layout, &word.to_string_lossy(), in_use.clone()))
}

/// Does the work for each word, prints what was done, and tells a running supervisor. One failure does not keep the others from theirs.
fn each(invocation: &Invocation, mut work: impl FnMut(&std::ffi::OsStr) -> crate::image::Result<Report>) -> Outcome {
    let mut status = ExitCode::SUCCESS;
    let mut done = false;
    for word in &invocation.words {
        match finished(work(word)) {
            Ok(report) => {
                done = true;
                for line in &report.done {
                    output::print(&format!("{line}\n"))?;
                }
                output::warn(&report.warnings);
            }
            Err(failure) => {
                output::note(&format!("error: {failure}"));
                status = ExitCode::FAILURE;
            }
        }
    }
    if done {
        changed(invocation)?;
    }
    Ok(status)
}

/// Tells a running supervisor. Nobody has to be told when nobody is there.
pub(super) fn changed(invocation: &Invocation) -> Outcome<()> {
    if let Ok(mut client) = session::connect(invocation) {
        client.ask(Call::ImagesChanged)?;
    }
    Ok(())
}

/// The worker's report, when it says that all was done.
pub(super) fn finished(report: crate::image::Result<Report>) -> Outcome<Report> {
    let report = report.map_err(|error| Failure::failed(error.to_string()))?;
    if report.ok { Ok(report) } else { Err(Failure::failed(report.message)) }
}

/// Where the store lies: as told, else where the running gatepost has it, else the default.
pub(super) fn layout(invocation: &Invocation) -> Layout {
    let mut layout = invocation.layout();
    if let Some(data) = invocation.raw("data-dir") {
        layout.data = PathBuf::from(data);
    } else if let Ok(info) = session::info(invocation) {
        (layout.data, layout.preload) = (info.data, info.preload);
    }
    layout
}

/// Manifest digests of the images that containers use.
pub(super) fn in_use(pods: &[Value]) -> Vec<String> {
    let statuses = pods.iter().flat_map(|pod| {
        ["/status/containerStatuses", "/status/initContainerStatuses"].iter().flat_map(|field| list(pod, field))
    });
    let mut digests: Vec<String> = statuses
        .filter_map(|status| text(status, "/imageID").rsplit_once("sha256:"))
        .map(|(_, hex)| format!("sha256:{hex}"))
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

/// One line a name.
fn table(images: &[ImageSummary], headers: bool, now: i64) -> String {
    let mut lines = String::new();
    if headers {
        lines.push_str("IMAGE\tIMAGE ID\tPLATFORM\tCREATED\tSIZE\tSHARED\tOWN\n");
    }
    // What not even a name is known of has its warning.
    for image in images.iter().filter(|image| image.problem.is_none() || !image.names.is_empty()) {
        let id: String = image.config_digest.trim_start_matches("sha256:").chars().take(12).collect();
        let created = image.created.as_deref().map_or_else(|| "<unknown>".to_owned(), |created| age::ago(created, now));
        let none = [String::new()];
        let names = if image.names.is_empty() { &none[..] } else { &image.names };
        for name in names {
            let [shared, own] = [image.shared, image.own].map(|size| size.map_or_else(String::new, bytes));
            // What runs from flash takes nothing of the disk.
            let own = if image.flash.is_some() { "(flash)".to_owned() } else { own };
            let (platform, size) = (or_none(&image.platform), bytes(image.size));
            writeln!(lines, "{}\t{id}\t{platform}\t{created}\t{size}\t{shared}\t{own}", or_none(name)).ok();
        }
    }
    tabs::align(&lines, tabs::TABLE)
}

/// `12.3MB`, as other image tools count: in thousands.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count}B");
    }
    let (mut whole, mut rest, mut unit) = (count, 0, "B");
    for next in UNITS {
        if whole < 1000 {
            break;
        }
        rest = whole % 1000;
        whole /= 1000;
        unit = next;
    }
    format!("{whole}.{}{unit}", rest / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (1_234_567, "1.2MB"),
            (185_000_000, "185.0MB"),
            (u64::MAX, "18446.7PB"),
        ];
        for (count, text) in table {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn images_of_containers_are_in_use() {
        let pods = [json!({"status": {
            "containerStatuses": [{"imageID": "docker.io/x@sha256:aa"}, {"imageID": ""}],
            "initContainerStatuses": [{"imageID": "sha256:bb"}, {"imageID": "sha256:aa"}],
        }})];
        assert_eq!(in_use(&pods), ["sha256:aa", "sha256:bb"]);
    }
}
