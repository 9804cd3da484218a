//! One RAM block as dirty memory sees it: its log's state chunk by chunk, and each client's bits.

use std::collections::BTreeMap;
use std::time::Instant;

use super::client::Client;
use super::log::BlockId;
use crate::bitmap::{PageBitmap, words_for};

/// What a RAM block is, for those who read its bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// Unique for the life of the VM: the block's generation.
    pub id: BlockId,
    /// Unique among the blocks that exist at one time.
    pub name: String,
    /// The guest physical address of the first page.
    pub guest_address: u64,
    /// How many pages; any number but 0.
    pub pages: u64,
}

impl BlockInfo {
    /// The number of words in a bitmap of this block.
    pub fn words(&self) -> usize {
        words_for(self.pages)
    }
}

/// A part of a block that is re-protected in one call, so that the kernel's lock is held for a bounded time. Each has a
/// window of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The log's first round, all ones, is still ahead: no page of the chunk is protected.
    pub initial: bool,
    /// When writes began to be seen: the end of the last CLEAR, or of the GET that found the chunk clean.
    pub opened: Instant,
}

/// One client's bits of one block.
#[derive(Debug)]
pub(super) struct ClientBits {
    pub bitmap: PageBitmap,
    /// When the window of these bits opened, for each chunk.
    pub opened: Vec<Instant>,
}

#[derive(Debug)]
pub(super) struct Block {
    pub info: BlockInfo,
    /// Whether the kernel's log is on.
    pub logging: bool,
    /// The VGA client's log mask.
    pub vga: bool,
    pub chunks: Vec<Chunk>,
    /// When the last GET began: where every client's window ends for now.
    pub fetched: Option<Instant>,
    pub bits: BTreeMap<Client, ClientBits>,
}

impl Block {
    pub fn new(info: BlockInfo, chunk_pages: u64, now: Instant) -> Self {
        let chunks = vec![Chunk { initial: false, opened: now }; info.pages.div_ceil(chunk_pages) as usize];
        Self { info, logging: false, vga: false, chunks, fetched: None, bits: BTreeMap::new() }
    }

    /// The client's bits, made on first use.
    pub fn bits_mut(&mut self, client: Client) -> &mut ClientBits {
        let (pages, chunks) = (self.info.pages, &self.chunks);
        self.bits.entry(client).or_insert_with(|| ClientBits {
            bitmap: PageBitmap::new(pages),
            opened: chunks.iter().map(|chunk| chunk.opened).collect(),
        })
    }

    /// Empties the client's bits; its window opens where the chunks' current rounds began.
    pub fn clear(&mut self, client: Client) {
        if let Some(bits) = self.bits.get_mut(&client) {
            bits.bitmap.clear_all();
            for (opened, chunk) in bits.opened.iter_mut().zip(&self.chunks) {
                *opened = chunk.opened;
            }
        }
    }

    pub fn has_initial_chunk(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.initial)
    }

    /// Notes that logging went on at `now`, in a log that begins with all ones or not.
    pub fn begin_logging(&mut self, initially_set: bool, now: Instant) {
        self.logging = true;
        self.fetched = None;
        self.chunks.fill(Chunk { initial: initially_set, opened: now });
    }
}
