//! [`Error`]: why an image could not be named, read, stored or removed.

use std::io;

/// What went wrong. [`Error::reason`] is the short word for events and `get pods`, the text says what, where and what
/// to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reference does not follow the distribution grammar.
    #[error("invalid image name {name:?}: {why}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or entry.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The archive is damaged, lies about a digest, or is not an image archive.
    #[error("{0}")]
    Corrupt(String),
    /// An entry tries to leave the directory it is unpacked into.
    #[error("{0}")]
    Unsafe(String),
    /// A limit of [`super::limits`] is exceeded.
    #[error("{0}")]
    Limit(String),
    /// A well-formed image that this node cannot use.
    #[error("{0}")]
    Unsupported(String),
    /// No such image, file or layer.
    #[error("{0}")]
    NotFound(String),
    /// The image is in use.
    #[error("{0}")]
    InUse(String),
    /// The worker process could not be started or did not answer.
    #[error("{0}")]
    Worker(String),
    /// An error inside something named.
    #[error("{what}: {source}")]
    Within {
        /// The archive, blob or entry.
        what: String,
        /// What happened there.
        source: Box<Error>,
    },
}

impl Error {
    /// One CamelCase word for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidImageName",
            Self::Io { source, .. } if source.raw_os_error() == Some(libc::ENOSPC) => "NoSpace",
            Self::Io { .. } => "ImageIOError",
            Self::Corrupt(_) => "CorruptImage",
            Self::Unsafe(_) => "UnsafeImage",
            Self::Limit(_) => "ImageLimitExceeded",
            Self::Unsupported(_) => "UnsupportedImage",
            Self::NotFound(_) => "ImageNotFound",
            Self::InUse(_) => "ImageInUse",
            Self::Worker(_) => "ImageWorkerFailed",
            Self::Within { source, .. } => source.reason(),
        }
    }

    /// A failed system call, with what it was for.
    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let what = what.into();
        if source.raw_os_error() == Some(libc::ENOSPC) {
            return Self::Io { what: format!("{what} (make room on the data file system, then import again)"), source };
        }
        Self::Io { what, source }
    }

    /// Puts the name of the thing being worked on in front.
    pub(crate) fn within(self, what: impl Into<String>) -> Self {
        Self::Within { what: what.into(), source: Box::new(self) }
    }
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;
