//! [`Terminal`]: a pseudo-terminal with a program on it, driven and read as a person would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unreachable_pub)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// Longest wait for anything: far above what is ever needed, since other work may share the machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Terminal {
    master: File,
    /// Kept, so that the terminal lives while no program has it open.
    slave: OwnedFd,
    pub path: PathBuf,
    child: Option<Child>,
    screen: Arc<Screen>,
    /// Up to here the output has been waited for.
    read: usize,
}

#[derive(Default)]
struct Screen {
    bytes: Mutex<Vec<u8>>,
    more: Condvar,
}

impl Terminal {
    /// A terminal of 80 columns and 24 rows that nobody reads yet.
    pub fn unread() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        Self { master: master.into(), slave, path, child: None, screen: Arc::default(), read: 0 }
    }

    /// The same, read from the beginning.
    pub fn new() -> Self {
        let terminal = Self::unread();
        terminal.begin_to_read();
        terminal
    }

    pub fn begin_to_read(&self) {
        let mut master = self.master.try_clone().unwrap();
        let screen = Arc::clone(&self.screen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut chunk) {
                screen.bytes.lock().unwrap().extend_from_slice(&chunk[..count]);
                screen.more.notify_all();
            }
        });
    }

    /// Starts a program beside the terminal: it knows of it by its path only, as init's children do.
    pub fn start_beside(&mut self, command: &mut Command) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
    }

    /// Starts a program on the terminal, as a login shell would: it is its controlling terminal, and its three streams. No signal is
    /// ignored, although whoever runs the tests in the background may ignore SIGINT.
    pub fn start_on(&mut self, command: &Command) {
        let stream = || Stdio::from(self.slave.try_clone().unwrap());
        let mut session = Command::new("setsid");
        session.args(["--ctty", "env", "--default-signal"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => session.env(key, value),
                None => session.env_remove(key),
            };
        }
        self.child = Some(session.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn runs(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Types.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.master.write_all(bytes.as_ref()).unwrap();
    }

    /// Waits until the program has taken all that was typed.
    pub fn wait_until_taken(&self) {
        let start = Instant::now();
        while rustix::io::ioctl_fionread(&self.slave).unwrap() > 0 {
            assert!(start.elapsed() < PATIENCE, "nobody takes what was typed");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until `needle` is printed after what was waited for last; gives what was printed up to it.
    pub fn wait_for(&mut self, needle: &str) -> String {
        let start = Instant::now();
        let mut bytes = self.screen.bytes.lock().unwrap();
        loop {
            let fresh = String::from_utf8_lossy(&bytes[self.read..]).into_owned();
            if let Some(at) = bytes[self.read..].windows(needle.len()).position(|window| window == needle.as_bytes()) {
                let end = self.read + at + needle.len();
                let text = String::from_utf8_lossy(&bytes[self.read..end]).into_owned();
                self.read = end;
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "the terminal never shows {needle:?}, only:\n{fresh}");
            bytes = self.screen.more.wait_timeout(bytes, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// Waits until something holds of all that was printed.
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let start = Instant::now();
        let mut bytes = self.screen.bytes.lock().unwrap();
        while !holds(&String::from_utf8_lossy(&bytes)) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
            bytes = self.screen.more.wait_timeout(bytes, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// All that was printed.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.screen.bytes.lock().unwrap()).into_owned()
    }

    /// All that was printed after what was waited for last.
    pub fn rest(&self) -> String {
        String::from_utf8_lossy(&self.screen.bytes.lock().unwrap()[self.read..]).into_owned()
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits for the program's end.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the program on the terminal does not end:\n{}", self.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let bytes = self.screen.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            eprintln!("--- on the terminal:\n{}\n---", String::from_utf8_lossy(&bytes));
        }
    }
}
