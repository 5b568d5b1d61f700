//! Namespaces: unshare, pin by bind mount, loopback up. Main type: [`Kind`].
//!
//! Everything here acts on the calling thread, but for [`pin_of`].
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

/// A kind of namespace that a pod shares among its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Network devices, addresses, routes, `net.*` parameters.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name and NIS domain name.
    Uts,
    /// Users, groups and capabilities.
    User,
    /// Process ids.
    Pid,
}

impl Kind {
    /// Name below `/proc/<pid>/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Pid => "pid",
        }
    }

    fn flag(self) -> UnshareFlags {
        match self {
            Self::Net => UnshareFlags::NEWNET,
            Self::Ipc => UnshareFlags::NEWIPC,
            Self::Uts => UnshareFlags::NEWUTS,
            Self::User => UnshareFlags::NEWUSER,
            Self::Pid => UnshareFlags::NEWPID,
        }
    }
}

/// netdevice(7); libc has it as an `int`, the structure holds a `short`.
const IFF_UP: libc::c_short = 1;
/// Magic number of the file system that namespace files live on (`NSFS_MAGIC`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Moves the calling thread into a new namespace of this kind.
pub fn unshare(kind: Kind) -> io::Result<()> {
    unshare_flags(kind.flag())
}

/// Moves the calling thread into a copy of its mount namespace; propagation stays as it is.
pub fn unshare_mounts() -> io::Result<()> {
    unshare_flags(UnshareFlags::NEWNS)
}

fn unshare_flags(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only namespace flags come here, never CLONE_FILES, so no descriptor becomes invalid for another thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Enters the namespace pinned at (or linked from) `path`, for example a pod's `ns/net` or `/proc/1/ns/net`.
pub fn enter(path: &Path) -> io::Result<()> {
    enter_file(&File::open(path)?)
}

/// As [`enter`], by a file opened before.
pub fn enter_file(namespace: &File) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), None)?)
}

/// Whether a namespace is pinned at `path`.
pub fn is_pinned(path: &Path) -> io::Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(u64::try_from(stat.f_type).is_ok_and(|magic| magic == NSFS_MAGIC)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the calling thread's namespace of this kind alive by a bind mount on `path`, which is created.
pub fn pin(kind: Kind, path: &Path) -> io::Result<()> {
    pin_by(Path::new(&format!("/proc/thread-self/ns/{}", kind.name())), path)
}

/// Keeps a process's namespace of this kind alive by a bind mount on `path`, which is created.
pub fn pin_of(pid: u32, kind: Kind, path: &Path) -> io::Result<()> {
    pin_by(Path::new(&format!("/proc/{pid}/ns/{}", kind.name())), path)
}

fn pin_by(link: &Path, path: &Path) -> io::Result<()> {
    File::options().create(true).append(true).open(path)?;
    super::mount::bind(link, path)
}

/// Sets `lo` of the calling thread's network namespace up; the kernel adds 127.0.0.1 and ::1 by itself.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed() as libc::c_char;
    }
    let fd = socket.as_raw_fd();
    // SAFETY: SIOCGIFFLAGS reads the name and fills the flags of the ifreq, which outlives the call.
    if unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after SIOCGIFFLAGS the union holds the flags.
    unsafe { request.ifr_ifru.ifru_flags |= IFF_UP };
    // SAFETY: SIOCSIFFLAGS reads name and flags of the ifreq, which outlives the call.
    if unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The network namespace that this process is at home in, for short visits to others.
#[derive(Debug)]
pub struct Home(File);

impl Home {
    /// The calling thread's own.
    pub fn here() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Runs `f` in another network namespace; a socket that it makes stays there. To be used where there is only one thread, and
    /// for nothing that may wait.
    ///
    /// The way back takes nothing but a little kernel memory. Whoever cannot go it must not do anything more in a namespace
    /// that is not its own, so the process ends there: abort(3).
    pub fn within<T>(&self, namespace: &File, f: impl FnOnce() -> T) -> io::Result<T> {
        enter_net(namespace)?;
        let result = f();
        for _ in 0..100 {
            match enter_net(&self.0) {
                Ok(()) => return Ok(result),
                Err(error) => log::error!("cannot come back from a pod's network namespace: {error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::process::abort()
    }
}

/// Nothing but a network namespace will do.
fn enter_net(namespace: &File) -> io::Result<()> {
    let kind = rustix::thread::LinkNameSpaceType::Network;
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))?)
}
