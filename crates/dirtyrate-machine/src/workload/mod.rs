//! Guests with a known answer: small programs that write to memory in a way that the host can
//! compute, page for page.
//!
//! A [`Workload`] says what a guest does; [`Workload::build`] makes an [`Image`] of it for given RAM: an ELF file that
//! boots on any KVM virtual machine (by PVH on x86-64), and a [`Program`] that knows which page each write goes to.
//! Each vCPU counts its writes in a mailbox page of its own, so two readings of the [`Counters`] give the set of pages
//! written between them: [`Program::written`] for a guest that stands still at both readings, and [`Program::bounds`]
//! for a guest that runs on. The contents of the pages say the same a second time: [`Program::confirm_contents`].
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use dirtyrate_machine::workload::{Kind, Pacing, Placement, RamRange, Sharing, Workload};
//!
//! let ram = [RamRange { guest_address: 0, bytes: 64 << 20 }];
//! let image = Workload {
//!     kind: Kind::Stride,
//!     pages: 1000,
//!     vcpus: 1,
//!     sharing: Sharing::Split,
//!     placement: Placement::Packed,
//!     pacing: Pacing::Free,
//!     seed: 0,
//! }
//! .build(&ram, 4096)?;
//! std::fs::write("guest.elf", image.elf())?; // qemu-system-x86_64 -accel kvm -m 64 -kernel guest.elf
//! # Ok(()) }
//! ```
//!
//! This module knows neither KVM nor the ways to find dirty pages, because both are compared with it. Where to read on:
//! `layout` (which pages), `image` (where everything lies), `contract` (the numbers that the guest knows too),
//! `x86_64/guest.s` and `aarch64/guest.s` (the guest),
//! `sequence` (the same writes in Rust), `truth` (what follows from the counters).

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod clock;
mod contents;
mod contract;
mod elf;
mod error;
mod image;
mod kind;
mod layout;
mod page_set;
mod page_tables;
mod program;
mod ram;
mod replay;
mod sequence;
mod spec;
mod truth;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod testing;

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

pub use clock::Clock;
pub use contents::Mismatch;
pub use contract::{IDLE_ADDRESS, IDLE_PORT};
pub use error::WorkloadError;
pub use image::Image;
pub use kind::{Kind, Pace, Pacing, PacingName, Placement, Sharing};
pub use page_set::PageSet;
pub use program::{Counters, GuestWords, Program};
pub use ram::RamRange;
pub use spec::Workload;
pub use truth::{Bounds, Counts, Stopped};
