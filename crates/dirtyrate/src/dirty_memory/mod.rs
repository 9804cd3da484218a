//! Dirty memory: who tracks which pages, and the five steps of a measurement.
//!
//! ```text
//! guest write ─► DirtyLog ─► sync ─► one bitmap per client per RAM block ─► reap
//! ```
//!
//! [`DirtyMemory`] knows the kernel only as [`DirtyLog`]. The steps are those of QEMU's dirty-bitmap measurement:
//! [`start_tracking`](DirtyMemory::start_tracking), [`discard_initial_log`](DirtyMemory::discard_initial_log),
//! [`clear`](DirtyMemory::clear), [`sync`](DirtyMemory::sync) (or [`sync_at`] a deadline),
//! [`reap`](DirtyMemory::reap). Three promises hold whatever fails in between:
//!
//! * **No bit is lost.** Between two takings (a clear, or a reap that takes) every tracking client is told of each page
//!   that was written, by the next sync that succeeds. Bits go to the clients before their pages are protected again.
//! * **No bit is taken from another.** A client's clear, reap, start or stop changes no other client's bits.
//! * **No bit is made up.**
//!
//! A log that begins all ones protects nothing in its first round, so what is written then cannot be told from what is not.
//! Whoever ends that round decides: step 2, and a client that begins full when it takes its bits, drop the ones, and every
//! window opens there; a sync, and the last fetch before a log goes off, deliver them as the kernel says them.

mod block;
mod cancel;
mod client;
mod deadline;
mod fake_log;
mod log;
mod reap;
mod sync;
mod tally;
mod tracking;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use block::Block;
pub use block::BlockInfo;
pub use cancel::CancelToken;
pub use client::Client;
pub(crate) use deadline::wait_until;
pub use deadline::{DeadlineReport, sync_at};
pub use fake_log::{FakeCall, FakeLog, FakeProtect};
pub use log::{BlockId, DirtyLog, Prepared, RingLoss, VcpuPages};
pub use reap::{BlockReap, Reap};
pub use sync::SyncReport;
pub use tally::{RingReap, VcpuReap};
pub use witness::{Bounds, Witness, WitnessedWindow};

use crate::bitmap::{PageBitmap, PageRange, SparsePages, generic};
use crate::error::{Error, Result};

/// The default size of the part of a block that is re-protected in one call: 1 GiB of guest memory. One CLEAR holds the
/// kernel's lock about 2.5 ms for that much dirty memory, and a guest that faults meanwhile waits for it.
pub const DEFAULT_CLEAR_CHUNK_BYTES: u64 = 1 << 30;

/// The dirty bits of a VM: one bitmap per client per RAM block, fed from one [`DirtyLog`].
pub struct DirtyMemory {
    log: Box<dyn DirtyLog>,
    page_size: u64,
    chunk_pages: u64,
    blocks: Vec<Block>,
    /// Blocks that are gone, kept for the bits that a client has not taken yet.
    removed: Vec<Block>,
    /// The global tracking flags. VGA is not among them: it is a mask in each block.
    tracking: BTreeSet<Client>,
    accumulators: BTreeSet<u32>,
    accumulators_opened: u32,
    /// One fetch buffer, as large as the largest block's bitmap.
    buffer: Vec<u64>,
    witness: witness::Marks,
    /// The edges of the sync that is under way, where the log draws them for all blocks.
    prepared: Option<Prepared>,
    /// What each measuring client knows of the vCPUs, where the log tells.
    tallies: tally::Tallies,
}

impl DirtyMemory {
    /// Dirty memory without blocks over `log`. `clear_chunk_bytes` bounds one re-protection; it is rounded up to 64
    /// pages, the unit of KVM_CLEAR_DIRTY_LOG.
    pub fn new(log: Box<dyn DirtyLog>, page_size: u64, clear_chunk_bytes: u64) -> Self {
        let chunk_pages = (clear_chunk_bytes / page_size).max(1).next_multiple_of(crate::bitmap::PAGES_PER_WORD);
        Self {
            log,
            page_size,
            chunk_pages,
            blocks: Vec::new(),
            removed: Vec::new(),
            tracking: BTreeSet::new(),
            accumulators: BTreeSet::new(),
            accumulators_opened: 0,
            buffer: Vec::new(),
            witness: witness::Marks::default(),
            prepared: None,
            tallies: tally::Tallies::default(),
        }
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Has `witness` read at the edges of every window from now on, or nobody.
    pub fn set_witness(&mut self, witness: Option<Arc<dyn Witness>>) {
        self.witness = witness::Marks::new(witness);
    }

    /// The blocks that exist, by guest address.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.blocks.iter().map(|block| &block.info)
    }

    /// The blocks whose log is on.
    pub fn logging_blocks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.blocks.iter().filter(|block| block.logging).map(|block| &block.info)
    }

    /// Adds a RAM block that the guest cannot have written to yet: the caller holds its vCPUs. While somebody tracks, the
    /// block's log is on and its first round over when this returns; a client that begins full has every page of it.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if a block of that name exists; the log's refusal, after which the block is not added.
    pub fn add_block(&mut self, info: BlockInfo) -> Result<()> {
        let problem = if self.blocks.iter().any(|block| block.info.name == info.name) {
            Some("a block of this name exists; names are unique at one time")
        } else if self.blocks.iter().chain(&self.removed).any(|block| block.info.id == info.id) {
            Some("a block of this generation exists, or has bits that were not taken")
        } else {
            (info.pages == 0).then_some("a block of 0 pages")
        };
        if let Some(problem) = problem {
            return Err(Error::Layout { block: info.name, problem: problem.to_owned() });
        }
        let at = self.blocks.partition_point(|block| block.info.guest_address < info.guest_address);
        self.blocks.insert(at, Block::new(info, self.chunk_pages, Instant::now()));
        let started =
            self.reconcile_block(at).and_then(|()| self.reprotect_initial_chunks(at, &CancelToken::new()).map(drop));
        if let Err(error) = started {
            self.blocks.remove(at);
            return Err(error);
        }
        for &client in &self.tracking {
            let bits = self.blocks[at].bits_mut(client);
            if client.begins_full() {
                bits.bitmap.set_all();
            }
        }
        Ok(())
    }

    /// Removes a block, whose bits live on until every client has taken them. The caller holds the vCPUs, and `delete`
    /// makes the block unreachable for the guest.
    ///
    /// # Errors
    ///
    /// A failed last fetch, or the error of `delete`: the block is still there then, and nothing is lost.
    pub fn remove_block(&mut self, name: &str, delete: impl FnOnce() -> Result<()>) -> Result<()> {
        let index = self.position(name)?;
        if self.blocks[index].logging {
            self.run_partial_sync(|memory| memory.fetch_block(index).map(drop))?;
        }
        delete()?;
        let mut block = self.blocks.remove(index);
        block.bits.retain(|_, bits| bits.bitmap.count() > 0);
        if !block.bits.is_empty() {
            self.removed.push(block);
        }
        Ok(())
    }

    /// Marks pages that the host wrote, which KVM's log does not see, in every tracking client. To be called after the
    /// write: a client that takes the bit first would read the old content.
    pub fn mark_host_write(&mut self, guest_address: u64, bytes: u64) {
        let Some(last) = bytes.checked_sub(1).map(|rest| guest_address.saturating_add(rest)) else { return };
        let (first, last) = (guest_address / self.page_size, last / self.page_size);
        for block in &mut self.blocks {
            let start = block.info.guest_address / self.page_size;
            let (from, to) = (first.max(start), (last + 1).min(start + block.info.pages));
            if from >= to {
                continue;
            }
            let range = PageRange { first: from - start, pages: to - from };
            let vga = block.vga.then_some(Client::Vga);
            for client in self.tracking.iter().copied().chain(vga) {
                block.bits_mut(client).bitmap.set_range(range);
            }
        }
    }

    /// The client's bits of a block; `None` where it never had any. Of two blocks of one name, the one that exists.
    pub fn bitmap(&self, client: Client, block: &str) -> Result<Option<&PageBitmap>> {
        self.check_client(client)?;
        Ok(self.named(block)?.bits.get(&client).map(|bits| &bits.bitmap))
    }

    /// Copies the client's bits of a block into `into` and takes them, at one instant: what a migration sends is what it took.
    /// `into` has one bit for each page of the block. Of two blocks of one name, the one that exists.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an unknown block or an `into` of another size; as of [`clear`](Self::clear). Nothing is taken
    /// then.
    pub fn take_bitmap(&mut self, client: Client, block: &str, into: &mut [u64]) -> Result<()> {
        self.check_client(client)?;
        let words = self.named(block)?.info.words();
        if into.len() != words {
            return Err(Error::Argument(format!("the bitmap of '{block}' has {words} words, not {}", into.len())));
        }
        self.end_first_round_for(client)?;
        match self.bitmap(client, block)? {
            Some(bitmap) => into.copy_from_slice(bitmap.words()),
            None => into.fill(0),
        }
        let id = self.named(block)?.info.id;
        self.tallies.clear_block(client, id);
        if let Ok(index) = self.position(block) {
            self.blocks[index].clear(client);
        } else if let Some(gone) = self.removed.iter_mut().rev().find(|gone| gone.info.name == block) {
            gone.bits.remove(&client);
            self.removed.retain(|block| !block.bits.is_empty());
        }
        Ok(())
    }

    /// What a block is, or was while a client still has bits of it.
    pub fn block(&self, name: &str) -> Result<&BlockInfo> {
        Ok(&self.named(name)?.info)
    }

    /// The pages of a block that one vCPU wrote in the client's window, where the log tells; `None` where it wrote none.
    pub fn vcpu_pages(&self, client: Client, vcpu: usize, block: &str) -> Result<Option<&SparsePages>> {
        self.check_client(client)?;
        Ok(self.tallies.pages(client, vcpu, self.named(block)?.info.id))
    }

    /// A block that exists.
    pub fn existing_block(&self, name: &str) -> Result<&BlockInfo> {
        self.position(name).map(|index| &self.blocks[index].info)
    }

    /// Dirty pages in each region of `pages_per_region` pages of a block, for as many as `into` has room for.
    pub fn heat(&self, client: Client, block: &str, pages_per_region: u64, into: &mut [u32]) -> Result<()> {
        match self.bitmap(client, block)? {
            Some(bitmap) => generic::heat(bitmap.words(), pages_per_region, into),
            None => into.fill(0),
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<&Block> {
        let mut blocks = self.blocks.iter().chain(self.removed.iter().rev());
        blocks.find(|block| block.info.name == name).ok_or_else(|| self.no_block(name))
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.blocks.iter().position(|block| block.info.name == name).ok_or_else(|| self.no_block(name))
    }

    fn no_block(&self, name: &str) -> Error {
        let names: Vec<_> = self.blocks.iter().map(|block| block.info.name.as_str()).collect();
        Error::Argument(format!("no RAM block '{name}': there is {}", names.join(", ")))
    }

    fn check_client(&self, client: Client) -> Result<()> {
        match client {
            Client::Accumulator(number) if !self.accumulators.contains(&number) => {
                Err(Error::Argument(format!("{client} is not open")))
            }
            _ => Ok(()),
        }
    }
}
