//! The network of pods that have one of their own, and the names that pods and Services have.
//!
//! | file | what |
//! | --- | --- |
//! | `conf` | which CNI configuration counts, and what of it a plugin is given; pure |
//! | `result` | what plugins answer; pure |
//! | `attachment` | plugins run for a pod ([`attach`], [`detach`]), and what is kept of that below `/run` |
//! | `plugin` | one call of a plugin |
//! | `reservations` | addresses that pods of the boot before hold |
//! | `subnet` | subnets that overlap with routes of the node, and what lies in one; pure |
//! | `names` | names in `/etc/hosts`; pure |
//! | `links` | environment variables of Services; pure |
//!
//! The specification is that of the Container Network Interface, `cni.dev/docs/spec`, versions 0.3.1 to 1.1.0. Its plugins are other
//! people's programs and may wait for anything, so only the role `sandbox` runs them.

mod attachment;
mod conf;
mod links;
pub mod names;
mod plugin;
mod reservations;
mod result;
mod subnet;

pub use attachment::{Attached, Setting, attach, attached, detach};
pub use links::links;
pub use subnet::{PodSubnet, holds, overlaps};
