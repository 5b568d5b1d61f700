//! Container logs: copying what containers print into CRI log files, and reading those files back.
//!
//! * [`writer`] is the role `log-writer`, driven by the supervisor with the messages of [`protocol`].
//! * [`reader`] is what `gatepost logs` uses.

mod cri;
mod files;
mod inventory;
mod journal;
pub mod last_words;
pub mod protocol;
pub mod reader;
mod store;
mod tail;
pub mod writer;

pub use reader::tail_bytes;
