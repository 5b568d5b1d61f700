//! `gatepost exec`: a command in a running container. The OCI runtime takes this process' place, so that streams, signals, terminal
//! and exit status are its own.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::view::{list, named, part, text};
use super::{order, output, session, target};

/// `gatepost exec`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    let words = invocation.texts()?;
    let (name, arguments) = match (&*words, invocation.after.as_deref()) {
        ([name], Some(arguments)) if !arguments.is_empty() => (*name, arguments),
        ([], _) => return Err(invocation.misuse("name a pod")),
        ([_], _) => return Err(invocation.misuse("name the command to run after `--`")),
        ([_, extra, ..], _) => {
            return Err(
                invocation.misuse(&format!("unexpected argument {extra:?}: the command to run stands after `--`"))
            );
        }
    };
    let snapshot = session::pods(invocation)?;
    let info = session::info(invocation)?;
    let pod = target::find(&snapshot.pods, invocation.namespace()?, name)?;
    let container = order::container(pod, invocation.value("container")?)?;
    let id = running(pod, container)?;
    let terminal = invocation.has("tty") && has_terminal();
    let mut command = Command::new(&info.runtime);
    command.args(runtime_arguments(&info.runtime_root, terminal, &id, arguments));
    if !invocation.has("stdin") {
        command.stdin(Stdio::null());
    }
    let error = command.exec();
    Err(Failure::failed(format!(
        "cannot run the OCI runtime {:?}: {error}: is it installed, and in PATH?",
        info.runtime
    )))
}

/// Whether there is a terminal to hand to the runtime; says so when there is none.
fn has_terminal() -> bool {
    let there = io::stdin().is_terminal();
    if !there {
        output::note("warning: -t has no effect: standard input is not a terminal");
    }
    there
}

/// The arguments of the runtime.
fn runtime_arguments(root: &Path, terminal: bool, id: &str, arguments: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["--root".into(), root.into(), "exec".into()];
    if terminal {
        all.push("--tty".into());
    }
    all.push(id.into());
    all.extend(arguments.iter().cloned());
    all
}

/// The runtime's id of a running container.
fn running(pod: &Value, container: &str) -> Outcome<String> {
    let statuses = list(pod, "/status/containerStatuses");
    let status = named(statuses, container).or_else(|| named(list(pod, "/status/initContainerStatuses"), container));
    let id = status.map_or("", |status| text(status, "/containerID"));
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    if status.is_some_and(|status| part(status, "/state/running").is_some()) && !id.is_empty() {
        return Ok(id.to_owned());
    }
    let waiting = status.map_or("", |status| text(status, "/state/waiting/reason"));
    let why = if !waiting.is_empty() {
        format!(" ({waiting})")
    } else if status.is_some_and(|status| part(status, "/state/terminated").is_some()) {
        " (it has ended)".to_owned()
    } else {
        String::new()
    };
    let pod = text(pod, "/metadata/name");
    Err(Failure::failed(format!(
        "container {container:?} of pod {pod:?} is not running{why}: see `gatepost describe pod {pod}`"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_runtime_is_called_with_our_root_and_id() {
        let arguments = runtime_arguments(Path::new("/run/x"), true, "app-1", &["ls".into(), "-l".into()]);
        assert_eq!(arguments, ["--root", "/run/x", "exec", "--tty", "app-1", "ls", "-l"]);
    }

    #[test]
    fn only_a_running_container_takes_commands() {
        let pod = json!({"metadata": {"name": "web"}, "status": {"containerStatuses": [
            {"name": "a", "containerID": "runc://a-1", "state": {"running": {}}},
            {"name": "b", "containerID": "runc://b-1", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"name": "c", "containerID": "runc://c-1", "state": {"terminated": {"exitCode": 0}}},
        ]}});
        assert_eq!(running(&pod, "a").unwrap(), "a-1");
        assert!(running(&pod, "b").unwrap_err().to_string().contains("not running (CrashLoopBackOff)"));
        assert!(running(&pod, "c").unwrap_err().to_string().contains("it has ended"));
        assert!(running(&pod, "d").is_err());
    }
}
