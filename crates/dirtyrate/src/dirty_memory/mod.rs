//! Dirty memory: who tracks which pages, and the five steps of a measurement.
//!
//! ```text
//! guest write ─► DirtyLog ─► sync ─► one bitmap per client per RAM block ─► reap
//! ```
//!
//! [`DirtyMemory`] knows the kernel only as [`DirtyLog`]. One caller at a time works with it. It puts what it fetches
//! into [`DirtyBits`], which other threads can read meanwhile. The steps are those of QEMU's dirty-bitmap measurement:
//! [`start_tracking`](DirtyMemory::start_tracking), [`discard_initial_log`](DirtyMemory::discard_initial_log),
//! [`clear`](DirtyMemory::clear), [`sync`](DirtyMemory::sync) (or [`sync_at`] a deadline), [`reap`](DirtyMemory::reap).
//! Four promises hold, whatever fails in between:
//!
//! * **No bit is lost.** Every client that tracks gets each page that was written since its last clear or take, with
//!   the next sync that succeeds. Bits go to the clients before their pages are protected again.
//! * **No bit is taken from another.** A client's clear, reap, start or stop changes no other client's bits.
//! * **No bit is made up.**
//! * **A window is its client's own.** It opens where the pages were protected, and closes at the last fetch whose bits
//!   went to the client. What other clients do later does not move it. The time in which the guest was paused or had
//!   ended is known.
//!
//! A log that begins with all ones protects nothing in its first round, so its ones do not tell which pages were
//! written. Step 2 drops these ones, and so does a client that begins full when it takes its bits; then the windows of
//! all clients that track begin again there. A sync, and the last fetch before a log is turned off, do not drop the
//! ones, but deliver them to the clients as they are.

mod bits;
mod block;
mod breakdown;
mod by_vcpu;
mod client;
mod copy;
mod deadline;
mod events;
#[cfg(feature = "testing")]
mod fake_log;
mod ledger;
mod log;
#[cfg(all(test, loom))]
mod loom_models;
mod memory;
mod reap;
mod shared_bits;
mod sync;
mod tracking;
mod window;
mod witness;

pub use bits::DirtyBits;
pub(crate) use breakdown::check_cell;
pub use breakdown::{GranularityReap, ReapOptions, RegionReap};
pub use client::Client;
pub use copy::{BitmapCopy, Taken, copy_bitmap, put_back};
pub use deadline::{DeadlineReport, paused_within, sync_at, sync_at_with, take_at, take_at_with};
#[cfg(feature = "testing")]
pub use fake_log::{FakeCall, FakeLog, FakeProtect};
pub use log::{DirtyLog, Prepared, RingLoss, VcpuLog, VcpuPages};
pub use memory::{DEFAULT_CLEAR_CHUNK_BYTES, DirtyMemory};
pub use reap::{BlockReap, Reap, RingReap, VcpuReap};
pub use shared_bits::{LockedBits, SharedBits};
pub use sync::SyncReport;
#[cfg(feature = "testing")]
pub use witness::{Bounds, Witness, WitnessedWindow};
