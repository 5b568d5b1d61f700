//! The node's settings: their table, defaults and overrides, and where things lie on this machine.

mod devices;
mod gateway;
mod layout;
mod lenient;
mod read;
mod registries;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod trust;

pub(crate) use crate::document::duration;
pub use devices::{Device, Match, Usb};
pub use gateway::{DataOnFailure, Gateway, Network};
pub use layout::Layout;
pub use lenient::lenient;
pub use read::{ConfigError, load, parse};
pub use settings::{
    Backoff, Config, Console, ConsoleShell, ImageUpkeep, LogLimits, OWN_BINARY, Reserved, WORKER_REMEDY, WritableLayer,
};
pub use table::reference;

/// The configuration file where none is named.
pub const DEFAULT_FILE: &str = "/etc/gatepost/config.yaml";
