//! [`main`]: counts the reboots of a gateway whose supervisor fails even in safe mode: at most three an hour.

use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};

use super::farewell::{STATE, keep};
use super::say::say_as;
use crate::sys::clock::wall_ms;
use crate::sys::mount;

/// The board may be rebooted, and this reboot is counted.
pub(super) const ALLOWED: u8 = 0;
/// It was rebooted often enough.
pub(super) const REFUSED: u8 = 3;
/// Nobody can count here.
pub(super) const UNKNOWN: u8 = 4;

/// Reboots within [`HOUR_MS`].
const MOST: usize = 3;
const HOUR_MS: i64 = 3_600_000;
/// The file's name in the state directory: a version, then a time a line.
const NAME: &str = "reboots";
const VERSION: &str = "1";
/// Memory that survives a reset, and what it held before.
const PMSG: &str = "/dev/pmsg0";
const PSTORE: &str = "/sys/fs/pstore";
/// What begins such a line in pstore.
const PSTORE_WORD: &str = "gatepost-reboot ";

/// `farewell may-reboot`: the exit status is the answer.
pub(super) fn main() -> ExitCode {
    let now = wall_ms();
    let on_data = std::fs::read_to_string(format!("{STATE}/{NAME}"));
    let known = match on_data {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            say_as("farewell", format_args!("{STATE}/{NAME}: {error}"));
            Vec::new()
        }
    };
    let mut times = recent(known.into_iter().chain(in_pstore(Path::new(PSTORE))), now);
    if times.len() >= MOST {
        return ExitCode::from(REFUSED);
    }
    times.push(now);
    // In memory it would be forgotten by the very reboot that it counts.
    let kept = if mount::is_on_disk(Path::new(STATE)) {
        keep(NAME, format(&times).as_bytes())
    } else {
        Err(std::io::Error::other("it lies in memory"))
    };
    match kept {
        Ok(()) => ExitCode::from(ALLOWED),
        Err(error) => {
            say_as("farewell", format_args!("this reboot cannot be counted on data: {STATE}/{NAME}: {error}"));
            ExitCode::from(if count_in_pstore(now, Path::new(PMSG)) { ALLOWED } else { UNKNOWN })
        }
    }
}

/// A line in memory that survives a reset, if this board has such.
fn count_in_pstore(now: i64, pmsg: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(pmsg, flags, Mode::empty())
        .and_then(|file| rustix::io::write(file, format!("{PSTORE_WORD}{now}\n").as_bytes()))
        .is_ok()
}

/// What earlier boots have left there.
fn in_pstore(pstore: &Path) -> Vec<i64> {
    let mut times = Vec::new();
    for record in std::fs::read_dir(pstore).into_iter().flatten().flatten() {
        if record.file_name().to_string_lossy().starts_with("pmsg") {
            let text = std::fs::read(record.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            times.extend(text.lines().filter_map(|line| line.split_once(PSTORE_WORD)?.1.trim().parse::<i64>().ok()));
        }
    }
    times
}

fn parse(text: &str) -> Vec<i64> {
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Vec::new();
    }
    lines.filter_map(|line| line.parse().ok()).collect()
}

fn format(times: &[i64]) -> String {
    times.iter().fold(format!("{VERSION}\n"), |text, time| text + &time.to_string() + "\n")
}

/// Those of the last hour, each once. A clock that went back must not forbid reboots for ever, so what lies further ahead than an
/// hour does not count.
fn recent(times: impl Iterator<Item = i64>, now: i64) -> Vec<i64> {
    let mut times: Vec<i64> = times.filter(|time| now.saturating_sub(*time).saturating_abs() < HOUR_MS).collect();
    times.sort_unstable();
    times.dedup();
    times
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    #[test]
    fn times_older_than_an_hour_or_far_ahead_do_not_count() {
        let now = 100 * HOUR_MS;
        let times = [now - HOUR_MS, now - HOUR_MS + 1, now - 5, now - 5, now + 5, now + HOUR_MS];
        assert_eq!(recent(times.into_iter(), now), [now - HOUR_MS + 1, now - 5, now + 5]);
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_another_version_is_empty() {
        assert_eq!(parse(&format(&[1, 2, 3])), [1, 2, 3]);
        assert!(parse("2\n1\n").is_empty());
        assert_eq!(parse("1\ngarbage\n7\n"), [7]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn what_is_counted_in_memory_that_survives_a_reset_is_found_among_other_lines() {
        let pstore = tempfile::tempdir().unwrap();
        let pmsg = pstore.path().join("pmsg-ramoops-0");
        assert!(!count_in_pstore(5, &pmsg), "this board has no such memory");
        std::fs::write(&pmsg, "").unwrap();
        assert!(count_in_pstore(5, &pmsg));
        let ours = std::fs::read(&pmsg).unwrap();
        std::fs::write(&pmsg, [&b"\xff\x00 init: poweroff\n"[..], &ours, b"gatepost-reboot x\n"].concat()).unwrap();
        std::fs::write(pstore.path().join("dmesg-ramoops-0"), "gatepost-reboot 7\n").unwrap();
        assert_eq!(in_pstore(pstore.path()), [5]);
        assert!(in_pstore(&pmsg).is_empty(), "no pstore");
    }
}
