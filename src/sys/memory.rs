//! [`give_back`]: memory that the allocator keeps for later is given back to the kernel. [`lock`]: what this process has stays in
//! memory.
#![allow(unsafe_code)]

/// To be called after work that needed much more memory than what follows. Without effect where the C library's allocator
/// gives memory back by itself (musl).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time and touches no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Locks every page of this process into memory, those it has and those it will have, each from its first use on: pages that
/// were never touched cost nothing.
pub fn lock() -> rustix::io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}
