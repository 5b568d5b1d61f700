//! What the supervisor asks for, done: commands from its socket, answered one by one.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;

use super::{FIRST_STREAM, Init, say};
use crate::sys::clock::boottime_ms;
use crate::sys::epoll::EventFlags;
use crate::sys::process::{self, Kinship};
use crate::sys::socket;
use crate::wire::{self, Answer, Command, Message, Refusal, Request};

/// How many commands are taken before init looks at its other events again. More than a command socket can hold.
const MOST_AT_ONCE: usize = 1024;

impl Init {
    pub(super) fn take_commands(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let Some(supervisor) = &self.supervisor else { return };
            // One byte more than a command, so that a longer message is not taken for one.
            let mut buffer = [0; Request::SIZE + 1];
            match socket::receive(&supervisor.socket, &mut buffer) {
                Err(Errno::AGAIN) => return,
                // The supervisor closed it with answers unread. What it sent before is still there.
                Err(Errno::CONNRESET) => {}
                Ok(received) if received.length > 0 => {
                    let message = buffer.get(..received.length).unwrap_or_default();
                    self.take_command(message, received.descriptor);
                }
                _ => {
                    let _ = self.epoll.remove(&supervisor.socket);
                    self.supervision.socket_closed(boottime_ms());
                    return;
                }
            }
        }
    }

    fn take_command(&mut self, message: &[u8], descriptor: Option<OwnedFd>) {
        self.supervision.word(boottime_ms());
        let Some(request) = Request::from_bytes(message) else {
            // The number stands first in every version.
            let number = message.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            say(format_args!("the supervisor sent a command that is none"));
            return self.answer(number, Err(Refusal::Unknown));
        };
        let answer = match request.command {
            Command::Hello { version } => self.hello(version),
            Command::Register { pid, token } => self.register(pid, token),
            Command::Unregister { token } => self.registered.unregister(token).map(|()| 0),
            Command::Hold { key } => self.hold(key, descriptor),
            Command::Release { key } => self.release(key),
            Command::Fetch { key } => match self.held.fetch(key) {
                Ok((slot, held)) => {
                    let answer = Ok(u64::try_from(slot).unwrap_or(u64::MAX));
                    return self.send(Message::Answer { number: request.number, answer }, Some(held));
                }
                Err(refusal) => Err(refusal),
            },
            Command::Deadline { boottime_ms } => {
                self.supervision.deadline(boottime_ms);
                Ok(0)
            }
            Command::KeepUnknown { on } => {
                self.supervision.set_keep_unknown(on, boottime_ms());
                if !on {
                    self.records.collect_soon();
                }
                Ok(0)
            }
            Command::Pong => Ok(0),
            Command::NothingLeft => {
                self.supervision.nothing_left();
                Ok(0)
            }
        };
        self.answer(request.number, answer);
    }

    fn hello(&mut self, version: u16) -> Answer {
        if version != wire::VERSION {
            say(format_args!("the supervisor speaks version {version}, init version {}", wire::VERSION));
            return Err(Refusal::Unknown);
        }
        self.supervision.hello();
        Ok(u64::from(wire::VERSION))
    }

    fn register(&mut self, pid: u32, token: u64) -> Answer {
        let kinship = process::kinship(pid);
        if kinship == Kinship::NotAChild || self.is_supervisor(pid) {
            return Err(Refusal::NotAChild);
        }
        self.registered.register(pid, token)?;
        if kinship == Kinship::Zombie {
            self.collect_registered_pid(pid);
            return Ok(1);
        }
        // It may have ended since: its SIGCHLD is then still to be taken.
        Ok(0)
    }

    fn hold(&mut self, key: u64, descriptor: Option<OwnedFd>) -> Answer {
        let descriptor = descriptor.ok_or(Refusal::BadDescriptor)?;
        let stream = is_stream(&descriptor)?;
        let slot = self.held.hold(key, descriptor)?;
        self.streams.reset(slot);
        let slot_number = u64::try_from(slot).unwrap_or(u64::MAX);
        if stream && let Some(held) = self.held.at(slot) {
            let token = FIRST_STREAM.saturating_add(slot_number);
            if self.epoll.add(held, token, EventFlags::IN | EventFlags::ONESHOT).is_err() {
                let _ = self.held.release(key);
                return Err(Refusal::BadDescriptor);
            }
        }
        Ok(slot_number)
    }

    fn release(&mut self, key: u64) -> Answer {
        let descriptor = self.held.release(key)?;
        // Others may share the open file, and then closing it alone would not end the watch. Not every one is watched.
        let _ = self.epoll.remove(&descriptor);
        Ok(0)
    }

    fn answer(&self, number: u32, answer: Answer) {
        if number != 0 {
            self.send(Message::Answer { number, answer }, None);
        }
    }

    /// A supervisor that does not read its answers does not get them.
    fn send(&self, message: Message, descriptor: Option<&OwnedFd>) {
        if let Some(supervisor) = &self.supervisor {
            let _ = socket::send(&supervisor.socket, &message.to_bytes(), descriptor.map(AsFd::as_fd));
        }
    }
}

/// Whether a descriptor is a container's output, which init keeps from getting stuck. A FIFO must be readable and writable, else it
/// cannot be seen to be full; a terminal must not block.
fn is_stream(descriptor: &OwnedFd) -> Result<bool, Refusal> {
    let (Ok(status), Ok(flags)) = (fstat(descriptor), fcntl_getfl(descriptor)) else {
        return Err(Refusal::BadDescriptor);
    };
    if FileType::from_raw_mode(status.st_mode) == FileType::Fifo {
        return if flags.contains(OFlags::RDWR) { Ok(true) } else { Err(Refusal::BadDescriptor) };
    }
    if rustix::termios::isatty(descriptor) {
        return if flags.contains(OFlags::NONBLOCK) { Ok(true) } else { Err(Refusal::BadDescriptor) };
    }
    Ok(false)
}
