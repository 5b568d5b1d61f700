//! [`Output`]: what waits to be written to a terminal that may be slow, or never read. Bounded: the oldest lines go, and are counted.

use std::collections::VecDeque;

/// Lines that wait at most; a reader that comes late sees the newest.
const MOST: usize = 256;

/// Lines to be written, and a prompt that stands below them.
#[derive(Debug, Default)]
pub(super) struct Output {
    lines: VecDeque<String>,
    dropped: u64,
    /// What should stand in the last row.
    prompt: String,
    /// What stands there.
    drawn: String,
    /// Bytes on their way: of one line, or of the prompt.
    pending: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Adds a line, without its end.
    pub(super) fn line(&mut self, line: String) {
        if self.lines.len() >= MOST {
            self.lines.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.lines.push_back(line);
    }

    /// What is to stand below the lines; empty for nothing.
    pub(super) fn prompt(&mut self, prompt: String) {
        self.prompt = prompt;
    }

    /// The bytes to be written next; none when all is written.
    pub(super) fn pending(&mut self) -> &[u8] {
        if self.pending.get(self.sent..).is_none_or(<[u8]>::is_empty) {
            self.sent = 0;
            self.pending = self.next();
        }
        self.pending.get(self.sent..).unwrap_or_default()
    }

    /// The terminal has taken this many of them.
    pub(super) fn wrote(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
    }

    /// The row below the lines was left by others: nothing of ours stands there.
    pub(super) fn forget_drawn(&mut self) {
        self.drawn.clear();
        self.pending.clear();
        self.sent = 0;
    }

    fn next(&mut self) -> Vec<u8> {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            return self.over_prompt(&format!("({dropped} older lines are left out: nobody read them)"));
        }
        if let Some(line) = self.lines.pop_front() {
            return self.over_prompt(&line);
        }
        if self.prompt == self.drawn {
            return Vec::new();
        }
        let bytes = match self.prompt.strip_prefix(self.drawn.as_str()) {
            Some(more) => more.to_owned(),
            None => format!("{}{}", self.blank(), self.prompt),
        };
        self.drawn.clone_from(&self.prompt);
        bytes.into_bytes()
    }

    /// A line in the place of the prompt.
    fn over_prompt(&mut self, line: &str) -> Vec<u8> {
        let bytes = format!("{}{line}\n", self.blank());
        self.drawn.clear();
        bytes.into_bytes()
    }

    /// Removes the prompt with blanks: no terminal is too plain for that.
    fn blank(&self) -> String {
        if self.drawn.is_empty() { String::new() } else { format!("\r{}\r", " ".repeat(self.drawn.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &mut Output) -> String {
        let mut text = String::new();
        loop {
            let bytes = output.pending().to_vec();
            if bytes.is_empty() {
                return text;
            }
            text.push_str(&String::from_utf8_lossy(&bytes));
            output.wrote(bytes.len());
        }
    }

    #[test]
    fn a_line_takes_the_place_of_the_prompt_which_comes_again_below() {
        let mut output = Output::default();
        output.prompt("say: re".to_owned());
        assert_eq!(all(&mut output), "say: re");
        output.prompt("say: reb".to_owned());
        assert_eq!(all(&mut output), "b");
        output.line("news".to_owned());
        assert_eq!(all(&mut output), "\r        \rnews\nsay: reb");
        output.prompt("say: re".to_owned());
        assert_eq!(all(&mut output), "\r        \rsay: re");
        output.prompt(String::new());
        assert_eq!(all(&mut output), "\r       \r");
        assert_eq!(all(&mut output), "");
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let mut output = Output::default();
        for number in 0..1000 {
            output.line(format!("line {number}"));
        }
        let text = all(&mut output);
        assert_eq!(text.lines().next(), Some("(744 older lines are left out: nobody read them)"));
        assert_eq!(text.lines().nth(1), Some("line 744"));
        assert_eq!(text.lines().last(), Some("line 999"));
        assert_eq!(text.lines().count(), 257);
    }

    #[test]
    fn a_terminal_that_takes_a_byte_at_a_time_gets_every_byte_once() {
        let mut output = Output::default();
        output.line("one".to_owned());
        output.line("two".to_owned());
        output.prompt("> ".to_owned());
        let mut text = Vec::new();
        while let Some(byte) = output.pending().first().copied() {
            text.push(byte);
            output.wrote(1);
        }
        assert_eq!(text, b"one\ntwo\n> ");
    }
}
