//! The description of a RAM block, which all parts of the crate share.

use crate::bitmap::words_for;

/// The identity of a RAM block, also called the block's *generation*. It is unique for the life of a VM: a block that
/// is added again under the same name gets another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

/// The description of a RAM block: its identity, name, address and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's generation, which is unique for the life of the VM.
    pub id: BlockId,
    /// Unique among the blocks that exist at one time.
    pub name: String,
    /// The guest physical address of the first page.
    pub guest_address: u64,
    /// How many pages; any number but 0.
    pub pages: u64,
}

impl BlockInfo {
    /// How large the block is, with pages of `page_size` bytes.
    pub fn bytes(&self, page_size: u64) -> u64 {
        self.pages * page_size
    }

    /// The number of words in a bitmap of this block.
    pub fn words(&self) -> usize {
        words_for(self.pages)
    }
}

/// The size of a region, by which pages are counted if a caller asks for that: 1 GiB of a block, from the start of the
/// block on. In this unit QEMU protects the pages of a migrating VM again (`clear-bitmap-shift` 18 with pages of 4
/// KiB).
pub const REGION_BYTES: u64 = 1 << 30;

/// The pages of a region: a multiple of 64, so that the bits of a region are whole words. (With pages of more than 16
/// MiB a region therefore has more than [`REGION_BYTES`].)
pub(crate) fn region_pages(page_size: u64) -> u64 {
    (REGION_BYTES / page_size).max(1).next_multiple_of(u64::BITS.into())
}
