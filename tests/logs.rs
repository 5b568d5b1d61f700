//! The log-writer and the reader with real processes and pipes: the test plays init (holds the FIFOs and the journal) and
//! the supervisor (drives the control socket).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::pedantic)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use gatepost::log::protocol::{
    Answer, CONTROL_FD, JOURNAL_READ_FD, JOURNAL_WRITE_FD, Message, Open, Request, STREAM_TABLE_FD, StreamKind,
};
use gatepost::log::reader::{ReadError, ReadOptions, read};
use gatepost::log::tail_bytes;
use gatepost::sys::process::{Which, reap};
use gatepost::sys::shared_memory::SharedWords;
use gatepost::sys::spawn::{Child, Program, Spawn};
use gatepost::sys::{pipe, socket};
use gatepost::wire::{STREAM_TABLE_WORDS, StreamCounter, stream_word};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};

const FIFO_BYTES: usize = 256 * 1024;

/// What init holds for the node's logs.
struct Node {
    directory: tempfile::TempDir,
    logs: PathBuf,
    journal: (OwnedFd, OwnedFd),
    table: (OwnedFd, SharedWords),
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        let table = SharedWords::create("streams", STREAM_TABLE_WORDS).unwrap();
        Self { directory, logs, journal: pipe::pair(FIFO_BYTES).unwrap(), table }
    }

    fn log(&self, container: &str, instance: u32) -> PathBuf {
        self.logs.join("ns_pod_uid").join(container).join(format!("{instance}.log"))
    }

    fn start(&self) -> Writer {
        let (ours, theirs) = socket::pair().unwrap();
        let page = self.directory.path().join("page");
        let program = CString::new(env!("CARGO_BIN_EXE_gatepost")).unwrap();
        let words = ["gatepost", "log-writer", "--journal-page"].map(|word| CString::new(word).unwrap());
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        let args = [words.to_vec(), vec![path(&page), c"--logs".to_owned(), path(&self.logs)]].concat();
        let mut spawn = Spawn::new(Program::Path(&program), &args);
        spawn.extra_fds = vec![
            (theirs.as_fd(), CONTROL_FD),
            (self.table.0.as_fd(), STREAM_TABLE_FD),
            (self.journal.0.as_fd(), JOURNAL_READ_FD),
            (self.journal.1.as_fd(), JOURNAL_WRITE_FD),
        ];
        Writer { child: spawn.start().unwrap(), socket: Some(ours) }
    }

    fn counter(&self, open: &Open, counter: StreamCounter) -> &std::sync::atomic::AtomicU64 {
        &self.table.1[stream_word(open.slot as usize, counter)]
    }

    fn fifo(&self, name: &str) -> Fifo {
        let path = self.directory.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let hold = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        pipe::set_size(&hold, FIFO_BYTES).unwrap();
        Fifo { path, hold }
    }
}

/// A container's stream; `hold` is init's own descriptor of it.
struct Fifo {
    path: PathBuf,
    hold: File,
}

impl Fifo {
    /// As a container has it: read-write and blocking.
    fn container_end(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    fn print(&self, bytes: impl AsRef<[u8]>) {
        self.container_end().write_all(bytes.as_ref()).unwrap();
    }

    fn reader_end(&self) -> File {
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path).unwrap()
    }
}

/// A running log-writer; killed when dropped.
struct Writer {
    child: Child,
    socket: Option<OwnedFd>,
}

impl Writer {
    fn send(&self, request: Request, descriptor: Option<BorrowedFd<'_>>) {
        let bytes = gatepost::json::to_vec(&Message::new(request)).unwrap();
        socket::send(self.socket.as_ref().unwrap(), &bytes, descriptor).unwrap();
    }

    fn open(&self, open: &Open, fifo: &Fifo) {
        self.send(Request::Open(open.clone()), Some(fifo.reader_end().as_fd()));
    }

    fn answer(&self) -> Answer {
        let socket = self.socket.as_ref().unwrap();
        poll(&mut [PollFd::new(socket, PollFlags::IN)], None).unwrap();
        let mut buffer = vec![0; 65536];
        let length = socket::receive(socket, &mut buffer).unwrap().length;
        assert!(length > 0, "the log-writer has closed its socket");
        gatepost::json::from_slice::<Message<Answer>>(&buffer[..length]).unwrap().body
    }

    /// Closes a stream and returns what it lost.
    fn close(&self, id: u64) -> u64 {
        self.send(Request::Close { stream_id: id }, None);
        loop {
            match self.answer() {
                Answer::Closed { stream_id, dropped_bytes } if stream_id == id => return dropped_bytes,
                Answer::Refused { reason, .. } => panic!("refused: {reason}"),
                _ => {}
            }
        }
    }

    fn kill(self) {
        drop(self);
    }

    /// The supervisor goes away: the log-writer ends by itself.
    fn leave(mut self) {
        self.socket = None;
        poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], None).unwrap();
    }

    /// Waits for a log to say something; fails when the log-writer has ended.
    fn wait_for(&self, log: &Path, done: impl Fn(&str) -> bool) {
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        while !log.exists() || !done(&text(&options(log))) {
            let ended = poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&timeout)).unwrap();
            assert_eq!(ended, 0, "the log-writer has ended");
        }
    }

    /// Waits until it sleeps.
    fn wait_idle(&self) {
        while !fs::read_to_string(format!("/proc/{}/stat", self.child.pid)).unwrap().contains(") S ") {
            std::thread::yield_now();
        }
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], None);
        let _ = reap(Which::Pid(self.child.pid));
    }
}

fn stream(id: u64, path: &Path) -> Open {
    Open {
        stream_id: id,
        slot: u32::try_from(id).unwrap(),
        path: path.to_owned(),
        stream: if id % 4 == 2 { StreamKind::Stderr } else { StreamKind::Stdout },
        tty: false,
        max_size: 10 << 20,
        max_files: 5,
    }
}

fn options(path: &Path) -> ReadOptions {
    ReadOptions { path: path.to_owned(), previous: false, tail: None, since: None, timestamps: false, follow: false }
}

fn text(options: &ReadOptions) -> String {
    let mut out = Vec::new();
    read(options, &mut out, &mut || true).unwrap();
    String::from_utf8(out).unwrap()
}

/// File names and sizes in a container's log directory.
fn files(log: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(log.parent().unwrap()).unwrap().map(Result::unwrap);
    // The writer removes old ones meanwhile.
    let mut files: Vec<_> = entries
        .filter_map(|entry| match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            metadata => Some((entry.file_name().into_string().unwrap(), metadata.unwrap().len())),
        })
        .collect();
    files.sort();
    files
}

fn bytes(log: &Path) -> u64 {
    files(log).iter().map(|(_, size)| size).sum()
}

/// xorshift: random enough to choose instants, and repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A numbered line of a length that depends on its number; now and then longer than 16 KiB.
fn numbered(stream: u64, number: u64) -> String {
    let length = if number % 1000 == 999 { 40_000 } else { number * 31 % 300 };
    format!("{stream}:{number} {}\n", "x".repeat(length as usize))
}

#[test]
fn every_line_is_there_once_and_in_order_though_the_writer_is_killed_300_times() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut random = Random(seed | 1);
    let node = Node::new();
    let log = node.log("flood", 0);
    // Two streams of one container share its file.
    let streams = [5, 6].map(|id| {
        let open = Open { max_size: 1 << 20, max_files: 10_000, ..stream(id, &log) };
        (node.fifo(&format!("s{id}")), open)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let producers = streams.each_ref().map(|(fifo, open)| {
        let (mut end, stop, id) = (fifo.container_end(), stop.clone(), open.stream_id);
        let mut random = Random(seed ^ id);
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(SeqCst) {
                for _ in 0..random.below(150) {
                    end.write_all(numbered(id, number).as_bytes()).unwrap();
                    number += 1;
                }
                std::thread::sleep(Duration::from_micros(random.below(3000)));
            }
            number
        })
    });
    for round in 0..320 {
        let writer = node.start();
        for (fifo, open) in &streams {
            writer.open(open, fifo);
        }
        // Half of the kills strike the start and the recovery, half the work after it.
        if round % 2 == 0 {
            assert_eq!(writer.answer(), Answer::Ready);
        }
        std::thread::sleep(Duration::from_micros(random.below(8_000)));
        if round % 10 == 9 { writer.leave() } else { writer.kill() }
    }
    let writer = node.start();
    for (fifo, open) in &streams {
        writer.open(open, fifo);
    }
    stop.store(true, SeqCst);
    let produced = producers.map(|producer| producer.join().unwrap());
    for (_, open) in &streams {
        assert_eq!(writer.close(open.stream_id), 0);
    }
    assert_eq!(pipe::unread_bytes(&node.journal.0).unwrap(), 0);
    writer.leave();

    let mut next = [0, 0];
    for line in text(&options(&log)).lines() {
        let which = usize::from(line.starts_with("6:"));
        assert_eq!(format!("{line}\n"), numbered([5, 6][which], next[which]), "seed {seed}");
        next[which] += 1;
    }
    assert_eq!(next, produced, "seed {seed}");
    assert!(files(&log).len() > 1, "nothing was rotated");
}

#[test]
fn a_flooding_container_keeps_its_bound_and_does_not_starve_another() {
    let node = Node::new();
    let (loud, quiet) = (node.fifo("loud"), node.fifo("quiet"));
    let (loud_log, quiet_log) = (node.log("loud", 3), node.log("quiet", 0));
    let writer = node.start();
    writer.open(&Open { max_size: 300_000, max_files: 3, ..stream(1, &loud_log) }, &loud);
    writer.open(&stream(5, &quiet_log), &quiet);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut end, stopped) = (loud.container_end(), stop.clone());
    let flood = std::thread::spawn(move || {
        let mut total = 0_u64;
        while !stopped.load(SeqCst) || total < 8 << 20 {
            end.write_all(&b"0123456789abcdef0123456789abcdef\n".repeat(1000)).unwrap();
            total += 33_000;
        }
    });
    for number in 0..20 {
        quiet.print(format!("quiet {number}\n"));
        let expected = format!("quiet {number}\n");
        writer.wait_for(&quiet_log, |text| text.ends_with(&expected));
        assert!(files(&loud_log).len() <= 3);
    }
    stop.store(true, SeqCst);
    flood.join().unwrap();
    assert_eq!(writer.close(1), 0);
    let files = files(&loud_log);
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|(_, size)| *size <= 300_000), "{files:?}");
    assert_eq!(files[0].0, "3.log");
}

#[test]
fn all_logs_together_keep_their_bound_at_the_cost_of_the_largest() {
    let node = Node::new();
    let (large, small) = (node.fifo("large"), node.fifo("small"));
    let (large_log, small_log) = (node.log("large", 0), node.log("small", 0));
    let writer = node.start();
    writer.send(Request::Limits { total: 400_000 }, None);
    writer.open(&Open { max_size: 100_000, max_files: 100, ..stream(1, &large_log) }, &large);
    writer.open(&stream(5, &small_log), &small);
    small.print("small\n".repeat(1000));
    assert_eq!(writer.close(5), 0);
    let before = bytes(&small_log);
    for _ in 0..20 {
        large.print(b"large line of some length\n".repeat(5000));
    }
    assert_eq!(writer.close(1), 0);
    assert!(bytes(&large_log) + bytes(&small_log) <= 400_000);
    assert!(bytes(&large_log) > 200_000);
    assert_eq!(bytes(&small_log), before);
    // The next log-writer counts what is there.
    writer.leave();
    let writer = node.start();
    writer.send(Request::Limits { total: 100_000 }, None);
    writer.open(&stream(9, &small_log), &small);
    small.print("more\n");
    assert_eq!(writer.close(9), 0);
    assert!(bytes(&large_log) + bytes(&small_log) <= 100_000);
    assert!(text(&options(&small_log)).ends_with("small\nmore\n"));
}

#[test]
fn on_a_full_disk_lines_are_dropped_counted_and_noted() {
    let node = Node::new();
    fs::create_dir(&node.logs).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &node.logs, "tmpfs", flags, c"size=64k").expect("this test needs root");
    let unmount = Unmount(node.logs.clone());
    let fifo = node.fifo("f");
    let log = node.log("box", 0);
    let writer = node.start();
    writer.open(&stream(1, &log), &fifo);
    for _ in 0..10 {
        fifo.print(b"filling the disk\n".repeat(4000));
    }
    let lost = writer.close(1);
    assert!(lost > 500_000, "{lost}");
    // Space again: the log goes on, and says what is missing.
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    writer.open(&stream(1, &log), &fifo);
    fifo.print("back\n");
    assert_eq!(writer.close(1), lost);
    let text = text(&options(&log));
    assert!(text.ends_with("the log could not be written\nback\n"), "{text}");
    writer.leave();
    drop(unmount);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn what_init_dropped_is_noted_before_the_next_line_once() {
    let node = Node::new();
    let fifo = node.fifo("f");
    let log = node.log("box", 0);
    let open = stream(1, &log);
    let writer = node.start();
    node.counter(&open, StreamCounter::DroppedBytes).store(4711, SeqCst);
    writer.open(&open, &fifo);
    fifo.print("next\n");
    assert_eq!(writer.close(1), 4711);
    writer.kill();
    let writer = node.start();
    writer.open(&open, &fifo);
    fifo.print("last\n");
    assert_eq!(writer.close(1), 4711);
    let note = "gatepost: dropped 4711 bytes here: nobody read the log for over 1 s\n";
    assert_eq!(text(&options(&log)), format!("{note}next\nlast\n"));
    assert!(node.counter(&open, StreamCounter::ReadBatches).load(SeqCst) >= 2);
}

#[test]
fn an_unfinished_line_appears_late_and_then_the_writer_sleeps() {
    let node = Node::new();
    let fifo = node.fifo("f");
    let log = node.log("box", 0);
    let writer = node.start();
    writer.open(&stream(1, &log), &fifo);
    fifo.print("name");
    fifo.print("? ");
    writer.wait_for(&log, |text| text == "name? ");
    assert_eq!(pipe::unread_bytes(&fifo.hold).unwrap(), 0);
    writer.wait_idle();
    let before = writer.status("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(writer.status("voluntary_ctxt_switches"), before);
    fifo.print("me\nend");
    assert_eq!(writer.close(1), 0);
    assert_eq!(text(&options(&log)), "name? me\nend");
}

#[test]
fn a_terminal_is_copied_too() {
    let node = Node::new();
    let log = node.log("box", 0);
    let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let mut slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let writer = node.start();
    writer.send(Request::Open(Open { tty: true, ..stream(1, &log) }), Some(master.as_fd()));
    for number in 0..2000 {
        writeln!(slave, "line {number}").unwrap();
    }
    slave.write_all(b"# ").unwrap();
    drop(slave);
    assert_eq!(writer.close(1), 0);
    let expected: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text(&options(&log)).replace('\r', ""), expected + "# ");
}

#[test]
fn only_the_current_and_the_previous_instance_keep_their_logs() {
    let node = Node::new();
    let writer = node.start();
    for instance in 0..4 {
        let fifo = node.fifo(&format!("f{instance}"));
        let id = u64::from(instance) * 4 + 1;
        writer.open(&stream(id, &node.log("box", instance)), &fifo);
        fifo.print(format!("instance {instance}\n"));
        assert_eq!(writer.close(id), 0);
    }
    let log = node.log("box", 3);
    assert_eq!(files(&log).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["2.log", "3.log"]);
    assert_eq!(text(&options(&log)), "instance 3\n");
    assert_eq!(text(&ReadOptions { previous: true, ..options(&log) }), "instance 2\n");
    writer.send(Request::Remove { directory: node.logs.join("ns_pod_uid") }, None);
    writer.send(Request::Remove { directory: node.logs.join("../page") }, None);
    assert!(matches!(writer.answer(), Answer::Refused { stream_id: 0, .. }));
    assert!(!node.logs.join("ns_pod_uid").exists() && node.directory.path().join("page").exists());
}

#[test]
fn a_bad_request_is_refused_and_the_rest_goes_on() {
    let node = Node::new();
    let fifo = node.fifo("f");
    let writer = node.start();
    assert_eq!(writer.answer(), Answer::Ready);
    let log = node.log("box", 0);
    let expect = |part: &str| match writer.answer() {
        Answer::Refused { reason, .. } => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?}"),
    };
    writer.send(Request::Open(stream(1, &log)), None);
    expect("no descriptor");
    writer.open(&Open { slot: 1 << 20, ..stream(1, &log) }, &fifo);
    expect("no slot");
    writer.open(&stream(1, Path::new("x/0.log")), &fifo);
    expect("absolute");
    let file = File::open("/dev/null").unwrap();
    writer.send(Request::Open(stream(1, &log)), Some(file.as_fd()));
    expect("FIFO");
    socket::send(writer.socket.as_ref().unwrap(), b"{\"version\":99,\"body\":1}", None).unwrap();
    expect("version 99");
    writer.open(&stream(1, &log), &fifo);
    fifo.print("fine\n");
    assert_eq!(writer.close(1), 0);
    assert_eq!(text(&options(&log)), "fine\n");
}

#[test]
fn the_reader_takes_the_tail_over_rotated_files_and_says_what_is_missing() {
    let node = Node::new();
    let fifo = node.fifo("f");
    let log = node.log("box", 0);
    let writer = node.start();
    writer.open(&Open { max_size: 5_000, max_files: 50, ..stream(1, &log) }, &fifo);
    let long = "y".repeat(40_000);
    fifo.print((0..500).map(|number| format!("line {number}\n")).collect::<String>());
    fifo.print(format!("{long}\nafter\n"));
    assert_eq!(writer.close(1), 0);
    assert!(files(&log).len() > 4);
    let tail = |lines| text(&ReadOptions { tail: Some(lines), ..options(&log) });
    assert_eq!(tail(0), "");
    assert_eq!(tail(2), format!("{long}\nafter\n"));
    assert_eq!(tail(402).lines().next().unwrap(), "line 100");
    assert_eq!(text(&options(&log)).lines().count(), 502);
    assert_eq!(tail_bytes(&log, 80, 10).unwrap(), b"yyy\nafter\n");
    let stamped = text(&ReadOptions { tail: Some(1), timestamps: true, ..options(&log) });
    assert!(stamped.starts_with("20") && stamped.ends_with("Z after\n"), "{stamped}");
    let future = time::OffsetDateTime::now_utc() + Duration::from_secs(60);
    assert_eq!(text(&ReadOptions { since: Some(future), ..options(&log) }), "");
    let past = time::OffsetDateTime::now_utc() - Duration::from_secs(600);
    assert_eq!(text(&ReadOptions { since: Some(past), ..options(&log) }).lines().count(), 502);

    let fails = |options: &ReadOptions| read(options, &mut Vec::new(), &mut || true).unwrap_err();
    assert!(matches!(fails(&ReadOptions { previous: true, ..options(&log) }), ReadError::NoPrevious(_)));
    assert!(matches!(fails(&options(&node.log("other", 0))), ReadError::NoLog(_)));
    assert!(matches!(fails(&options(Path::new("/etc/passwd"))), ReadError::NotALog(_)));
}

#[test]
fn following_goes_over_rotations_until_the_container_has_ended() {
    let node = Node::new();
    let fifo = node.fifo("f");
    let log = node.log("box", 0);
    let writer = node.start();
    writer.open(&Open { max_size: 20_000, max_files: 1000, ..stream(1, &log) }, &fifo);
    fifo.print("first\n");
    writer.wait_for(&log, |text| !text.is_empty());
    let ended = Arc::new(AtomicBool::new(false));
    let (asked, path) = (ended.clone(), log.clone());
    let follower = std::thread::spawn(move || {
        let mut out = Vec::new();
        read(&ReadOptions { follow: true, ..options(&path) }, &mut out, &mut || asked.load(SeqCst)).unwrap();
        String::from_utf8(out).unwrap()
    });
    let mut expected = "first\n".to_owned();
    for round in 0..200 {
        let lines: String = (0..50).map(|number| format!("line {round} {number}\n")).collect();
        fifo.print(&lines);
        expected.push_str(&lines);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(writer.close(1), 0);
    ended.store(true, SeqCst);
    assert_eq!(follower.join().unwrap(), expected);
    assert!(files(&log).len() > 10);
}
