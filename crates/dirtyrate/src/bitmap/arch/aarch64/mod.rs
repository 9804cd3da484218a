//! The instruction sets of AArch64.

pub mod neon;
