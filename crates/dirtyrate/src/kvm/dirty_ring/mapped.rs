//! The mapped ring of one vCPU, and the protocol of its entries with its memory order.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_bindings::{KVM_DIRTY_LOG_PAGE_OFFSET, kvm_dirty_gfn};

use super::cursor::{Entries, EntryState};
use crate::error::{Error, Result};
use crate::page_size::host_page_size;

/// Bytes of an entry (`struct kvm_dirty_gfn`).
pub const ENTRY_BYTES: u64 = 16;
/// How many entries the kernel keeps free for itself and for the CPU's page-modification log
/// (KVM_DIRTY_RING_RSVD_ENTRIES and the size of PML). A ring must have more entries than these.
pub const RESERVED_ENTRIES: u32 = 64 + 512;

/// `KVM_DIRTY_GFN_F_DIRTY`.
const DIRTY: u32 = 1 << 0;
/// `KVM_DIRTY_GFN_F_RESET`.
const RESET: u32 = 1 << 1;

/// A vCPU's dirty ring, mapped for as long as this lives.
pub struct MappedRing {
    entries: NonNull<kvm_dirty_gfn>,
    size: u32,
}

// SAFETY: the mapping belongs to the process, not to a thread. What is shared with the kernel is read and written by
// the protocol below; on our side one thread at a time has it, through `&mut`.
unsafe impl Send for MappedRing {}

impl MappedRing {
    /// Maps the ring of a vCPU of a VM whose rings have `size` entries.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a vCPU that has no ring or a smaller one, and so belongs to another VM. [`Error::Ioctl`]
    /// if the kernel refuses.
    pub fn new(vcpu: BorrowedFd<'_>, size: u32) -> Result<Self> {
        let offset = i64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * host_page_size() as i64;
        let bytes = size as usize * size_of::<kvm_dirty_gfn>();
        // SAFETY: a new mapping, of the vCPU's descriptor, at no address of ours. It reads and writes memory of the
        // kernel's that is there for it.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                offset,
            )
        };
        let ring = match NonNull::new(address.cast()) {
            Some(entries) if address != libc::MAP_FAILED => Self { entries, size },
            _ => return Err(Error::last_ioctl("mmap", || "a vCPU's dirty ring".to_owned())),
        };
        // The kernel also maps pages behind the end of a ring, and a touch of such a page is SIGBUS.
        match all_pages_exist(address.cast(), bytes) {
            Ok(true) => Ok(ring),
            Ok(false) => Err(Error::Argument(format!(
                "this vCPU has no dirty ring of {size} entries: give the vCPUs of the VM for which the rings were enabled"
            ))),
            Err(source) => Err(Error::Ioctl { call: "madvise", context: "a vCPU's dirty ring".to_owned(), source }),
        }
    }

    fn entry(&self, position: u32) -> *mut kvm_dirty_gfn {
        assert!(position < self.size, "position {position} of a ring of {}", self.size);
        // SAFETY: the mapping has `size` entries, and the position is below that.
        unsafe { self.entries.as_ptr().add(position as usize) }
    }

    fn flags(&self, position: u32) -> &AtomicU32 {
        // SAFETY: the entry is mapped while `self` lives, its flags are aligned, and both sides access them atomically.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.entry(position)).flags) }
    }
}

/// Whether every page of a mapping can be read. This finds it out without reading a page.
fn all_pages_exist(address: *mut u8, bytes: usize) -> std::io::Result<bool> {
    // SAFETY: this advice changes no contents, and where no page is there it says so.
    if unsafe { libc::madvise(address.cast(), bytes, libc::MADV_POPULATE_READ) } == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EFAULT) => Ok(false),
        // Linux before 5.14 does not know this advice.
        Some(libc::EINVAL) => can_copy_all_pages(address, bytes),
        _ => Err(error),
    }
}

/// Finds out the same, by letting the kernel copy a byte of each page.
fn can_copy_all_pages(address: *mut u8, bytes: usize) -> std::io::Result<bool> {
    for at in (0..bytes).step_by(host_page_size() as usize) {
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: address.wrapping_add(at).cast(), iov_len: 1 };
        // SAFETY: the kernel writes one byte to a place that has room for it. What it reads it checks, and answers
        // EFAULT.
        let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
        if copied != 1 {
            let error = std::io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EFAULT) { Ok(false) } else { Err(error) };
        }
    }
    Ok(true)
}

impl Entries for MappedRing {
    fn size(&self) -> u32 {
        self.size
    }

    fn full(&self) -> u32 {
        self.size - RESERVED_ENTRIES
    }

    fn state(&self, position: u32) -> EntryState {
        // Acquire: what the kernel wrote before it set the flag is visible after this load.
        match self.flags(position).load(Ordering::Acquire) {
            flags if flags & RESET != 0 => EntryState::Harvested,
            flags if flags & DIRTY != 0 => EntryState::Dirty,
            _ => EntryState::Empty,
        }
    }

    fn read(&self, position: u32) -> (u32, u64) {
        let entry = self.entry(position);
        // SAFETY: the entry is mapped. The kernel writes it only where it is not dirty, but for an overrun, in which
        // these plain numbers may be of one entry or of another; volatile, so that they are read here and once.
        unsafe { ((&raw const (*entry).slot).read_volatile(), (&raw const (*entry).offset).read_volatile()) }
    }

    fn mark_harvested(&mut self, position: u32) {
        // Release: the entry was read before the kernel may write it again.
        self.flags(position).store(RESET, Ordering::Release);
    }
}

impl Drop for MappedRing {
    fn drop(&mut self) {
        let bytes = self.size as usize * size_of::<kvm_dirty_gfn>();
        // SAFETY: this mapping, of this size, was made in `new` and is used by nobody any more.
        let result = unsafe { libc::munmap(self.entries.as_ptr().cast(), bytes) };
        debug_assert_eq!(result, 0, "a mapping of ours can be unmapped");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Behind a file's end a mapping has pages whose touch is SIGBUS, as behind a ring's end.
    #[test]
    fn a_page_that_is_not_there_is_found_without_a_touch() {
        let page = host_page_size() as usize;
        // SAFETY: the name is a string that ends with a zero.
        let file = unsafe { libc::memfd_create(c"ring".as_ptr(), 0) };
        assert!(file >= 0, "a file in memory");
        // SAFETY: the descriptor is of this test.
        assert_eq!(unsafe { libc::ftruncate(file, 3 * page as i64) }, 0);
        // SAFETY: a new mapping of this test's own file.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), 4 * page, libc::PROT_READ, libc::MAP_SHARED, file, 0) };
        assert_ne!(address, libc::MAP_FAILED);
        for exist in [all_pages_exist, can_copy_all_pages] {
            assert!(exist(address.cast(), 3 * page).expect("an answer"));
            assert!(!exist(address.cast(), 4 * page).expect("an answer"));
        }
        // SAFETY: both are this test's, and used by nobody any more.
        unsafe {
            libc::munmap(address, 4 * page);
            libc::close(file);
        }
    }
}
