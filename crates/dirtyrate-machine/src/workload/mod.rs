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
//! `layout` (which pages), `image` (where everything lies), `x86_64/guest.s` and `aarch64/guest.s` (the guest),
//! `sequence` (the same writes in Rust), `truth` (what follows from the counters).

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod clock;
mod contents;
mod elf;
mod error;
mod image;
mod kind;
mod layout;
mod page_set;
mod page_tables;
mod program;
mod replay;
mod sequence;
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
pub use error::WorkloadError;
pub use image::Image;
pub use kind::{Kind, Pace, Pacing, PacingName, Placement, Sharing};
pub use page_set::PageSet;
pub use program::{Counters, GuestWords, Program};
pub use truth::{Bounds, Counts, Stopped};

/// I/O port that a vCPU writes one byte to, again and again, while its budget is used up: a hint
/// that it has nothing to do. A VMM may sleep there for a moment; one that ignores it gets a guest
/// that polls. Linux uses the port for delays (`io_delay=0xed`), because nothing answers there. x86-64 only.
pub const IDLE_PORT: u16 = 0xed;

/// The same for arm64, which has no ports: a guest physical address between 3 and 4 GiB. A guest whose RAM lies there
/// does not use it. If a VMM answers the write with an external abort, the guest goes on after it.
pub const IDLE_ADDRESS: u64 = 0xfe00_00ed;

/// A number of this copy of the crate, for the labels of `guest.s`: link-time optimization assembles every copy in a program at once.
const COPY: u64 = {
    // FNV-1a over the path and the version, which differ between any two copies.
    let place = concat!(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_VERSION")).as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < place.len() {
        hash = (hash ^ place[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

/// Guest-physical addresses that are RAM: one block of a VM's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRange {
    /// Where it begins; a multiple of the page size.
    pub guest_address: u64,
    /// Its size; a multiple of the page size, not 0.
    pub bytes: u64,
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which pages it writes, and in what order.
    pub kind: Kind,
    /// Size of the working set, all vCPUs together, in pages of the host's size.
    pub pages: u64,
    /// How many vCPUs write: those with an APIC id below this, and on arm64 with such a number in Aff1 and Aff0 (16 to
    /// an Aff1). If the VM has more vCPUs, they halt. It may also have fewer.
    pub vcpus: u32,
    /// How the vCPUs divide the working set.
    pub sharing: Sharing,
    /// Where the working set lies.
    pub placement: Placement,
    /// What decides how fast the guest writes.
    pub pacing: Pacing,
    /// The seed of the random kinds. The same seed gives the same writes.
    pub seed: u64,
}

impl Workload {
    /// Builds the guest for a VM with this RAM, given in any order. The VM may have more RAM than is given here, but
    /// not less.
    ///
    /// The image takes the RAM from 1 MiB on, and on x86-64 the page at 0x8000; the working set is above it. On arm64, where
    /// RAM is elsewhere on each machine, these count from the lowest address that is given.
    ///
    /// `page_size` is the page size of the host that will run the guest, because a dirty log has one bit for each of
    /// the host's pages, and the guest writes to each of them at most once in a pass. It is 4096 on x86-64, and 4096,
    /// 16384 or 65536 on arm64.
    pub fn build(&self, ram: &[RamRange], page_size: u64) -> Result<Image, WorkloadError> {
        self.check()?;
        if !arch::PAGE_SIZES.contains(&page_size) {
            return Err(WorkloadError::PageSize { page_size });
        }
        Image::new(self, ram, page_size, arch::code())
    }

    /// Checks everything that does not depend on the RAM.
    fn check(&self) -> Result<(), WorkloadError> {
        let Workload { pages, vcpus, .. } = *self;
        if pages == 0 {
            return Err(WorkloadError::NoPages);
        }
        if !(1..=image::MAX_VCPUS).contains(&vcpus) {
            return Err(WorkloadError::VcpusOutOfRange { vcpus });
        }
        if self.sharing == Sharing::Split && pages < u64::from(vcpus) {
            return Err(WorkloadError::MoreVcpusThanPages { vcpus, pages });
        }
        Ok(())
    }
}
