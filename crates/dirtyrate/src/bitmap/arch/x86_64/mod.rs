//! The instruction sets of x86-64.

pub mod avx2;
#[cfg(rustc_has_avx512)]
pub mod avx512;
pub mod popcnt;
