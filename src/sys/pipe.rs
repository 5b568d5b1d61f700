//! Pipes and FIFOs: sizes, fill, and moving bytes without copying them through user space.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// A new pipe `(read end, write end)`, both close-on-exec and non-blocking, holding at least `size` bytes.
pub fn pair(size: usize) -> Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&write_end, size)?;
    Ok((read_end, write_end))
}

/// Sets a pipe's or FIFO's capacity in bytes (the kernel rounds up to a power-of-two count of pages) and returns it.
/// `EBUSY` when more than that lies in it; `EPERM` beyond `/proc/sys/fs/pipe-max-size` without CAP_SYS_RESOURCE.
pub fn set_size(pipe: impl AsFd, size: usize) -> Result<usize> {
    fcntl_setpipe_size(pipe, size)
}

/// A pipe's or FIFO's capacity in bytes.
pub fn size(pipe: impl AsFd) -> Result<usize> {
    fcntl_getpipe_size(pipe)
}

/// How many bytes lie unread in it (FIONREAD; also for terminals and sockets).
pub fn unread_bytes(pipe: impl AsFd) -> Result<u64> {
    rustix::io::ioctl_fionread(pipe)
}

/// Whether a writer of one byte would have to wait. `pipe` must be open for writing, else it never looks full.
/// A pipe can be full with fewer bytes than its size, since each of its pages may be filled in part.
pub fn is_full(pipe: impl AsFd) -> Result<bool> {
    let mut watched = [PollFd::new(&pipe, PollFlags::OUT)];
    loop {
        match poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(true),
            Ok(_) => return Ok(!watched.iter().any(|entry| entry.revents().contains(PollFlags::OUT))),
        }
    }
}

/// Duplicates up to `length` bytes from one pipe into another without consuming them (tee(2)).
/// `EAGAIN` when there is nothing to read or no room.
pub fn tee(from: impl AsFd, to: impl AsFd, length: usize) -> Result<usize> {
    uninterrupted(|| rustix::pipe::tee(&from, &to, length, SpliceFlags::NONBLOCK))
}

/// Moves up to `length` bytes from `from` to `to`, one of which is a pipe (splice(2)). 0 at the end of input; `EAGAIN`
/// when there is nothing to read or no room.
pub fn splice(from: impl AsFd, to: impl AsFd, length: usize) -> Result<usize> {
    uninterrupted(|| rustix::pipe::splice(&from, None, &to, None, length, SpliceFlags::NONBLOCK | SpliceFlags::MOVE))
}

/// Throws away what lies in `from` into `null`, an open `/dev/null`; returns how many bytes that were. Takes at most
/// `most` bytes, so that a fast writer cannot keep the caller here.
pub fn discard(from: impl AsFd, null: impl AsFd, most: usize) -> Result<usize> {
    let mut total: usize = 0;
    while total < most {
        match splice(&from, &null, most.saturating_sub(total)) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(moved) => total = total.saturating_add(moved),
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

fn uninterrupted(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn tee_leaves_the_bytes_where_they_are_and_discard_takes_them() {
        let (read_end, write_end) = pair(65536).unwrap();
        let (copy_read, copy_write) = pair(65536).unwrap();
        rustix::io::write(&write_end, b"hello").unwrap();
        assert_eq!(tee(&read_end, &copy_write, 100).unwrap(), 5);
        assert_eq!(unread_bytes(&read_end).unwrap(), 5);
        let mut bytes = [0; 16];
        assert_eq!(rustix::io::read(&copy_read, &mut bytes).unwrap(), 5);
        assert_eq!(&bytes[..5], b"hello");
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(discard(&read_end, &null, 1 << 20).unwrap(), 5);
        assert_eq!(discard(&read_end, &null, 1 << 20).unwrap(), 0);
        assert_eq!(tee(&read_end, &copy_write, 100), Err(Errno::AGAIN));
    }

    #[test]
    fn a_pipe_is_full_when_a_writer_would_wait() {
        let (_read_end, write_end) = pair(4096).unwrap();
        assert!(!is_full(&write_end).unwrap());
        rustix::io::write(&write_end, &[0; 4096]).unwrap();
        assert!(is_full(&write_end).unwrap());
    }
}
