//! [`Progress`]: a bar on standard error while something long goes on; only on a terminal, elsewhere one line.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::image::bytes;
use super::output;

/// Shortest time between two drawings.
const PACE: Duration = Duration::from_millis(100);
/// Characters of the bar.
const BAR: u64 = 24;

/// The progress of one thing.
pub(super) struct Progress {
    name: String,
    live: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Begins; without a terminal it says so in one line.
    pub(super) fn new(doing: &str, name: &str) -> Self {
        let live = io::stderr().is_terminal();
        if !live {
            output::note(&format!("{doing} {name}"));
        }
        Self { name: name.to_owned(), live, drawn: None }
    }

    /// So many bytes of so many are done.
    pub(super) fn step(&mut self, done: u64, total: u64, what: &str) {
        if !self.live || self.drawn.is_some_and(|at| at.elapsed() < PACE) {
            return;
        }
        self.drawn = Some(Instant::now());
        let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        // A serial line knows no size.
        let width = if width == 0 { 80 } else { width.max(20) };
        let line: String = bar(&self.name, done, total, what).chars().take(width.saturating_sub(1)).collect();
        let mut err = io::stderr().lock();
        write!(err, "\r{line}\x1b[K").ok();
        err.flush().ok();
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        if self.drawn.take().is_some() {
            write!(io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}

/// `web.tar [######      ] 25 % of 70.0MB  layer 2`.
fn bar(name: &str, done: u64, total: u64, what: &str) -> String {
    let done = done.min(total);
    let part = |of: u64| u64::try_from(u128::from(done) * u128::from(of) / u128::from(total.max(1))).unwrap_or(of);
    let full = "#".repeat(usize::try_from(part(BAR)).unwrap_or(0));
    format!("{name} [{full:<24}] {:3} % of {}  {what}", part(100), bytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up() {
        assert_eq!(bar("x", 0, 0, ""), "x [                        ]   0 % of 0B  ");
        assert_eq!(bar("x", 35_000_000, 70_000_000, "layer"), "x [############            ]  50 % of 70.0MB  layer");
        assert_eq!(bar("x", u64::MAX, u64::MAX, ""), "x [########################] 100 % of 18446.7PB  ");
    }
}
