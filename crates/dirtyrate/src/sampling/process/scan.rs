//! The ioctl PAGEMAP_SCAN, which finds pages of a kind in another process's memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// include/uapi/linux/fs.h: `_IOWR('f', 16, struct pm_scan_arg)`, since Linux 6.7.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
/// The page is in memory.
pub const PAGE_IS_PRESENT: u64 = 1 << 3;
/// The page is in swap.
pub const PAGE_IS_SWAPPED: u64 = 1 << 4;
/// The page is the kernel's page of zeros.
pub const PAGE_IS_PFNZERO: u64 = 1 << 5;
/// The page was written since the bits were cleared. A kernel that does not know the category answers EINVAL.
pub const PAGE_IS_SOFT_DIRTY: u64 = 1 << 7;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`: pages that follow each other and have the same categories.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct PageRegion {
    /// The address of the first page.
    pub start: u64,
    /// The address behind the last page.
    pub end: u64,
    /// The categories that the caller asked for.
    pub categories: u64,
}

/// What a scan has found.
#[derive(Debug, Clone, Copy)]
pub struct Scanned {
    /// How many regions were filled.
    pub regions: usize,
    /// Where the scan ended: at the end of the addresses, or before it, if there was no room for more.
    pub end: u64,
}

/// Finds the pages in `addresses` that have one of the categories `any_of`, in order, at most `most_pages` (0: as many
/// as there are). The categories `returned` of each are in `regions`.
///
/// # Errors
///
/// That of the ioctl: ENOTTY before Linux 6.7.
pub fn scan_pages(
    pagemap: &File,
    addresses: Range<u64>,
    (any_of, returned): (u64, u64),
    most_pages: u64,
    regions: &mut [PageRegion],
) -> io::Result<Scanned> {
    let mut arguments = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start: addresses.start,
        end: addresses.end,
        vec: regions.as_mut_ptr().addr() as u64,
        vec_len: regions.len() as u64,
        max_pages: most_pages,
        category_anyof_mask: any_of,
        return_mask: returned,
        ..ScanArguments::default()
    };
    // No flag is set: a scan that protects pages again (WP_MATCHING) would slow the process.
    // SAFETY: the arguments are those of the call, and their vector has room for the regions that it may fill.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arguments) };
    match usize::try_from(found) {
        // A kernel that does not say where it ended has gone to the end.
        Ok(regions) => Ok(Scanned { regions, end: arguments.walk_end.max(arguments.start) }),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_have_the_size_that_the_number_of_the_call_says() {
        assert_eq!(size_of::<ScanArguments>() as u64, PAGEMAP_SCAN >> 16 & 0x3fff);
    }
}
