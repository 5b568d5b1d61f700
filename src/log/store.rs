//! [`Store`]: takes batches from streams and appends them to their logs, through the journal.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::cri::{self, Stamp};
use super::files::LogName;
use super::inventory::Inventory;
use super::journal::{BATCH, Journal, Losses, Phase, Target};
use super::protocol::StreamKind;
use super::writer::warn;
use crate::sys::pipe;
use crate::sys::shared_memory::SharedWords;
use crate::wire::{StreamCounter, stream_word};

/// Bytes handled at a time: read from the journal, and written to a log with one call.
const PART: usize = 64 * 1024;

/// Most that one turn takes from a terminal, which hands out 4 KiB at a time.
const TTY_TURN: usize = 16;

/// Words of one slot of the stream table.
const TABLE_WORDS: usize = 2;

/// The bounds of one container's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_size: u64,
    pub(crate) max_files: u32,
}

/// What a look at a stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing there.
    Empty,
    /// The beginning of a line, left in the FIFO until its end is there.
    Held,
    /// A batch was stored (or dropped and counted); there may be more.
    Stored,
}

/// Everything between a stream's descriptor and its log file.
#[derive(Debug)]
pub(crate) struct Store {
    journal: Journal,
    table: SharedWords,
    inventory: Inventory,
    /// Bound of all logs together; 0: none.
    total: u64,
    stamp: Stamp,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The last append failed: say it once.
    failing: bool,
}

impl Store {
    /// Takes over from a predecessor: what it had in hand is stored before this returns.
    pub(crate) fn open(page: &Path, logs: &Path, table: &OwnedFd, read: OwnedFd, write: OwnedFd) -> io::Result<Self> {
        let bytes = usize::try_from(rustix::fs::fstat(table)?.st_size).unwrap_or(0);
        let words = bytes / 8;
        let (journal, fault) = Journal::open(page, read, write, words / TABLE_WORDS)?;
        if let Some(fault) = fault {
            warn(&format!("journal page {}: {fault}; starting with an idle one", page.display()));
        }
        let mut store = Self {
            journal,
            table: SharedWords::map(table, words)?,
            inventory: Inventory::default(),
            total: 0,
            stamp: Stamp::new(),
            input: vec![0; PART],
            output: Vec::with_capacity(PART + cri::CONTENT_MAX + cri::HEAD_MAX),
            failing: false,
        };
        store.recover()?;
        store.inventory = Inventory::scan(logs);
        Ok(store)
    }

    fn recover(&mut self) -> io::Result<()> {
        let target = self.journal.target();
        match (self.journal.phase(), target) {
            (Phase::Idle, _) | (_, None) => {
                let waiting = self.journal.waiting()?;
                if waiting > 0 {
                    warn(&format!("{waiting} bytes in the journal belong to no stream and are dropped"));
                    self.journal.drain_to(0)?;
                }
                self.journal.finish();
                Ok(())
            }
            (Phase::Fill, Some(target)) => self.store(&target, None),
            (Phase::Append, Some(target)) => {
                cut(&target.path, self.journal.offset());
                self.store(&target, None)
            }
            (Phase::Appended, Some(target)) => {
                self.journal.finish_append()?;
                self.store(&target, None)
            }
        }
    }

    /// Sets the bound of all logs together.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    /// Whether the stream table has this slot.
    pub(crate) fn has_slot(&self, slot: u32) -> bool {
        (slot as usize) < self.table.len() / TABLE_WORDS
    }

    /// A buffer to receive messages in; free between batches.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.input
    }

    /// A stream begins (or goes on, after a restart). The log file exists afterwards if the disk allows it.
    pub(crate) fn begin(&mut self, target: &Target) -> io::Result<()> {
        self.journal.bind_slot(target.slot, target.stream_id)?;
        let Some((directory, name)) = split(&target.path) else { return Ok(()) };
        if let Err(error) = self.inventory.begin_instance(directory, name.instance) {
            warn(&format!(
                "log {}: {error}; what the container prints is dropped until it works",
                target.path.display()
            ));
        }
        Ok(())
    }

    /// Bytes of a stream that never reached its log.
    pub(crate) fn dropped(&self, slot: u32) -> u64 {
        self.stall_dropped(slot).saturating_add(self.journal.losses(slot).disk_dropped)
    }

    /// A stream has ended: says in the log what was lost of it since its last line.
    pub(crate) fn end(&mut self, target: &Target, bounds: Bounds) -> io::Result<()> {
        let losses = self.journal.losses(target.slot);
        if self.stall_dropped(target.slot) > losses.stall_noted || losses.disk_dropped > losses.disk_noted {
            self.journal.begin(target, now());
            self.store_part(target, Some(bounds), 0)?;
            self.journal.finish();
        }
        Ok(())
    }

    /// Removes a pod's logs.
    pub(crate) fn remove(&mut self, directory: &Path) -> io::Result<()> {
        self.inventory.remove_tree(directory)
    }

    /// One batch from a FIFO. `flush`: do not wait for the end of a line.
    pub(crate) fn take_fifo(
        &mut self,
        fifo: impl AsFd,
        target: &Target,
        bounds: Bounds,
        patience: usize,
        flush: bool,
    ) -> io::Result<Turn> {
        let held = usize::try_from(pipe::unread_bytes(&fifo)?).unwrap_or(BATCH);
        if held == 0 {
            return Ok(Turn::Empty);
        }
        let (seen, lines_end) = self.journal.look_for_lines(&fifo, &mut self.input)?;
        if seen == 0 {
            return Ok(Turn::Empty);
        }
        let length = cri::take_length(seen, lines_end, held, patience, flush);
        if length == 0 {
            return Ok(Turn::Held);
        }
        self.journal.begin(target, now());
        let moved = self.journal.fill(fifo, length);
        self.count_read(target.slot);
        self.store(target, Some(bounds))?;
        match moved {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => Ok(Turn::Empty),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Turn::Stored),
            Err(error) => Err(error.into()),
        }
    }

    /// One batch from a pty master. What a terminal hands out cannot be looked at first: a line's end may come later.
    pub(crate) fn take_tty(&mut self, master: impl AsFd, target: &Target, bounds: Bounds) -> io::Result<Turn> {
        self.journal.begin(target, now());
        let mut turn = Turn::Stored;
        for _ in 0..TTY_TURN {
            let moved = match self.journal.fill(&master, PART) {
                // Kernels whose terminals cannot be spliced.
                Err(rustix::io::Errno::INVAL) => self.copy_tty(&master),
                other => other,
            };
            // EIO: no process has the terminal open.
            if !matches!(moved, Ok(1..) | Err(rustix::io::Errno::INTR)) {
                turn = Turn::Empty;
                break;
            }
        }
        self.count_read(target.slot);
        self.store(target, Some(bounds))?;
        Ok(turn)
    }

    fn copy_tty(&mut self, master: impl AsFd) -> rustix::io::Result<usize> {
        let part = self.input.get_mut(..4096).unwrap_or_default();
        let got = rustix::io::read(master, &mut *part)?;
        self.journal.fill_with(part.get(..got).unwrap_or_default())
    }

    /// Brings the journal pipe's content into the log, part by part.
    fn store(&mut self, target: &Target, bounds: Option<Bounds>) -> io::Result<()> {
        loop {
            let waiting = self.journal.waiting()?;
            if waiting == 0 {
                self.journal.finish();
                return Ok(());
            }
            self.store_part(target, bounds, waiting)?;
        }
    }

    fn store_part(&mut self, target: &Target, bounds: Option<Bounds>, waiting: u64) -> io::Result<()> {
        let seen = self.journal.look(&mut self.input)?;
        let input = self.input.get(..seen).unwrap_or_default();
        let stamp = self.stamp.at(self.journal.wall_ns());
        self.output.clear();
        let before = self.journal.losses(target.slot);
        let stalled = table_word(&self.table, target.slot, StreamCounter::DroppedBytes)
            .map_or(0, |word| word.load(Ordering::SeqCst));
        let mut after = before;
        note(&mut self.output, stamp, stalled.saturating_sub(before.stall_noted), "nobody read the log for over 1 s");
        note(
            &mut self.output,
            stamp,
            before.disk_dropped.saturating_sub(before.disk_noted),
            "the log could not be written",
        );
        after.stall_noted = stalled;
        after.disk_noted = before.disk_dropped;

        let most = bounds.map_or(PART, |bounds| usize::try_from(bounds.max_size).unwrap_or(PART).min(PART));
        let last = seen as u64 == waiting;
        let mut used = cri::format_lines(input, last, stamp, target.kind, &mut self.output, most);
        if used == 0 {
            used = cri::format_lines(input, true, stamp, target.kind, &mut self.output, most);
        }
        let remain = waiting.saturating_sub(used as u64);
        if let Err(error) = self.append(target, bounds, remain, after) {
            if !self.failing {
                warn(&format!("log {}: {error}; dropping and counting until it works", target.path.display()));
            }
            self.failing = true;
            let dropped = before.disk_dropped.saturating_add(used as u64);
            // The journal still names a part to append: it is dropped instead, and must not be half there.
            self.journal.begin_append(u64::MAX, remain, Losses { disk_dropped: dropped, ..before });
        } else {
            self.failing = false;
        }
        self.journal.finish_append()
    }

    /// Appends `self.output` to the log, whole or not at all.
    fn append(&mut self, target: &Target, bounds: Option<Bounds>, remain: u64, after: Losses) -> io::Result<()> {
        let (directory, name) = split(&target.path).ok_or(io::ErrorKind::InvalidFilename)?;
        let need = self.output.len() as u64;
        self.inventory.make_room(need, self.total)?;
        let mut file = open_log(&target.path)?;
        let mut offset = file.metadata()?.len();
        if let Some(bounds) = bounds
            && offset > 0
            && offset.saturating_add(need) > bounds.max_size
        {
            self.inventory.set(directory, name, offset);
            self.inventory.rotate(directory, name.instance, bounds.max_files, now())?;
            file = open_log(&target.path)?;
            offset = file.metadata()?.len();
        }
        self.journal.begin_append(offset, remain, after);
        if let Err(error) = file.write_all_at(&self.output, offset) {
            file.set_len(offset)?;
            return Err(error);
        }
        self.inventory.set(directory, name, offset.saturating_add(need));
        Ok(())
    }

    fn count_read(&self, slot: u32) {
        if let Some(word) = table_word(&self.table, slot, StreamCounter::ReadBatches) {
            word.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn stall_dropped(&self, slot: u32) -> u64 {
        table_word(&self.table, slot, StreamCounter::DroppedBytes).map_or(0, |word| word.load(Ordering::SeqCst))
    }
}

fn table_word(table: &[AtomicU64], slot: u32, counter: StreamCounter) -> Option<&AtomicU64> {
    table.get(stream_word(slot as usize, counter))
}

/// A line in the log that says what is missing there.
fn note(out: &mut Vec<u8>, stamp: &[u8], bytes: u64, why: &str) {
    if bytes > 0 {
        let text = format!("gatepost: dropped {bytes} bytes here: {why}");
        cri::push_line(out, stamp, StreamKind::Stderr, b'F', text.as_bytes());
    }
}

/// The container's log directory and the live file's name.
pub(crate) fn split(path: &Path) -> Option<(&Path, LogName)> {
    let name = LogName::parse(path.file_name()?.to_str()?)?;
    (path.parent().is_some() && name == LogName::live(name.instance)).then_some((path.parent()?, name))
}

fn open_log(path: &PathBuf) -> io::Result<File> {
    let open = || File::options().write(true).create(true).truncate(false).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(directory)?;
            open()
        }
        (result, _) => result,
    }
}

/// Takes back what a killed writer may have appended of a batch.
fn cut(path: &Path, offset: u64) {
    let result = match File::options().write(true).open(path) {
        Ok(file) => match file.metadata() {
            Ok(metadata) if metadata.len() > offset => file.set_len(offset),
            other => other.map(drop),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        warn(&format!("log {}: {error}; lines of the last batch may be there twice", path.display()));
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
