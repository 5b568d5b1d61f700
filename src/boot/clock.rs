//! The wall clock of a machine whose clock forgets: [`floor`] and [`saved`] at boot, [`save`] now and then.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Boot, partition};
use crate::sys::clock;
use crate::sys::ext4::Superblock;
use crate::sys::replace::replace_durably;

/// Name of the file in the state directory: seconds since 1970.
const FILE: &str = "clock";
/// Files of the image; the newest of their times is when it was built.
const BUILT: &[&str] = &["/", "/etc", "/usr/bin/gatepost"];
/// No image is from the year 2100: a time beyond it is damage.
const ABSURD: i64 = 4_102_444_800;

/// The stage `clock`: it cannot be earlier than the image was built, nor than the data partition was last written. A clock of the
/// hardware was read by the kernel already.
pub(super) fn floor(boot: &Boot) -> Result<String, String> {
    let built =
        BUILT.iter().filter_map(|path| Some(fs::metadata(path).ok()?.mtime())).filter(|time| *time < ABSURD).max();
    let data = partition::find(&boot.config().gateway.data_partition);
    let written = data.and_then(|data| Superblock::read(&data.device()).ok()?).map(|superblock| superblock.written);
    raise("when data was last written", written.filter(|time| *time < ABSURD), "when the image was built", built)
}

/// The stage `saved clock`.
pub(super) fn saved(boot: &Boot) -> Result<String, String> {
    let path = boot.config().layout.state().join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok("none yet".to_owned()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let saved = parse(&text).ok_or_else(|| format!("{}: {text:?} is no time", path.display()))?;
    raise("saved", Some(saved), "", None)
}

fn parse(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|time| (0..ABSURD).contains(time))
}

/// Sets the clock to the later of two times if it is behind that.
fn raise(first_name: &str, first: Option<i64>, second_name: &str, second: Option<i64>) -> Result<String, String> {
    let (name, floor) = if first >= second { (first_name, first) } else { (second_name, second) };
    let now = clock::wall_ms() / 1000;
    match floor {
        Some(floor) if floor > now => {
            clock::set_wall(floor).map_err(|e| format!("cannot be set: {e}"))?;
            Ok(format!("set forward by {} s, to {name}", floor.saturating_sub(now)))
        }
        _ => Ok("plausible".to_owned()),
    }
}

/// Whether the hardware has a clock that keeps the time: then nothing needs to be saved.
pub fn hardware_keeps_time() -> bool {
    Path::new("/sys/class/rtc/rtc0").exists()
}

/// Saves the time into the state directory, for a machine without a clock of its own. Called at the shutdown, and every six hours.
pub fn save(state: &Path) -> io::Result<()> {
    if hardware_keeps_time() {
        return Ok(());
    }
    replace_durably(File::open(state)?, FILE, format!("{}\n", clock::wall_ms() / 1000).as_bytes(), 0o600)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plausible_time_is_believed() {
        assert_eq!(parse("1700000000\n"), Some(1_700_000_000));
        for damaged in ["", "now", "-5", "99999999999999", "\0\0\0"] {
            assert_eq!(parse(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn a_clock_is_never_set_back() {
        assert_eq!(raise("a", Some(1_000_000), "b", Some(5)).unwrap(), "plausible");
        assert_eq!(raise("a", None, "b", None).unwrap(), "plausible");
    }
}
