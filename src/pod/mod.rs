//! The pure core, [`Node`]: from desired pods and observed facts to the next actions. No system call, no clock, no descriptor.
//!
//! The shell's loop is: take an [`event::Event`], call [`Node::handle`], save what [`Node::changed_pods`],
//! [`Node::node_changed`] and [`Node::durable_changed`] name, then do the [`event::Action`]s, each of which is answered by
//! an event. [`Node::deadline`] says when to call again at the latest. A new supervisor begins with [`Node::restore`].
//!
//! The tables are in [`lifecycle`] (pods), [`container`], [`health`], [`device`], [`probe`], [`termination`] and [`restore`].

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
// A table has one row for each case, also where two rows say the same.

pub mod event;
pub mod events;
pub mod probe;
pub mod status;
pub mod time;

mod backoff;
mod conditions;
mod container;
mod device;
mod durable;
mod eviction;
mod health;
mod host_ports;
mod lifecycle;
pub mod lookup;
mod node;
mod orphan;
mod policy;
mod restore;
mod sequence;
mod termination;
mod turn;

pub use backoff::BackoffRule;
pub use durable::{DurablePod, DurableState};
pub use node::Node;
pub use policy::signal_number;
pub use restore::{Past, SavedNode, SavedPod};
pub use turn::Settings;

#[cfg(test)]
mod tests;
