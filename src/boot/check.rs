//! [`Check`]: what e2fsck(8) does about a data partition, and [`format`], where nothing else helps.

use std::path::Path;
use std::time::Duration;

use super::tool;

/// Time for the repair that changes nothing a person would have to decide (`-p`), in seconds.
pub(super) const PREEN_S: u64 = 120;
/// Time for the repair that says yes to everything, in seconds.
pub(super) const REPAIR_S: u64 = 300;
/// Time for a new file system, in seconds.
pub(super) const FORMAT_S: u64 = 60;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing was wrong.
    Clean,
    /// Something was repaired: what e2fsck said last.
    Repaired(String),
    /// It is still broken: why.
    Broken(String),
}

/// First the careful repair, then the one that says yes to everything.
pub(super) fn check(device: &Path) -> Check {
    let device = device.display().to_string();
    let careful = once(&["-p", &device], PREEN_S);
    match careful {
        Check::Broken(_) => once(&["-f", "-y", &device], REPAIR_S),
        done => done,
    }
}

fn once(args: &[&str], bound_s: u64) -> Check {
    match tool::run("e2fsck", args, "", Duration::from_secs(bound_s)) {
        Ok(ended) => verdict(ended.status, ended.words),
        Err(error) => Check::Broken(error),
    }
}

/// The exit status is a set of bits: 1 and 2 repaired, 4 and above not (e2fsck(8)).
fn verdict(status: i32, words: String) -> Check {
    match status {
        0 => Check::Clean,
        1..=3 => Check::Repaired(words),
        _ => Check::Broken(format!("e2fsck ended with {status}: {words}")),
    }
}

/// A new, empty file system.
pub(super) fn format(device: &Path) -> Result<(), String> {
    let device = device.display().to_string();
    let ended = tool::run("mkfs.ext4", &["-q", "-F", "-L", "data", &device], "", Duration::from_secs(FORMAT_S))?;
    if ended.status == 0 { Ok(()) } else { Err(format!("mkfs.ext4 ended with {}: {}", ended.status, ended.words)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_of_e2fsck_says_what_became_of_it() {
        assert_eq!(verdict(0, String::new()), Check::Clean);
        assert_eq!(verdict(1, "x".to_owned()), Check::Repaired("x".to_owned()));
        assert_eq!(verdict(3, "x".to_owned()), Check::Repaired("x".to_owned()));
        for status in [4, 5, 8, 137] {
            assert!(matches!(verdict(status, String::new()), Check::Broken(_)), "{status}");
        }
    }
}
