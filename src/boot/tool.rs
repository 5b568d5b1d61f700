//! [`run`]: another program, for at most so long, with the end of what it said.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

/// Where programs of the image lie.
const PLACES: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Bytes of its words that are kept.
const WORDS: u64 = 1024;
/// How long a killed program is waited for: one that waits for a broken disk never ends.
const LAST_WAIT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit status, or 128 and the signal's number.
    pub(super) status: i32,
    /// The last of its lines, in one line.
    pub(super) words: String,
}

/// Where a program of the image is.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

/// Runs a program with `input` as its standard input; kills it after `bound`.
pub(super) fn run(program: &str, args: &[&str], input: &str, bound: Duration) -> Result<Ended, String> {
    let path = find(program).ok_or_else(|| format!("there is no {program} in this image"))?;
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let memory = |name: &str| -> std::io::Result<File> { Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into()) };
    let mut words = memory("words").map_err(failed)?;
    let mut stdin = memory("input").map_err(failed)?;
    stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).map_err(failed)?;
    let mut child = Command::new(path)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(words.try_clone().map_err(failed)?))
        .stderr(Stdio::from(words.try_clone().map_err(failed)?))
        .spawn()
        .map_err(failed)?;
    let pidfd = crate::sys::process::open(child.id()).map_err(|e| failed(e.into()))?;
    let ended = |bound: &Timespec| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(bound)).is_ok_and(|n| n > 0);
    let bound_s = i64::try_from(bound.as_secs()).unwrap_or(i64::MAX);
    if !ended(&Timespec { tv_sec: bound_s, tv_nsec: 0 }) {
        let _ = child.kill();
        if ended(&LAST_WAIT) {
            let _ = child.wait();
        }
        return Err(format!("{program} was not done within {bound_s} s and was killed"));
    }
    let status = child.wait().map_err(failed)?;
    Ok(Ended { status: code(status), words: last_words(&mut words) })
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| status.signal().unwrap_or(0).saturating_add(128))
}

fn last_words(file: &mut File) -> String {
    let length = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(WORDS))).and_then(|_| file.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_program_gets_its_input_and_its_last_words_are_kept() {
        let ended = run("sh", &["-c", "echo a; echo b; echo c >&2; cat; exit 3"], "d\n\n", LONG).unwrap();
        assert_eq!((ended.status, ended.words.as_str()), (3, "b; c; d"));
        assert_eq!(run("sh", &["-c", "kill -9 $$"], "", LONG).unwrap().status, 137);
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_and_one_that_is_not_there_is_told() {
        let error = run("sh", &["-c", "exec sleep 1000"], "", Duration::from_secs(0)).unwrap_err();
        assert_eq!(error, "sh was not done within 0 s and was killed");
        assert_eq!(run("no-such-tool", &[], "", LONG).unwrap_err(), "there is no no-such-tool in this image");
    }
}
