//! Record sockets: a connected pair of `SOCK_SEQPACKET` sockets on which each message is one record and may carry one descriptor.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// A connected pair, both ends close-on-exec and non-blocking.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Sends one message, whole or not at all, with `descriptor` if given. `EAGAIN` when the other end does not read, `EPIPE`
/// (no signal) when it is gone.
pub fn send(socket: impl AsFd, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights: [BorrowedFd<'_>; 1];
    if let Some(descriptor) = descriptor {
        rights = [descriptor];
        if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
            return Err(Errno::NOBUFS);
        }
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// One message as it was received.
#[derive(Debug)]
pub struct Received {
    /// Bytes of it in the caller's buffer; a longer message is cut. 0 when the other end is closed (empty messages are not used).
    pub length: usize,
    /// The first descriptor that came with it, close-on-exec; further ones are closed.
    pub descriptor: Option<OwnedFd>,
}

/// Receives one message into `buffer`. `EAGAIN` when there is none.
///
/// When the process has no room for another descriptor, the message arrives without it.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(message) => {
                let mut descriptor = None;
                for ancillary in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = ancillary {
                        for received in descriptors {
                            descriptor.get_or_insert(received);
                        }
                    }
                }
                return Ok(Received { length: message.bytes.min(buffer.len()), descriptor });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_and_carry_a_descriptor() {
        let (left, right) = pair().unwrap();
        let (read_end, write_end) = crate::sys::pipe::pair(4096).unwrap();
        send(&left, b"one", Some(read_end.as_fd())).unwrap();
        send(&left, b"two", None).unwrap();
        let mut buffer = [0; 16];
        let first = receive(&right, &mut buffer).unwrap();
        assert_eq!(&buffer[..first.length], b"one");
        rustix::io::write(&write_end, b"x").unwrap();
        assert_eq!(crate::sys::pipe::unread_bytes(first.descriptor.unwrap()).unwrap(), 1);
        let second = receive(&right, &mut buffer).unwrap();
        assert_eq!(&buffer[..second.length], b"two");
        assert!(second.descriptor.is_none());
        assert_eq!(receive(&right, &mut buffer).unwrap_err(), Errno::AGAIN);
        drop(left);
        assert_eq!(receive(&right, &mut buffer).unwrap().length, 0);
        assert_eq!(send(&right, b"x", None), Err(Errno::PIPE));
    }
}
