//! What dirty memory has and what its blocks are. The steps of a measurement are in `tracking`, `sync` and `reap`.

use std::ops::Range;
#[cfg(feature = "testing")]
use std::sync::Arc;

use super::bits::DirtyBits;
use super::block::Block;
use super::client::Client;
use super::log::{DirtyLog, Prepared};
use super::shared_bits::{LockedBits, SharedBits};
#[cfg(feature = "testing")]
use super::witness::Witness;
use crate::bitmap::try_zeroed;
use crate::block::BlockInfo;
use crate::clock::GuestClock;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

/// The default size of a chunk, which is the part of a block that one call protects again: 1 GiB of guest memory. For
/// so much dirty memory one CLEAR holds the kernel's lock for about 2.5 ms, and a vCPU that faults meanwhile waits for
/// the lock.
pub const DEFAULT_CLEAR_CHUNK_BYTES: u64 = 1 << 30;

/// The dirty memory of a VM: one [`DirtyLog`], and the bits that each client got of each block from it.
pub struct DirtyMemory {
    pub(super) log: Box<dyn DirtyLog>,
    pub(super) bits: SharedBits,
    /// One fetch buffer, as large as the largest block's bitmap.
    pub(super) buffer: Vec<u64>,
    /// The chunks that the last fetch found dirty, each with its words from the first dirty one to the last.
    pub(super) dirty_chunks: Vec<(usize, Range<usize>)>,
    /// The edges of the current sync, if the log ends the windows of all blocks at once.
    pub(super) prepared: Option<Prepared>,
}

impl DirtyMemory {
    /// Makes dirty memory over `log`, without blocks, whose pages have `page_size` bytes, as those of the log.
    /// `clear_chunk_bytes` limits how much memory one call protects again; it is rounded up to 64 pages, the unit of
    /// KVM_CLEAR_DIRTY_LOG.
    ///
    /// # Panics
    ///
    /// If `page_size` is not a power of two.
    pub fn new(log: Box<dyn DirtyLog>, page_size: u64, clear_chunk_bytes: u64) -> Self {
        Self::with_clock(log, page_size, clear_chunk_bytes, GuestClock::new())
    }

    /// The same with a clock that knows of pauses. If the code that pauses and resumes the guest tells this clock,
    /// windows leave out the time in which the guest stood.
    ///
    /// # Panics
    ///
    /// If `page_size` is not a power of two.
    pub fn with_clock(mut log: Box<dyn DirtyLog>, page_size: u64, clear_chunk_bytes: u64, clock: GuestClock) -> Self {
        let vcpus = log.vcpu_log().map_or(0, |rings| rings.vcpus());
        let bits = DirtyBits::new(page_size, clear_chunk_bytes, vcpus, clock);
        Self { log, bits: SharedBits::new(bits), buffer: Vec::new(), dirty_chunks: Vec::new(), prepared: None }
    }

    /// Locks the bits of the clients. Drop the lock before you call another method of this.
    pub fn bits(&self) -> LockedBits<'_> {
        self.bits.lock()
    }

    /// A handle to the same bits, for threads that do not want to wait for a sync.
    pub fn shared_bits(&self) -> SharedBits {
        self.bits.clone()
    }

    /// Sets the witness that is read at the edges of every window from now on; `None` for no witness.
    #[cfg(feature = "testing")]
    pub fn set_witness(&mut self, witness: Option<Arc<dyn Witness>>) {
        self.bits().ledger.set_witness(witness);
    }

    /// Adds a RAM block that the guest cannot have written to yet, because the caller keeps the vCPUs stopped. If a
    /// client tracks, this turns the block's log on and ends its first round; a client that begins full has every page
    /// of the block.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if a block of that name exists, or if the log has pages of another size, or another number of
    /// pages for the block; [`Error::OutOfMemory`]; the log's error. The block is not added then.
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
        let page_size = bits.page_size;
        drop(bits);
        if let Some(of_log) = self.log.page_size().filter(|of_log| *of_log != page_size) {
            let problem =
                format!("its log has pages of {of_log} bytes, and this dirty memory was made with {page_size}");
            return Err(Error::Layout { block: info.name, problem });
        }
        let at = self.run_event(|memory| memory.begin_block(info))?;
        for client in Client::BEGIN_FULL {
            if self.bits().tracks(client, at) {
                self.fill(client, at);
            }
        }
        Ok(())
    }

    /// Inserts a block. If a client tracks, turns the block's log on and ends its first round. Returns the block's
    /// index.
    fn begin_block(&mut self, info: BlockInfo) -> Result<usize> {
        let mut bits = self.bits.lock();
        let mut block = Block::try_new(info, bits.chunk_pages, bits.ledger.edge_now())?;
        bits.tracking.iter().try_for_each(|client| block.make_bits(*client, bits.vcpus).map(drop))?;
        // A sync must not need memory, so the memory is reserved here.
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
            // Without the block, nothing would turn its log off.
            if let Some(Err(error)) = block.logging.then(|| self.log.set_logging(block.info.id, false)) {
                tracing::warn!(%error, block = block.info.name, "the dirty log of a block that was not added stays on");
            }
            return Err(refused);
        }
        let DirtyBits { tracking, blocks, .. } = &mut *bits;
        tracking.iter().for_each(|client| blocks[at].begin_tracking(*client));
        Ok(at)
    }

    /// Sets every bit of a client in a block. The lock is released after each chunk, so that readers of the bits do not
    /// wait for a whole block.
    pub(super) fn fill(&self, client: Client, index: usize) {
        let chunks = self.bits().blocks[index].chunks.len();
        (0..chunks).for_each(|chunk| self.bits().blocks[index].fill_chunk(client, chunk));
    }

    /// Empties a client's bits and opens its window, without making readers of the bits wait long.
    pub(super) fn empty(&self, client: Client) {
        let clean = self.bits().bitmaps_for_clear(client);
        let unused = self.bits().clear(client, clean);
        drop(unused);
    }

    /// Removes a block. Its bits are kept until every client has taken them. The caller keeps the vCPUs stopped, and
    /// `delete` makes the block unreachable for the guest.
    ///
    /// # Errors
    ///
    /// The error of the last fetch, or of `delete`. The block still exists then, and nothing is lost.
    ///
    /// If the block's log is gone already, because the memory slot was deleted too early, then the writes since the
    /// last fetch are lost. A warning says so (`tracing`), and the block is removed all the same.
    pub fn remove_block(&mut self, name: &str, delete: impl FnOnce() -> Result<()>) -> Result<()> {
        let (index, id, logging) = {
            let bits = self.bits();
            let index = bits.position(name)?;
            (index, bits.blocks[index].info.id, bits.blocks[index].logging)
        };
        if logging {
            match self.run_partial_sync(|memory| memory.fetch_block(index).map(drop)) {
                Err(error) if error.is_of_no_log() => {
                    tracing::warn!(%error, block = name, "the log of a removed block was gone before the last fetch");
                }
                fetched => fetched?,
            }
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
