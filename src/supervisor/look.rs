//! The role `look`: whether the path of a start condition is there, and what tells when that changes. A process of its own,
//! since looking up a path may wait for a disk. Main function: [`main`].

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::inotify::{self, WatchFlags};

use crate::json::{Deserialize, Serialize};
use crate::sys::helper::Helper;

/// Version of request and report.
pub(crate) const VERSION: u32 = 1;

/// Directories that may appear one in the other while the nearest one is looked for.
const STEPS: usize = 64;

/// What to look for, with the inotify instance at [`PASSED`](crate::sys::helper::PASSED).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// An absolute path.
    pub(crate) path: String,
}

/// What was found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Whether there was an instance to watch with.
    pub(crate) ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether the path is there.
    pub(crate) there: bool,
    /// The watch of the nearest directory that is there, and the name in it that leads to the path.
    pub(crate) watch: Option<(i32, String)>,
}

/// The role `look`.
pub(crate) fn main() -> ExitCode {
    let mut helper = match Helper::start("look") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = match helper.request_with::<Request>(VERSION, "inotify instance") {
        Ok((changes, request)) => look(changes.as_fd(), Path::new(&request.path)),
        Err(error) => Report { version: VERSION, error: Some(error), ..Report::default() },
    };
    helper.report(&report, report.ok)
}

/// Watches first and looks afterwards, so that nothing falls between.
pub(crate) fn look(changes: BorrowedFd<'_>, path: &Path) -> Report {
    let mut watch = None;
    for _ in 0..STEPS {
        let Some((directory, below)) = nearest(path) else { break };
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        if let Ok(descriptor) = inotify::add_watch(changes, directory, flags) {
            let name = below.file_name().unwrap_or_default().to_string_lossy().into_owned();
            watch = Some((descriptor, name));
            // Had the next directory come before the watch, nobody would tell of what comes in it.
            if below == path || !below.is_dir() {
                break;
            }
        }
    }
    Report { version: VERSION, ok: true, error: None, there: fs::symlink_metadata(path).is_ok(), watch }
}

/// The nearest directory above `path` that is there, and what is next below it on the way.
fn nearest(path: &Path) -> Option<(&Path, &Path)> {
    let mut below = path;
    while let Some(directory) = below.parent() {
        if directory.is_dir() {
            return Some((directory, below));
        }
        below = directory;
    }
    None
}
