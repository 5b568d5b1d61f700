//! The control socket: one JSON request a line, one or more JSON reply lines, both versioned.
//!
//! [`Server`] and [`Connection`] are the half for a single-threaded event loop: no call in them waits. [`Client`] is the
//! blocking half for the command line. Only root may talk: the socket has mode 0600, and each peer's credentials are checked.

mod client;
mod message;
mod server;

pub use client::{Client, ClientError};
pub use message::{Call, Info, Manifest, ManifestState, Reading, Reply, Request, VERSION};
pub use server::{Connection, MAX_BACKLOG, MAX_CONNECTIONS, MAX_REQUEST, Server, ServerError};

#[cfg(test)]
mod tests;
