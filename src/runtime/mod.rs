//! Drives the OCI runtime's binary and makes what its containers stand on: pod sandboxes, root file systems, clean-up.
//!
//! [`Runtime`] knows the binary's command lines and reads what it leaves behind. The short-lived helper roles, each
//! with its request and report, are [`sandbox`], [`launch`], [`cleanup`], [`leftovers`] and [`volumes`]; [`protocol`] is how they are
//! spoken to.

pub mod cleanup;
pub mod devices;
mod driver;
mod failure;
pub mod features;
mod id_mapped;
mod id_ranges;
pub mod launch;
pub mod leftovers;
mod namespaces;
pub mod node;
pub mod pause;
mod probe;
pub mod protocol;
pub mod sandbox;
pub mod usage;
mod volume_mounts;
pub mod volumes;

pub use driver::{Flavour, Observed, Runtime, RuntimeError, Status, list, observed};
pub use failure::{Failure, failure_in, log_failure};
pub use probe::{Finding, may_administer, may_lower_oom_score, probe};
