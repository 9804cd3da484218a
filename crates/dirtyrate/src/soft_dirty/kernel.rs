//! Whether this kernel has soft-dirty bits.

use std::fs::{self, File};
use std::io::Error as IoError;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::bits::is_soft_dirty;
use crate::error::{Error, Result};
use crate::page_size::host_page_size;

/// Whether this kernel has soft-dirty bits, as a page of this process shows. A kernel without them takes the command
/// that clears them, too, and then never sets one. The first call clears the bits of this process.
///
/// # Errors
///
/// If this process may not read its own pagemap, or gets no memory.
pub fn has_soft_dirty() -> Result<bool> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    let found = look()?;
    Ok(*FOUND.get_or_init(|| found))
}

/// Writes a page, clears all bits of this process, and writes the page again.
fn look() -> Result<bool> {
    // Another look at the same time would clear the bit between a write and what is seen of it.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let page = OwnPage::new()?;
    page.write();
    // In a sandbox without clear_refs, what the bit says before it is cleared has to be enough.
    Ok(page.is_soft_dirty()?
        && (fs::write("/proc/self/clear_refs", "4").is_err()
            || (!page.is_soft_dirty()? && {
                page.write();
                page.is_soft_dirty()?
            })))
}

/// Whether this kernel may have soft-dirty bits. In contrast to [`has_soft_dirty`] this clears nothing.
///
/// # Errors
///
/// As [`has_soft_dirty`].
pub fn may_have_soft_dirty() -> Result<bool> {
    let page = OwnPage::new()?;
    page.write();
    page.is_soft_dirty()
}

/// The pages of this process.
const PAGEMAP: &str = "/proc/self/pagemap";

/// A page of this process, between two that nobody may read. Without those another thread's mapping beside it could
/// become one with its mapping, and the kernel calls all of a mapping dirty that has grown.
struct OwnPage {
    /// The first of the three pages.
    mapping: *mut libc::c_void,
    page: *mut u8,
}

/// The page, and one on each side.
const PAGES: usize = 3;

impl OwnPage {
    fn new() -> Result<Self> {
        let refused = |call| Error::refused(call, "a page that shows its soft-dirty bit", IoError::last_os_error());
        let (size, flags) = (host_page_size() as usize, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a free place.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), PAGES * size, libc::PROT_NONE, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(refused("mmap"));
        }
        let own = Self { mapping, page: mapping.cast::<u8>().wrapping_add(size) };
        // SAFETY: the page is the middle one of those that were just mapped, and nobody else knows it.
        if unsafe { libc::mprotect(own.page.cast(), size, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(refused("mprotect"));
        }
        Ok(own)
    }

    fn write(&self) {
        // SAFETY: the page is this one's, and may be written.
        unsafe { self.page.write_volatile(1) };
    }

    fn is_soft_dirty(&self) -> Result<bool> {
        let refused = |call| move |source| Error::refused(call, PAGEMAP, source);
        let mut entry = [0; 8];
        let pagemap = File::open(PAGEMAP).map_err(refused("open"))?;
        let read = pagemap.read_exact_at(&mut entry, self.page.addr() as u64 / host_page_size() * 8);
        read.map_err(refused("pread"))?;
        Ok(is_soft_dirty(u64::from_ne_bytes(entry)))
    }
}

impl Drop for OwnPage {
    fn drop(&mut self) {
        // SAFETY: the pages are this one's, and nothing else points into them.
        unsafe { libc::munmap(self.mapping, PAGES * host_page_size() as usize) };
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn looks_at_the_same_time_agree() {
        let alone = look().expect("a page");
        thread::scope(|scope| {
            let looks: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..50).map(|_| look().expect("a page")).collect::<Vec<_>>())).collect();
            for found in looks {
                assert_eq!(found.join().expect("no panic"), vec![alone; 50]);
            }
        });
    }
}
