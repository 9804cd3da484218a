//! Dirty memory: who tracks which pages, and the five steps of a measurement.
//!
//! ```text
//! guest write ─► DirtyLog ─► sync ─► one bitmap per client per RAM block ─► reap
//! ```
//!
//! [`DirtyMemory`] knows the kernel only as [`DirtyLog`]. It works with the kernel, one caller at a time, and puts what it learns
//! into [`DirtyBits`], which anybody reads meanwhile. The steps are those of QEMU's dirty-bitmap measurement:
//! [`start_tracking`](DirtyMemory::start_tracking), [`discard_initial_log`](DirtyMemory::discard_initial_log),
//! [`clear`](DirtyMemory::clear), [`sync`](DirtyMemory::sync) (or [`sync_at`] a deadline),
//! [`reap`](DirtyMemory::reap). Three promises hold whatever fails in between:
//!
//! * **No bit is lost.** Between two takings (a clear, or a reap that takes) every tracking client is told of each page
//!   that was written, by the next sync that succeeds. Bits go to the clients before their pages are protected again.
//! * **No bit is taken from another.** A client's clear, reap, start or stop changes no other client's bits.
//! * **No bit is made up.**
//! * **A window is its client's own.** It opens where the pages were protected, and closes at the last fetch whose bits the
//!   client was given. Nothing that others do afterwards moves it, and the time in which the guest stood is known.
//!
//! A log that begins all ones protects nothing in its first round, so what is written then cannot be told from what is not.
//! Whoever ends that round decides. Step 2 drops the ones, and so does a client that begins full when it takes its bits; the
//! windows of all clients that track go on there. A sync, and the last fetch before a log goes off, deliver the ones as the
//! kernel says them.

mod bits;
mod block;
mod by_vcpu;
mod client;
mod copy;
mod deadline;
#[cfg(feature = "testing")]
mod fake_log;
mod ledger;
mod log;
#[cfg(all(test, loom))]
mod loom_models;
mod reap;
mod shared_bits;
mod sync;
mod tracking;
mod witness;

use std::ops::Range;
#[cfg(feature = "testing")]
use std::sync::Arc;

pub use bits::DirtyBits;
use block::Block;
pub use client::Client;
pub use copy::{BitmapCopy, Taken, copy_bitmap, put_back};
pub use deadline::{DeadlineReport, paused_within, sync_at, take_at};
#[cfg(feature = "testing")]
pub use fake_log::{FakeCall, FakeLog, FakeProtect};
pub use log::{DirtyLog, Prepared, RingLoss, VcpuLog, VcpuPages};
pub use reap::{BlockReap, Reap, RingReap, VcpuReap};
pub use shared_bits::{LockedBits, SharedBits};
pub use sync::SyncReport;
#[cfg(feature = "testing")]
pub use witness::{Bounds, Witness, WitnessedWindow};

use crate::bitmap::try_zeroed;
use crate::block::BlockInfo;
use crate::clock::GuestClock;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

/// The default size of the part of a block that is re-protected in one call: 1 GiB of guest memory. One CLEAR holds the
/// kernel's lock about 2.5 ms for that much dirty memory, and a guest that faults meanwhile waits for it.
pub const DEFAULT_CLEAR_CHUNK_BYTES: u64 = 1 << 30;

/// The dirty memory of a VM: one [`DirtyLog`], and what it told of each block to each client.
pub struct DirtyMemory {
    log: Box<dyn DirtyLog>,
    bits: SharedBits,
    /// One fetch buffer, as large as the largest block's bitmap.
    buffer: Vec<u64>,
    /// The chunks that the last fetch found dirty, each with its words from the first dirty one to the last.
    dirty_chunks: Vec<(usize, Range<usize>)>,
    /// The edges of the sync that is under way, where the log draws them for all blocks.
    prepared: Option<Prepared>,
}

impl DirtyMemory {
    /// Dirty memory without blocks over `log`. `clear_chunk_bytes` bounds one re-protection; it is rounded up to 64
    /// pages, the unit of KVM_CLEAR_DIRTY_LOG.
    pub fn new(log: Box<dyn DirtyLog>, page_size: u64, clear_chunk_bytes: u64) -> Self {
        Self::with_clock(log, page_size, clear_chunk_bytes, GuestClock::new())
    }

    /// The same, with the clock that whoever pauses and resumes the guest tells of it: windows then leave out the time in
    /// which the guest stood.
    pub fn with_clock(mut log: Box<dyn DirtyLog>, page_size: u64, clear_chunk_bytes: u64, clock: GuestClock) -> Self {
        let vcpus = log.vcpu_log().map_or(0, |rings| rings.vcpus());
        let bits = DirtyBits::new(page_size, clear_chunk_bytes, vcpus, clock);
        Self { log, bits: SharedBits::new(bits), buffer: Vec::new(), dirty_chunks: Vec::new(), prepared: None }
    }

    /// What the clients have. To be given back before anything else is asked of this.
    pub fn bits(&self) -> LockedBits<'_> {
        self.bits.lock()
    }

    /// A handle to the same bits, for those who do not wait for this.
    pub fn shared_bits(&self) -> SharedBits {
        self.bits.clone()
    }

    /// Has `witness` read at the edges of every window from now on, or nobody.
    #[cfg(feature = "testing")]
    pub fn set_witness(&mut self, witness: Option<Arc<dyn Witness>>) {
        self.bits().ledger.set_witness(witness);
    }

    /// Adds a RAM block that the guest cannot have written to yet: the caller holds its vCPUs. While somebody tracks, the
    /// block's log is on and its first round over when this returns; a client that begins full has every page of it.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if a block of that name exists, or the log has another number of pages of it; [`Error::OutOfMemory`]; the
    /// log's refusal. The block is not added then.
    pub fn add_block(&mut self, info: BlockInfo) -> Result<()> {
        let bits = self.bits.lock();
        let problem = if bits.names.contains_key(&info.name) {
            Some("a block of this name exists; names are unique at one time")
        } else if bits.generations.contains(&info.id) || bits.removed.iter().any(|block| block.info.id == info.id) {
            Some("a block of this generation exists, or has bits that were not taken")
        } else if self.log.pages(info.id).is_some_and(|pages| pages != info.pages) {
            Some("its memory slot has another number of pages")
        } else {
            (info.pages == 0).then_some("a block of 0 pages")
        };
        if let Some(problem) = problem {
            return Err(Error::Layout { block: info.name, problem: problem.to_owned() });
        }
        drop(bits);
        let at = self.run_event(|memory| memory.begin_block(info))?;
        for client in Client::BEGIN_FULL {
            if self.bits().tracks(client, at) {
                self.fill(client, at);
            }
        }
        Ok(())
    }

    /// Takes in a block, its log on if somebody tracks, and its first round over; its index.
    fn begin_block(&mut self, info: BlockInfo) -> Result<usize> {
        let mut bits = self.bits.lock();
        let mut block = Block::try_new(info, bits.chunk_pages, bits.ledger.edge_now())?;
        bits.tracking.iter().try_for_each(|client| block.make_bits(*client, bits.vcpus).map(drop))?;
        // A sync must not have to ask for memory.
        let words = block.info.words();
        if self.buffer.len() < words {
            self.buffer = try_zeroed(words)?;
        }
        self.dirty_chunks.clear();
        let chunks = block.chunks.len();
        self.dirty_chunks.try_reserve(chunks).map_err(|_| Error::OutOfMemory {
            what: "the chunks of a block",
            bytes: chunks * size_of::<(usize, Range<usize>)>(),
        })?;
        let at = bits.insert_block(block);
        drop(bits);
        let started =
            self.reconcile_block(at).and_then(|()| self.reprotect_initial_chunks(at, &CancelToken::new()).map(drop));
        let mut bits = self.bits.lock();
        if let Err(refused) = started {
            let block = bits.remove_block(at);
            drop(bits);
            // Nobody would turn it off any more.
            if let Some(Err(error)) = block.logging.then(|| self.log.set_logging(block.info.id, false)) {
                tracing::warn!(%error, block = block.info.name, "the dirty log of a block that was not added stays on");
            }
            return Err(refused);
        }
        let DirtyBits { tracking, blocks, .. } = &mut *bits;
        tracking.iter().for_each(|client| blocks[at].begin_tracking(*client));
        Ok(at)
    }

    /// Sets every bit of a client in a block. Chunk by chunk: who only reads the bits does not wait for a whole block.
    fn fill(&self, client: Client, index: usize) {
        let chunks = self.bits().blocks[index].chunks.len();
        (0..chunks).for_each(|chunk| self.bits().blocks[index].fill_chunk(client, chunk));
    }

    /// Empties a client's bits and opens its window, without making who only reads the bits wait long.
    fn empty(&self, client: Client) {
        let clean = self.bits().bitmaps_for_clear(client);
        let unused = self.bits().clear(client, clean);
        drop(unused);
    }

    /// Removes a block, whose bits live on until every client has taken them. The caller holds the vCPUs, and `delete`
    /// makes the block unreachable for the guest.
    ///
    /// # Errors
    ///
    /// A failed last fetch, or the error of `delete`: the block is still there then, and nothing is lost.
    pub fn remove_block(&mut self, name: &str, delete: impl FnOnce() -> Result<()>) -> Result<()> {
        let (index, id, logging) = {
            let bits = self.bits();
            let index = bits.position(name)?;
            (index, bits.blocks[index].info.id, bits.blocks[index].logging)
        };
        if logging {
            self.run_partial_sync(|memory| memory.fetch_block(index).map(drop))?;
        }
        delete()?;
        self.log.forget(id);
        let mut bits = self.bits();
        let mut block = bits.remove_block(index);
        block.bits.retain(|_, bits| bits.count() > 0);
        if !block.bits.is_empty() {
            bits.removed.push(block);
        }
        Ok(())
    }
}
