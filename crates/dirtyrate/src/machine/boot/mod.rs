//! Loading what is booted: by the protocol of the architecture.

#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86_64")]
mod bzimage;
#[cfg(target_arch = "aarch64")]
mod device_tree;
mod kernel;
mod plan;
#[cfg(target_arch = "x86_64")]
mod pvh;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use arm64::{load_bytes, load_file};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{load_bytes, load_file};
