//! [`Held`]: a forked copy of this process that moves into other namespaces, says so, and stays there until it is let go. What it
//! has made can meanwhile be pinned by its `/proc/<pid>`, with the rights that the copy gave up.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions, waitpid};

/// A forked copy, waiting. Dropped, it ends and is reaped.
#[derive(Debug)]
pub struct Held {
    pid: u32,
    said: String,
    go: Option<File>,
}

impl Held {
    /// Forks; the copy does `work` and then waits.
    ///
    /// For processes with one thread, as every helper role is: a copy of one among several could wait for a lock that nobody
    /// releases.
    ///
    /// # Errors
    /// What `work` says, or that the copy ended without a word.
    pub fn start(work: impl FnOnce() -> Result<String, String>) -> io::Result<Self> {
        let (said, say) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: by contract this process has one thread, so the copy is complete.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            drop((said, go));
            let text = match work() {
                Ok(text) => format!("+{text}"),
                Err(error) => format!("-{error}"),
            };
            let _ = File::from(say).write_all(text.as_bytes());
            let _ = File::from(wait).read(&mut [0]);
            // SAFETY: ends this copy at once: no destructor of what belongs to the original runs.
            unsafe { libc::_exit(0) }
        }
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        drop((say, wait));
        let mut held = Self { pid: pid.unsigned_abs(), said: String::new(), go: Some(go.into()) };
        File::from(said).read_to_string(&mut held.said)?;
        match held.said.split_at_checked(1) {
            Some(("+", text)) => held.said = text.to_owned(),
            Some((_, error)) => return Err(io::Error::other(error.to_owned())),
            None => return Err(io::Error::other("the process that was to do it ended without a word")),
        }
        Ok(held)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What its work returned.
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.go = None;
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    }
}
