//! [`Helper`]: how every short-lived helper role is spoken to. A JSON request on descriptor 0, one JSON report on
//! descriptor 3, exit status 0 iff the report says that all is well. What they say belongs to the room of the role.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::process::ExitCode;

use super::inherited;
use crate::json::{self, Deserialize, Serialize};

/// Where a helper writes its one report.
pub const REPORT: RawFd = 3;
/// Where a helper finds the descriptor it is given, if its role has one.
pub const PASSED: RawFd = 4;

/// The helper's end.
#[derive(Debug)]
pub struct Helper {
    role: &'static str,
    report: File,
}

impl Helper {
    /// Takes the report pipe, which is closed in whatever the helper executes. To be called once, first thing in the role.
    ///
    /// # Errors
    /// The exit status, when `role` was not started as a helper.
    pub fn start(role: &'static str) -> Result<Self, ExitCode> {
        match inherited::take(REPORT) {
            Ok(pipe) => Ok(Self { role, report: pipe.into() }),
            Err(error) => {
                log::error!(
                    "the role {role} is started by gatepost itself only: no report pipe on descriptor {REPORT}: {error}"
                );
                Err(ExitCode::from(2))
            }
        }
    }

    /// Reads the request, which has to be of this `version`. Both ends are the same binary, but for the moment of its
    /// replacement.
    ///
    /// # Errors
    /// Why it cannot be understood, in words.
    pub fn request<Q: Deserialize>(&self, version: u32) -> Result<Q, String> {
        let mut text = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| error.to_string())
            .and_then(|_| parse(&text, version))
            .map_err(|why| format!("the request to the role {} could not be read: {why}", self.role))
    }

    /// The same with the descriptor at [`PASSED`], `what` it is.
    ///
    /// # Errors
    /// That, or that there is none, in words.
    pub fn request_with<Q: Deserialize>(&self, version: u32, what: &str) -> Result<(OwnedFd, Q), String> {
        let passed = inherited::take(PASSED).map_err(|error| format!("no {what}: {error}"))?;
        Ok((passed, self.request(version)?))
    }

    /// Writes the report; the exit status says whether that worked and all is well.
    pub fn report(&mut self, report: &impl Serialize, ok: bool) -> ExitCode {
        let written = json::to_vec(report).map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| self.report.write_all(&text)) {
            log::error!("{}: the report could not be written: {error}", self.role);
            return ExitCode::FAILURE;
        }
        if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Makes standard input `/dev/null`, so that what is executed next does not inherit the request.
    ///
    /// `may_be_given_away`: who inherits it may change its owner, as crun does for the users of a container. That must not be the
    /// machine's `/dev/null`; a pipe that nobody writes to ends at once, too.
    pub fn drop_request(&self, may_be_given_away: bool) -> io::Result<()> {
        if may_be_given_away {
            let (empty, _) = rustix::pipe::pipe()?;
            return Ok(rustix::stdio::dup2_stdin(&empty)?);
        }
        Ok(rustix::stdio::dup2_stdin(&File::open("/dev/null")?)?)
    }
}

/// The version first: a document of another version may look different altogether.
fn parse<Q: Deserialize>(text: &[u8], version: u32) -> Result<Q, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version: found } = json::from_slice(text).map_err(|error| error.to_string())?;
    if found != version {
        return Err(format!("its version is {found}, this binary speaks {version}; restart gatepost"));
    }
    json::from_slice(text).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wanted {
        what: String,
    }

    #[test]
    fn a_request_of_another_version_is_refused_whatever_else_it_holds() {
        let wanted = |text: &str| parse::<Wanted>(text.as_bytes(), 1);
        assert_eq!(wanted(r#"{"version":1,"what":"x"}"#).unwrap(), Wanted { what: "x".into() });
        assert!(wanted(r#"{"version":2}"#).unwrap_err().contains("version is 2"));
        assert!(wanted(r#"{"version":1}"#).unwrap_err().contains("what"));
        assert!(wanted("").is_err());
    }
}
