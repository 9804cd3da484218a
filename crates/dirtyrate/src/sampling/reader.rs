//! What sampling needs of a memory.

use crate::block::BlockInfo;
use crate::error::Result;

/// A block of memory whose pages can be sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBlock {
    /// Unique among the reader's blocks.
    pub name: String,
    /// The guest physical address of the first page; 0 where a memory is not a guest's.
    pub guest_address: u64,
    /// How many pages; any number but 0.
    pub pages: u64,
}

impl From<&BlockInfo> for PageBlock {
    fn from(block: &BlockInfo) -> Self {
        Self { name: block.name.clone(), guest_address: block.guest_address, pages: block.pages }
    }
}

/// A page to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The page, counted from the block's start.
    pub page: u64,
    /// An earlier look found the page in memory, so that there is no need to ask again whether it was ever touched.
    pub touched: bool,
}

/// What a look found.
#[derive(Debug, Clone, Copy)]
pub enum Contents<'a> {
    /// Nobody ever touched the page: it reads as zeros, and was left as it is.
    Untouched,
    /// The page's bytes at some instant within the call, [`PageReader::page_size`] of them. A page that is being written
    /// may be half old and half new, which is a change either way.
    Bytes(&'a [u8]),
}

/// A memory whose pages can be looked at while others write them.
///
/// A call is about a batch, not a page, so that a reader can fetch what is next while the caller hashes what is there
/// (prefetching, for memory that is mapped here), ask the kernel once about several pages, and read another process's pages
/// with one `process_vm_readv`.
pub trait PageReader: Send {
    /// Bytes in a page.
    fn page_size(&self) -> u64;

    /// The blocks. A reader may gain some, at the end; it loses none: the pages of a block that is gone read as they were then.
    fn blocks(&self) -> &[PageBlock];

    /// Looks at pages of block number `block`, in the order of `looks`, which is by address, and hands each to `visit` with
    /// its place in `looks`. A look maps no page that nobody has touched, as far as the reader can know.
    ///
    /// # Errors
    ///
    /// The memory cannot be read (any more). Pages up to there have been visited.
    fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()>;
}

impl<R: PageReader + ?Sized> PageReader for Box<R> {
    fn page_size(&self) -> u64 {
        (**self).page_size()
    }

    fn blocks(&self) -> &[PageBlock] {
        (**self).blocks()
    }

    fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        (**self).read(block, looks, visit)
    }
}
