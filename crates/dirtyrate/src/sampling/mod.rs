//! Page sampling: how much of a memory changes, from the hashes of a few of its pages.
//!
//! ```text
//! Plan (which pages) ─► begin: hash each ─► … the window … ─► compare: hash again, as often as there are deadlines ─► Sampled
//!                            ▲                                    ▲
//!                            └────────── PageReader ──────────────┘   guest memory of ours, or of another process
//! ```
//!
//! [`sample_at`] keeps deadlines, over any memory. [`Sampling`] is the measurement, [`Plan`] says which pages, a [`PageReader`] brings their contents
//! ([`GuestMemoryReader`] for memory that is mapped here), and [`Intervals`] says how far the figure may be off. Blocks may come
//! and go in between: each counts for the time that it was there.
//! Nothing here needs KVM, and nothing is asked of the guest: it is neither stopped nor slowed by write protection.
//!
//! What sampling cannot see: a write that leaves a page's contents as they were, and one that was undone between two
//! looks. What it sees and KVM's log does not: writes by the host and by devices.
//!
//! The design is that of QEMU's `page-sampling` (migration/dirtyrate.c), less what it gets wrong: here the last page of a
//! block can be chosen, small blocks are not skipped, samples are spread evenly, each has a window of its own, zero is
//! told from "few", and pages that were never touched stay so.

mod beta;
mod deadline;
mod estimate;
mod guest_memory;
mod interval;
mod pagemap;
mod passes;
mod plan;
mod reader;
mod room;
mod sampled;
#[cfg(test)]
mod tests;
mod trace;

pub use deadline::{SampleReport, sample_at};
pub use estimate::Estimate;
pub use guest_memory::GuestMemoryReader;
pub use interval::{Interval, IntervalMethod, Intervals, upper_bound_without_hits};
pub use passes::{Sampling, UntracedLook};
pub use plan::{DEFAULT_SAMPLES_PER_GIB, Design, LEAST_SAMPLES_PER_GIB, MOST_SAMPLES_PER_GIB, Plan, PlanOptions};
pub use reader::{Contents, Look, PageBlock, PageReader};
pub use sampled::{BlockSampled, Rate, Sampled};
