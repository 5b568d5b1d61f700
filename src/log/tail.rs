//! [`start`]: finds where the last N lines of a container's log begin, reading backwards with bounded memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::cri::Line;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Where the last `lines` whole lines of `files` (oldest first) begin: index of the file and offset in it.
///
/// Parts of one line count once; what the last file ends with counts as a line also when it is unfinished.
pub(super) fn start(files: &[File], lines: u64) -> io::Result<(usize, u64)> {
    let mut seen = 0;
    let mut newest = true;
    for (index, file) in files.iter().enumerate().rev() {
        let mut position = file.metadata()?.len();
        if lines == 0 {
            return Ok((index, position));
        }
        // The front of the earliest line reached so far, whose beginning lies before `position`.
        let mut rest: Vec<u8> = Vec::new();
        while position > 0 {
            let length = position.min(BLOCK as u64);
            position -= length;
            let mut data = vec![0; usize::try_from(length).unwrap_or(BLOCK)];
            file.read_exact_at(&mut data, position)?;
            data.append(&mut rest);
            // Foreign text without line ends must not be gathered for ever.
            let whole_from = match data.iter().position(|byte| *byte == b'\n') {
                Some(end) if position > 0 && data.len() < 4 * BLOCK => end + 1,
                None if position > 0 && data.len() < 4 * BLOCK => data.len(),
                _ => 0,
            };
            let mut end = data.len();
            while end > whole_from {
                let body = data.get(..end - 1).unwrap_or_default();
                let from = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1).max(whole_from);
                let partial = Line::parse(body.get(from..).unwrap_or_default()).is_some_and(|line| line.partial);
                if !partial || newest {
                    if seen == lines {
                        return Ok((index, position + end as u64));
                    }
                    seen += 1;
                }
                newest = false;
                end = from;
            }
            data.truncate(whole_from);
            rest = data;
        }
    }
    Ok((0, 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn line(tag: char, content: &str) -> String {
        format!("2026-01-02T03:04:05.000000006Z stdout {tag} {content}\n")
    }

    #[test]
    fn the_last_lines_are_found_across_files() {
        let one = line('F', "x");
        let size = one.len() as u64;
        let files = [file(&one.repeat(5000)), file(&one.repeat(3))];
        assert_eq!(start(&files, 0).unwrap(), (1, 3 * size));
        assert_eq!(start(&files, 2).unwrap(), (1, size));
        assert_eq!(start(&files, 4).unwrap(), (0, 4999 * size));
        assert_eq!(start(&files, 4003).unwrap(), (0, 1000 * size));
        assert_eq!(start(&files, 9000).unwrap(), (0, 0));
    }

    #[test]
    fn parts_of_a_line_count_once_and_an_unfinished_end_counts() {
        let part = line('P', &"x".repeat(16384));
        let text = format!("{}{}{}{}", line('F', "a"), part.repeat(9), line('F', "end"), line('P', "$ "));
        let files = [file(&text)];
        let a = line('F', "a").len() as u64;
        assert_eq!(start(&files, 2).unwrap(), (0, a));
        assert_eq!(start(&files, 1).unwrap(), (0, text.len() as u64 - line('P', "$ ").len() as u64));
    }
}
