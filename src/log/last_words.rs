//! The role `log-tail`: the last lines of a log, for a container that failed without a termination message
//! (`terminationMessagePolicy: FallbackToLogsOnError`). A process of its own, since the log may lie on a disk that hangs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::tail_bytes;
use crate::json::{Deserialize, Serialize};
use crate::sys::helper::Helper;

/// Version of [`Request`] and [`Report`].
pub const VERSION: u32 = 1;

/// kubelet: the last 80 lines, of these the last 2048 bytes.
const LINES: u64 = 80;
const BYTES: usize = 2048;

/// Which log.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The live log file of the instance.
    pub path: PathBuf,
}

/// Its last words.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Bytes that are no UTF-8 are replaced. Empty when nothing was logged, or nothing could be read.
    pub text: String,
}

/// The role's entry.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("log-tail") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let text = helper.request::<Request>(VERSION).and_then(|request| {
        tail_bytes(&request.path, LINES, BYTES).map_err(|error| format!("{}: {error}", request.path.display()))
    });
    match text {
        Ok(text) => {
            helper.report(&Report { version: VERSION, text: String::from_utf8_lossy(&text).into_owned() }, true)
        }
        Err(error) => {
            log::warn!("{error}");
            helper.report(&Report { version: VERSION, ..Report::default() }, false)
        }
    }
}
