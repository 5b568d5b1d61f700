//! Confinement of helpers that read untrusted bytes: [`worker`] for a process that fills a directory, [`reader`] for one
//! that only reads, [`client`] for one that talks to servers. Each step that the machine does not allow (a container, an odd kernel) becomes a warning, and the
//! rest is still done.
#![allow(unsafe_code)]

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Capabilities that unpacking an image as root needs; all others go.
const WORKER_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);
/// Address space of a worker in bytes; allocators reserve much more than they use.
const WORKER_ADDRESS_SPACE: u64 = 1 << 30;
/// Writable private memory of a worker in bytes.
const WORKER_DATA: u64 = 96 << 20;
/// Open files of a worker: two for each of 128 layers, and room.
const WORKER_FILES: u64 = 1024;
/// Address space of a reader in bytes.
const READER_ADDRESS_SPACE: u64 = 256 << 20;
/// Processor time of a reader in seconds.
const READER_CPU: u64 = 20;

/// Who a waiting process is; the pause image's user.
const NOBODY: u32 = 65_535;
/// Who `gatepost-fetch` is. No image is known to use it, and pods' own users begin above it.
pub const FETCH_USER: u32 = 65_531;
/// Address space of a client in bytes.
const CLIENT_ADDRESS_SPACE: u64 = 512 << 20;
/// Writable private memory of a client in bytes.
const CLIENT_DATA: u64 = 48 << 20;

/// What a process sees after [`worker`].
#[derive(Debug)]
pub struct Confined {
    /// Whether the root directory is now the private one with only the given directories in it.
    pub rooted: bool,
    /// Steps that the machine did not allow.
    pub warnings: Vec<String>,
}

/// Confines a single-threaded process that fills directories. Each of `directories` (path now, name afterwards) appears
/// as `/<name>` in a new root that holds nothing else; `stage` is any existing directory to build that root on. Keeps
/// the capabilities to set owners, modes, devices and file capabilities. Descriptors opened before stay usable.
pub fn worker(stage: &Path, directories: &[(&Path, &str)]) -> Confined {
    let mut warnings = Vec::new();
    no_network(&mut warnings);
    let rooted = private_root(stage, directories, &mut warnings);
    keep_capabilities(WORKER_CAPABILITIES, &mut warnings);
    common_limits(&mut warnings);
    limit(Resource::As, WORKER_ADDRESS_SPACE, &mut warnings);
    limit(Resource::Data, WORKER_DATA, &mut warnings);
    limit(Resource::Nofile, WORKER_FILES, &mut warnings);
    Confined { rooted, warnings }
}

/// Whether [`new_root`] could be had.
fn private_root(stage: &Path, directories: &[(&Path, &str)], warnings: &mut Vec<String>) -> bool {
    match new_root(stage, directories) {
        Ok(()) => true,
        Err((step, error)) => {
            warnings.push(format!("confinement: no private root directory: {step}: {error}"));
            false
        }
    }
}

/// Confines a single-threaded process that only reads: no network, a read-only view of the file systems, no capability
/// but reading any file, no file may grow, 256 MiB of address space, 20 s of processor time. Returns what could not be done.
pub fn reader() -> Vec<String> {
    let mut warnings = Vec::new();
    no_network(&mut warnings);
    if let Err((step, error)) = read_only_view() {
        warnings.push(format!("confinement: no read-only view: {step}: {error}"));
    }
    keep_capabilities(CapabilitySet::DAC_READ_SEARCH, &mut warnings);
    common_limits(&mut warnings);
    // Writing to the inherited log then fails instead of killing the process.
    // SAFETY: setting a signal to be ignored touches no memory of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    limit(Resource::Fsize, 0, &mut warnings);
    limit(Resource::As, READER_ADDRESS_SPACE, &mut warnings);
    limit(Resource::Cpu, READER_CPU, &mut warnings);
    limit(Resource::Nofile, 256, &mut warnings);
    warnings
}

/// Confines a single-threaded process that will only [`wait_for_ever`]: an empty root directory built on `stage`, no capability, an
/// id of nobody, a nofile limit of 16. Returns what could not be done.
pub fn idle(stage: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Err((step, error)) = new_root(stage, &[]) {
        warnings.push(format!("confinement: no empty root directory: {step}: {error}"));
    }
    become_user(NOBODY, &mut warnings);
    common_limits(&mut warnings);
    limit(Resource::Nofile, 16, &mut warnings);
    warnings
}

/// Confines a single-threaded process that talks to servers nobody vouches for: it keeps its network, and has `directories` (as
/// [`worker`] has them, in a root built on `stage`) and nothing else; no capability, a user of its own, no new process, and none of
/// the system calls that what has been taken over would try next. Returns what could not be done.
pub fn client(stage: &Path, directories: &[(&Path, &str)]) -> Confined {
    let mut warnings = Vec::new();
    if let Err(error) = unshare(UnshareFlags::NEWIPC) {
        warnings.push(format!("confinement: no private IPC namespace: {error}"));
    }
    let rooted = private_root(stage, directories, &mut warnings);
    become_user(FETCH_USER, &mut warnings);
    common_limits(&mut warnings);
    limit(Resource::As, CLIENT_ADDRESS_SPACE, &mut warnings);
    limit(Resource::Data, CLIENT_DATA, &mut warnings);
    limit(Resource::Nofile, 64, &mut warnings);
    limit(Resource::Nproc, 0, &mut warnings);
    if let Err(error) = super::seccomp::refuse_what_clients_do_not_need() {
        warnings.push(format!("confinement: no seccomp filter: {error}"));
    }
    Confined { rooted, warnings }
}

/// Waits until it is killed. Children are reaped by the kernel, and from here on the process can make no system call but read(2):
/// any other kills it. Comes back only when it could not even begin.
pub fn wait_for_ever() {
    let Ok(nothing) = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC) else { return };
    // SAFETY: signals to be ignored touch no memory of ours; prctl takes plain numbers.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        // Where the kernel has no seccomp it waits all the same.
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT, 0, 0, 0);
    }
    loop {
        let _ = rustix::io::read(&nothing, &mut [0_u8; 8]);
    }
}

/// Gives the child of `command` these descriptors under these numbers. They are moved out of each other's way first.
pub fn pass_fds(command: &mut Command, fds: Vec<(OwnedFd, RawFd)>) -> std::io::Result<()> {
    let above = fds.iter().map(|(_, number)| *number).max().unwrap_or(3).saturating_add(1);
    let mut moved = Vec::with_capacity(fds.len());
    for (fd, number) in fds {
        moved.push((rustix::io::fcntl_dupfd_cloexec(&fd, above)?, number));
    }
    // SAFETY: the closure runs between fork and exec and makes only the async-signal-safe call dup2.
    unsafe {
        command.pre_exec(move || {
            for (fd, number) in &moved {
                if libc::dup2(std::os::fd::AsRawFd::as_raw_fd(fd), *number) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}

type Step<T> = Result<T, (&'static str, rustix::io::Errno)>;

fn at<T>(step: &'static str, result: rustix::io::Result<T>) -> Step<T> {
    result.map_err(|error| (step, error))
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: CLONE_FILES and CLONE_FS, the flags that could break assumptions about descriptors, are not used.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn no_network(warnings: &mut Vec<String>) {
    for (flag, what) in [(UnshareFlags::NEWNET, "network"), (UnshareFlags::NEWIPC, "IPC")] {
        if let Err(error) = unshare(flag) {
            warnings.push(format!("confinement: no private {what} namespace: {error}"));
        }
    }
}

/// Whoever the process becomes may go through it to the directories.
/// 1. a mount namespace of its own; 2. private propagation; 3. detached copies of the directories; 4. an empty tmpfs;
/// 5. the copies in it; 6. it becomes the root, read-only; 7. the old root goes.
fn new_root(stage: &Path, directories: &[(&Path, &str)]) -> Step<()> {
    at("unshare the mount namespace", unshare(UnshareFlags::NEWNS))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    at("make mounts private", rustix::mount::mount_change("/", private))?;
    let mut trees = Vec::new();
    for (path, name) in directories {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        trees.push((at("open_tree", rustix::mount::open_tree(rustix::fs::CWD, *path, flags))?, *name));
    }
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    at("mount a tmpfs", rustix::mount::mount("tmpfs", stage, "tmpfs", safe, c"mode=0711,size=64k"))?;
    at("enter the tmpfs", rustix::process::chdir(stage))?;
    for (tree, name) in trees {
        at("make a mount point", rustix::fs::mkdir(name, rustix::fs::Mode::from_raw_mode(0o700)))?;
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        at("move_mount", rustix::mount::move_mount(&tree, "", rustix::fs::CWD, name, empty))?;
    }
    at("pivot_root", rustix::process::pivot_root(".", "."))?;
    at("leave the old root", rustix::mount::unmount(".", UnmountFlags::DETACH))?;
    at("enter the new root", rustix::process::chdir("/"))?;
    at("make the root read-only", rustix::mount::mount_remount("/", MountFlags::RDONLY | safe, c""))
}

/// The whole tree of mounts, read-only, in a mount namespace of its own.
fn read_only_view() -> Step<()> {
    at("unshare the mount namespace", unshare(UnshareFlags::NEWNS))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    at("make mounts private", rustix::mount::mount_change("/", private))?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string and the structure and its size match; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    // Linux before 5.12: at least the root file system.
    at("make the root read-only", rustix::mount::mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c""))
}

/// Becomes this user and its group, without any capability.
fn become_user(id: u32, warnings: &mut Vec<String>) {
    // As long as it is root: afterwards nobody may.
    reduce_bounding_set(CapabilitySet::empty(), warnings);
    let (group, user) = (rustix::thread::Gid::from_raw(id), rustix::thread::Uid::from_raw(id));
    let changed = rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(group, group, group))
        .and_then(|()| rustix::thread::set_thread_res_uid(user, user, user));
    if let Err(error) = changed {
        warnings.push(format!("confinement: it keeps its user: {error}"));
    }
    keep_of_held(CapabilitySet::empty(), warnings);
}

/// Drops every capability outside `keep`, also for whatever this process might execute.
fn keep_capabilities(keep: CapabilitySet, warnings: &mut Vec<String>) {
    reduce_bounding_set(keep, warnings);
    keep_of_held(keep, warnings);
}

fn reduce_bounding_set(keep: CapabilitySet, warnings: &mut Vec<String>) {
    for capability in CapabilitySet::all().difference(keep).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => {
                warnings.push(format!("confinement: reducing the bounding set: {error}"));
                break;
            }
        }
    }
}

fn keep_of_held(keep: CapabilitySet, warnings: &mut Vec<String>) {
    let mut failed = |what: &str, error: rustix::io::Errno| warnings.push(format!("confinement: {what}: {error}"));
    if let Err(error) = rustix::thread::clear_ambient_capability_set() {
        failed("clearing ambient capabilities", error);
    }
    let dropped = rustix::thread::capabilities(None).and_then(|now| {
        let kept = now.permitted & keep;
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
        )
    });
    if let Err(error) = dropped {
        failed("dropping capabilities", error);
    }
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        failed("no_new_privs", error);
    }
}

fn common_limits(warnings: &mut Vec<String>) {
    limit(Resource::Core, 0, warnings);
}

/// Lowers a limit; never raises the hard one, which would need a capability.
fn limit(resource: Resource, value: u64, warnings: &mut Vec<String>) {
    let now = rustix::process::getrlimit(resource);
    let value = now.maximum.map_or(value, |maximum| maximum.min(value));
    let new = Rlimit { current: Some(value), maximum: Some(value) };
    if let Err(error) = rustix::process::setrlimit(resource, new) {
        warnings.push(format!("confinement: limit {resource:?}: {error}"));
    }
}
