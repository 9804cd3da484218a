//! How fast does a KVM virtual machine dirty its memory?
//!
//! ```text
//! guest write ─► KVM log ─► sync ─► DirtyMemory { VGA, CODE, MIGRATION, DIRTY_RATE, … } ─► reap ─► rate
//!                            ▲             one bitmap per client per RAM block
//!                            └── fetch, hand the bits to each client, protect the pages again
//! ```
//!
//! Start reading at [`dirty_memory`]: its five steps are the measurement. [`kvm`] talks to `/dev/kvm`: a VMM uses
//! [`kvm::Slots`] and a dirty log, which is [`kvm::BitmapLog`] or [`kvm::dirty_ring::RingLog`]. `examples/foreign_vmm`
//! is such a VMM, and `examples/device_vmm` is one with a device that writes guest memory and a vCPU that is added
//! later. [`bitmap`] has the page bitmaps; [`sampling`] needs no log: it estimates from the hashes of a few pages.
//! [`soft_dirty`] counts the pages that another process wrote.
//!
//! Imports point downwards: `kvm` → `dirty_memory` → `bitmap`. `sampling` stands beside these three. `soft_dirty`
//! stands on `sampling::process` and `bitmap`, and `kvm::statistics` on `sampling::process`. All of them stand on
//! `block`, `clock`, `wait`, `locks`, `names`, `threads`, `prefetch`, `page_size` and `error`.

pub mod bitmap;
mod block;
mod clock;
pub mod dirty_memory;
mod error;
pub mod kvm;
#[doc(hidden)]
pub mod locks;
#[doc(hidden)]
pub mod names;
mod page_size;
mod prefetch;
pub mod sampling;
pub mod soft_dirty;
mod sum;
#[doc(hidden)]
pub mod threads;
mod wait;

pub use block::{BlockId, BlockInfo, REGION_BYTES};
pub use clock::{GuestClock, Moment};
pub use error::{Error, Limit, Result};
pub use page_size::host_page_size;
pub use wait::{CancelToken, wait_until};

// The public functions of this crate take and return types of these crates.
pub use {kvm_bindings, kvm_ioctls, vm_memory};

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
