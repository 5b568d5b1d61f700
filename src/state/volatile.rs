//! [`read`] and [`write`]: small JSON documents on the private tmpfs. They cost no disk access, so the loop may call them.

use std::fs;
use std::io;
use std::path::Path;

use super::StateError;
use crate::json::{self, Deserialize, Serialize};
use crate::sys::replace::replace;

/// Format version of every volatile document; a supervisor of another version sets them aside.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Out<'a, T> {
    version: u32,
    body: &'a T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct In<T> {
    body: T,
}

/// Replaces the document at `path`. Atomic for a reader and for a kill at any instant; no fsync, since tmpfs has no disk.
pub fn write<T: Serialize>(path: &Path, body: &T) -> Result<(), StateError> {
    let io = |action| move |source: io::Error| StateError::Io { action, path: path.to_owned(), source };
    let text = json::to_vec(&Out { version: VERSION, body }).map_err(|e| io("encode")(e.into()))?;
    replace(path, &text, 0o600).map_err(io("write"))
}

/// The document at `path`; `None` when there is none.
pub fn read<T: Deserialize>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { action: "read", path: path.to_owned(), source }),
    };
    let format = |source| StateError::Format { path: path.to_owned(), source };
    let Version { version } = json::from_slice(&bytes).map_err(format)?;
    if version != VERSION {
        return Err(StateError::Version { path: path.to_owned(), found: version, known: VERSION });
    }
    let document: In<T> = json::from_slice(&bytes).map_err(format)?;
    Ok(Some(document.body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), None);
        write(&path, &vec![1, 2]).unwrap();
        write(&path, &vec![1, 2, 3]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_document_of_another_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, r#"{"version":99,"body":[]}"#).unwrap();
        let error = read::<Vec<u32>>(&path).unwrap_err().to_string();
        assert!(error.contains("version 99") && error.contains("a.json"), "{error}");
    }

    #[test]
    fn garbage_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, b"\0\xff").unwrap();
        assert!(read::<Vec<u32>>(&path).unwrap_err().to_string().contains("a.json"));
    }
}
