//! The node's settings: their table, defaults and overrides, and where things lie on this machine.

mod layout;
mod settings;

pub use layout::Layout;
pub use settings::{Backoff, Config, LogLimits, WritableLayer};
