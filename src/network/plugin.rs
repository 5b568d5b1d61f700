//! [`call`]: one call of a CNI plugin (CNI specification, sections 2 and 3).

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use super::result;
use crate::json;
use crate::sys::spawn::memfd_with;

/// How long a plugin may take. On a slow board one with ten calls of iptables(8) takes four seconds.
const BOUND: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// What of a plugin's output is read, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;
/// Plugins look for other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a plugin is called for.
pub(super) struct Call<'a> {
    /// `ADD` or `DEL`.
    pub(super) command: &'static str,
    pub(super) container_id: &'a str,
    /// Empty: it is gone.
    pub(super) netns: &'a Path,
    pub(super) args: &'a str,
    pub(super) directories: &'a [PathBuf],
}

/// Runs a plugin and gives what it answers: null for nothing.
pub(super) fn call(kind: &str, call: &Call<'_>, request: &Value) -> Result<Value, String> {
    let failed = |why: String| format!("plugin type={kind:?} failed ({}): {why}", call.command.to_ascii_lowercase());
    let shown = || call.directories.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(":");
    let binary = call.directories.iter().map(|directory| directory.join(kind)).find(|path| path.is_file());
    let Some(binary) = binary else {
        let why = failed(format!("failed to find plugin {kind:?} in path [{}]", shown()));
        if call.command == "ADD" {
            return Err(why);
        }
        // Nobody is there to undo anything, and the pod must be able to go.
        log::warn!("{why}");
        return Ok(Value::Null);
    };
    let input = json::to_vec(request).map_err(|error| failed(error.to_string()))?;
    let (status, out, err) = run(&binary, call, &shown(), &input)
        .map_err(|error| failed(format!("running {}: {error}", binary.display())))?;
    let answer = json::from_slice::<Value>(&out).unwrap_or(Value::Null);
    if status.success() {
        return Ok(answer);
    }
    let said = result::error(&answer).unwrap_or_else(|| {
        let words = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        format!("{status}: {}", words.join(" ").trim())
    });
    Err(failed(said))
}

/// Input and output lie in memory, so that nobody waits for a pipe.
fn run(binary: &Path, call: &Call<'_>, path: &str, input: &[u8]) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let memory = || rustix::fs::memfd_create("plugin", MemfdFlags::CLOEXEC).map(File::from);
    let (mut out, mut err) = (memory()?, memory()?);
    let mut command = Command::new(binary);
    command
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container_id)
        .env("CNI_NETNS", call.netns)
        .env("CNI_IFNAME", super::attachment::INTERFACE)
        .env("CNI_ARGS", call.args)
        .env("CNI_PATH", path)
        .stdin(memfd_with("plugin", input)?)
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?);
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", PATH);
    }
    let mut child = command.spawn()?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&BOUND))? == 0 {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::other(format!("not done after {} s", BOUND.tv_sec)));
    }
    let status = child.wait()?;
    let text = |file: &mut File| -> io::Result<Vec<u8>> {
        file.rewind()?;
        let mut text = Vec::new();
        file.take(MAX_OUTPUT).read_to_end(&mut text)?;
        Ok(text)
    };
    Ok((status, text(&mut out)?, text(&mut err)?))
}
