//! [`LogName`]: names and order of a container's log files: `<n>.log` and `<n>.log.<YYYYMMDD-HHMMSS[.k]>`.

use std::fmt;

use time::OffsetDateTime;

/// A log file's name. Ordered from the oldest content to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    /// The restart count of the container instance that wrote it.
    pub(crate) instance: u32,
    /// Rotated, or still written.
    pub(crate) age: Age,
}

/// Whether a log file is still written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Age {
    /// Rotated at `stamp` (the digits of `YYYYMMDDHHMMSS`), the `number`th at that second.
    Rotated { stamp: u64, number: u32 },
    /// The file being written.
    Live,
}

impl LogName {
    pub(crate) fn live(instance: u32) -> Self {
        Self { instance, age: Age::Live }
    }

    /// Reads a file name; `None` for files that are not ours.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (instance, rest) = name.split_once(".log")?;
        let instance = number(instance)?;
        if rest.is_empty() {
            return Some(Self::live(instance));
        }
        let rest = rest.strip_prefix('.')?;
        let (stamp, count) = rest.split_once('.').unwrap_or((rest, "0"));
        let (date, time) = stamp.split_once('-')?;
        if date.len() != 8 || time.len() != 6 {
            return None;
        }
        let stamp = number::<u64>(date)? * 1_000_000 + number::<u64>(time)?;
        Some(Self { instance, age: Age::Rotated { stamp, number: number(count)? } })
    }

    /// The name for this instance's live file when it is rotated at `wall_ns`, after `newest` of the same instance.
    ///
    /// A clock that was set back must not turn the order round: the new name always sorts behind `newest`.
    pub(crate) fn rotated(instance: u32, wall_ns: u64, newest: Option<LogName>) -> Self {
        let now = digits(wall_ns);
        let (stamp, number) = match newest.map(|name| name.age) {
            Some(Age::Rotated { stamp, number }) if stamp >= now => (stamp, number.saturating_add(1)),
            _ => (now, 0),
        };
        Self { instance, age: Age::Rotated { stamp, number } }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.log", self.instance)?;
        match self.age {
            Age::Live => Ok(()),
            Age::Rotated { stamp, number } => {
                write!(f, ".{:08}-{:06}", stamp / 1_000_000, stamp % 1_000_000)?;
                if number > 0 { write!(f, ".{number}") } else { Ok(()) }
            }
        }
    }
}

/// Decimal digits only: `parse` alone would take a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn digits(wall_ns: u64) -> u64 {
    let second = i64::try_from(wall_ns / 1_000_000_000).unwrap_or(0);
    let when = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let date = when.date();
    let (hour, minute, sec) = when.time().as_hms();
    let parts = [u64::from(u8::from(date.month())), date.day().into(), hour.into(), minute.into(), sec.into()];
    parts.into_iter().fold(u64::from(date.year().unsigned_abs()), |all, part| all * 100 + part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOON: u64 = 1_767_355_200 * 1_000_000_000;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["0.log", "12.log", "3.log.20260102-120000", "3.log.20260102-120000.7"] {
            assert_eq!(LogName::parse(name).unwrap().to_string(), name);
        }
        for name in ["log", ".log", "x.log", "+1.log", "1.log.gz", "1.log.20260102-120000.gz", "1.logs", "1.log.2026-1"]
        {
            assert_eq!(LogName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn files_sort_from_old_to_new() {
        let names = ["0.log", "1.log.20260102-120000", "1.log.20260102-120000.2", "1.log.20260102-120000.10", "1.log"];
        let parsed: Vec<_> = names.iter().map(|name| LogName::parse(name).unwrap()).collect();
        assert!(parsed.is_sorted());
    }

    #[test]
    fn a_rotated_file_sorts_behind_the_last_one_even_when_the_clock_went_back() {
        let first = LogName::rotated(1, NOON, None);
        assert_eq!(first.to_string(), "1.log.20260102-120000");
        let second = LogName::rotated(1, NOON - 3_600_000_000_000, Some(first));
        assert_eq!(second.to_string(), "1.log.20260102-120000.1");
    }
}
