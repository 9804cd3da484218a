//! The interface through which sampling reads a memory.

use crate::block::BlockInfo;
use crate::error::Result;

/// A block of memory whose pages can be sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBlock {
    /// Unique among the reader's blocks.
    pub name: String,
    /// The guest physical address of the first page; 0 if the memory is not a guest's.
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
    /// Whether an earlier look found the page in memory, so that the reader need not find out again whether the page
    /// was ever touched.
    pub touched: bool,
}

/// What a look at a page found.
#[derive(Debug, Clone, Copy)]
pub enum Contents<'a> {
    /// The page was never touched. It would read as zeros, and is left untouched.
    Untouched,
    /// The page has contents, but they are in swap or on the disk only, and the reader left them there. Such a page
    /// counts as unchanged. If the first look did not find the page in memory, the first look that does sets its
    /// contents, and the sample counts as [unjudged](super::Sampled::unjudged).
    NotInMemory,
    /// The page's bytes at some instant within the call, [`PageReader::page_size`] of them. A page that is being
    /// written may be half old and half new, which counts as a change in any case.
    Bytes(&'a [u8]),
}

/// A memory whose pages can be read while other threads, or a guest, write them.
///
/// A call is for a batch of pages, and not for one page. So a reader can prefetch the next page while the caller hashes
/// this one, ask the kernel once about several pages, or read pages of another process with one `process_vm_readv`.
pub trait PageReader: Send {
    /// Bytes in a page, a power of two.
    fn page_size(&self) -> u64;

    /// The blocks. Blocks may be added at the end, and are never removed: the pages of a block that is gone read as
    /// they were at its removal.
    fn blocks(&self) -> &[PageBlock];

    /// Looks at pages of block number `block`, in the order of `looks`, which is by address, and hands each to `visit`
    /// with its place in `looks`. A look does not map an untouched page, as far as the reader can know.
    ///
    /// # Errors
    ///
    /// If the memory cannot be read (any more). The pages before the failed one have been visited.
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
