//! [`Failure`]: why a sandbox or container could not be made, in Kubernetes' words, and the runtime's log turned into one.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::json::{self, Deserialize, Serialize};

/// A failure that stands in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// For example `CreateContainerError`.
    pub reason: String,
    /// What, why, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }

    /// Something between gatepost's own parts went wrong.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new("InternalError", message)
    }
}

/// Attaches what was being done and to what to an I/O error.
pub(super) fn context<'a>(reason: &'a str, what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |error| Failure::new(reason, format!("{what} {}: {error}", path.display()))
}

/// How much of the runtime's log is looked at, from its end.
const TAIL: u64 = 16 << 10;

/// The runtime's last error in `<container>/runtime.log` as a failure: `RunContainerError` when the container's own program
/// could not be executed, else `CreateContainerError`. Without any line the message says so.
pub fn log_failure(container_dir: &Path) -> Failure {
    failure_in(&container_dir.join("runtime.log"))
}

/// The same of any log that a runtime has written.
pub fn failure_in(log: &Path) -> Failure {
    match last_error(log) {
        Ok(Some(message)) => Failure::new(reason(&message), message),
        Ok(None) => Failure::new(
            "CreateContainerError",
            "the runtime failed or was ended without a word; try again, or run `gatepost describe pod` for the events before",
        ),
        Err(error) => Failure::new("CreateContainerError", format!("the runtime failed; {}: {error}", log.display())),
    }
}

fn last_error(log: &Path) -> io::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let file = std::fs::File::open(log)?;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(size.saturating_sub(start)).unwrap_or_default()];
    file.read_exact_at(&mut tail, start)?;
    let lines = tail.split(|byte| *byte == b'\n').rev();
    Ok(lines
        .filter_map(|line| json::from_slice::<Line>(line).ok())
        .find(|line| matches!(line.level.as_str(), "error" | "fatal"))
        .map(|line| line.msg))
}

/// runc says `exec: "x": …` and crun `executable file `x` …` when the container's own program is the trouble.
fn reason(message: &str) -> &'static str {
    let own_program =
        ["exec: \"", "executable file ", "exec user process", "exec format error", "chdir to cwd", "open executable"];
    if own_program.iter().any(|words| message.contains(words)) { "RunContainerError" } else { "CreateContainerError" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn failure(log: &str) -> Failure {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("runtime.log"), log).unwrap();
        log_failure(dir.path())
    }

    #[test]
    fn a_program_that_is_not_there_is_a_run_container_error() {
        let runc = r#"{"level":"warning","msg":"x","time":"t"}
{"level":"error","msg":"runc run failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory","time":"t"}
"#;
        assert_eq!(failure(runc).reason, "RunContainerError");
        assert!(failure(runc).message.contains("exec: \"/nope\""));
        let crun = r#"{"msg":"executable file `/nope` not found in $PATH: No such file or directory","level":"error","time":"t"}"#;
        assert_eq!(failure(crun).reason, "RunContainerError");
    }

    #[test]
    fn a_mount_that_fails_is_a_create_container_error() {
        let log = r#"{"level":"error","msg":"runc create failed: error mounting \"/nonexist\" to rootfs at \"/x\": no such file or directory"}"#;
        assert_eq!(failure(log).reason, "CreateContainerError");
    }

    #[test]
    fn an_empty_torn_or_missing_log_is_still_a_failure_with_words() {
        for log in ["", "{\"level\":\"err", "\0\0"] {
            assert_eq!(failure(log).reason, "CreateContainerError");
            assert!(!failure(log).message.is_empty());
        }
        assert!(log_failure(Path::new("/nonexistent")).message.contains("runtime.log"));
    }
}
