//! The helper protocol: a JSON request on descriptor 0, one JSON [`Report`] on descriptor 3, exit status 0 iff it says ok.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::sys::helper;

/// Version of the requests and reports of this room; both ends are the same binary but for the moment of its replacement.
pub const VERSION: u32 = 1;

/// What a helper has to say. `launch` says nothing when all is well: it has become the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<T> {
    /// [`VERSION`].
    pub version: u32,
    /// Why it failed; `None` when it did not.
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    pub failure: Option<Failure>,
    /// What worked, but not as asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it found; `None` when it failed.
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    pub result: Option<T>,
}

impl<T> Report<T> {
    /// A report of failure.
    pub fn failed(failure: Failure) -> Self {
        Self { version: VERSION, failure: Some(failure), warnings: Vec::new(), result: None }
    }
}

/// What a role returns: its result and warnings.
pub type Outcome<T> = Result<(T, Vec<String>), Failure>;

/// Reads the request, does the role's work and reports.
pub(super) fn serve<Q: Request, T: Serialize>(role: impl FnOnce(Q) -> Outcome<T>) -> ExitCode {
    let mut pipe = match helper::take_report_pipe() {
        Ok(pipe) => pipe,
        Err(error) => return not_a_helper(&error),
    };
    let report = match read_request().and_then(role) {
        Ok((result, warnings)) => Report { version: VERSION, failure: None, warnings, result: Some(result) },
        Err(failure) => Report::failed(failure),
    };
    write_report(&mut pipe, &report)
}

/// As [`serve`] for a role that becomes another program in the end: `role` returns its warnings and the last step, which comes
/// back only when it failed. Without warnings nothing is reported, and the pipe closes when the program is executed.
pub(super) fn serve_until_exec<Q: Request, E: FnOnce()>(
    role: impl FnOnce(Q) -> Result<(Vec<String>, E), Failure>,
) -> ExitCode {
    let mut pipe = match helper::take_report_pipe() {
        Ok(pipe) => pipe,
        Err(error) => return not_a_helper(&error),
    };
    match read_request().and_then(role) {
        Ok((warnings, exec)) => {
            if !warnings.is_empty() {
                write_report(&mut pipe, &Report::<()> { version: VERSION, failure: None, warnings, result: None });
            }
            exec();
            ExitCode::FAILURE
        }
        Err(failure) => write_report(&mut pipe, &Report::<()>::failed(failure)),
    }
}

fn not_a_helper(error: &std::io::Error) -> ExitCode {
    log::error!("this role is started by the supervisor only: no report pipe on descriptor 3: {error}");
    ExitCode::from(2)
}

/// Writes a report and turns it into the exit status.
fn write_report<T: Serialize>(pipe: &mut File, report: &Report<T>) -> ExitCode {
    let written = serde_json::to_vec(report).map_err(std::io::Error::from).and_then(|text| pipe.write_all(&text));
    if let Err(error) = &written {
        log::error!("the report could not be written: {error}");
    }
    if written.is_ok() && report.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What every request says of itself.
pub(super) trait Request: DeserializeOwned {
    /// Its version; another than [`VERSION`] is refused.
    fn version(&self) -> u32;
}

fn read_request<Q: Request>() -> Result<Q, Failure> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unreadable = |error: String| Failure::internal(format!("the request could not be read: {error}"));
    let other =
        |version: u32| unreadable(format!("its version is {version}, this binary speaks {VERSION}; restart gatepost"));
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    match serde_json::from_slice::<Q>(&text) {
        Ok(request) if request.version() == VERSION => Ok(request),
        Ok(request) => Err(other(request.version())),
        // Another version may well look different altogether; then that is what to say.
        Err(error) => Err(match serde_json::from_slice::<Versioned>(&text) {
            Ok(Versioned { version }) if version != VERSION => other(version),
            _ => unreadable(error.to_string()),
        }),
    }
}
