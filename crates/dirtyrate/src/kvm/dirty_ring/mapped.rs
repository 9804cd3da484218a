//! One vCPU's ring, mapped: the entry protocol with its memory order.

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_bindings::{KVM_DIRTY_LOG_PAGE_OFFSET, kvm_dirty_gfn};

use super::RESERVED_ENTRIES;
use super::cursor::{Entries, EntryState};
use crate::error::{Error, Result};
use crate::kvm::capabilities::host_page_size;

/// `KVM_DIRTY_GFN_F_DIRTY`.
const DIRTY: u32 = 1 << 0;
/// `KVM_DIRTY_GFN_F_RESET`.
const RESET: u32 = 1 << 1;

/// A vCPU's dirty ring, mapped for as long as this lives.
pub struct MappedRing {
    entries: NonNull<kvm_dirty_gfn>,
    size: u32,
}

// SAFETY: the mapping belongs to the process, not to a thread. What is shared with the kernel is read and written by the
// protocol below; on our side one thread at a time has it, through `&mut`.
unsafe impl Send for MappedRing {}

impl MappedRing {
    /// Maps the ring of a vCPU of a VM whose rings have `size` entries.
    pub fn new(vcpu: &impl AsRawFd, size: u32) -> Result<Self> {
        let offset = i64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * host_page_size() as i64;
        // SAFETY: a new mapping, of the vCPU's descriptor, at no address of ours. It reads and writes memory of the kernel's
        // that is there for it.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size as usize * size_of::<kvm_dirty_gfn>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                offset,
            )
        };
        match NonNull::new(address.cast()) {
            Some(entries) if address != libc::MAP_FAILED => Ok(Self { entries, size }),
            _ => Err(Error::last_ioctl("mmap", || "a vCPU's dirty ring".to_owned())),
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

impl Entries for MappedRing {
    fn size(&self) -> u32 {
        self.size
    }

    fn full(&self) -> u32 {
        self.size - RESERVED_ENTRIES
    }

    fn state(&self, position: u32) -> EntryState {
        // Acquire: what the kernel wrote before the flag is seen after it.
        match self.flags(position).load(Ordering::Acquire) {
            flags if flags & RESET != 0 => EntryState::Harvested,
            flags if flags & DIRTY != 0 => EntryState::Dirty,
            _ => EntryState::Empty,
        }
    }

    fn read(&self, position: u32) -> (u32, u64) {
        let entry = self.entry(position);
        // SAFETY: the entry is mapped. The kernel writes it only where it is not dirty, but for an overrun, in which these
        // plain numbers may be of one entry or of another; volatile, so that they are read here and once.
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
