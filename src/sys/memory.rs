//! [`give_back`]: memory that was needed for a while is given back to the kernel. [`lock`]: what this process has stays in
//! memory, [`hold_headers`]: the little of it that a start of this program reads.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// To be called after work that needed much more memory than what follows: the allocator keeps nothing for later (where the C
/// library's does so by itself, as musl's, that has no effect), and the program's own text is mapped only as far as it is used
/// from now on, see [`forget_text`].
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time and touches no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
    forget_text();
}

/// Unmaps the pages of this program's code and constants. They stay in the page cache as long as there is room, and each comes
/// back, with its neighbours, by a minor fault when it is used again: what a process needed for its start alone is not kept in
/// its working set for years. Without effect on pages that are locked (mlock(2)).
pub fn forget_text() {
    let mut segments: Vec<(*mut c_void, usize)> = Vec::new();
    // SAFETY: the callback matches the signature, and the data it is handed outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut segments).cast()) };
    for (start, length) in segments {
        // SAFETY: the range is a segment of this program that is mapped from its file and that nothing has ever written to, so
        // each page comes back as it was.
        let forget = |skip: usize| unsafe {
            let length = length.saturating_sub(skip);
            rustix::mm::madvise(start.wrapping_byte_add(skip), length, rustix::mm::Advice::LinuxDontNeed)
        };
        if forget(0).is_err() {
            // The first page is that of `hold_headers`, perhaps.
            let _ = forget(rustix::param::page_size());
        }
    }
}

/// Keeps in memory what execve(2) reads of this very program before the new process is on its own: the first pages of the
/// program and of its dynamic linker. From now on starting it again waits for no disk.
pub fn hold_headers() -> rustix::io::Result<()> {
    for entry in [libc::AT_PHDR, libc::AT_BASE] {
        // SAFETY: a plain look into the auxiliary vector.
        let address = usize::try_from(unsafe { libc::getauxval(entry) }).unwrap_or_default();
        let page = rustix::param::page_size();
        let start = address & !page.wrapping_sub(1);
        if start != 0 {
            // SAFETY: the page holds the headers of a mapped object; locking it changes nothing else.
            unsafe { rustix::mm::mlock(std::ptr::with_exposed_provenance_mut(start), page) }?;
        }
    }
    Ok(())
}

/// What ends dl_iterate_phdr(3).
const STOP: c_int = 1;

/// Takes the read-only segments of the first object, which is the program itself (dl_iterate_phdr(3)), as whole pages.
extern "C" fn collect(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: both pointers are valid for the length of the call: the first by dl_iterate_phdr(3), the second by `forget_text`.
    let (info, segments) = unsafe { (&*info, &mut *data.cast::<Vec<(*mut c_void, usize)>>()) };
    if info.dlpi_phdr.is_null() {
        return STOP;
    }
    // SAFETY: the object's program headers, as many as it says.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0) {
        let base = usize::try_from(info.dlpi_addr).unwrap_or_default();
        let address = base.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or_default());
        let into_page = address & rustix::param::page_size().wrapping_sub(1);
        let length = usize::try_from(header.p_memsz).unwrap_or_default().saturating_add(into_page);
        segments.push((std::ptr::with_exposed_provenance_mut(address.wrapping_sub(into_page)), length));
    }
    STOP
}

/// Locks every page of this process into memory, those it has and those it will have, each from its first use on: pages that
/// were never touched cost nothing.
pub fn lock() -> rustix::io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// Kilobytes of this program's code that are mapped.
    fn mapped_text() -> u64 {
        let name = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|l| !(l.contains(" r-xp ") && l.ends_with(name.to_str().unwrap())));
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn text_that_is_forgotten_comes_back_when_it_is_used() {
        // Other tests, which run at the same time, map what they use.
        let unmapped = (0..100).any(|_| {
            let before = mapped_text();
            super::give_back();
            mapped_text() < before
        });
        assert!(unmapped);
        assert!(mapped_text() > 0);
    }
}
