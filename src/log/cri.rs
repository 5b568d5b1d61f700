//! CRI log lines: `<RFC 3339 with nanoseconds> <stdout|stderr> <F|P> <content>`, formatting and parsing.
//!
//! `P` marks a part of a line that the stream's next line goes on with. containerd splits at 16 KiB, drops one `\r` before
//! the `\n`, and marks what a stream ends with without a newline as `P`; so do we. Other bytes pass through.

use time::OffsetDateTime;

use super::protocol::StreamKind;

/// Longest content of one CRI line (containerd's `max_container_log_line_size`).
pub(crate) const CONTENT_MAX: usize = 16 * 1024;

/// Longest line head: time, stream, tag and their blanks.
pub(crate) const HEAD_MAX: usize = 48;

/// Makes the heads of the lines of one batch; the part down to the second is kept between batches.
#[derive(Debug)]
pub(crate) struct Stamp {
    second: i64,
    text: Vec<u8>,
}

impl Stamp {
    pub(crate) fn new() -> Self {
        Self { second: i64::MIN, text: Vec::new() }
    }

    /// The text `2026-01-02T03:04:05.000000006Z` for `wall_ns` nanoseconds since the epoch.
    pub(crate) fn at(&mut self, wall_ns: u64) -> &[u8] {
        let second = i64::try_from(wall_ns / 1_000_000_000).unwrap_or(0);
        if second != self.second {
            let when = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let (date, (hour, minute, sec)) = (when.date(), when.time().as_hms());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            self.text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{sec:02}.000000000Z").into_bytes();
            self.second = second;
        }
        let mut rest = wall_ns % 1_000_000_000;
        let end = self.text.len().saturating_sub(1);
        for digit in self.text.iter_mut().take(end).rev().take(9) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        &self.text
    }
}

/// Appends the lines of `input` to `out` and returns how many bytes of `input` they stand for.
///
/// Only whole lines and full 16 KiB parts are taken, unless `last` says that nothing follows: then the rest becomes a `P`
/// line. Stops before `out` would grow beyond `out_max`, but always takes one line when there is one.
pub(crate) fn format_lines(
    input: &[u8],
    last: bool,
    stamp: &[u8],
    kind: StreamKind,
    out: &mut Vec<u8>,
    out_max: usize,
) -> usize {
    let mut used = 0;
    while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
        let reach = rest.get(..=CONTENT_MAX).unwrap_or(rest);
        let (taken, content, tag) = match reach.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = rest.get(..end).unwrap_or_default();
                (end + 1, line.strip_suffix(b"\r").unwrap_or(line), b'F')
            }
            None if rest.len() > CONTENT_MAX => (CONTENT_MAX, rest.get(..CONTENT_MAX).unwrap_or_default(), b'P'),
            None if last => (rest.len(), rest, b'P'),
            None => break,
        };
        if used > 0 && out.len() + content.len() + HEAD_MAX > out_max {
            break;
        }
        push_line(out, stamp, kind, tag, content);
        used += taken;
    }
    used
}

/// Appends one line.
pub(crate) fn push_line(out: &mut Vec<u8>, stamp: &[u8], kind: StreamKind, tag: u8, content: &[u8]) {
    out.extend_from_slice(stamp);
    out.push(b' ');
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(&[b' ', tag, b' ']);
    out.extend_from_slice(content);
    out.push(b'\n');
}

/// How many bytes to take from a FIFO, so that whole lines stay whole; 0 means wait for more.
///
/// `seen` bytes from its front were looked at, the last newline among them ended at `lines_end`; the FIFO held `held` bytes.
/// A line without its end is waited for up to `patience` bytes, or until `flush`.
pub(crate) fn take_length(seen: usize, lines_end: usize, held: usize, patience: usize, flush: bool) -> usize {
    if lines_end > 0 {
        return lines_end;
    }
    if seen > CONTENT_MAX {
        return (seen - 1) / CONTENT_MAX * CONTENT_MAX;
    }
    if flush || seen < held || seen > patience { seen } else { 0 }
}

/// A CRI line taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The time as written.
    pub(crate) time: &'a str,
    /// Which stream.
    pub(crate) stream: StreamKind,
    /// Another line of the same stream goes on with this one.
    pub(crate) partial: bool,
    /// What the container printed, without its newline.
    pub(crate) content: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes apart `line` (without its newline); `None` when it is not a CRI line.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok().filter(|time| time.len() >= 20)?;
        let stream = match fields.next()? {
            b"stdout" => StreamKind::Stdout,
            b"stderr" => StreamKind::Stderr,
            _ => return None,
        };
        // Tags are separated by colons; the first says whether the line is whole.
        let partial = match fields.next()?.split(|byte| *byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { time, stream, partial, content: fields.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const STAMP: &[u8] = b"2026-01-02T03:04:05.000000006Z";

    fn format(input: &[u8], last: bool) -> (usize, Vec<String>) {
        let mut out = Vec::new();
        let used = format_lines(input, last, STAMP, StreamKind::Stdout, &mut out, usize::MAX);
        let text = String::from_utf8_lossy(&out).replace("2026-01-02T03:04:05.000000006Z stdout ", "");
        (used, text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn a_stamp_counts_nanoseconds_and_keeps_the_second() {
        let mut stamp = Stamp::new();
        let base = 1_767_323_045_u64 * 1_000_000_000;
        assert_eq!(stamp.at(base + 6), b"2026-01-02T03:04:05.000000006Z");
        assert_eq!(stamp.at(base + 123_456_789), b"2026-01-02T03:04:05.123456789Z");
        assert_eq!(stamp.at(base + 1_000_000_000), b"2026-01-02T03:04:06.000000000Z");
    }

    #[test]
    fn whole_lines_are_taken_and_the_rest_waits() {
        assert_eq!(format(b"a\r\nb\n\nrest", false), (6, vec!["F a".into(), "F b".into(), "F ".into()]));
        assert_eq!(format(b"a\nrest", true), (6, vec!["F a".into(), "P rest".into()]));
    }

    #[test]
    fn a_line_of_exactly_16_kib_is_whole_and_a_longer_one_is_split() {
        let mut exact = vec![b'x'; CONTENT_MAX];
        exact.push(b'\n');
        let (used, lines) = format(&exact, false);
        assert_eq!((used, lines.len(), &lines[0][..2]), (CONTENT_MAX + 1, 1, "F "));
        let mut longer = vec![b'x'; CONTENT_MAX + 1];
        longer.push(b'\n');
        let (used, lines) = format(&longer, false);
        assert_eq!((used, lines.len(), &lines[0][..2], lines[1].as_str()), (CONTENT_MAX + 2, 2, "P ", "F x"));
    }

    #[test]
    fn bytes_that_are_no_text_pass_through() {
        let mut out = Vec::new();
        assert_eq!(format_lines(b"\0\xff\x1b[m\n", false, STAMP, StreamKind::Stderr, &mut out, 1), 6);
        assert_eq!(out, [STAMP, b" stderr F \0\xff\x1b[m\n"].concat());
    }

    #[test]
    fn a_batch_stops_at_its_size_but_takes_one_line() {
        let mut out = Vec::new();
        assert_eq!(format_lines(b"aa\nbb\n", false, STAMP, StreamKind::Stdout, &mut out, 10), 3);
    }

    #[test]
    fn an_unfinished_line_waits_until_it_is_long_or_late() {
        assert_eq!(take_length(10, 4, 10, 100, false), 4);
        assert_eq!(take_length(10, 0, 10, 100, false), 0);
        assert_eq!(take_length(10, 0, 10, 100, true), 10);
        assert_eq!(take_length(10, 0, 10, 8, false), 10);
        assert_eq!(take_length(10, 0, 20, 100, false), 10);
        assert_eq!(take_length(2 * CONTENT_MAX, 0, 2 * CONTENT_MAX, CONTENT_MAX, false), CONTENT_MAX);
    }

    #[test]
    fn lines_are_taken_apart_and_others_refused() {
        let line = Line::parse(b"2026-01-02T03:04:05.1Z stderr P:x some thing ").unwrap();
        assert_eq!((line.stream, line.partial, line.content), (StreamKind::Stderr, true, &b"some thing "[..]));
        assert_eq!(Line::parse(b"2026-01-02T03:04:05.1Z stdout F").unwrap().content, b"");
        assert_eq!(Line::parse(b"hello world F x"), None);
        assert_eq!(Line::parse(b""), None);
    }
}
