//! The node's settings: their table, defaults and overrides, and where things lie on this machine.

mod layout;
mod read;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use crate::document::duration;
pub use layout::Layout;
pub use read::{ConfigError, load, parse};
pub use settings::{Backoff, Config, Console, ConsoleShell, LogLimits, WritableLayer};
pub use table::reference;
