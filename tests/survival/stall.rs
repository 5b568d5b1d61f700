//! [`Disk`]: a block device that can be made to stand still, reads and writes alike: a loop device over a file that a FUSE
//! server in this process serves, or holds back.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};

const SIZE: u64 = 512 << 20;
/// Largest write the kernel is told to send.
const MAX_WRITE: usize = 128 << 10;
/// The served file's node; the root directory is 1.
const FILE: u64 = 2;

/// An ext4 file system on a device that can stand still.
pub struct Disk {
    /// Where it is mounted.
    pub at: PathBuf,
    below: Vec<PathBuf>,
    fuse: PathBuf,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.changed.wait(shut).unwrap();
        }
    }
}

impl Disk {
    /// A new file system below `directory`, filled by `fill`; afterwards nothing of it is in memory.
    pub fn new(directory: &Path, fill: impl FnOnce(&Path)) -> Self {
        let [backing, fuse, at] = ["disk.img", "disk.fuse", "disk"].map(|name| directory.join(name));
        let file = File::options().read(true).write(true).create_new(true).open(&backing).unwrap();
        file.set_len(SIZE).unwrap();
        fs::create_dir(&fuse).unwrap();
        fs::create_dir(&at).unwrap();
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("stall", &fuse, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
            .unwrap();
        let gate = Arc::<Gate>::default();
        let served = Arc::clone(&gate);
        std::thread::spawn(move || serve(&device, &file, &served));
        let disk = Self { at, below: Vec::new(), fuse, gate };
        let image = disk.fuse.join("image");
        run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard"], &[&image]);
        run("mount", &["-o", "loop"], &[&image, &disk.at]);
        fill(&disk.at);
        run("umount", &[], &[&disk.at]);
        // A new loop device: opening the served file forgets what of it is cached.
        run("mount", &["-o", "loop"], &[&image, &disk.at]);
        // Unless the kernel has not yet let the old one go, and it is found again with its cache.
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
        disk
    }

    /// Binds a directory of the disk over another one.
    pub fn bind(&mut self, name: &str, over: &Path) {
        run("mount", &["--bind"], &[&self.at.join(name), over]);
        self.below.push(over.to_owned());
    }

    /// From now on nothing is read from the device, or written to it, until the guard is dropped.
    pub fn stall(&self) -> Stalled {
        self.gate.set(true);
        Stalled(Arc::clone(&self.gate))
    }
}

/// Goes on when dropped: nobody could end what waits for it.
pub struct Stalled(Arc<Gate>);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.gate.set(false);
        for at in self.below.iter().chain([&self.at]) {
            let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
        }
        let _ = rustix::mount::unmount(&self.fuse, UnmountFlags::DETACH);
    }
}

/// Runs a program that must succeed.
pub fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let status = Command::new(program).args(options).args(paths).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program} {options:?} {paths:?}");
}

/// Little-endian numbers, one after the other, as in `linux/fuse.h` on the machines this runs on.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn u16(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// `struct fuse_attr`.
    fn attributes(self, node: u64) -> Self {
        let (mode, size) = if node == FILE { (0o100_600, SIZE) } else { (0o040_700, 0) };
        self.u64(node).u64(size).u64(size / 512).zeros(36).u32(mode).u32(1).zeros(12).u32(4096).u32(0)
    }
}

/// Answers the kernel until the file system is unmounted.
fn serve(device: &impl AsFd, file: &File, gate: &Gate) {
    let mut buffer = vec![0; MAX_WRITE + 8192];
    loop {
        let length = match rustix::io::read(device, &mut buffer) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT | rustix::io::Errno::AGAIN) => continue,
            Err(_) => return,
        };
        let request = &buffer[..length];
        let u32_at = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (opcode, unique, node) = (u32_at(4), u64_at(8), u64_at(16));
        let empty = Record::default();
        // The numbers are `enum fuse_opcode`; the body begins at 40.
        let answer = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer.
            2 | 36 | 42 => continue,
            // LOOKUP
            1 if request[40..].starts_with(b"image\0") => {
                Ok(empty.u64(FILE).u64(0).u64(u64::from(u32::MAX)).u64(u64::from(u32::MAX)).zeros(8).attributes(FILE))
            }
            1 => Err(libc::ENOENT),
            // GETATTR, SETATTR
            3 | 4 => Ok(empty.u64(u64::from(u32::MAX)).zeros(8).attributes(node)),
            // OPEN, OPENDIR
            14 | 27 => Ok(empty.zeros(16)),
            // READ
            15 => {
                gate.pass();
                let mut data = vec![0; u32_at(56) as usize];
                file.read_exact_at(&mut data, u64_at(48)).map(|()| Record(data)).map_err(|_| libc::EIO)
            }
            // WRITE
            16 => {
                gate.pass();
                let size = u32_at(56);
                file.write_all_at(&request[80..80 + size as usize], u64_at(48)).unwrap();
                Ok(empty.u32(size).u32(0))
            }
            // STATFS
            17 => Ok(empty.zeros(80)),
            // RELEASE, FLUSH, RELEASEDIR, DESTROY
            18 | 25 | 29 | 38 => Ok(empty),
            // FSYNC
            20 => {
                gate.pass();
                Ok(empty)
            }
            // INIT, of protocol 7.31
            26 => {
                let (max_write, time_granularity) = (u32::try_from(MAX_WRITE).unwrap(), 1);
                Ok(empty
                    .u32(7)
                    .u32(31)
                    .u32(max_write)
                    .u32(0)
                    .u16(16)
                    .u16(12)
                    .u32(max_write)
                    .u32(time_granularity)
                    .zeros(36))
            }
            _ => Err(libc::ENOSYS),
        };
        let (error, body) = answer.map_or_else(|error| (-error, Vec::new()), |record| (0, record.0));
        let head =
            Record::default().u32(u32::try_from(16 + body.len()).unwrap()).u32(error.cast_unsigned()).u64(unique);
        // ENOENT: the one who asked was interrupted.
        let _ = rustix::io::write(device, &[head.0, body].concat());
    }
}
