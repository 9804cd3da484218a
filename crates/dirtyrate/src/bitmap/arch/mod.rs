//! The kernels compiled for one instruction set each, and which of them this CPU can run.

use super::generic;
use super::hints::Hints;
use super::kernels::{Backend, Kernels};

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

/// The tables of a backend, without hints and with them: the generic kernels, compiled for `features`, all of which `detected` must
/// find in the CPU, with the backend's own way to `count`, and to `expand` a word into the positions of its bits. Without features, what
/// is always there.
macro_rules! backend {
    ($backend:expr, $detected:ident: [$($feature:tt),*], count: $count:path, expand: $expand:path) => {
        /// Whether this CPU can run it.
        pub fn is_available() -> bool {
            true $(&& std::arch::$detected!($feature))*
        }

        /// Its kernels; `None` where this CPU cannot run it.
        pub fn new(hints: $crate::bitmap::Hints) -> Option<&'static $crate::bitmap::Kernels> {
            static OFF: $crate::bitmap::Kernels = table::<false>($crate::bitmap::Hints::Off);
            static ON: $crate::bitmap::Kernels = table::<true>($crate::bitmap::Hints::On);
            let table = match hints {
                $crate::bitmap::Hints::Off => &OFF,
                $crate::bitmap::Hints::On => &ON,
            };
            is_available().then_some(table)
        }

        const fn table<const HINTS: bool>(hints: $crate::bitmap::Hints) -> $crate::bitmap::Kernels {
            $crate::bitmap::Kernels {
                backend: $backend,
                hints,
                count: count::<HINTS>,
                merge: merge::<HINTS>,
                extent,
                heat: heat::<HINTS>,
                positions,
                ranges,
            }
        }

        $(#[target_feature(enable = $feature)])*
        fn count<const HINTS: bool>(words: &[u64]) -> u64 {
            $count(words, $crate::bitmap::generic::ask_ahead::<HINTS>)
        }

        $(#[target_feature(enable = $feature)])*
        fn merge<const HINTS: bool>(source: &[u64], targets: &mut [$crate::bitmap::Target<'_>]) -> u64 {
            $crate::bitmap::generic::merge(source, targets, $crate::bitmap::generic::ask_ahead::<HINTS>)
        }

        $(#[target_feature(enable = $feature)])*
        fn extent(words: &[u64]) -> Option<std::ops::Range<usize>> {
            $crate::bitmap::generic::extent(words)
        }

        $(#[target_feature(enable = $feature)])*
        fn heat<const HINTS: bool>(words: &[u64], pages_per_region: u64, into: &mut [u32]) {
            let ask = $crate::bitmap::generic::ask_ahead::<HINTS>;
            $crate::bitmap::generic::heat(words, pages_per_region, into, |words| $count(words, ask), ask)
        }

        // These two hint in both variants: they are bound by arithmetic, and what the compiler makes of them without is slower in any
        // cache (`docs/decisions/prefetch-hints.md`).
        $(#[target_feature(enable = $feature)])*
        fn positions(words: &[u64], from: u64, into: &mut [u32]) -> usize {
            let ask = $crate::bitmap::generic::ask_ahead::<true>;
            $crate::bitmap::generic::positions(words, from, into, |word, base, into| $expand(word, base, into), ask)
        }

        $(#[target_feature(enable = $feature)])*
        fn ranges(words: &[u64], from: u64, into: &mut [[u32; 2]]) -> usize {
            let ask = $crate::bitmap::generic::ask_ahead::<true>;
            $crate::bitmap::generic::ranges(words, from, into, |word, base, into| $expand(word, base, into), ask)
        }
    };
}
use backend;

mod baseline {
    //! What the compiler makes of the kernels for the target that this crate is built for.

    use super::{Backend, generic};

    backend!(Backend::Generic, none: [], count: generic::count_carry_save, expand: generic::expand_by_bit);
}

/// The kernels of a backend, where this CPU can run it.
pub fn kernels(backend: Backend, hints: Hints) -> Option<&'static Kernels> {
    match backend {
        Backend::Generic => baseline::new(hints),
        #[cfg(target_arch = "x86_64")]
        Backend::Popcnt => x86_64::popcnt::new(hints),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => x86_64::avx2::new(hints),
        #[cfg(all(target_arch = "x86_64", rustc_has_avx512))]
        Backend::Avx512 => x86_64::avx512::new(hints),
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => aarch64::neon::new(hints),
        _ => None,
    }
}

/// Hints that words will be read. Never faults, maps nothing, and reads nothing that the program could see, whatever the
/// address.
#[inline(always)]
pub fn prefetch(words: *const u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 is a hint, which raises no exception for any address and changes nothing that a program can see
    // (Intel SDM vol. 2, PREFETCHh). SSE, which has it, is part of x86_64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(words.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: PRFM is a hint, which generates no synchronous abort for any address (Arm ARM, C6.2, PRFM); the instruction
    // writes no register and no memory.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) words, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = words;
}
