//! [`STAGES`]: what is done, in order, and within which time; and how a stage is run ([`run_all`]).

use std::fmt::Write as _;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::{Boot, clock, data, kernel, last_boot, locked, network, seed};
use crate::sys;

/// One step of the boot.
struct Stage {
    name: &'static str,
    /// How long it may take, in seconds.
    bound_s: u64,
    /// Whether it is done in a boot that must read nothing.
    with_defaults: bool,
    /// What it did, in words, or what failed.
    run: fn(&Boot) -> Result<String, String>,
}

const fn stage(name: &'static str, bound_s: u64, run: fn(&Boot) -> Result<String, String>) -> Stage {
    Stage { name, bound_s, with_defaults: false, run }
}

impl Stage {
    const fn always(self) -> Self {
        Self { with_defaults: true, ..self }
    }
}

/// The stages. The clock is set before anything is mounted, so that no file system was last mounted in the future; the seed and
/// the node's name lie on data; host name and network come before the pods that see them.
const STAGES: &[Stage] = &[
    stage("configuration", 10, super::configuration),
    stage("modules", 30, super::load_modules),
    stage("host name", 2, kernel::host_name).always(),
    stage("loopback", 2, network::loopback).always(),
    stage("clock", 5, clock::floor),
    stage("data", data::BOUND_S, data::mount_data),
    stage("memory data", 5, data::mount_tmpfs_where_nothing_is).always(),
    stage("manifests", 5, data::make_manifest_directories),
    stage("flash", 15, data::mount_flash),
    stage("last boot", 15, last_boot::collect),
    stage("seed", 10, seed::load),
    stage("saved clock", 5, clock::saved),
    stage("sysctls", 5, kernel::sysctls).always(),
    stage("network", 10, network::configure),
    stage("node", 60, super::prepare_node).always(),
];

/// What init waits beyond a stage's bound.
const SLACK_MS: u64 = 10_000;

/// Runs every stage. Whether the last one, which makes the node ready, did its work.
pub(super) fn run_all(boot: &Arc<Boot>) -> bool {
    let mut good = false;
    for stage in STAGES.iter().filter(|stage| stage.with_defaults || !boot.defaults) {
        good = run(boot, stage);
    }
    good
}

/// A stage runs in a thread of its own, since what it asks the kernel for may never be answered; then it is left behind.
fn run(boot: &Arc<Boot>, stage: &'static Stage) -> bool {
    boot.link.deadline_in(stage.bound_s.saturating_mul(1000).saturating_add(SLACK_MS));
    let begin = sys::clock::boottime_us();
    let (done, result) = mpsc::channel();
    let theirs = Arc::clone(boot);
    let thread = std::thread::Builder::new().name(stage.name.to_owned());
    let started = thread.spawn(move || {
        let _ = done.send((stage.run)(&theirs));
    });
    let result = match started {
        Ok(_) => result.recv_timeout(Duration::from_secs(stage.bound_s)).unwrap_or_else(|error| {
            Err(match error {
                mpsc::RecvTimeoutError::Timeout => format!("not done within {} s; going on without it", stage.bound_s),
                mpsc::RecvTimeoutError::Disconnected => "it crashed; going on without it".to_owned(),
            })
        }),
        Err(error) => Err(format!("cannot be started: {error}")),
    };
    locked(&boot.chart).mark(begin, "boot", stage.name);
    match &result {
        Ok(text) if text.is_empty() => {}
        Ok(text) => super::say::say("boot", format_args!("{}: {text}", stage.name)),
        Err(error) => {
            super::say::say("boot", format_args!("{}: FAILED: {error}", stage.name));
            boot.keep(stage.name, error);
        }
    }
    result.is_ok()
}

/// Sizes for people: `3.6 GiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut text = String::new();
    let (unit, name) = match bytes {
        0..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1_u64 << 30, "GiB"),
    };
    let tenths = bytes.saturating_mul(10) / unit;
    let _ = write!(text, "{}.{} {name}", tenths / 10, tenths % 10);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn position(name: &str) -> usize {
        STAGES.iter().position(|stage| stage.name == name).unwrap()
    }

    #[test]
    fn what_a_stage_needs_comes_before_it() {
        for (before, after) in [
            ("configuration", "modules"),
            ("modules", "data"),
            ("clock", "data"),
            ("data", "memory data"),
            ("memory data", "manifests"),
            ("memory data", "seed"),
            ("data", "saved clock"),
            ("data", "last boot"),
            ("last boot", "seed"),
            ("modules", "sysctls"),
            ("host name", "network"),
        ] {
            assert!(position(before) < position(after), "{before} before {after}");
        }
        assert_eq!(position("node"), STAGES.len() - 1);
    }

    #[test]
    fn no_stage_may_take_longer_than_init_believes() {
        for stage in STAGES {
            assert!(stage.bound_s * 1000 + SLACK_MS <= crate::wire::boot::LONGEST_STAGE_MS, "{}", stage.name);
        }
    }

    #[test]
    fn a_boot_that_reads_nothing_still_prepares_the_node() {
        let kept: Vec<_> = STAGES.iter().filter(|s| s.with_defaults).map(|s| s.name).collect();
        assert_eq!(kept, ["host name", "loopback", "memory data", "sysctls", "node"]);
    }

    #[test]
    fn sizes_read_as_people_say_them() {
        assert_eq!(size(3_865_470_566), "3.5 GiB");
        assert_eq!(size(160 << 20), "160.0 MiB");
        assert_eq!(size(2048), "2.0 KiB");
    }
}
