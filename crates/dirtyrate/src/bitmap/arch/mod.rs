//! The kernels compiled for one instruction set each, and which of them this CPU can run.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod backend;
mod baseline;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use super::hints::Hints;
use super::kernels::{Backend, Kernels};

/// The kernels of a backend; `None` if this CPU cannot run it.
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
