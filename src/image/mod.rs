//! Images: their names, the store, import, unpacking, verification and removal.
//!
//! [`store::Store`] is what readers use; everything that changes the store runs in the confined `image-worker` process
//! ([`worker`]), started by the supervisor or by the commands in [`command`].

mod attributes;
#[cfg(feature = "complete")]
pub mod build_flash;
mod candidate;
mod change;
mod collect;
pub mod command;
mod contents;
mod decompress;
pub mod error;
pub mod flash;
mod garbage;
mod import;
mod layers;
pub mod limits;
mod lower;
mod pipeline;
mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
mod save;
mod source;
pub mod store;
mod tarball;
mod tree;
mod unpack;
mod verify;
pub mod worker;

pub use collect::{Bounds, Space};
pub use command::{import_command, remove_command, save_command};
pub use contents::Keep;
pub use error::{Error, Result};
pub use garbage::{Amount, Collected, Usage};
pub use reference::Reference;
pub use store::{ImageSummary, Store, StoredImage, digest_text, sha256_of};
