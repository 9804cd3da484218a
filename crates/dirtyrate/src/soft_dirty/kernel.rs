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

/// A page of this process.
struct OwnPage(*mut u8);

impl OwnPage {
    fn new() -> Result<Self> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a free place.
        let page = unsafe { libc::mmap(ptr::null_mut(), host_page_size() as usize, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Error::refused("mmap", "a page that shows its soft-dirty bit", IoError::last_os_error()));
        }
        Ok(Self(page.cast()))
    }

    fn write(&self) {
        // SAFETY: the page is this one's, and may be written.
        unsafe { self.0.write_volatile(1) };
    }

    fn is_soft_dirty(&self) -> Result<bool> {
        let refused = |call| move |source| Error::refused(call, PAGEMAP, source);
        let mut entry = [0; 8];
        let pagemap = File::open(PAGEMAP).map_err(refused("open"))?;
        let read = pagemap.read_exact_at(&mut entry, self.0.addr() as u64 / host_page_size() * 8);
        read.map_err(refused("pread"))?;
        Ok(is_soft_dirty(u64::from_ne_bytes(entry)))
    }
}

impl Drop for OwnPage {
    fn drop(&mut self) {
        // SAFETY: the page is this one's, and nothing points into it.
        unsafe { libc::munmap(self.0.cast(), host_page_size() as usize) };
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
