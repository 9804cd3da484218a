//! The ioctls and capabilities that the logs need, each with the capability that announces it. The functions work on
//! any descriptor of a VM, so that a VMM does not have to use kvm-ioctls, and they read into buffers of the caller.

use std::os::fd::{AsRawFd, BorrowedFd};

use kvm_bindings::kvm_dirty_log__bindgen_ty_1;
use kvm_bindings::{
    KVMIO, kvm_clear_dirty_log, kvm_clear_dirty_log__bindgen_ty_1, kvm_dirty_log, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ref};
use vmm_sys_util::{ioctl_io_nr, ioctl_iow_nr, ioctl_iowr_nr};

use super::manual_protect::ManualProtect;
use super::signals::{held_back, uninterrupted};
use crate::bitmap::words_for;
use crate::error::{Error, Result};
use crate::page_size::host_page_size;

/// `KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2`: its value is the set of `KVM_DIRTY_LOG_*` flags that may be enabled.
pub const CAP_MANUAL_DIRTY_LOG_PROTECT2: u32 = 168;
/// `KVM_CAP_DIRTY_LOG_RING`: its value is the largest ring in bytes.
pub const CAP_DIRTY_LOG_RING: u32 = 192;
/// `KVM_CAP_BINARY_STATS_FD`.
pub const CAP_BINARY_STATS_FD: u32 = 203;
/// `KVM_CAP_DIRTY_LOG_RING_ACQ_REL`: the same as `KVM_CAP_DIRTY_LOG_RING`, for architectures with weakly ordered
/// memory.
pub const CAP_DIRTY_LOG_RING_ACQ_REL: u32 = 223;
/// `KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP`.
pub const CAP_DIRTY_LOG_RING_WITH_BITMAP: u32 = 225;
/// `KVM_CAP_PRE_FAULT_MEMORY`.
pub const CAP_PRE_FAULT_MEMORY: u32 = 236;

// Every kernel has it.
ioctl_iow_nr!(KVM_GET_DIRTY_LOG, KVMIO, 0x42, kvm_dirty_log);
ioctl_iow_nr!(KVM_SET_USER_MEMORY_REGION, KVMIO, 0x46, kvm_userspace_memory_region);
// KVM_CAP_ENABLE_CAP_VM.
ioctl_iow_nr!(KVM_ENABLE_CAP, KVMIO, 0xa3, kvm_enable_cap);
// KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
ioctl_iowr_nr!(KVM_CLEAR_DIRTY_LOG, KVMIO, 0xc0, kvm_clear_dirty_log);
// KVM_CAP_DIRTY_LOG_RING or KVM_CAP_DIRTY_LOG_RING_ACQ_REL.
ioctl_io_nr!(KVM_RESET_DIRTY_RINGS, KVMIO, 0xc7);

/// The answer of an ioctl: its value, or the errno of the calling thread.
fn answer(result: i32) -> errno::Result<u32> {
    u32::try_from(result).map_err(|_| errno::Error::last())
}

/// Sets a memory slot.
///
/// # Safety
///
/// The region's memory is mapped for as long as the slot exists.
pub unsafe fn set_user_memory_region(
    vm: BorrowedFd<'_>,
    region: &kvm_userspace_memory_region,
    context: impl FnOnce() -> String,
) -> Result<()> {
    // SAFETY: the argument is a kvm_userspace_memory_region, as the ioctl's number says, and the kernel only reads it;
    // its memory is mapped, as the caller promised.
    uninterrupted(|| answer(unsafe { ioctl_with_ref(&vm, KVM_SET_USER_MEMORY_REGION(), region) }))
        .map(drop)
        .map_err(|errno| Error::ioctl("KVM_SET_USER_MEMORY_REGION", context(), errno))
}

/// Enables a capability of a VM.
pub fn enable_cap(vm: BorrowedFd<'_>, cap: u32, argument: u64) -> errno::Result<()> {
    let cap = kvm_enable_cap { cap, args: [argument, 0, 0, 0], ..Default::default() };
    // SAFETY: the argument is a kvm_enable_cap, as the ioctl's number says, and the kernel only reads it. None of the
    // capabilities that this crate enables takes a pointer.
    uninterrupted(|| answer(unsafe { ioctl_with_ref(&vm, KVM_ENABLE_CAP(), &cap) })).map(drop)
}

/// Sets the manual protect of a VM. `None` turns it off, because the VMM may have turned it on.
///
/// # Errors
///
/// [`Error::Ioctl`] if the kernel does not know what is asked for.
pub fn set_manual_protect(vm: BorrowedFd<'_>, protect: ManualProtect) -> Result<()> {
    match enable_cap(vm, CAP_MANUAL_DIRTY_LOG_PROTECT2, protect.flags()) {
        // In a kernel that does not know manual protect (before Linux 5.0) it is always off.
        Err(errno) if errno.errno() == libc::EINVAL && protect == ManualProtect::None => Ok(()),
        answer => answer.map_err(|errno| Error::ioctl("KVM_ENABLE_CAP", "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", errno)),
    }
}

/// Touches every page of a buffer before the kernel writes to it, so that a page that cannot be allocated fails here.
fn touch(words: &mut [u64]) {
    let step = (host_page_size() as usize / size_of::<u64>()).max(1);
    let last = words.len().saturating_sub(1);
    for at in (0..words.len()).step_by(step).chain([last]) {
        if let Some(word) = words.get_mut(at) {
            // SAFETY: the word is borrowed exclusively, and what is written is what was there. Volatile, so that it is
            // written.
            unsafe { std::ptr::write_volatile(word, *word) };
        }
    }
}

/// Reads the log of `slot`, which has `pages` pages, into `into`. Errors name the slot by `block`.
///
/// Without manual protect the kernel clears the log before it copies it out, and a copy that fails loses the bits. So
/// every page of the buffer is touched first.
pub fn get_dirty_log(vm: &impl AsRawFd, slot: u32, pages: u64, into: &mut [u64], block: &str) -> Result<()> {
    assert!(into.len() >= words_for(pages), "the kernel writes {} words", words_for(pages));
    touch(into);
    let log = kvm_dirty_log {
        slot,
        padding1: 0,
        __bindgen_anon_1: kvm_dirty_log__bindgen_ty_1 { dirty_bitmap: into.as_mut_ptr().cast() },
    };
    // SAFETY: the argument is a kvm_dirty_log, as the ioctl's number says. The kernel writes one bit for each page of
    // the slot, rounded up to a long; the slot table registered the slot with `pages` pages and the buffer has room for
    // them (asserted above). The buffer is exclusively borrowed for the call.
    uninterrupted(|| answer(unsafe { ioctl_with_ref(vm, KVM_GET_DIRTY_LOG(), &log) }))
        .map(drop)
        .map_err(|errno| Error::ioctl("KVM_GET_DIRTY_LOG", format!("block '{block}'"), errno))
}

/// Clears the bits of `pages` pages from `first_page` that are set in `bits`, and protects those pages.
pub fn clear_dirty_log(
    vm: &impl AsRawFd,
    slot: u32,
    first_page: u64,
    pages: u32,
    bits: &[u64],
    block: &str,
) -> Result<()> {
    assert!(bits.len() >= words_for(pages.into()), "the kernel reads {} words", words_for(pages.into()));
    let mut log = kvm_clear_dirty_log {
        slot,
        num_pages: pages,
        first_page,
        __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 { dirty_bitmap: bits.as_ptr().cast_mut().cast() },
    };
    // SAFETY: the argument is a kvm_clear_dirty_log, as the ioctl's number says. The kernel only reads the bitmap, one
    // bit for each of `pages` pages, rounded up to a long; `bits` has that many (asserted above).
    uninterrupted(|| answer(unsafe { ioctl_with_mut_ref(vm, KVM_CLEAR_DIRTY_LOG(), &mut log) })).map(drop).map_err(
        |errno| {
            let context = format!("block '{block}', pages {first_page} to {}", first_page.saturating_add(pages.into()));
            Error::ioctl("KVM_CLEAR_DIRTY_LOG", context, errno)
        },
    )
}

/// Gives the entries that are marked as harvested, in all rings, back to the kernel, which protects their pages.
/// Returns the number of these entries.
///
/// From Linux 6.16 on a pending signal ends the call early. Then all counted pages are protected except up to 64 of the
/// last ones (`kvm_dirty_ring_reset`), and the log would not see further writes to these. So signals are held back
/// during the call. A kick of a vCPU comes later then, but not too late, because KVM_RUN looks at `immediate_exit`. An
/// interruption that cannot be held back shows in the count, unless it comes after the last entry.
pub fn reset_dirty_rings(vm: &impl AsRawFd) -> Result<u32> {
    held_back(|| {
        // SAFETY: the ioctl takes no argument; the descriptor is a VM's, or the kernel says that it is not.
        uninterrupted(|| answer(unsafe { ioctl(vm, KVM_RESET_DIRTY_RINGS()) }))
            .map_err(|errno| Error::ioctl("KVM_RESET_DIRTY_RINGS", "", errno))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_descriptor_that_is_not_a_vm_is_an_error_with_the_call_and_the_errno() {
        let not_a_vm = File::open("/dev/null").expect("/dev/null");
        let error = get_dirty_log(&not_a_vm, 3, 64, &mut [0], "ram").expect_err("not a VM");
        assert!(matches!(error, Error::Ioctl { call: "KVM_GET_DIRTY_LOG", .. }), "{error}");
        assert!(error.to_string().contains("block 'ram'"), "{error}");
        let error = clear_dirty_log(&not_a_vm, 3, 64, 64, &[0], "ram").expect_err("not a VM");
        assert!(error.to_string().contains("pages 64 to 128"), "{error}");
        assert!(reset_dirty_rings(&not_a_vm).is_err());
    }

    #[test]
    fn the_buffer_is_there_before_the_kernel_clears_its_log() {
        let words = 64 * host_page_size() as usize / size_of::<u64>();
        // A mapping of its own: what an allocator gives may have been touched before.
        let mapping = vm_memory::MmapRegion::<()>::new(words * size_of::<u64>()).expect("memory");
        // SAFETY: the mapping is of so many words, aligned to a page, all zero, and used only here while it exists.
        let buffer = unsafe { std::slice::from_raw_parts_mut(mapping.as_ptr().cast::<u64>(), words) };
        let resident = |buffer: &[u64]| {
            let page = host_page_size() as usize;
            let first = buffer.as_ptr().addr().next_multiple_of(page);
            let pages = (buffer.as_ptr_range().end.addr() - first) / page;
            let mut there = vec![0u8; pages];
            // SAFETY: the pages are whole ones of the buffer, and there is a byte for each.
            let result = unsafe { libc::mincore(first as *mut libc::c_void, pages * page, there.as_mut_ptr()) };
            assert_eq!(result, 0, "the buffer is mapped");
            there.iter().filter(|there| **there & 1 == 1).count()
        };
        assert!(resident(buffer) < 32, "memory that was never touched");
        let not_a_vm = File::open("/dev/null").expect("/dev/null");
        get_dirty_log(&not_a_vm, 0, 64 * words as u64, buffer, "ram").expect_err("not a VM");
        assert!(resident(buffer) >= 63, "every page was touched");
    }
}
