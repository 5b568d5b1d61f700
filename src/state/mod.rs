//! State on disk: [`volatile`] under `/run`, which a restarted supervisor reads, and [`durable`] on the data partition,
//! which the next boot reads, [`sealed`] where that must not be in clear. Every file is a versioned JSON document that is replaced whole. [`history`] is for a file that people
//! change.

pub mod durable;
pub mod history;
pub mod sealed;
pub mod volatile;

use std::io;
use std::path::PathBuf;

/// A state file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this version writes.
    #[error("{}: {source}; it is set aside and not used", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: crate::json::Error,
    },
    /// The file was written by another version.
    #[error("{}: format version {found}, this gatepost knows {known}; it is set aside and not used", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version this program writes.
        known: u32,
    },
}
