//! The role `state-writer`: replaces durable state files so that a power cut at any instant leaves the old or the new one.
//!
//! The supervisor never waits for a disk, so it hands the documents to this short-lived process ([`Request`]) and goes on.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::StateError;
use crate::json::{self, Deserialize, Serialize};
use crate::sys::helper::Helper;
use crate::sys::replace::replace_durably;

/// Version of [`Request`] and [`Report`].
pub const VERSION: u32 = 1;

/// Largest state file that is read back; a larger one is damaged.
const MAX_FILE: u64 = 64 << 20;

/// What the state writer is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The state directory; made if absent, mode 0700.
    pub directory: PathBuf,
    /// Files to replace: name and content.
    pub write: Vec<(String, String)>,
    /// Files to read.
    pub read: Vec<String>,
    /// Files that are sealed; only [`super::sealed`] knows how.
    #[serde(default)]
    pub seal: Vec<String>,
    /// Where their key is.
    #[serde(default)]
    pub key: String,
}

/// What it answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The files read that were there: name and content.
    pub files: Vec<(String, String)>,
    /// What failed, in words.
    pub error: Option<String>,
    /// What could not be sealed or opened, in words. All else was done.
    #[serde(default)]
    pub withheld: Option<String>,
}

/// The role's entry.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("state-writer") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = match helper.request(VERSION) {
        Ok(request) => carry_out(&request),
        Err(error) => Report { version: VERSION, error: Some(error), ..Report::default() },
    };
    helper.report(&report, report.error.is_none())
}

/// A document that says its version in a field `version`, if it is the one this program knows. Nothing is guessed about another.
pub fn decode<T: json::Deserialize>(content: &str, known: u32) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = json::from_str(content).map_err(|e| e.to_string())?;
    if version != known {
        return Err(format!("its format is version {version}, this program knows {known}"));
    }
    json::from_str(content).map_err(|e| e.to_string())
}

/// Carries a request out.
pub fn carry_out(request: &Request) -> Report {
    let mut report = Report { version: VERSION, ..Report::default() };
    let result = (|| {
        for name in &request.read {
            if let Some(content) = read(&request.directory.join(name))? {
                report.files.push((name.clone(), content));
            }
        }
        if !request.write.is_empty() {
            make_directory(&request.directory)?;
        }
        for (name, content) in &request.write {
            replace(&request.directory, name, content.as_bytes())?;
        }
        Ok::<(), StateError>(())
    })();
    report.error = result.err().map(|e| e.to_string());
    report
}

pub(super) fn make_directory(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| StateError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Option<String>, StateError> {
    let io = |source| StateError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    };
    let mut content = String::new();
    file.take(MAX_FILE).read_to_string(&mut content).map_err(io)?;
    Ok(Some(content))
}

/// Does nothing when the content is the same.
fn replace(directory: &Path, name: &str, content: &[u8]) -> Result<(), StateError> {
    let path = directory.join(name);
    if fs::read(&path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    File::open(directory)
        .and_then(|directory| replace_durably(directory, name, content, 0o600))
        .map_err(|source| StateError::Io { action: "replace", path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn request(directory: &Path) -> Request {
        Request {
            version: VERSION,
            directory: directory.to_owned(),
            write: vec![],
            read: vec![],
            seal: vec![],
            key: String::new(),
        }
    }

    #[test]
    fn files_are_written_and_read_back_and_absent_ones_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let write = Request { write: vec![("x.json".into(), "{}".into())], ..request(&state) };
        assert_eq!(carry_out(&write).error, None);
        let report = carry_out(&Request { read: vec!["x.json".into(), "y.json".into()], ..request(&state) });
        assert_eq!(report.files, [("x.json".to_owned(), "{}".to_owned())]);
    }

    #[test]
    fn a_document_of_another_version_or_of_none_is_refused_by_name() {
        assert_eq!(decode::<serde_json::Value>(r#"{"version":1,"a":2}"#, 1).unwrap()["a"], 2);
        let told = decode::<serde_json::Value>(r#"{"version":2,"a":2}"#, 1).unwrap_err();
        assert_eq!(told, "its format is version 2, this program knows 1");
        assert!(decode::<serde_json::Value>(r#"{"a":2}"#, 1).unwrap_err().contains("version"));
    }

    #[test]
    fn unchanged_content_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let write = Request { write: vec![("x".into(), "1".into())], ..request(dir.path()) };
        carry_out(&write);
        let before = fs::metadata(dir.path().join("x")).unwrap();
        carry_out(&write);
        let after = fs::metadata(dir.path().join("x")).unwrap();
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }

    #[test]
    fn a_failure_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let report =
            carry_out(&Request { write: vec![("x".into(), "1".into())], ..request(&dir.path().join("file/s")) });
        assert!(report.error.unwrap().contains("file/s"));
    }
}
