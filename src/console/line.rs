//! [`stamped`]: the one form of a line on the console, `[seconds.micros] room: text`, plain ASCII and folded to the screen's width.

/// The line of `room` at `boottime_us` (CLOCK_BOOTTIME), as the kernel begins its own.
pub(super) fn stamped(boottime_us: u64, room: &str, text: &str) -> String {
    format!("[{:5}.{:06}] {room}: {text}", boottime_us / 1_000_000, boottime_us % 1_000_000)
}

/// The text with everything escaped that is not printable ASCII: what containers and manifests say must not steer a terminal.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => out.push(character),
            '\t' => out.push(' '),
            _ => out.extend(character.escape_default()),
        }
    }
    out
}

/// The cells of a row, each plain, still joined by tabs.
pub(super) fn plain_cells(row: &str) -> String {
    row.split('\t').map(plain).collect::<Vec<_>>().join("\t")
}

/// Folds a plain line into lines of at most `width` characters, preferably at blanks; those after the first are indented.
pub(super) fn folded(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let width = width.max(20);
    let mut lines = Vec::new();
    let mut rest = line;
    loop {
        let indent = if lines.is_empty() { "" } else { INDENT };
        let room = width.saturating_sub(indent.len());
        if rest.len() <= room || !rest.is_char_boundary(room) {
            lines.push(format!("{indent}{rest}"));
            return lines;
        }
        let (head, _) = rest.split_at(room);
        // A break in the second half of the line, else a word is cut.
        let end = match head.rfind(' ') {
            Some(blank) if blank >= room / 2 => blank,
            _ => room,
        };
        let (head, tail) = rest.split_at(end);
        lines.push(format!("{indent}{}", head.trim_end()));
        rest = tail.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time_as_the_kernels_do() {
        assert_eq!(stamped(5_001_234, "pods", "x"), "[    5.001234] pods: x");
        assert_eq!(stamped(123_456_000_007, "event", "y"), "[123456.000007] event: y");
    }

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(plain("a\x1b[2Jb\tc\r\nd\x7f"), "a\\u{1b}[2Jb c\\r\\nd\\u{7f}");
        assert_eq!(plain("caf\u{e9} \u{9b}0m"), "caf\\u{e9} \\u{9b}0m");
        assert_eq!(plain("\\ \"quoted\" ~"), "\\ \"quoted\" ~");
    }

    #[test]
    fn a_long_line_is_folded_at_blanks_and_a_long_word_is_cut() {
        assert_eq!(folded("short", 80), ["short"]);
        assert_eq!(folded("aaaaaaaaaa bbbbbbbbbb cccccccc", 20), ["aaaaaaaaaa", "    bbbbbbbbbb", "    cccccccc"]);
        assert_eq!(
            folded(&"x".repeat(50), 20),
            ["x".repeat(20), format!("    {}", "x".repeat(16)), format!("    {}", "x".repeat(14))]
        );
        assert!(folded(&"word ".repeat(100), 80).iter().all(|line| line.len() <= 80));
    }
}
