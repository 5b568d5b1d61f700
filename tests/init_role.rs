//! The role init with real processes: this binary runs itself as init and as a supervisor that does what a test tells it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gatepost::init::{Options, run};
use gatepost::supervisor::init_link::{Link, LogDescriptors, Registered};
use gatepost::sys::shared_memory::SharedWords;
use gatepost::sys::signal::{Signal, SignalFd};
use gatepost::sys::{clock, pipe, process, socket};
use gatepost::wire::{self, ExitRecord, Request, STREAM_TABLE_WORDS, StreamCounter, stream_word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Far beyond what anything here takes; only a failure waits so long.
const PATIENCE_S: i64 = 30;
/// Set in init and supervisor: where the socket lies on which a supervisor is told what to do.
const DIRECTORY: &str = "GATEPOST_TEST_DIRECTORY";
const ARGUMENTS: [&str; 4] = ["a_role_when_asked_to_be_one", "--exact", "--nocapture", "--test-threads=1"];

/// No test: where this binary becomes init or supervisor.
#[test]
fn a_role_when_asked_to_be_one() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    if std::env::args().next().as_deref() == Some("supervise") {
        supervise(&directory.join("socket"));
        std::process::exit(0);
    }
    let supervisor_program = OwnedFd::from(File::open(std::env::current_exe().unwrap()).unwrap());
    let words = ["supervise"].into_iter().chain(ARGUMENTS);
    let supervisor_args = words.map(|word| CString::new(word).unwrap()).collect();
    let code = run(Options { supervisor_program, supervisor_args, stop_bound_ms: 30_000 });
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

/// The supervisor: one line asks, one line answers.
fn supervise(socket: &std::path::Path) {
    let given = std::fs::read_dir("/proc/self/fd").unwrap().count() - 1;
    let (mut link, logs) = Link::from_fixed_fds().unwrap();
    let streams = SharedWords::map(&logs.stream_table, STREAM_TABLE_WORDS).unwrap();
    link.hello().unwrap();
    let mut commands = BufReader::new(UnixStream::connect(socket).unwrap());
    writeln!(commands.get_mut(), "{} {given}", std::process::id()).unwrap();
    let mut order = String::new();
    while commands.read_line(&mut order).unwrap() > 0 {
        let words: Vec<&str> = order.split_whitespace().collect();
        let answer = obey(&mut link, &logs, &streams, &words).unwrap_or_else(|error| error);
        writeln!(commands.get_mut(), "{answer}").unwrap();
        order.clear();
    }
}

fn obey(link: &mut Link, logs: &LogDescriptors, streams: &SharedWords, words: &[&str]) -> Result<String, String> {
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let failed = |error: gatepost::supervisor::init_link::LinkError| match error.refusal() {
        Some(refusal) => format!("{refusal:?}"),
        None => error.to_string(),
    };
    let slot = |place: usize, counter| &streams[stream_word(usize::try_from(number(place)).unwrap(), counter)];
    match words[0] {
        "orphan" => Ok(orphan(&words[1..].join(" "))),
        "register" => link
            .register(u32::try_from(number(1)).unwrap(), number(2))
            .map(|registered| (if registered == Registered::Living { "living" } else { "ended" }).to_owned())
            .map_err(failed),
        "unregister" => link.unregister(number(1)).map(|()| "ok".to_owned()).map_err(failed),
        "keep" => link.keep_unknown(words[1] == "on").map(|()| "ok".to_owned()).map_err(failed),
        "wait" => {
            assert!(readable(link.records()), "no exit record came");
            Ok("ok".to_owned())
        }
        "peek" => link.peek_exit_records().map(|records| in_words(&records)).map_err(failed),
        "consume" => {
            link.consume_exit_records(usize::try_from(number(1)).unwrap()).map(|()| "ok".to_owned()).map_err(failed)
        }
        "shrink" => Ok(pipe::set_size(link.records(), 4096).unwrap().to_string()),
        "hold" => {
            let mut options = OpenOptions::new();
            options.read(true).write(words[3] == "rw").custom_flags(libc::O_NONBLOCK);
            let stream = options.open(words[2]).unwrap();
            link.hold(number(1), stream.as_fd()).map(|slot| slot.to_string()).map_err(failed)
        }
        "send" => {
            // Past the link: the answer is left unread.
            let command = match words[1] {
                "register" => Request { number: 900, command: wire::Command::Register { pid: 1, token: 1 } },
                _ => Request { number: 901, command: wire::Command::Hold { key: number(2) } },
            };
            let stream = words.get(3).map(|path| OpenOptions::new().read(true).write(true).open(path).unwrap());
            socket::send(link.socket(), &command.to_bytes(), stream.as_ref().map(AsFd::as_fd)).unwrap();
            if words[1] == "register" {
                assert!(readable(link.socket()));
            }
            Ok("sent".to_owned())
        }
        "release" => link.release(number(1)).map(|()| "ok".to_owned()).map_err(failed),
        "fetch" => {
            let (stream, slot) = link.fetch(number(1)).map_err(failed)?;
            let mut bytes = vec![0; 1 << 20];
            let length = rustix::io::read(stream, &mut bytes).unwrap_or(0);
            Ok(format!("{slot} {}", String::from_utf8_lossy(&bytes[..length])))
        }
        "deadline" => link.deadline(Some(clock::boottime_ms() + number(1))).map(|()| "ok".to_owned()).map_err(failed),
        "dropped" => Ok(slot(1, StreamCounter::DroppedBytes).load(Relaxed).to_string()),
        "journal-write" => Ok(rustix::io::write(&logs.journal_write, words[1].as_bytes()).unwrap().to_string()),
        "journal-read" => {
            let mut bytes = [0; 100];
            let length = rustix::io::read(&logs.journal_read, &mut bytes).unwrap();
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        other => panic!("{other}?"),
    }
}

/// Starts `script` as a grandchild and lets its parent end, so that it becomes a child of init. Returns its pid.
fn orphan(script: &str) -> String {
    // The script begins when its input ends: after its parent has.
    let parent = format!("exec 3<&0; (read go <&3; exec 3<&- >&- 2>&-; {script}) & echo $!");
    let mut parent = Command::new("/bin/sh")
        .args(["-c", &parent])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let go = parent.stdin.take();
    let mut pid = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    parent.wait().unwrap();
    drop(go);
    pid.trim().to_owned()
}

fn in_words(records: &[ExitRecord]) -> String {
    records.iter().fold(String::new(), |mut text, record| {
        let ExitRecord { number, token, si_code, si_status, boottime_ms, wall_ms, .. } = record;
        assert!(clock::boottime_ms().abs_diff(*boottime_ms) < 600_000 && clock::wall_ms().abs_diff(*wall_ms) < 600_000);
        let _ = write!(text, "{number}:{token}:{si_code}:{si_status} ");
        text
    })
}

/// Waits until `descriptor` is readable; false after [`PATIENCE_S`].
fn readable(descriptor: impl AsFd) -> bool {
    let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&patience)).unwrap() > 0
}

/// For what nobody tells: a zombie's disappearance, a counter's change.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(PATIENCE_S.unsigned_abs());
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn exists(pid: u32) -> bool {
    process::stat(pid).is_ok()
}

fn is_zombie(pid: u32) -> bool {
    process::stat(pid).is_ok_and(|stat| stat.state == 'Z')
}

/// An init with its supervisors, and the processes that are to be ended with them.
struct Gatepost {
    directory: tempfile::TempDir,
    listener: UnixListener,
    init: Child,
    orphans: Vec<OwnedFd>,
}

/// The test's end of one incarnation of the supervisor.
struct Supervisor {
    pid: u32,
    descriptors: usize,
    socket: BufReader<UnixStream>,
}

impl Gatepost {
    fn start() -> (Self, Supervisor) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        // Inherited by all threads of the test harness in init, which is alone in its process otherwise.
        let signals = SignalFd::new(&[Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP]).unwrap();
        let init = Command::new(std::env::current_exe().unwrap())
            .args(ARGUMENTS)
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        drop(signals);
        let gatepost = Self { directory, listener, init, orphans: Vec::new() };
        let supervisor = gatepost.next_supervisor();
        (gatepost, supervisor)
    }

    fn next_supervisor(&self) -> Supervisor {
        assert!(readable(&self.listener), "no supervisor came: {}", self.said());
        let mut socket = BufReader::new(self.listener.accept().unwrap().0);
        socket.get_ref().set_read_timeout(Some(Duration::from_secs(2 * PATIENCE_S.unsigned_abs()))).unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap().parse::<usize>().unwrap();
        Supervisor { pid: u32::try_from(next()).unwrap(), descriptors: next(), socket }
    }

    fn orphan(&mut self, supervisor: &mut Supervisor, script: &str) -> u32 {
        let pid = supervisor.ask(&format!("orphan {script}")).parse().unwrap();
        if let Ok(pidfd) = process::open(pid) {
            self.orphans.push(pidfd);
        }
        pid
    }

    /// An orphan that has ended and is not yet reaped; only while unknown zombies are kept.
    fn zombie(&mut self, supervisor: &mut Supervisor, script: &str) -> u32 {
        let pid = self.orphan(supervisor, script);
        assert!(readable(self.orphans.last().unwrap()));
        pid
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    fn signal_init(&self, signal: Signal) {
        process::signal(process::open(self.init.id()).unwrap(), signal).unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal_init(Signal::TERM);
        assert!(readable(process::open(self.init.id()).unwrap()), "init does not end: {}", self.said());
        self.init.wait().unwrap()
    }
}

impl Drop for Gatepost {
    fn drop(&mut self) {
        for orphan in &self.orphans {
            let _ = process::signal(orphan, Signal::KILL);
        }
        // A supervisor ends by itself when its test has closed the socket.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

impl Supervisor {
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.socket.get_mut(), "{command}").unwrap();
        let mut answer = String::new();
        self.socket.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    fn wait_for_records(&mut self) -> String {
        assert_eq!(self.ask("wait"), "ok");
        self.ask("peek")
    }

    fn kill(self) {
        process::signal(process::open(self.pid).unwrap(), Signal::KILL).unwrap();
    }
}

/// Returns when it is dead.
fn kill(pid: u32) {
    let pidfd = process::open(pid).unwrap();
    process::signal(&pidfd, Signal::KILL).unwrap();
    assert!(readable(pidfd));
}

#[test]
fn a_supervisor_has_its_fixed_descriptors_and_no_others() {
    let (_gatepost, supervisor) = Gatepost::start();
    assert_eq!(supervisor.descriptors, 8);
}

#[test]
fn the_end_of_a_registered_orphan_is_told_and_stays_until_consumed() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    let killed = gatepost.orphan(&mut supervisor, "exec sleep 1000");
    assert_eq!(supervisor.ask(&format!("register {killed} 77")), "living");
    assert_eq!(supervisor.ask(&format!("register {killed} 77")), "living");
    assert_eq!(supervisor.ask(&format!("register {killed} 78")), "InUse");
    assert_eq!(supervisor.ask("peek"), "");
    kill(killed);
    assert_eq!(supervisor.wait_for_records(), "1:77:2:9");
    assert_eq!(supervisor.ask("peek"), "1:77:2:9");
    eventually("the zombie is reaped", || !exists(killed));
    assert_eq!(supervisor.ask("consume 1"), "ok");
    assert_eq!(supervisor.ask("peek"), "");

    let ends = gatepost.directory.path().join("ends");
    let script = format!("while ! [ -e {} ]; do sleep 0.01; done; exit 3", ends.display());
    let ended = gatepost.orphan(&mut supervisor, &script);
    assert_eq!(supervisor.ask(&format!("register {ended} 79")), "living");
    File::create(ends).unwrap();
    assert_eq!(supervisor.wait_for_records(), "2:79:1:3");
}

#[test]
fn a_process_that_is_no_child_of_init_cannot_be_registered() {
    let (_gatepost, mut supervisor) = Gatepost::start();
    assert_eq!(supervisor.ask("register 1 5"), "NotAChild");
    assert_eq!(supervisor.ask("register 0 5"), "NotAChild");
    let own = supervisor.pid;
    assert_eq!(supervisor.ask(&format!("register {own} 5")), "NotAChild");
    assert_eq!(supervisor.ask("unregister 5"), "NotFound");
}

#[test]
fn unregistered_zombies_are_reaped_at_once_unless_they_are_kept() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    let kept = gatepost.zombie(&mut supervisor, "exit 5");
    // Init has dealt with the signal by the time it answers this.
    assert_eq!(supervisor.ask("keep on"), "ok");
    assert!(is_zombie(kept), "unknown zombies are kept until the first supervisor has adopted");
    assert_eq!(supervisor.ask("keep off"), "ok");
    eventually("the kept zombie is reaped", || !exists(kept));
    let unknown = gatepost.orphan(&mut supervisor, "exit 5");
    eventually("the unknown zombie is reaped", || !exists(unknown));
    assert_eq!(supervisor.ask("peek"), "");
}

#[test]
fn a_container_that_ended_before_it_was_registered_still_has_its_record() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    supervisor.ask("keep off");
    supervisor.ask("keep on");
    let late = gatepost.zombie(&mut supervisor, "exit 42");
    assert_eq!(supervisor.ask(&format!("register {late} 9")), "ended");
    assert_eq!(supervisor.ask("peek"), "1:9:1:42");
    eventually("the zombie is reaped", || !exists(late));
    assert_eq!(supervisor.ask(&format!("register {late} 9")), "NotAChild");
}

#[test]
fn a_full_pipe_of_records_loses_nothing() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    assert_eq!(supervisor.ask("shrink"), "4096");
    let count = 200;
    let mut pids = Vec::new();
    for token in 1..=count {
        let pid = gatepost.zombie(&mut supervisor, &format!("exit {}", token % 100));
        assert_eq!(supervisor.ask(&format!("register {pid} {token}")), "ended");
        pids.push(pid);
    }
    assert!(is_zombie(*pids.last().unwrap()), "the zombie is the queue");
    let mut seen = Vec::new();
    while seen.len() < count {
        let records = supervisor.wait_for_records();
        let records: Vec<&str> = records.split_whitespace().collect();
        assert!(records.len() <= 85, "more than the pipe can hold");
        seen.extend(records.iter().map(|record| (*record).to_owned()));
        supervisor.ask(&format!("consume {}", records.len()));
    }
    assert_eq!(supervisor.ask("peek"), "");
    for (index, record) in seen.iter().enumerate() {
        assert_eq!(record.split(':').next().unwrap(), (index + 1).to_string(), "numbers have no gap");
    }
    let mut ends: Vec<(usize, usize)> = (seen.iter())
        .map(|record| record.split(':').map(|word| word.parse().unwrap()).collect::<Vec<usize>>())
        .map(|words| (words[1], words[3]))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, (1..=count).map(|token| (token, token % 100)).collect::<Vec<_>>());
    eventually("all zombies are reaped", || pids.iter().all(|pid| !exists(*pid)));
}

#[test]
fn a_killed_supervisor_is_started_again_and_finds_what_its_predecessor_left() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    supervisor.ask("keep off");
    let first = gatepost.orphan(&mut supervisor, "exec sleep 1000");
    let second = gatepost.orphan(&mut supervisor, "exec sleep 1000");
    let unknown = gatepost.orphan(&mut supervisor, "exec sleep 1000");
    supervisor.ask(&format!("register {first} 1"));
    supervisor.ask(&format!("register {second} 2"));
    kill(first);
    assert_eq!(supervisor.wait_for_records(), "1:1:2:9");
    assert_eq!(supervisor.ask("journal-write unfinished"), "10");
    let old = supervisor.pid;
    supervisor.kill();
    let mut supervisor = gatepost.next_supervisor();
    assert_ne!(supervisor.pid, old);
    kill(second);
    kill(unknown);
    eventually("the second record", || supervisor.ask("peek") == "1:1:2:9 2:2:2:9");
    assert_eq!(supervisor.ask("journal-read"), "unfinished");
    assert_eq!(supervisor.ask(&format!("register {unknown} 3")), "ended");
    assert_eq!(supervisor.ask("peek"), "1:1:2:9 2:2:2:9 3:3:2:9");
    assert!(gatepost.said().contains("was killed by signal 9"), "{}", gatepost.said());
}

#[test]
fn a_held_fifo_keeps_its_unread_bytes_over_a_supervisors_death() {
    let (gatepost, mut supervisor) = Gatepost::start();
    let fifo = gatepost.fifo("stdout");
    assert_eq!(supervisor.ask(&format!("hold 41 {} r", fifo.display())), "BadDescriptor");
    assert_eq!(supervisor.ask(&format!("hold 41 {} rw", fifo.display())), "0");
    assert_eq!(supervisor.ask(&format!("hold 41 {} rw", fifo.display())), "InUse");
    OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"last-words").unwrap();
    supervisor.kill();
    let mut supervisor = gatepost.next_supervisor();
    assert_eq!(supervisor.ask("fetch 41"), "0 last-words");
    assert_eq!(supervisor.ask("release 41"), "ok");
    assert_eq!(supervisor.ask("fetch 41"), "NotFound");
}

#[test]
fn what_a_supervisor_asked_for_last_is_done_after_its_death() {
    let (gatepost, mut supervisor) = Gatepost::start();
    let fifo = gatepost.fifo("stdout");
    assert_eq!(supervisor.ask("send register"), "sent");
    gatepost.signal_init(Signal::STOP);
    assert_eq!(supervisor.ask(&format!("send hold 6 {}", fifo.display())), "sent");
    OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"kept").unwrap();
    kill(supervisor.pid);
    gatepost.signal_init(Signal::CONT);
    let mut supervisor = gatepost.next_supervisor();
    assert_eq!(supervisor.ask("fetch 6"), "0 kept");
}

#[test]
fn a_full_fifo_that_nobody_reads_is_emptied_and_counted() {
    let (gatepost, mut supervisor) = Gatepost::start();
    let fifo = gatepost.fifo("stdout");
    let slot = supervisor.ask(&format!("hold 5 {} rw", fifo.display()));
    let mut writer = OpenOptions::new().write(true).open(&fifo).unwrap();
    let capacity = pipe::size(&writer).unwrap();
    // Three fills: the writer goes on as soon as there is room, and never sees an error.
    writer.write_all(&vec![b'x'; 3 * capacity]).unwrap();
    eventually("the last fill is thrown away too", || {
        supervisor.ask(&format!("dropped {slot}")) == (3 * capacity).to_string()
    });
    writer.write_all(b"heard").unwrap();
    assert_eq!(supervisor.ask("fetch 5"), format!("{slot} heard"));
}

#[test]
fn a_supervisor_that_lets_its_deadline_pass_is_killed_and_replaced() {
    let (gatepost, mut supervisor) = Gatepost::start();
    supervisor.ask("deadline 0");
    let replaced = gatepost.next_supervisor();
    assert_ne!(replaced.pid, supervisor.pid);
    assert!(gatepost.said().contains("wedged: it let its deadline pass"), "{}", gatepost.said());
}

#[test]
fn asked_to_stop_init_lets_the_supervisor_end_and_leaves_containers_running() {
    let (mut gatepost, mut supervisor) = Gatepost::start();
    let container = gatepost.orphan(&mut supervisor, "exec sleep 1000");
    supervisor.ask(&format!("register {container} 1"));
    assert_eq!(gatepost.stop().into_raw(), 0);
    assert!(!exists(supervisor.pid));
    assert!(exists(container));
    let mut rest = String::new();
    assert_eq!(supervisor.socket.read_to_string(&mut rest).unwrap(), 0);
}

#[test]
fn a_hangup_is_passed_on_to_the_supervisor() {
    let (gatepost, supervisor) = Gatepost::start();
    gatepost.signal_init(Signal::HUP);
    // This one has no handler for it, so it ends.
    let next = gatepost.next_supervisor();
    assert_ne!(next.pid, supervisor.pid);
    assert!(gatepost.said().contains("was killed by signal 1"), "{}", gatepost.said());
}
