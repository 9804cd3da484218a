//! Page sampling: how much of a memory changes, from the hashes of a few of its pages.
//!
//! ```text
//! Plan (which pages) ─► begin: hash each ─► … the window … ─► compare: hash again, as often as there are deadlines ─► Sampled
//!                            ▲                                    ▲
//!                            └────────── PageReader ──────────────┘   guest memory of ours, or of another process
//! ```
//!
//! [`Plan`] says which pages are looked at. A [`PageReader`] reads their contents; [`GuestMemoryReader`] does it for
//! memory that is mapped into this process, and [`process::ProcessReader`] for memory of another one. [`Sampling`] is
//! the measurement, and [`sample_at`] runs it to a list of deadlines. [`Intervals`] says how far a figure may be off.
//! Blocks may be added and removed meanwhile; each block counts for the time in which it existed. Nothing here needs
//! KVM, and the guest is neither stopped nor slowed by write protection.
//!
//! Sampling cannot see a write that does not change the contents of a page, nor a write that is undone before the next
//! look. It sees writes by the host and by devices, which KVM's log does not see.
//!
//! The design follows QEMU's `page-sampling` (migration/dirtyrate.c), without its faults: here the last page of a block
//! can be chosen, small blocks are not skipped, samples are spread evenly, each sample has its own window, zero is
//! distinguished from "few", and untouched pages stay untouched.

mod beta;
#[cfg(feature = "compression")]
mod compressibility;
mod deadline;
mod estimate;
mod guest_memory;
mod interval;
mod pagemap;
mod passes;
mod plan;
pub mod process;
mod reader;
mod room;
mod sampled;
#[cfg(test)]
mod tests;
mod trace;
#[cfg(feature = "compression")]
mod zstd;

#[cfg(feature = "compression")]
pub use compressibility::{Compressed, Compressibility, compressibility};
pub use deadline::{SampleReport, sample_at};
pub use estimate::{Estimate, EstimatedPages};
pub use guest_memory::GuestMemoryReader;
pub use interval::{Interval, IntervalMethod, Intervals, upper_bound_without_hits};
pub use passes::{Sampling, UntracedLook};
pub use plan::{
    DEFAULT_SAMPLES_PER_GIB, Design, LEAST_SAMPLES_PER_GIB, MOST_SAMPLES_PER_GIB, Plan, PlanOptions, random_seed,
};
pub use reader::{Contents, Look, PageBlock, PageReader};
pub use sampled::{BlockSampled, CellSampled, Rate, RegionSampled, Sampled};
