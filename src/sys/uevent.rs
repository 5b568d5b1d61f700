//! [`DeviceChange`]: a descriptor that becomes readable when the kernel tells of a device (`NETLINK_KOBJECT_UEVENT`, netlink(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, netlink};

/// Group of the kernel's own messages; those that udev sends on are in another.
const KERNEL: u32 = 1;

/// A subscription to what the kernel tells of devices.
#[derive(Debug)]
pub struct DeviceChange(OwnedFd);

impl DeviceChange {
    /// Subscribes.
    pub fn watch() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::KOBJECT_UEVENT);
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        net::bind(&socket, &netlink::SocketAddrNetlink::new(0, KERNEL))?;
        Ok(Self(socket))
    }

    /// Takes what is there, and says whether any of it may be about a device node.
    pub fn acknowledge(&mut self) -> bool {
        let mut concerned = false;
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return concerned,
                Ok(length) => concerned |= names_a_node(buffer.get(..length).unwrap_or_default()),
                // ENOBUFS: the queue overflowed, and nobody knows what was in it.
                Err(_) => concerned = true,
            }
        }
    }
}

impl AsFd for DeviceChange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `add@/devices/…`, then `NAME=value`, each ended by a NUL.
fn names_a_node(message: &[u8]) -> bool {
    message.split(|byte| *byte == 0).any(|field| field.starts_with(b"DEVNAME="))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_has_a_node_is_of_interest() {
        assert!(names_a_node(b"add@/devices/x/tty/ttyUSB0\0ACTION=add\0MAJOR=188\0MINOR=0\0DEVNAME=ttyUSB0\0SEQNUM=7"));
        assert!(!names_a_node(b"add@/devices/virtual/net/veth0\0ACTION=add\0SUBSYSTEM=net\0"));
    }

    #[test]
    fn what_the_kernel_tells_is_heard_and_silence_is_silence() {
        let mut change = DeviceChange::watch().unwrap();
        change.acknowledge();
        // Writing to it makes the kernel tell of the device once more.
        std::fs::write("/sys/class/mem/null/uevent", "change").unwrap();
        assert!(change.acknowledge());
        assert!(!change.acknowledge());
    }
}
