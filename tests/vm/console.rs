//! [`Console`]: the serial console, everything it ever printed, and keys.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Lines of the transcript that a failing test shows.
const TAIL: usize = 60;

/// The terminal end of a serial console.
pub struct Console {
    stream: UnixStream,
    printed: Arc<(Mutex<Printed>, Condvar)>,
    /// Bytes of the transcript that [`Console::wait_for`] has gone past.
    seen: usize,
}

#[derive(Default)]
struct Printed {
    text: Vec<u8>,
    ended: bool,
}

impl Console {
    /// Reads from now on.
    pub(super) fn new(stream: UnixStream) -> Self {
        let printed = Arc::new((Mutex::new(Printed::default()), Condvar::new()));
        let (mut reader, shared) = (stream.try_clone().unwrap(), Arc::clone(&printed));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = reader.read(&mut buffer).unwrap_or(0);
                let mut printed = shared.0.lock().unwrap();
                printed.text.extend_from_slice(&buffer[..count]);
                printed.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { stream, printed, seen: 0 }
    }

    /// Waits for a text behind the one found last, and gives the line it is in, as far as that is printed.
    pub fn wait_for(&mut self, wanted: &str, bound: Duration) -> String {
        self.wait_for_any(&[wanted], bound).1
    }

    /// Waits for the first of several texts: which one it was, and its line.
    pub fn wait_for_any(&mut self, wanted: &[&str], bound: Duration) -> (usize, String) {
        let end = Instant::now() + bound;
        let mut printed = self.printed.0.lock().unwrap();
        loop {
            let text = &printed.text[self.seen..];
            let found = wanted.iter().enumerate().filter_map(|(index, wanted)| Some((find(text, wanted)?, index)));
            if let Some((at, index)) = found.min() {
                let at = self.seen + at;
                let start = printed.text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
                self.seen = at + wanted[index].len();
                let rest = &printed.text[start..];
                let line = rest.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
                return (index, String::from_utf8_lossy(line).into_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || printed.ended {
                let why = if printed.ended { "the machine is off" } else { "time is over" };
                let tail = tail(&printed.text);
                drop(printed);
                panic!("{why}, and the console never said {wanted:?}; its last lines:\n{tail}");
            }
            printed = self.printed.1.wait_timeout(printed, left).unwrap().0;
        }
    }

    /// Everything printed until now.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.printed.0.lock().unwrap().text).into_owned()
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        tail(&self.printed.0.lock().unwrap().text)
    }

    /// Presses keys.
    pub fn send(&mut self, keys: &str) {
        self.stream.write_all(keys.as_bytes()).unwrap();
    }
}

fn find(text: &[u8], wanted: &str) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted.as_bytes())
}

fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
