//! [`give_back`]: memory that the allocator keeps for later is given back to the kernel.
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
