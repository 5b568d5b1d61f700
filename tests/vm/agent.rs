//! [`Agent`]: the test's end of the port over which `tests/vm/agent/agent` carries out commands.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// One command at a time.
pub struct Agent {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    number: u64,
    is_ready: bool,
}

impl Agent {
    pub(super) fn new(stream: UnixStream) -> Self {
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader, number: 0, is_ready: false }
    }

    /// After a reset another agent will say that it is there.
    pub(super) fn starts_anew(&mut self) {
        self.is_ready = false;
    }

    /// Output (both streams) and exit status of a shell command, which is one line.
    pub(super) fn run(&mut self, command: &str, bound: Duration) -> io::Result<(String, i32)> {
        assert!(!command.contains('\n'), "a command is one line");
        let end = Instant::now() + bound;
        // What is sent before the port is open inside would be lost.
        while !self.is_ready {
            self.is_ready = self.line(end)?.trim_end().ends_with("ready");
        }
        self.number += 1;
        writeln!(self.stream, "{} {command}", self.number)?;
        let done = format!("{} done ", self.number);
        let mut output = String::new();
        loop {
            let line = self.line(end)?;
            // The last line of an output need not be whole.
            if let Some((before, status)) = line.split_once(&done) {
                output.push_str(before);
                let status = status.trim().parse().map_err(|_| io::Error::other(format!("a bad status: {line}")))?;
                return Ok((output, status));
            }
            output.push_str(&line);
        }
    }

    fn line(&mut self, end: Instant) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other(format!("no answer; the last words: {}", String::from_utf8_lossy(&line))));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Err(io::Error::other("the machine is off")),
                Ok(_) if line.ends_with(b"\n") => return Ok(String::from_utf8_lossy(&line).into_owned()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
