//! The host's page size, asked for in one place.

/// The host's page size in bytes.
pub fn host_page_size() -> u64 {
    // SAFETY: sysconf takes no pointer, and _SC_PAGESIZE is known to every Linux.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).expect("the page size is positive")
}
