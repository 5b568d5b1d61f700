//! [`add`]: gives the kernel's random number generator what a seed file held (random(4)).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Bytes of one seed.
pub const SEED: usize = 64;

/// `RNDADDENTROPY` of linux/random.h: `_IOW('R', 3, int[2])`.
const ADD_ENTROPY: libc::Ioctl = 0x4008_5203;

/// `struct rand_pool_info` of linux/random.h, with its buffer.
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    bytes: libc::c_int,
    buffer: [u8; SEED],
}

/// Mixes `seed` in. `credit`: it is secret and was never used before, so its bits count, and a generator that waits for
/// entropy becomes ready. Crediting needs CAP_SYS_ADMIN.
pub fn add(seed: &[u8; SEED], credit: bool) -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/urandom")?;
    let bits = libc::c_int::try_from(SEED.saturating_mul(8)).unwrap_or(0);
    let info = PoolInfo {
        entropy_bits: if credit { bits } else { 0 },
        bytes: libc::c_int::try_from(SEED).unwrap_or(0),
        buffer: *seed,
    };
    // SAFETY: the kernel reads a header and as many bytes as the header says, all of them inside `info`.
    if unsafe { libc::ioctl(device.as_raw_fd(), ADD_ENTROPY, &raw const info) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
