//! Hints to the processor that memory will be read soon. This is the only place that has these instructions.
//!
//! Whatever its address, a hint never faults, maps nothing, and does nothing that the program could notice.

/// Hints that the line at `address` will be read at once. The processor fetches it into the first-level cache.
#[inline(always)]
pub fn into_l1(address: *const u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 is a hint, which raises no exception for any address and changes nothing that a program can
    // see (Intel SDM vol. 2, PREFETCHh). SSE, which has it, is part of x86_64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: PRFM is a hint, which generates no synchronous abort for any address (Arm ARM, C6.2, PRFM); the
    // instruction writes no register and no memory.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Hints that the line at `address` will be read a little later. The processor fetches it into the second-level cache,
/// so that it does not displace the data that is used now.
#[inline(always)]
pub fn into_l2(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `into_l1`; PREFETCHT1 differs only in the cache that it names.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as in `into_l1`; this PRFM differs only in the cache that it names.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
