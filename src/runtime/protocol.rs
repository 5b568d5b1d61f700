//! What the helper roles of this room say: one [`Report`] each, over [`Helper`].

use std::process::ExitCode;

use super::Failure;
use crate::json::{Deserialize, Serialize};
use crate::sys::helper::Helper;

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
pub(super) fn serve<Q: Deserialize, T: Serialize>(role: &'static str, work: impl FnOnce(Q) -> Outcome<T>) -> ExitCode {
    let mut helper = match Helper::start(role) {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = match helper.request(VERSION).map_err(Failure::internal).and_then(work) {
        Ok((result, warnings)) => Report { version: VERSION, failure: None, warnings, result: Some(result) },
        Err(failure) => Report::failed(failure),
    };
    helper.report(&report, report.failure.is_none())
}

/// As [`serve`] for a role that becomes another program in the end: `work` returns its warnings and the last step, which comes
/// back only when it failed. Without warnings nothing is reported, and the pipe closes when the program is executed.
pub(super) fn serve_until_exec<Q: Deserialize, E: FnOnce()>(
    role: &'static str,
    work: impl FnOnce(&Helper, Q) -> Result<(Vec<String>, E), Failure>,
) -> ExitCode {
    let mut helper = match Helper::start(role) {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let request = helper.request(VERSION).map_err(Failure::internal);
    match request.and_then(|request| work(&helper, request)) {
        Ok((warnings, exec)) => {
            if !warnings.is_empty() {
                helper.report(&Report::<()> { version: VERSION, failure: None, warnings, result: None }, true);
            }
            exec();
            ExitCode::FAILURE
        }
        Err(failure) => helper.report(&Report::<()>::failed(failure), false),
    }
}
