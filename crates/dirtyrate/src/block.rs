//! What a RAM block is, for everybody who speaks of one.

use crate::bitmap::words_for;

/// The identity of a RAM block: unique for the life of a VM, so that a block that comes back under the same name is
/// another block. It is the block's *generation*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

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
