//! The store's commands for the CLI: each starts one confined `image-worker` process (of the binary `gatepost-worker`) and waits
//! for its report. They work without a running supervisor.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::error::{Error, Result};
use super::limits::MAX_DOCUMENT;
use super::progress::Step;
use super::store::read_limited;
use super::worker::{Command, OUTPUT, PROGRESS, Report, Request, VERSION};
use crate::config::{Layout, WORKER_REMEDY};
use crate::json;
use crate::sys::confine;
use crate::sys::helper::REPORT;
use crate::sys::spawn::memfd_with;

/// Imports an archive; with `discard_layers` its layers are kept unpacked only. `progress` is called for each step the worker tells. The
/// report may say `ok: false`.
pub fn import_command(
    program: &Path,
    layout: &Layout,
    path: &Path,
    name: Option<&str>,
    discard_layers: bool,
    progress: impl FnMut(&Step),
) -> Result<Report> {
    // The worker's working directory is not the caller's.
    let path = std::path::absolute(path).map_err(|e| Error::io(format!("finding {}", path.display()), e))?;
    let command = Command::Import { path, name: name.map(str::to_owned), remember: false };
    let request = Request { version: VERSION, layout: layout.clone(), command, discard_layers };
    order(program, &request, None, progress)
}

/// Removes a name, and with its last name the image. `in_use`: manifest digests of images that containers use.
pub fn remove_command(program: &Path, layout: &Layout, name: &str, in_use: Vec<String>) -> Result<Report> {
    call(program, layout, Command::Remove { name: name.to_owned(), in_use }, |_| ())
}

/// Starts `gatepost-worker`, which lies at `program`, with a command and waits for its report.
pub fn call(program: &Path, layout: &Layout, command: Command, progress: impl FnMut(&Step)) -> Result<Report> {
    let request = Request { version: VERSION, layout: layout.clone(), command, discard_layers: false };
    order(program, &request, None, progress)
}

/// Saves an image to a file, which is empty yet, as an OCI archive.
pub fn save_command(
    program: &Path,
    layout: &Layout,
    name: &str,
    output: OwnedFd,
    progress: impl FnMut(&Step),
) -> Result<Report> {
    let command = Command::Save { name: name.to_owned() };
    let request = Request { version: VERSION, layout: layout.clone(), command, discard_layers: false };
    order(program, &request, Some(output), progress)
}

fn order(
    program: &Path,
    request: &Request,
    output: Option<OwnedFd>,
    mut progress: impl FnMut(&Step),
) -> Result<Report> {
    let failed = |what: &str, e: std::io::Error| Error::io(format!("starting the image worker: {what}"), e);
    let bytes = json::to_vec(request).map_err(|e| Error::Worker(format!("encoding the request: {e}")))?;
    let input = memfd_with("request", &bytes).map_err(|e| failed("request", e.into()))?;
    let (report_read, report_write) = pipe().map_err(|e| failed("pipe", e))?;
    let (steps_read, steps_write) = pipe().map_err(|e| failed("pipe", e))?;
    let mut process = Process::new(program);
    process.arg0("gatepost-worker").arg("image-worker").stdin(Stdio::from(input)).stdout(Stdio::null());
    let given = output.map(|output| (output, OUTPUT));
    confine::pass_fds(
        &mut process,
        [(report_write, REPORT), (steps_write, PROGRESS)].into_iter().chain(given).collect(),
    )
    .map_err(|e| failed("descriptors", e))?;
    let mut child = process
        .spawn()
        .map_err(|e| Error::Worker(format!("cannot start {}: {e}; {WORKER_REMEDY}", program.display())))?;
    // Closes this side's write ends, which the command still holds.
    drop(process);
    // Ends when the worker does: it writes its report (well below a pipe's size for what one call imports) last.
    let reader = std::thread::spawn(move || read_limited(File::from(report_read), MAX_DOCUMENT));
    for line in BufReader::new(File::from(steps_read)).lines().map_while(std::result::Result::ok) {
        if let Ok(step) = json::from_slice::<Step>(line.as_bytes()) {
            progress(&step);
        }
    }
    let report = reader.join().unwrap_or_else(|_| Err(Error::Worker("its report could not be read".into())))?;
    let status = child.wait().map_err(|e| Error::io("waiting for the image worker", e))?;
    json::from_slice(&report)
        .map_err(|_| Error::Worker(format!("the image worker ended without a report ({status}); its log may say why")))
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}
