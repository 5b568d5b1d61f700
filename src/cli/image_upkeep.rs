//! `gatepost image prune`, `df`, `verify` and `save`: what the store takes, and whether it is whole.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::image::{bytes, changed, finished, in_use, layout};
use super::invocation::Invocation;
use super::progress::Progress;
use super::view::{list, text};
use super::{output, session, tabs, worker};
use crate::control::Call;
use crate::image::command::{call, save_command};
use crate::image::worker::{Command, Report};
use crate::image::{Keep, Usage};
use crate::json;

/// What pods want, and what their containers use.
pub(super) fn keep(pods: &[Value]) -> Keep {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let containers = pods.iter().flat_map(|pod| lists.iter().flat_map(|field| list(pod, field)));
    let volumes = pods.iter().flat_map(|pod| list(pod, "/spec/volumes"));
    let names = containers.map(|c| text(c, "/image")).chain(volumes.map(|volume| text(volume, "/image/reference")));
    let mut wanted: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    wanted.sort();
    wanted.dedup();
    Keep { wanted, in_use: in_use(pods) }
}

/// `gatepost image prune`.
pub(super) fn prune(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let all = invocation.has("all");
    let snapshot = session::pods(invocation).map_err(|error| {
        Failure::failed(format!(
            "{error}\nWithout it nobody knows which images are wanted; `gatepost image rm` removes one by name"
        ))
    })?;
    let refused = |pod: &&Value| !text(pod, "/metadata/annotations/gatepost.io~1manifest-error").is_empty();
    if let Some(pod) = snapshot.pods.iter().find(refused).filter(|_| all) {
        return Err(Failure::failed(format!(
            "which images pod {} wants is not known, since its manifest is in error; mend or remove that first",
            text(pod, "/metadata/name")
        )));
    }
    let command = Command::Prune { all, keep: keep(&snapshot.pods) };
    let report = finished(call(&worker::program(invocation), &layout(invocation), command, |_| ()))?;
    tell(&report)?;
    let freed = report.collected.map_or(0, |collected| collected.freed);
    output::print(&format!("{} came free\n", bytes(freed)))?;
    changed(invocation)?;
    Ok(ExitCode::SUCCESS)
}

/// `gatepost image df`.
pub(super) fn df(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    let pods = session::pods(invocation).ok().map(|snapshot| snapshot.pods);
    let keep = pods.as_deref().map(keep);
    let known = keep.is_some();
    let command = Command::Usage { keep: keep.unwrap_or_default() };
    let report = finished(call(&worker::program(invocation), &layout(invocation), command, |_| ()))?;
    let usage = report.usage.unwrap_or_default();
    match invocation.value("output")? {
        None => output::print(&table(&usage, known))?,
        Some("json") => {
            let value = json::to_value(&usage).map_err(|error| Failure::failed(error.to_string()))?;
            output::print(&output::to_json(&value))?;
        }
        Some(other) => return Err(Failure::unknown("output format", other, ["json"], "Formats: json")),
    }
    output::warn(&report.warnings);
    Ok(ExitCode::SUCCESS)
}

fn table(usage: &Usage, known: bool) -> String {
    let mut lines = "WHAT\tCOUNT\tSIZE\n".to_owned();
    for (what, amount) in
        [("blobs", usage.blobs), ("unpacked layers", usage.layers), ("left by imports and pulls", usage.leftovers)]
    {
        writeln!(lines, "{what}\t{}\t{}", amount.count, bytes(amount.bytes)).ok();
    }
    if known {
        writeln!(lines, "of images nobody wants\t\t{}", bytes(usage.unwanted)).ok();
    }
    let (total, percent) = (usage.space.total, usage.space.used_percent());
    writeln!(lines, "file system, {percent}% used\t\t{}", bytes(total)).ok();
    tabs::align(&lines, tabs::TABLE)
}

/// `gatepost image verify`.
pub(super) fn verify(invocation: &Invocation) -> Outcome {
    let repair = invocation.has("repair");
    if !repair {
        invocation.at_most(0)?;
    }
    let program = worker::program(invocation);
    let command = if repair {
        let named = invocation.words.iter().map(|word| {
            std::path::absolute(word)
                .map_err(|e| Failure::failed(format!("finding {}: {e}", Path::new(word).display())))
        });
        let mut paths = named.collect::<Outcome<Vec<_>>>()?;
        paths.extend(session::info(invocation).map(|info| info.preload).unwrap_or_default());
        Command::Repair { paths }
    } else {
        Command::Verify
    };
    let mut progress = Progress::new("verifying", "images");
    let report = call(&program, &layout(invocation), command, |step| progress.step(step.done, step.total, &step.what));
    progress.end();
    let report = finished(report)?;
    tell(&report)?;
    if repair {
        changed(invocation)?;
        for image in &report.damaged {
            match session::order(invocation, Call::PullAgain { image: image.clone() }) {
                Ok(message) => output::print(&format!("{message}\n"))?,
                Err(error) => {
                    output::note(&format!("image {image} stays damaged; import it again, or remove it: {error}"));
                }
            }
        }
    }
    Ok(if report.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `gatepost image save`.
pub(super) fn save(invocation: &Invocation) -> Outcome {
    let names = invocation.texts()?;
    let [name] = names.as_slice() else { return Err(invocation.misuse("name one image")) };
    let Some(target) = invocation.raw("output").map(Path::new) else {
        return Err(invocation.misuse("name the file to write with -o; - is standard output"));
    };
    let failed = |e: std::io::Error| Failure::failed(format!("cannot write {}: {e}", target.display()));
    let to_stdout = target.as_os_str() == "-";
    // A file that is there stays until the new one is complete.
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let file: OwnedFd = if to_stdout {
        std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?
    } else {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&part).map_err(failed)?.into()
    };
    let own = file.try_clone().map_err(failed)?;
    let mut progress = Progress::new("saving", name);
    let report = save_command(&worker::program(invocation), &layout(invocation), name, file, |step| {
        progress.step(step.done, step.total, &step.what);
    });
    progress.end();
    let done = finished(report).and_then(|report| {
        if !to_stdout {
            fs::File::from(own).sync_all().and_then(|()| fs::rename(&part, target)).map_err(failed)?;
        }
        Ok(report)
    });
    let report = done.inspect_err(|_| {
        if !to_stdout {
            // What is half there is of no use to anybody.
            let _ = fs::remove_file(&part);
        }
    })?;
    output::warn(&report.warnings);
    for line in &report.done {
        output::note(line);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(report: &Report) -> Outcome<()> {
    for line in &report.done {
        output::print(&format!("{line}\n"))?;
    }
    output::warn(&report.warnings);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_and_image_volumes_are_wanted_too() {
        let pods = [json!({"spec": {
            "initContainers": [{"image": "b"}],
            "containers": [{"image": "c:1"}, {"image": "b"}],
            "volumes": [{"name": "x", "image": {"reference": "a"}}, {"name": "y", "emptyDir": {}}],
        }, "status": {"containerStatuses": [{"imageID": "sha256:aa"}]}})];
        assert_eq!(
            keep(&pods),
            Keep { wanted: vec!["a".into(), "b".into(), "c:1".into()], in_use: vec!["sha256:aa".into()] }
        );
    }
}
