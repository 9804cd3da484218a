//! A reader of guest memory that is mapped into this process.

use std::sync::Arc;

use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress};

use super::pagemap::Pagemap;
use super::reader::{Contents, Look, PageBlock, PageReader};
use crate::block::BlockInfo;
use crate::error::{Error, Result};
use crate::page_size::host_page_size;
use crate::prefetch;

/// Bytes in a cache line, on the machines that we know. Where a line is longer, some hints ask for the same line twice.
const CACHE_LINE: usize = 64;
/// How many lines of the next page are prefetched: about as many as a core can have misses in flight. When the copy
/// begins, the page's address is translated and its first part is on the way; then the hardware recognises a stream and
/// fetches the rest. Prefetching all 64 lines took 15–20 % longer (Xeon, family 6 model 167), because hints that do not
/// fit into the queue delay what comes after them.
const LINES: usize = 16;

/// Reads guest memory that is mapped into this process, while the guest may write it. `B` is vm-memory's bitmap, in
/// which the VMM marks its own writes; reading marks nothing.
///
/// Every page is copied with vm-memory's volatile slices before it is hashed, so that there is never a reference to
/// memory that a vCPU may be writing. A copy can be half old and half new, which does no harm, because such a page has
/// changed in any case. While one page is copied, the next pages are prefetched.
///
/// **Untouched pages.** Reading an untouched page of anonymous memory maps memory: the kernel's zero page, or a huge
/// one, and page tables. So the kernel is asked first (`/proc/self/pagemap`). This is done only for private anonymous
/// memory. For shared memory and files, the page tables of one process do not say which pages exist, so such blocks are
/// read without asking. Asking costs about as much as looking, so a first look takes about twice as long as later
/// looks, which do not ask again about pages that were touched. If the host takes such a page back in between (a
/// balloon), the look maps the zero page there. A page in swap counts as touched, and is read back from swap.
#[derive(Debug)]
pub struct GuestMemoryReader<B = ()> {
    blocks: Vec<PageBlock>,
    /// For each block, the memory that contains it.
    memories: Vec<Arc<GuestMemoryMmap<B>>>,
    page_size: u64,
    pub(super) pagemap: Option<Pagemap>,
    page: Box<[u8]>,
    /// How many cache lines of the next page are prefetched.
    ahead: usize,
}

impl<B: Bitmap> GuestMemoryReader<B> {
    /// Makes a reader of `blocks` of `memory`. The memory stays mapped as long as the reader lives, also if a block is
    /// removed from its VM.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a block that is empty or does not lie within one region of the memory, or for a page
    /// size that is not the host's.
    pub fn new(memory: Arc<GuestMemoryMmap<B>>, blocks: &[BlockInfo], page_size: u64) -> Result<Self> {
        let host = host_page_size();
        if page_size != host {
            return Err(Error::Argument(format!(
                "pages of {page_size} bytes: sampling takes the host's, {host} bytes"
            )));
        }
        let pagemap = Pagemap::open()
            .inspect_err(|error| tracing::warn!(%error, "no /proc/self/pagemap: sampling will map untouched pages"))
            .ok();
        let page = vec![0; page_size as usize].into_boxed_slice();
        let mut reader = Self { blocks: Vec::new(), memories: Vec::new(), page_size, pagemap, page, ahead: LINES };
        blocks.iter().try_for_each(|block| reader.add(Arc::clone(&memory), block))?;
        Ok(reader)
    }

    /// Adds one more block. Its `memory` may be another one than the memory of the blocks before.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn add(&mut self, memory: Arc<GuestMemoryMmap<B>>, block: &BlockInfo) -> Result<()> {
        let bytes = block.pages.checked_mul(self.page_size);
        let whole = bytes.filter(|&bytes| bytes > 0).is_some_and(|bytes| {
            memory.find_region(GuestAddress(block.guest_address)).is_some_and(|region| {
                let offset = block.guest_address - region.start_addr().0;
                bytes <= region.len() - offset
                    && (region.as_ptr().addr() as u64 + offset).is_multiple_of(self.page_size)
            })
        });
        if !whole {
            let text = format!("block '{}' is not {} whole pages of one memory region", block.name, block.pages);
            return Err(Error::Argument(text));
        }
        self.blocks.push(block.into());
        self.memories.push(memory);
        Ok(())
    }

    /// Sets how many cache lines of the next page are prefetched, for benchmarks that look for the best number.
    #[cfg(feature = "testing")]
    pub fn fetching_ahead(self, lines: usize) -> Self {
        Self { ahead: lines, ..self }
    }

    /// Whether untouched pages stay untouched. They do not if `/proc/self/pagemap` cannot be read, or if a block is not
    /// private anonymous memory.
    pub fn spares_untouched(&self) -> bool {
        let spared = |(block, memory): (&PageBlock, &Arc<GuestMemoryMmap<B>>)| {
            memory.find_region(GuestAddress(block.guest_address)).is_some_and(|region| private(region.flags()))
        };
        self.pagemap.is_some() && self.blocks.iter().zip(&self.memories).all(spared)
    }
}

impl<B: Bitmap + Send + Sync> PageReader for GuestMemoryReader<B> {
    fn page_size(&self) -> u64 {
        self.page_size
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.blocks
    }

    fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        let info = self
            .blocks
            .get(block)
            .ok_or_else(|| Error::Argument(format!("there is no block number {block} to look at")))?;
        if looks.iter().any(|look| look.page >= info.pages) {
            return Err(gone(info));
        }
        let base = GuestAddress(info.guest_address);
        let region = self.memories[block].find_region(base).ok_or_else(|| gone(info))?;
        let offset = base.0 - region.start_addr().0;
        let start = region.as_ptr().wrapping_add(offset as usize);

        let mut unreadable = false;
        let mut pagemap = self.pagemap.as_mut().filter(|_| private(region.flags()));
        if let Some(pagemap) = pagemap.as_mut() {
            pagemap.forget();
        }
        let host_page = |look: &Look| start.addr() as u64 / self.page_size + look.page;
        // If the kernel cannot be asked, every page counts as touched. The kernel is asked about the next page while
        // this page is being fetched, because the call takes as long as the fetch.
        let mut prepare = |looks: &[Look]| {
            let Some((look, next)) = looks.split_first() else { return true };
            let page = start.wrapping_add((look.page * self.page_size) as usize);
            (0..self.ahead).for_each(|line| prefetch::into_l2(page.wrapping_add(line * CACHE_LINE)));
            let next = next.iter().filter(|look| !look.touched).map(host_page);
            let asked = pagemap.as_mut().filter(|_| !look.touched).map(|map| map.is_touched(host_page(look), next));
            match asked {
                Some(Ok(touched)) => touched,
                Some(Err(error)) => {
                    tracing::warn!(%error, "/proc/self/pagemap cannot be read: sampling will map untouched pages");
                    pagemap = None;
                    unreadable = true;
                    true
                }
                None => true,
            }
        };
        let mut next_exists = prepare(looks);
        for (place, look) in looks.iter().enumerate() {
            let exists = next_exists;
            next_exists = prepare(&looks[place + 1..]);
            if !exists {
                visit(place, Contents::Untouched);
                continue;
            }
            let address = MemoryRegionAddress(offset + look.page * self.page_size);
            let page = region.get_slice(address, self.page.len()).map_err(|_| gone(info))?;
            page.copy_to(&mut self.page[..]);
            visit(place, Contents::Bytes(&self.page));
        }
        if unreadable {
            self.pagemap = None;
        }
        Ok(())
    }
}

fn private(flags: i32) -> bool {
    flags & libc::MAP_ANONYMOUS != 0 && flags & libc::MAP_PRIVATE != 0
}

fn gone(block: &PageBlock) -> Error {
    Error::Argument(format!("a page beyond block '{}', which has {} pages", block.name, block.pages))
}
