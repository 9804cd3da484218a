//! Whole bitmaps, copied out for those who look at them at leisure.

use super::block::{Block, ClientBits, try_collect};
use super::by_vcpu::ByVcpu;
use super::ledger::Window;
use super::{Client, DirtyBits, DirtyMemory, SharedBits};
use crate::bitmap::{PageBitmap, tail_mask, try_zeroed, words_for};
use crate::block::{BlockId, BlockInfo};
use crate::error::{Error, Result};

/// A client's bits of a block as they were, in the kernel's layout.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BitmapCopy {
    /// Of which block.
    pub block: BlockInfo,
    /// One bit for each page of it; those past the last page are zero.
    pub words: Vec<u64>,
}

impl BitmapCopy {
    /// The bits of `block` that [`DirtyMemory::take_bitmap`] gave.
    ///
    /// # Panics
    ///
    /// When `words` is not as many as the block's bitmap has.
    pub fn new(block: BlockInfo, words: Vec<u64>) -> Self {
        assert_eq!(words.len(), block.words(), "the bitmap of '{}'", block.name);
        Self { block, words }
    }
}

/// Copies the client's bits of a block, chunk by chunk: nobody waits for the whole of it, and each chunk is as of the sync that it is
/// as of by then. Of two blocks of one name, the one that exists.
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

/// What belongs to bits that were taken of one block, beside the bits: it is needed to put them back.
#[derive(Debug)]
pub struct Taken {
    client: Client,
    block: BlockId,
    windows: Vec<Window>,
    vcpus: ByVcpu,
}

impl DirtyMemory {
    /// Copies the client's bits of a block into `into` and takes them, at one instant: what a migration sends is what it took.
    /// `into` has one bit for each page of the block. Of two blocks of one name, the one that exists.
    ///
    /// What is returned is for [`put_back`], in case the bits cannot be used.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBlock`]; [`Error::Argument`] for an `into` of another size; as of [`clear`](Self::clear). Nothing is taken
    /// then.
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
        // Put in the place of the one that is taken, so that whoever reads the bits does not wait for a copy.
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

/// Gives bits back that were taken and could not be used. The client has them again as if they had never been taken, with
/// what it was told since. Nothing happens where the client or the block is gone. Goes chunk by chunk, as [`copy_bitmap`].
///
/// # Errors
///
/// [`Error::Argument`] for `words` of another size than the block's bitmap; [`Error::OutOfMemory`]. Nothing is given back
/// then.
pub fn put_back(bits: &SharedBits, taken: &Taken, words: &[u64]) -> Result<()> {
    let (pages, chunk_words) = {
        let mut bits = bits.lock();
        let chunk_words = words_for(bits.chunk_pages);
        let Some(block) = bits.blocks.iter_mut().find(|found| found.info.id == taken.block) else { return Ok(()) };
        let expected = block.info.words();
        if words.len() != expected {
            let text = format!("the bitmap of '{}' has {expected} words, not {}", block.info.name, words.len());
            return Err(Error::Argument(text));
        }
        let pages = block.info.pages;
        let Some(of_client) = block.bits.get_mut(&taken.client) else { return Ok(()) };
        of_client.vcpus.try_add(&taken.vcpus)?;
        of_client.windows.iter_mut().zip(&taken.windows).for_each(|(window, taken)| window.put_back(taken));
        (pages, chunk_words)
    };
    for_each_part(words, pages, chunk_words, |chunk, first, words| {
        let mut bits = bits.lock();
        if let Some(block) = bits.blocks.iter_mut().find(|found| found.info.id == taken.block) {
            block.merge(chunk, first, words, |of, _| of == taken.client);
        }
    });
    Ok(())
}

impl SharedBits {
    /// Marks pages of a block that the host wrote, as a bitmap has them, in every tracking client at once: bit `n % 64` of word
    /// `n / 64` is page `n`, as in vm-memory's `AtomicBitmap::get_and_reset` with pages of the host's size. Goes chunk by chunk, as
    /// [`copy_bitmap`]. How many pages were marked; none where the block is gone.
    ///
    /// To be called after the writes, because a client that takes a bit before would read the old content. What the host writes is not
    /// in KVM's log. A single write is marked by [`DirtyBits::mark_host_write`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for `words` of another size than the block's bitmap; nothing is marked then.
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
        for_each_part(words, pages, chunk_words, |chunk, first, words| {
            let mut bits = self.lock();
            let DirtyBits { tracking, blocks, .. } = &mut *bits;
            if let Some(found) = blocks.iter_mut().find(|found| found.info.id == block) {
                marked += found.merge(chunk, first, words, |client, vga| client.tracks(tracking, vga));
            }
        });
        Ok(marked)
    }
}

/// Shows the words of a block's bitmap chunk by chunk: the number of the chunk, the first word in it, and the words. Bits past the last
/// page are left out.
fn for_each_part(words: &[u64], pages: u64, chunk_words: usize, mut show: impl FnMut(usize, usize, &[u64])) {
    let Some((last, whole)) = words.split_last() else { return };
    whole.chunks(chunk_words).enumerate().for_each(|(chunk, words)| show(chunk, 0, words));
    show(whole.len() / chunk_words, whole.len() % chunk_words, &[*last & tail_mask(pages)]);
}

impl DirtyBits {
    /// Takes what a client has of a block that is gone, and with the last of its bits the block.
    fn take_of_removed(&mut self, client: Client, id: BlockId) -> Option<(PageBitmap, ByVcpu)> {
        let gone = self.removed.iter_mut().find(|gone| gone.info.id == id)?;
        let taken = gone.bits.remove(&client).map(ClientBits::into_taken);
        self.removed.retain(|block| !block.bits.is_empty());
        taken
    }
}

impl Block {
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
