//! Whole bitmaps, copied out for those who look at them at leisure.

use super::block::{Block, ClientBits};
use super::{BlockId, BlockInfo, Client, DirtyBits, DirtyMemory};
use crate::bitmap::{try_zeroed, words_for};
use crate::error::{Error, Result};
use crate::sync::{Mutex, lock};

/// A client's bits of a block as they were, in the kernel's layout.
#[derive(Debug, Clone)]
pub struct BitmapCopy {
    /// Of which block.
    pub block: BlockInfo,
    /// One bit for each page of it; those past the last page are zero.
    pub words: Vec<u64>,
}

/// Copies the client's bits of a block, chunk by chunk: nobody waits for the whole of it, and each chunk is as of the sync that it is
/// as of by then. Of two blocks of one name, the one that exists.
///
/// # Errors
///
/// [`Error::Argument`] for an unknown client or block, also for a block that goes meanwhile; [`Error::OutOfMemory`].
pub fn copy_bitmap(bits: &Mutex<DirtyBits>, client: Client, block: &str) -> Result<BitmapCopy> {
    let (info, chunk_words) = {
        let bits = lock(bits);
        bits.check_client(client)?;
        (bits.named(block)?.info.clone(), words_for(bits.chunk_pages))
    };
    let mut words = try_zeroed(info.words())?;
    for (chunk, into) in words.chunks_mut(chunk_words).enumerate() {
        let bits = lock(bits);
        let found = bits.blocks.iter().chain(&bits.removed).find(|found| found.info.id == info.id);
        found.ok_or_else(|| bits.no_block(block))?.copy_chunk(client, chunk, into);
    }
    Ok(BitmapCopy { block: info, words })
}

impl DirtyMemory {
    /// Copies the client's bits of a block into `into` and takes them, at one instant: what a migration sends is what it took.
    /// `into` has one bit for each page of the block. Of two blocks of one name, the one that exists.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an unknown block or an `into` of another size; as of [`clear`](Self::clear). Nothing is taken
    /// then.
    pub fn take_bitmap(&mut self, client: Client, block: &str, into: &mut [u64]) -> Result<()> {
        {
            let bits = self.bits();
            bits.check_client(client)?;
            let words = bits.named(block)?.info.words();
            if into.len() != words {
                return Err(Error::Argument(format!("the bitmap of '{block}' has {words} words, not {}", into.len())));
            }
        }
        self.end_first_round_for(client)?;
        let mut bits = self.bits();
        let chunk_words = words_for(bits.chunk_pages);
        let found = bits.named(block)?;
        for (chunk, into) in into.chunks_mut(chunk_words).enumerate() {
            found.copy_chunk(client, chunk, into);
        }
        if let Ok(index) = bits.position(block) {
            bits.blocks[index].clear(client);
        } else if let Some(gone) = bits.removed.iter_mut().rev().find(|gone| gone.info.name == block) {
            gone.bits.remove(&client);
            bits.removed.retain(|block| !block.bits.is_empty());
        }
        Ok(())
    }
}

impl DirtyBits {
    /// Gives bits back that were taken and could not be used: the client has them again, as if they had been written since. Nothing
    /// happens where the client or the block is gone.
    pub fn put_back(&mut self, client: Client, block: BlockId, words: &[u64]) {
        let chunk_words = words_for(self.chunk_pages);
        let Some(block) = self.blocks.iter_mut().find(|found| found.info.id == block) else { return };
        for (chunk, words) in words.chunks(chunk_words).enumerate() {
            block.merge(chunk, 0, words, |of, _| of == client);
        }
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
