//! The bits that the clients have of every block. Any thread may read them at any time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::block::Block;
use super::client::Client;
use super::ledger::Ledger;
use super::log::RingLoss;
use crate::bitmap::{Kernels, PAGES_PER_WORD, PageBitmap, PageRange, SparsePages};
use crate::block::{BlockId, BlockInfo};
use crate::clock::GuestClock;
use crate::error::{Error, Result};

/// The bits of all clients. No thread holds their lock while it calls the kernel, so reading the bits, and marking what
/// the host writes, does not wait for a sync. While a sync is under way, the bits and the window of some chunks are
/// already those of this sync, and those of the other chunks are still those of the last sync.
///
/// Only [`DirtyMemory`](super::DirtyMemory) takes bits. If a client took a bit after the fetch that brought it and
/// before its page is protected again, no client would see a write in between.
pub struct DirtyBits {
    pub(super) page_size: u64,
    pub(super) chunk_pages: u64,
    /// By guest address.
    pub(super) blocks: Vec<Block>,
    /// The guest addresses of `blocks` and their generations, by name.
    pub(super) names: HashMap<String, (u64, BlockId)>,
    /// The generations of `blocks`.
    pub(super) generations: HashSet<BlockId>,
    /// Blocks that are gone, kept for the bits that a client has not taken yet.
    pub(super) removed: Vec<Block>,
    /// The global tracking flags. VGA is not among them: it is a mask in each block.
    pub(super) tracking: BTreeSet<Client>,
    pub(super) accumulators: BTreeSet<u32>,
    accumulators_opened: u32,
    /// For how many vCPUs the log says what each of them wrote; 0 if the log does not know.
    pub(super) vcpus: usize,
    /// What the rings lost in the window of each client that measures.
    pub(super) losses: BTreeMap<Client, RingLoss>,
    /// When each client's windows opened and closed.
    pub(super) ledger: Ledger,
}

impl DirtyBits {
    pub(super) fn new(page_size: u64, clear_chunk_bytes: u64, vcpus: usize, clock: GuestClock) -> Self {
        assert!(page_size.is_power_of_two(), "pages of {page_size} bytes: the size of a page is a power of two");
        Self {
            page_size,
            chunk_pages: (clear_chunk_bytes / page_size).max(1).next_multiple_of(PAGES_PER_WORD),
            blocks: Vec::new(),
            names: HashMap::new(),
            generations: HashSet::new(),
            removed: Vec::new(),
            tracking: BTreeSet::new(),
            accumulators: BTreeSet::new(),
            accumulators_opened: 0,
            vcpus,
            losses: BTreeMap::new(),
            ledger: Ledger::new(clock),
        }
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The blocks that exist, by guest address.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.blocks.iter().map(|block| &block.info)
    }

    /// The blocks whose log is on.
    pub fn logging_blocks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.blocks.iter().filter(|block| block.logging).map(|block| &block.info)
    }

    /// The description of a block, also of a removed one as long as a client has bits of it.
    pub fn block(&self, name: &str) -> Result<&BlockInfo> {
        Ok(&self.named(name)?.info)
    }

    /// A block that exists.
    pub fn existing_block(&self, name: &str) -> Result<&BlockInfo> {
        self.position(name).map(|index| &self.blocks[index].info)
    }

    /// Whether the client's flag is set; for VGA, whether any block has its mask.
    pub fn is_tracking(&self, client: Client) -> bool {
        match client {
            Client::Vga => self.blocks.iter().any(|block| block.vga),
            _ => self.tracking.contains(&client),
        }
    }

    /// One more client for a measurement that runs beside others. It tracks nothing yet.
    pub fn open_accumulator(&mut self) -> Client {
        self.accumulators_opened += 1;
        self.accumulators.insert(self.accumulators_opened);
        Client::Accumulator(self.accumulators_opened)
    }

    /// The client's bits of a block; `None` if it never had any. If a removed block has the same name, this is the
    /// block that exists.
    pub fn bitmap(&self, client: Client, block: &str) -> Result<Option<&PageBitmap>> {
        self.check_client(client)?;
        Ok(self.named(block)?.bits.get(&client).map(|bits| bits.bitmap()))
    }

    /// The pages of a block that one vCPU wrote in the client's window; `None` if it wrote none, or if the log does not
    /// know.
    pub fn vcpu_pages(&self, client: Client, vcpu: usize, block: &str) -> Result<Option<&SparsePages>> {
        self.check_client(client)?;
        let bits = self.named(block)?.bits.get(&client);
        let pages = bits.and_then(|bits| bits.vcpus.pages_of(vcpu));
        Ok(pages.filter(|pages| !pages.is_empty()))
    }

    /// Counts the dirty pages in each region of `pages_per_region` pages of a block, for as many regions as `into` has
    /// room for.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a region has no page, or 2³² pages or more; [`Error::NotOpen`]; [`Error::UnknownBlock`].
    pub fn heat(&self, client: Client, block: &str, pages_per_region: u64, into: &mut [u32]) -> Result<()> {
        if !(1..1 << 32).contains(&pages_per_region) {
            return Err(Error::Argument(format!("regions of {pages_per_region} pages: give 1 to 2^32 - 1")));
        }
        match self.bitmap(client, block)? {
            Some(bitmap) => Kernels::get().heat(bitmap.words(), pages_per_region, into),
            None => into.fill(0),
        }
        Ok(())
    }

    /// Marks the pages of a write by the host, which KVM's log does not see, in every client that tracks. Call this
    /// after the write: otherwise a client could take the bit and read the old content.
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
                block.set_range(client, range);
            }
        }
    }

    /// Whether the client tracks this block.
    pub(super) fn tracks(&self, client: Client, index: usize) -> bool {
        client.tracks(&self.tracking, self.blocks[index].vga)
    }

    /// The empty bitmaps that [`clear`](Self::clear) puts in, one for each block that needs one.
    pub(super) fn bitmaps_for_clear(&self, client: Client) -> Vec<Option<PageBitmap>> {
        self.blocks.iter().map(|block| block.bitmap_for_clear(client)).collect()
    }

    /// Empties the client's bits in every block, and opens its window. It returns the old bitmaps, so that the caller
    /// can free them without the lock.
    pub(super) fn clear(&mut self, client: Client, mut clean: Vec<Option<PageBitmap>>) -> Vec<Option<PageBitmap>> {
        clean.resize_with(self.blocks.len(), || None);
        for (block, clean) in self.blocks.iter_mut().zip(&mut clean) {
            *clean = block.clear(client, clean.take());
        }
        for block in &mut self.removed {
            block.bits.remove(&client);
        }
        self.removed.retain(|block| !block.bits.is_empty());
        if let Some(loss) = self.losses.get_mut(&client) {
            *loss = RingLoss::default();
        }
        self.ledger.ask(client, true);
        clean
    }

    /// Notes what the rings lost.
    pub(super) fn lose(&mut self, loss: &RingLoss) {
        for (client, of_client) in &mut self.losses {
            if self.tracking.contains(client) {
                of_client.add(loss);
            }
        }
    }

    pub(super) fn named(&self, name: &str) -> Result<&Block> {
        let block = match self.find(name) {
            Some(index) => Some(&self.blocks[index]),
            None => self.removed.iter().rev().find(|block| block.info.name == name),
        };
        block.ok_or_else(|| self.no_block(name))
    }

    pub(super) fn position(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| self.no_block(name))
    }

    fn find(&self, name: &str) -> Option<usize> {
        let (address, generation) = *self.names.get(name)?;
        // Blocks of different memories may have one address.
        let first = self.blocks.partition_point(|block| block.info.guest_address < address);
        (first..self.blocks.len()).find(|index| self.blocks[*index].info.id == generation)
    }

    /// Adds a block whose name and generation are new; its index.
    pub(super) fn insert_block(&mut self, block: Block) -> usize {
        let BlockInfo { name, id, guest_address, .. } = &block.info;
        let at = self.blocks.partition_point(|other| other.info.guest_address < *guest_address);
        self.names.insert(name.clone(), (*guest_address, *id));
        self.generations.insert(*id);
        self.blocks.insert(at, block);
        at
    }

    pub(super) fn remove_block(&mut self, index: usize) -> Block {
        let block = self.blocks.remove(index);
        self.names.remove(&block.info.name);
        self.generations.remove(&block.info.id);
        block
    }

    pub(super) fn no_block(&self, name: &str) -> Error {
        let known = self.blocks.iter().map(|block| block.info.name.clone()).collect();
        Error::UnknownBlock { block: name.to_owned(), known }
    }

    pub(super) fn check_client(&self, client: Client) -> Result<()> {
        match client {
            Client::Accumulator(number) if !self.accumulators.contains(&number) => {
                Err(Error::NotOpen { client: client.to_string() })
            }
            _ => Ok(()),
        }
    }
}
