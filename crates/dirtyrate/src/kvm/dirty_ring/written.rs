//! The pages that were harvested and not fetched yet, block by block.

use super::ring_vm::RingVm;
use crate::block::BlockId;
use crate::dirty_memory::{RingLoss, VcpuPages};
use crate::error::{Error, Result};

/// What one vCPU wrote, by block.
#[derive(Default)]
pub struct Written(Vec<(BlockId, VcpuPages)>);

impl Written {
    fn find(&self, block: BlockId) -> std::result::Result<usize, usize> {
        self.0.binary_search_by_key(&block, |(of, _)| *of)
    }

    pub fn of(&self, block: BlockId) -> Option<&VcpuPages> {
        self.find(block).ok().map(|at| &self.0[at].1)
    }

    /// The index of a block's entry, which is made if there is none.
    fn place_of(&mut self, block: BlockId) -> Result<usize> {
        self.find(block).or_else(|at| {
            let bytes = size_of::<(BlockId, VcpuPages)>();
            self.0.try_reserve(1).map_err(|_| Error::OutOfMemory { what: "a block of a dirty ring", bytes })?;
            self.0.insert(at, (block, VcpuPages::default()));
            Ok(at)
        })
    }

    /// Makes room for everything in `other`, so that [`take`](Self::take) cannot fail.
    pub fn reserve(&mut self, other: &Self) -> Result<()> {
        other.0.iter().filter(|(_, theirs)| theirs.entries > 0).try_for_each(|(block, theirs)| {
            let at = self.place_of(*block)?;
            let ours = &mut self.0[at].1;
            // An empty set needs no room, because `take` exchanges it.
            if ours.entries > 0 { ours.reserve(theirs) } else { Ok(()) }
        })
    }

    /// Moves everything from `other` to here, and leaves `other` empty. There must be room for it.
    pub fn take(&mut self, other: &mut Self) {
        for (block, theirs) in other.0.iter_mut().filter(|(_, theirs)| theirs.entries > 0) {
            let Ok(at) = self.find(*block) else { continue };
            let ours = &mut self.0[at].1;
            if ours.entries > 0 {
                ours.add(theirs);
                theirs.clear();
            } else {
                std::mem::swap(ours, theirs);
            }
        }
    }

    /// Forgets what was written of a block, and keeps the memory.
    pub fn clear(&mut self, block: BlockId) {
        if let Ok(at) = self.find(block) {
            self.0[at].1.clear();
        }
    }

    /// Forgets a block.
    pub fn remove(&mut self, block: BlockId) {
        if let Ok(at) = self.find(block) {
            self.0.remove(at);
        }
    }
}

/// Collects the entries of one ring as the pages that its vCPU wrote in the current window. A slot is looked up only
/// when it differs from the slot of the entry before, because most entries name the same slot as the one before them.
pub struct Stage<'a, V> {
    vm: &'a V,
    staged: &'a mut Written,
    loss: &'a mut RingLoss,
    /// The slot of the last entry.
    slot: Option<u32>,
    /// The index of this slot's block, and how many pages of it are logged: 0 if the slot's log is off.
    place: usize,
    pages: u64,
}

impl<'a, V: RingVm> Stage<'a, V> {
    /// The slots are locked, so the answer of a lookup stays true.
    pub fn new(vm: &'a V, staged: &'a mut Written, loss: &'a mut RingLoss) -> Self {
        Self { vm, staged, loss, slot: None, place: 0, pages: 0 }
    }

    /// Keeps an entry.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the entry is not kept then.
    #[inline]
    pub fn keep(&mut self, slot: u32, page: u64) -> Result<()> {
        if self.slot != Some(slot) {
            self.look_up(slot)?;
        }
        if page < self.pages {
            let written = &mut self.staged.0[self.place].1;
            written.pages.try_insert(page)?;
            written.entries += 1;
        } else {
            self.loss.dropped += 1;
        }
        Ok(())
    }

    fn look_up(&mut self, slot: u32) -> Result<()> {
        (self.place, self.pages) = match self.vm.logged(slot) {
            Some((block, pages)) => (self.staged.place_of(block)?, pages),
            None => (0, 0),
        };
        self.slot = Some(slot);
        Ok(())
    }
}
