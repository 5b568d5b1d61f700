//! [`ago`] and [`human`]: how long ago, in kubectl's words; and timestamps as `describe` prints them.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The wall clock in seconds since the epoch.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// An RFC 3339 timestamp in seconds since the epoch.
pub(crate) fn parse(timestamp: &str) -> Option<i64> {
    OffsetDateTime::parse(timestamp, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// How long before `now` the RFC 3339 timestamp was; `<unknown>` when there is none.
pub(crate) fn ago(timestamp: &str, now: i64) -> String {
    parse(timestamp).map_or_else(|| "<unknown>".to_owned(), |then| human(now.saturating_sub(then)))
}

/// A duration in seconds, two units at most (apimachinery util/duration HumanDuration).
pub(crate) fn human(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// `Mon, 02 Jan 2006 15:04:05 -0700`, in the timestamp's own offset (the supervisor writes UTC); as written when it is no timestamp.
pub(crate) fn rfc1123(timestamp: &str) -> String {
    let Ok(at) = OffsetDateTime::parse(timestamp, &Rfc3339) else {
        return timestamp.to_owned();
    };
    let weekday: String = at.weekday().to_string().chars().take(3).collect();
    let month: String = at.month().to_string().chars().take(3).collect();
    let (hour_offset, minute_offset, _) = at.offset().as_hms();
    let sign = if at.offset().is_negative() { '-' } else { '+' };
    format!(
        "{weekday}, {:02} {month} {:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        at.day(),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
        hour_offset.unsigned_abs(),
        minute_offset.unsigned_abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        let table = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (179 * 60 + 59, "179m"),
            (180 * 60, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR + 59 * MINUTE, "8h"),
            (48 * HOUR - 1, "47h"),
            (48 * HOUR, "2d"),
            (49 * HOUR, "2d1h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR + 300 * DAY, "8y"),
        ];
        for (seconds, text) in table {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_missing_timestamp_is_unknown() {
        assert_eq!(ago("", 100), "<unknown>");
        assert_eq!(ago("yesterday", 100), "<unknown>");
        assert_eq!(ago("1970-01-01T00:00:40Z", 100), "60s");
        assert_eq!(ago("1970-01-01T01:00:40+01:00", 100), "60s");
    }

    #[test]
    fn timestamps_are_printed_with_their_weekday() {
        assert_eq!(rfc1123("2006-01-02T15:04:05Z"), "Mon, 02 Jan 2006 15:04:05 +0000");
        assert_eq!(rfc1123("2006-01-02T15:04:05-07:00"), "Mon, 02 Jan 2006 15:04:05 -0700");
        assert_eq!(rfc1123("soon"), "soon");
    }
}
