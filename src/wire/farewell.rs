//! [`Farewell`]: what a shutdown leaves for the next boot: the role `farewell` writes it, the role `boot` takes it. JSON, in the
//! file [`NAME`] of the state directory.

use serde::{Deserialize, Serialize};

/// The file's name. Where there is none, the machine did not go down in an orderly way.
pub const NAME: &str = "last-boot";

/// Why and how a machine went down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// Version of this format: [`Farewell::VERSION`].
    pub version: u32,
    /// `reboot`, `halt` or `poweroff`.
    pub action: String,
    /// Who or what asked for it.
    #[serde(default)]
    pub reason: String,
    /// When this was written, milliseconds since 1970 as the clock then stood.
    #[serde(default)]
    pub wall_ms: i64,
    /// How long the shutdown had taken by then, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Processes that ended only by SIGKILL.
    #[serde(default)]
    pub killed: u32,
}

impl Farewell {
    /// The version of this program.
    pub const VERSION: u32 = 1;
}
