//! The second binary, `gatepost-fetch`, at work for the first: probes by https and gRPC, and pulls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;

#[path = "fetch/hostile.rs"]
mod hostile;
#[path = "fetch/probes.rs"]
mod probes;
#[path = "fetch/pulls.rs"]
mod pulls;
#[path = "fetch/registry.rs"]
mod registry;
#[path = "fetch/site.rs"]
mod site;
#[path = "fetch/tokens.rs"]
mod tokens;
