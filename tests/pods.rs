//! Pods from their manifests to their ends, with the real binary, the real runtime and the sample images.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;

#[path = "pods/applied.rs"]
mod applied;
#[path = "pods/bad_input.rs"]
mod bad_input;
#[path = "pods/commands.rs"]
mod commands;
#[path = "pods/conditions.rs"]
mod conditions;
#[path = "pods/containers.rs"]
mod containers;
#[path = "pods/devices.rs"]
mod devices;
#[path = "pods/flash.rs"]
mod flash;
#[path = "pods/hooks.rs"]
mod hooks;
#[path = "pods/images.rs"]
mod images;
#[path = "pods/limited.rs"]
mod limited;
#[path = "pods/logs.rs"]
mod logs;
#[path = "pods/probes.rs"]
mod probes;
#[path = "pods/restarts.rs"]
mod restarts;
#[path = "pods/samples.rs"]
mod samples;
#[path = "pods/source.rs"]
mod source;
#[path = "pods/trust.rs"]
mod trust;
#[path = "pods/worker.rs"]
mod worker;
