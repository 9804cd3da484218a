//! Copies of whole bitmaps, which a caller can look at without holding a lock.

use super::bits::DirtyBits;
use super::block::{Block, ClientBits, try_collect};
use super::by_vcpu::ByVcpu;
use super::client::Client;
use super::memory::DirtyMemory;
use super::shared_bits::SharedBits;
use super::window::Window;
use crate::bitmap::{PageBitmap, tail_mask, try_zeroed, words_for};
use crate::block::{BlockId, BlockInfo};
use crate::error::{Error, Result};

/// A copy of a client's bits of one block, in the kernel's layout.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BitmapCopy {
    /// The block.
    pub block: BlockInfo,
    /// One bit for each page of the block; the bits past the last page are zero.
    pub words: Vec<u64>,
}

impl BitmapCopy {
    /// Makes a copy from the words into which [`DirtyMemory::take_bitmap`] wrote the bits of `block`.
    ///
    /// # Panics
    ///
    /// If `words` has another length than the block's bitmap.
    pub fn new(block: BlockInfo, words: Vec<u64>) -> Self {
        assert_eq!(words.len(), block.words(), "the bitmap of '{}'", block.name);
        Self { block, words }
    }
}

/// Copies the client's bits of a block. The lock is released after each chunk, so that no other thread waits for the
/// whole copy; if a sync is under way, chunks can come from before and from after it. If a removed block has the same
/// name, this copies the block that exists.
///
/// # Errors
///
/// [`Error::NotOpen`]; [`Error::UnknownBlock`], also for a block that is removed meanwhile; [`Error::OutOfMemory`].
pub fn copy_bitmap(bits: &SharedBits, client: Client, block: &str) -> Result<BitmapCopy> {
    let (info, chunk_words) = {
        let bits = bits.lock();
        bits.check_client(client)?;
        (bits.named(block)?.info.clone(), words_for(bits.chunk_pages))
    };
    let mut words = try_zeroed(info.words())?;
    for (chunk, into) in words.chunks_mut(chunk_words).enumerate() {
        let bits = bits.lock();
        let found = bits.blocks.iter().chain(&bits.removed).find(|found| found.info.id == info.id);
        found.ok_or_else(|| bits.no_block(block))?.copy_chunk(client, chunk, into);
    }
    Ok(BitmapCopy { block: info, words })
}

/// What [`put_back`] needs beside the bits that were taken of one block.
#[derive(Debug)]
pub struct Taken {
    client: Client,
    block: BlockId,
    windows: Vec<Window>,
    vcpus: ByVcpu,
}

impl DirtyMemory {
    /// Copies the client's bits of a block into `into` and takes them at the same instant, so that a migration sends
    /// exactly the pages that it took. `into` has one bit for each page of the block. If a removed block has the same
    /// name, this takes the bits of the block that exists.
    ///
    /// If the bits cannot be used, [`put_back`] needs the returned value.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBlock`]; [`Error::Argument`] if `into` has another size; the errors of [`clear`](Self::clear).
    /// Nothing is taken then.
    pub fn take_bitmap(&mut self, client: Client, block: &str, into: &mut [u64]) -> Result<Taken> {
        {
            let bits = self.bits();
            bits.check_client(client)?;
            let words = bits.named(block)?.info.words();
            if into.len() != words {
                return Err(Error::Argument(format!("the bitmap of '{block}' has {words} words, not {}", into.len())));
            }
        }
        self.end_first_round_for(client)?;
        let pages = self.bits().named(block)?.info.pages;
        // This empty bitmap replaces the taken one, so that a thread that reads the bits does not wait for a copy.
        let clean = PageBitmap::try_new(pages)?;
        let mut bits = self.bits();
        let found = bits.named(block)?;
        let windows = found.bits.get(&client).map_or(&[][..], |bits| &bits.windows);
        let (id, windows) = (found.info.id, try_collect(windows.iter().copied())?);
        let taken = match bits.position(block) {
            Ok(index) => bits.blocks[index].take(client, clean),
            Err(_) => bits.take_of_removed(client, id),
        };
        drop(bits);
        let (bitmap, vcpus) = taken.unzip();
        match bitmap {
            Some(bitmap) => into.copy_from_slice(bitmap.words()),
            None => into.fill(0),
        }
        Ok(Taken { client, block: id, windows, vcpus: vcpus.unwrap_or_default() })
    }
}

/// Gives bits back that were taken and could not be used. The client has them again, as if they had never been taken,
/// beside the bits that it got since. Nothing happens if the client or the block is gone. The lock is released after
/// each chunk, as in [`copy_bitmap`]. The bits of a chunk, their window, and which vCPUs wrote them come back together,
/// so that a reap meanwhile counts each chunk either as before or as afterwards.
///
/// # Errors
///
/// [`Error::Argument`] if `words` has another size than the block's bitmap; [`Error::OutOfMemory`]. Nothing is given
/// back then.
pub fn put_back(bits: &SharedBits, taken: &Taken, words: &[u64]) -> Result<()> {
    let (pages, chunk_words) = {
        let mut bits = bits.lock();
        let chunk_words = words_for(bits.chunk_pages);
        let Some(block) = bits.block_mut(taken.block) else { return Ok(()) };
        let expected = block.info.words();
        if words.len() != expected {
            let text = format!("the bitmap of '{}' has {expected} words, not {}", block.info.name, words.len());
            return Err(Error::Argument(text));
        }
        let pages = block.info.pages;
        let Some(of_client) = block.bits.get_mut(&taken.client) else { return Ok(()) };
        of_client.vcpus.reserve_all(&taken.vcpus)?;
        (pages, chunk_words)
    };
    for_each_chunk(words, pages, chunk_words, |chunk, parts| {
        if let Some(block) = bits.lock().block_mut(taken.block) {
            block.put_chunk_back(taken, chunk, parts);
        }
    });
    let mut bits = bits.lock();
    if let Some(of_client) = bits.block_mut(taken.block).and_then(|block| block.bits.get_mut(&taken.client)) {
        of_client.vcpus.add_entries_again(&taken.vcpus);
    }
    Ok(())
}

impl SharedBits {
    /// Marks pages of a block that the host wrote in every client that tracks. `words` is a bitmap of these pages: bit
    /// `n % 64` of word `n / 64` is page `n`, as in vm-memory's `AtomicBitmap::get_and_reset` with pages of the host's
    /// size. The lock is released after each chunk, as in [`copy_bitmap`]. Returns how many pages were marked, which is
    /// 0 if the block is gone.
    ///
    /// KVM's log does not see what the host writes. Call this after the writes: otherwise a client could take a bit and
    /// read the old content. [`DirtyBits::mark_host_write`] marks a single write.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `words` has another size than the block's bitmap; nothing is marked then.
    pub fn mark_host_writes(&self, block: BlockId, words: &[u64]) -> Result<u64> {
        let (pages, chunk_words) = {
            let bits = self.lock();
            let Some(found) = bits.blocks.iter().find(|found| found.info.id == block) else { return Ok(0) };
            let expected = found.info.words();
            if words.len() != expected {
                let text = format!("the bitmap of '{}' has {expected} words, not {}", found.info.name, words.len());
                return Err(Error::Argument(text));
            }
            (found.info.pages, words_for(bits.chunk_pages))
        };
        let mut marked = 0;
        for_each_chunk(words, pages, chunk_words, |chunk, parts| {
            let mut bits = self.lock();
            let DirtyBits { tracking, blocks, .. } = &mut *bits;
            if let Some(found) = blocks.iter_mut().find(|found| found.info.id == block) {
                for (first, words) in parts {
                    marked += found.merge(chunk, *first, words, |client, vga| client.tracks(tracking, vga));
                }
            }
        });
        Ok(marked)
    }
}

/// Words of a chunk, and the index of the first one in the chunk.
type Part<'a> = (usize, &'a [u64]);

/// Calls `show` for each chunk of a block's bitmap, with the number of the chunk, and the words in one or two parts.
/// Bits past the last page are left out.
fn for_each_chunk(words: &[u64], pages: u64, chunk_words: usize, mut show: impl FnMut(usize, &[Part<'_>])) {
    let Some((last, whole)) = words.split_last() else { return };
    let (whole, of_last_chunk) = whole.split_at(whole.len() - whole.len() % chunk_words);
    whole.chunks(chunk_words).enumerate().for_each(|(chunk, words)| show(chunk, &[(0, words)]));
    let last = [*last & tail_mask(pages)];
    show(whole.len() / chunk_words, &[(0, of_last_chunk), (of_last_chunk.len(), &last)]);
}

impl DirtyBits {
    /// The block of this generation, unless it was removed.
    fn block_mut(&mut self, id: BlockId) -> Option<&mut Block> {
        self.blocks.iter_mut().find(|block| block.info.id == id)
    }

    /// Takes what a client has of a removed block. If no other client has bits of the block, the block is forgotten.
    fn take_of_removed(&mut self, client: Client, id: BlockId) -> Option<(PageBitmap, ByVcpu)> {
        let gone = self.removed.iter_mut().find(|gone| gone.info.id == id)?;
        let taken = gone.bits.remove(&client).map(ClientBits::into_taken);
        self.removed.retain(|block| !block.bits.is_empty());
        taken
    }
}

impl Block {
    /// Puts back what was taken of a chunk, whose bits are the words in `parts`.
    fn put_chunk_back(&mut self, taken: &Taken, chunk: usize, parts: &[Part<'_>]) {
        let first = chunk * words_for(self.chunk_pages);
        let words = parts.iter().map(|(_, words)| words.len()).sum::<usize>();
        let Some(of_client) = self.bits.get_mut(&taken.client) else { return };
        of_client.vcpus.add_part(&taken.vcpus, first..first + words);
        if let Some(window) = taken.windows.get(chunk) {
            self.put_window_back(taken.client, chunk, window);
        }
        for (first, words) in parts {
            self.merge(chunk, *first, words, |client, _| client == taken.client);
        }
    }

    /// Copies a client's bits of a chunk.
    fn copy_chunk(&self, client: Client, chunk: usize, into: &mut [u64]) {
        match self.bits.get(&client).filter(|bits: &&ClientBits| bits.dirty()[chunk] > 0) {
            Some(bits) => {
                let first = chunk * words_for(self.chunk_pages);
                into.copy_from_slice(&bits.bitmap().words()[first..first + into.len()]);
            }
            None => into.fill(0),
        }
    }
}
