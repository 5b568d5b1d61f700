//! [`Tty`]: the terminal of the console, opened so that no call on it ever waits.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, major, minor};
use rustix::io::Errno;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcgetwinsize,
    tcsetattr,
};

/// Columns of a terminal that does not say.
const WIDTH: usize = 80;

/// An open terminal. Dropped, it is as it was before.
#[derive(Debug)]
pub(super) struct Tty {
    descriptor: OwnedFd,
    before: Termios,
}

/// What is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Lines of ours: a line feed begins a new row at its left.
    Lines,
    /// The bytes of another terminal, as they are.
    Bytes,
}

impl Tty {
    /// Opens the terminal at `path`; it becomes nobody's controlling terminal by that.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let before = tcgetattr(&descriptor)?;
        let tty = Self { descriptor, before };
        tty.style(Style::Lines)?;
        Ok(tty)
    }

    /// Takes every key at once, shows none by itself, and is neither stopped nor interrupted by what is typed or by noise.
    pub(super) fn style(&self, style: Style) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.input_modes -=
            InputModes::IXON | InputModes::IXOFF | InputModes::IXANY | InputModes::ICRNL | InputModes::BRKINT;
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        if style == Style::Bytes {
            modes.output_modes -= OutputModes::OPOST;
        }
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Not after what waits to be written: that may be for ever.
        tcsetattr(&self.descriptor, OptionalActions::Now, &modes)?;
        Ok(())
    }

    /// What was typed; `None` when nothing was, an error when the terminal is gone.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut *bytes)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what it takes now; 0 when that is nothing.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.descriptor, bytes)) {
            Err(Errno::AGAIN) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Its size; 80 columns and 24 rows when it does not know.
    pub(super) fn size(&self) -> Winsize {
        let unknown = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcgetwinsize(&self.descriptor).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0).unwrap_or(unknown)
    }

    /// Columns for a line.
    pub(super) fn width(&self) -> usize {
        usize::from(self.size().ws_col).clamp(20, WIDTH.max(200))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // Best effort: it may be gone.
        let _ = tcsetattr(&self.descriptor, OptionalActions::Now, &self.before);
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The terminal meant: the one named, else that of the person who started us, else the kernel's console. True with it: a person's own.
pub(super) fn find(named: Option<&Path>) -> (PathBuf, bool) {
    if let Some(named) = named {
        let whole = if named.is_absolute() { named.to_owned() } else { Path::new("/dev").join(named) };
        return (whole, false);
    }
    let stdin = io::stdin();
    if stdin.is_terminal()
        && !is_kernel_console(stdin.as_fd())
        && let Ok(name) = rustix::termios::ttyname(&stdin, Vec::new())
    {
        return (std::ffi::OsString::from_vec(name.into_bytes()).into(), true);
    }
    // Behind /dev/console is the last one of these (Documentation/admin-guide/serial-console.rst).
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let device = active.split_ascii_whitespace().next_back().map(|name| Path::new("/dev").join(name));
    (device.filter(|path| path.exists()).unwrap_or_else(|| "/dev/console".into()), false)
}

/// Whether it is `/dev/console` itself, character device 5:1.
fn is_kernel_console(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(descriptor).is_ok_and(|stat| (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 1))
}

/// Whether PID 1 runs the same program as we do: then it is gatepost's init, which this console may tell to reboot.
pub(super) fn init_is_ours() -> bool {
    let identity = |path: &str| fs::metadata(path).map(|program| (program.dev(), program.ino())).ok();
    identity("/proc/1/exe").is_some_and(|init| identity("/proc/self/exe") == Some(init))
}
