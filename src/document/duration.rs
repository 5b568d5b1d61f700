//! [`duration`]: spans of time as people write them.

use std::time::Duration;

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`, with a fraction or not, several of them in a row (`1m30s`), or bare
/// seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write one such as 5s, 2m, 1h30m, or bare seconds");
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, beyond) = after.split_at(letters);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        if fraction.is_empty() || fraction.contains('.') {
            return Err(wrong());
        }
        // Nine digits are nanoseconds of a second; more say nothing.
        let fraction = fraction.get(..9).unwrap_or(fraction);
        let parts: u32 = fraction.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            "d" => Duration::from_hours(24),
            _ => return Err(wrong()),
        };
        total = total
            .saturating_add(unit.saturating_mul(whole))
            .saturating_add(unit.saturating_mul(parts) / fraction.bytes().fold(1, |tens, _| tens * 10));
        rest = beyond;
    }
    Ok(total)
}
