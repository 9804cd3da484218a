//! How fast does a KVM virtual machine dirty its memory?
//!
//! ```text
//! guest write ─► KVM log ─► sync ─► DirtyMemory { VGA, CODE, MIGRATION, DIRTY_RATE, … } ─► reap ─► rate
//!                            ▲             one bitmap per client per RAM block
//!                            └── fetch, hand the bits to each client, protect the pages again
//! ```
//!
//! Start reading at [`dirty_memory`]: its five steps are the measurement. [`kvm`] is what talks to `/dev/kvm`; a VMM that
//! has a `VmFd` and guest memory of its own takes [`kvm::Slots`] and [`kvm::BitmapLog`] from there,
//! or [`kvm::dirty_ring`], and leaves the rest: `examples/foreign_vmm` is such a VMM.
//! [`bitmap`] has the page bitmaps; [`sampling`] estimates from the hashes of a few pages where there is no log.
//! [`machine`] is what a guest needs around it, and [`workload`] has guests that say exactly which pages they wrote, against
//! which every measurement here is held.
//!
//! Imports point downwards: `machine` → `sampling`, `workload`, `kvm` → `dirty_memory` → `bitmap`.

pub mod bitmap;
mod clock;
pub mod dirty_memory;
mod error;
pub mod kvm;
pub mod machine;
pub mod sampling;
mod sync;
pub mod threads;
pub mod workload;

pub use clock::{GuestClock, Moment};
pub use error::{Detail, Details, Error, Limit, Result};

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
