//! Images: their names, the store, import, unpacking, verification and removal.
//!
//! [`store::Store`] is what readers use; everything that changes the store runs in the confined `image-worker` process
//! ([`worker`]), started by the supervisor or by the commands in [`command`].

mod attributes;
#[cfg(feature = "complete")]
pub mod build_flash;
mod candidate;
mod change;
pub mod command;
mod decompress;
pub mod error;
pub mod flash;
mod import;
pub mod limits;
mod lower;
mod pipeline;
mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
mod source;
pub mod store;
mod tarball;
mod tree;
mod unpack;
pub mod worker;

pub use command::{import_command, list_command, remove_command};
pub use error::{Error, Result};
pub use reference::Reference;
pub use store::{ImageSummary, Store, StoredImage, digest_text, sha256_of};
