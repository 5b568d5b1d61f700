//! Why the machine went down: [`LastBoot`], from what the shutdown left ([`Farewell`]), the watchdog and the kernel's last words.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Boot;
use crate::json::{self, Deserialize, Serialize};
use crate::sys::{clock, mount, replace};
use crate::wire::boot::WATCHDOG_STATUS;
use crate::wire::farewell::{Farewell, NAME};

/// Name of the report in the run directory.
const REPORT: &str = "last-boot.json";
/// Version of both.
const VERSION: u32 = 1;
/// How the line begins that PID 1 leaves when it fails (`init::rescue`).
const RESCUED: &str = "init: PID 1 failed with signal ";
/// `WDIOF_CARDRESET` of linux/watchdog.h: the watchdog was what started the machine again.
const CARD_RESET: u32 = 0x20;
/// Where the kernel keeps what it said before it died.
const PSTORE: &str = "/sys/fs/pstore";
/// Bytes of one file of it that are kept, how many files in all, and bytes of them that the report shows.
const PSTORE_FILE: usize = 64 << 10;
const PSTORE_FILES: usize = 8;
const TAIL: usize = 4096;

/// How the boot before this one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastBoot {
    /// 1.
    pub version: u32,
    /// There was none on this data partition.
    pub first: bool,
    /// The shutdown's record.
    pub farewell: Option<Farewell>,
    /// WDIOC_GETBOOTSTATUS of the hardware watchdog; `None` without one.
    pub watchdog_status: Option<u32>,
    /// Where the kernel's last words are kept.
    pub pstore: Vec<PathBuf>,
    /// The end of them.
    pub tail: String,
    /// Whether a crash of the kernel is among them, and not only what it had said before an orderly reboot.
    #[serde(default)]
    pub crashed: bool,
}

impl LastBoot {
    /// Reads the report of this boot; `NotFound` where gatepost is not PID 1.
    pub fn read(run: &Path) -> io::Result<Self> {
        json::from_slice(&fs::read(run.join(REPORT))?).map_err(io::Error::other)
    }

    pub(super) fn write(&self, run: &Path) -> io::Result<()> {
        replace::replace(&run.join(REPORT), &json::to_vec(self)?, 0o644)
    }

    /// Whether the watchdog started the machine again.
    pub fn bitten(&self) -> bool {
        self.watchdog_status.is_some_and(|status| status & CARD_RESET != 0)
    }

    /// The signal with which PID 1 failed, by its last words.
    fn rescued(&self) -> Option<&str> {
        let (_, words) = self.tail.rsplit_once(RESCUED)?;
        words.split(':').next()
    }

    /// One line: why it went down.
    pub fn cause(&self) -> String {
        match &self.farewell {
            Some(farewell) if farewell.reason.is_empty() => farewell.action.clone(),
            Some(farewell) => format!("{}: {}", farewell.action, farewell.reason),
            // A watchdog may well bite while a kernel that has crashed still counts to its reboot.
            None if self.crashed => "the kernel crashed (its last words are kept)".to_owned(),
            // What PID 1 said when it failed, where nothing could be written to the disk any more.
            None if let Some(signal) = self.rescued() => {
                format!("PID 1 failed with signal {signal} (its last words are kept)")
            }
            None if self.bitten() => "the hardware watchdog reset the board".to_owned(),
            None if self.first => "none: this is the first boot with this data partition".to_owned(),
            None => "no orderly shutdown: a power cut, a reset or a crash".to_owned(),
        }
    }
}

/// Reads and removes the shutdown's record: a power cut in this boot must not be taken for that shutdown.
fn take_farewell(state: &Path) -> io::Result<Option<Farewell>> {
    let content = replace::take_durably(state, NAME)?;
    content.map(|content| json::from_slice(&content).map_err(io::Error::other)).transpose()
}

/// The stage `last boot`.
pub(super) fn collect(boot: &Boot) -> Result<String, String> {
    let state = boot.config().layout.state();
    let first = !state.exists();
    let farewell = take_farewell(&state).map_err(|e| format!("{}: {e}", state.join(NAME).display()));
    let watchdog_status = std::env::var(WATCHDOG_STATUS).ok().and_then(|text| text.parse().ok());
    let found = farewell.as_ref().ok().cloned().flatten();
    let kept = keep_pstore(Path::new(PSTORE), &state.join("pstore"), mount::is_on_disk(&state), found.is_some());
    let Kept { pstore, tail, crashed } = kept.unwrap_or_else(|error| {
        boot.warn("last boot", &format!("{PSTORE}: {error}"));
        Kept::default()
    });
    let report = LastBoot { version: VERSION, first, farewell: found, watchdog_status, pstore, tail, crashed };
    let cause = report.cause();
    let _ = boot.ended.set(report);
    farewell.map(|_| cause)
}

/// Whether a record, or its copy, is of this kind. `dmesg` is a crash; `pmsg` is what programs had written.
fn is_of(file: &Path, kind: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().contains(kind))
}

/// Whether a record is of a crash. Where the board asks for it the kernel also leaves one at each orderly reboot; pstore writes the
/// reason first (`Panic#1 Part1`). What cannot be read is taken for a crash.
fn is_crash(file: &Path, content: &[u8]) -> bool {
    let orderly = |reason: &&[u8]| content.starts_with(reason);
    is_of(file, "dmesg-") && ![&b"Shutdown#"[..], b"Emergency#"].iter().any(orderly)
}

/// What was kept of the kernel's last words.
#[derive(Debug, Default)]
struct Kept {
    /// The copies.
    pstore: Vec<PathBuf>,
    /// The end of them.
    tail: String,
    /// Whether a crash is among them.
    crashed: bool,
}

/// Copies what the kernel kept to the data partition, and makes room for the next crash, which else would be taken for this one at every
/// boot. Where the copy is only in memory (not `durable`) the records of programs stay: reboots are counted in them. What was said
/// before a reboot of which there is a report (`reported`) says nothing new, and is not worth a write.
fn keep_pstore(from: &Path, to: &Path, durable: bool, reported: bool) -> io::Result<Kept> {
    let mut files: Vec<PathBuf> = match fs::read_dir(from) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    files.sort();
    if files.is_empty() {
        return Ok(Kept::default());
    }
    fs::create_dir_all(to)?;
    let Kept { mut pstore, mut tail, mut crashed } = Kept::default();
    let now = clock::wall_ms() / 1000;
    for file in files.iter().take(PSTORE_FILES) {
        let content = fs::read(file)?;
        let is_crash = is_crash(file, &content);
        if reported && !is_crash && is_of(file, "dmesg-") {
            continue;
        }
        crashed |= is_crash;
        let end = content.get(content.len().saturating_sub(PSTORE_FILE)..).unwrap_or_default();
        let name = format!("{now:010}-{}", file.file_name().unwrap_or_default().to_string_lossy());
        replace::replace_durably(File::open(to)?, &name, end, 0o600)?;
        pstore.push(to.join(name));
        if !name_says_compressed(file) {
            let _ = write!(tail, "{}", String::from_utf8_lossy(end));
        }
    }
    remove_oldest(to)?;
    for file in files.iter().filter(|file| durable || !is_of(file, "pmsg-")) {
        let _ = fs::remove_file(file);
    }
    let begin = (0..=tail.len()).find(|at| tail.len().saturating_sub(*at) <= TAIL && tail.is_char_boundary(*at));
    let tail = tail.split_off(begin.unwrap_or(0));
    Ok(Kept { pstore, tail, crashed })
}

fn name_says_compressed(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "z")
}

/// Names begin with their time, so they sort by it.
fn remove_oldest(directory: &Path) -> io::Result<()> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    for name in names.iter().rev().skip(PSTORE_FILES) {
        fs::remove_file(name)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn report() -> LastBoot {
        LastBoot {
            version: VERSION,
            first: false,
            farewell: None,
            watchdog_status: None,
            pstore: Vec::new(),
            tail: String::new(),
            crashed: false,
        }
    }

    #[test]
    fn the_cause_is_the_best_that_is_known() {
        assert_eq!(report().cause(), "no orderly shutdown: a power cut, a reset or a crash");
        assert!(LastBoot { first: true, ..report() }.cause().contains("first boot"));
        let bitten = LastBoot { watchdog_status: Some(0x8020), ..report() };
        assert_eq!(bitten.cause(), "the hardware watchdog reset the board");
        for status in [0x8000, 0x8020] {
            let crashed = LastBoot { watchdog_status: Some(status), crashed: true, ..report() };
            assert!(crashed.cause().contains("kernel crashed"), "{}", crashed.cause());
            let wrote = LastBoot { watchdog_status: Some(status), tail: "x".to_owned(), ..report() };
            assert!(!wrote.cause().contains("kernel crashed"), "{}", wrote.cause());
        }
        let tail =
            "<7>[ 5.1] gatepost init: PID 1 failed with signal 11: this board is rebooted\n<6>[ 9.0] reboot".to_owned();
        let rescued = LastBoot { tail, ..report() };
        assert_eq!(rescued.cause(), "PID 1 failed with signal 11 (its last words are kept)");
        let farewell = json::from_str(r#"{"version":1,"action":"reboot","reason":"signal TERM","took_ms":5}"#).unwrap();
        assert_eq!(LastBoot { farewell: Some(farewell), ..bitten }.cause(), "reboot: signal TERM");
    }

    #[test]
    fn a_farewell_is_taken_once() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(take_farewell(state.path()).unwrap(), None);
        fs::write(state.path().join(NAME), r#"{"version":1,"action":"halt"}"#).unwrap();
        assert_eq!(take_farewell(state.path()).unwrap().unwrap().action, "halt");
        assert_eq!(take_farewell(state.path()).unwrap(), None);
        fs::write(state.path().join(NAME), "half of").unwrap();
        assert!(take_farewell(state.path()).is_err());
        assert_eq!(take_farewell(state.path()).unwrap(), None);
    }

    #[test]
    fn the_kernels_last_words_are_moved_and_bounded() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let to = to.path().join("pstore");
        fs::create_dir(&to).unwrap();
        for old in 0..PSTORE_FILES {
            fs::write(to.join(format!("000000000{old}-dmesg-ramoops-0")), "old").unwrap();
        }
        fs::write(from.path().join("dmesg-ramoops-0"), format!("{}the end\n", "x".repeat(2 * PSTORE_FILE))).unwrap();
        fs::write(from.path().join("dmesg-ramoops-1.enc.z"), [0xff; 10]).unwrap();
        let Kept { pstore, tail, crashed } = keep_pstore(from.path(), &to, true, false).unwrap();
        assert_eq!((pstore.len(), crashed), (2, true));
        assert_eq!(fs::read(&pstore[0]).unwrap().len(), PSTORE_FILE);
        assert_eq!((tail.len(), tail.ends_with("the end\n")), (TAIL, true));
        assert_eq!(fs::read_dir(&to).unwrap().count(), PSTORE_FILES);
        assert_eq!(fs::read_dir(from.path()).unwrap().count(), 0);
        assert!(keep_pstore(from.path(), &to, true, false).unwrap().pstore.is_empty());
    }

    #[test]
    fn a_crash_is_told_once_even_where_its_copy_is_only_in_memory_and_counted_reboots_stay() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["dmesg-ramoops-0", "pmsg-ramoops-0"] {
            fs::write(from.path().join(name), "x").unwrap();
        }
        assert_eq!(keep_pstore(from.path(), to.path(), false, false).unwrap().pstore.len(), 2);
        let left: Vec<_> = fs::read_dir(from.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["pmsg-ramoops-0"]);
    }
    #[test]
    fn what_was_said_before_an_orderly_reboot_is_no_crash_and_is_kept_only_if_nobody_reported_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let record = from.path().join("dmesg-ramoops-0");
        for (reason, reported, copies, crash) in [
            ("Shutdown", true, 0, false),
            ("Shutdown", false, 1, false),
            ("Emergency", false, 1, false),
            ("Panic", true, 1, true),
            ("Oops", false, 1, true),
        ] {
            fs::write(&record, format!("{reason}#1 Part1\n<6>[    1.0] x\n")).unwrap();
            let kept = keep_pstore(from.path(), to.path(), true, reported).unwrap();
            assert_eq!((kept.pstore.len(), kept.crashed), (copies, crash), "{reason}");
            assert!(!record.exists(), "{reason}: the next boot must not find it again");
        }
    }
}
