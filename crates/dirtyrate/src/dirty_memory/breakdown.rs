//! Where a client's dirty pages are: by region of a block, and in granules that are larger than a page.

use super::block::{Block, ClientBits, try_collect};
use crate::bitmap::{GranuleCount, Kernels, words_for};
use crate::block::region_pages;
use crate::error::{Error, Result};

/// What a reap counts beside the pages of each block; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReapOptions {
    /// Whether to count the pages of each region.
    pub by_region: bool,
    /// The sizes of granules, in bytes: multiples of the page size.
    pub granularities: Vec<u64>,
}

impl ReapOptions {
    /// The same options, by region or not.
    pub fn with_by_region(self, by_region: bool) -> Self {
        Self { by_region, ..self }
    }

    /// The same options with other sizes of granules, in bytes.
    pub fn with_granularities(self, granularities: Vec<u64>) -> Self {
        Self { granularities, ..self }
    }

    /// Whether every granule is a whole number of pages.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub(crate) fn check(&self, page_size: u64) -> Result<()> {
        match self.granularities.iter().find(|bytes| **bytes == 0 || !bytes.is_multiple_of(page_size)) {
            None => Ok(()),
            Some(bytes) => Err(Error::Argument(format!(
                "granules of {bytes} bytes: give a multiple of the page size, {page_size}"
            ))),
        }
    }
}

/// One region of a block, which begins at a multiple of [`REGION_BYTES`](crate::REGION_BYTES) from the start of the
/// block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionReap {
    /// The number of its first page in the block.
    pub first_page: u64,
    /// How many pages it has. The last region of a block may have fewer than the others.
    pub size: u64,
    /// How many of them are dirty.
    pub pages: u64,
}

/// A client's dirty memory in granules of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GranularityReap {
    /// The size of a granule, in bytes. Granules lie at multiples of it in the guest's address space. If a block begins
    /// or ends within a granule, only the part in the block counts, and no granule is in two blocks.
    pub granule_bytes: u64,
    /// The granules with a dirty page, and the maximal runs of them within a block.
    pub count: GranuleCount,
}

impl Block {
    /// The dirty pages of each region.
    pub(super) fn by_region(&self, bits: Option<&ClientBits>, page_size: u64) -> Result<Vec<RegionReap>> {
        let region_pages = region_pages(page_size);
        let pages = self.info.pages;
        let region = |number: usize| {
            let first_page = number as u64 * region_pages;
            RegionReap { first_page, size: region_pages.min(pages - first_page), pages: 0 }
        };
        let mut regions = try_collect((0..pages.div_ceil(region_pages) as usize).map(region))?;
        let Some(bits) = bits else { return Ok(regions) };
        if region_pages.is_multiple_of(self.chunk_pages) {
            // The pages of each chunk are counted already.
            let of_region = bits.dirty().chunks((region_pages / self.chunk_pages) as usize);
            regions.iter_mut().zip(of_region).for_each(|(region, dirty)| region.pages = dirty.iter().sum());
        } else {
            let of_region = bits.bitmap().words().chunks(words_for(region_pages));
            regions.iter_mut().zip(of_region).for_each(|(region, words)| region.pages = Kernels::get().count(words));
        }
        Ok(regions)
    }

    /// The dirty granules of `granule_pages` pages. Stretches of clean chunks are not read.
    pub(super) fn granules(&self, bits: &ClientBits, page_size: u64, granule_pages: u64) -> GranuleCount {
        let phase = self.info.guest_address / page_size % granule_pages;
        let (words, chunk_words) = (bits.bitmap().words(), words_for(self.chunk_pages));
        if self.chunk_pages < 2 * granule_pages {
            return Kernels::get().granules(words, granule_pages, phase);
        }
        // Between two stretches of dirty chunks is a whole chunk that is clean, and so at least one whole granule. So
        // no granule and no run is in two stretches.
        let mut count = GranuleCount::default();
        let mut chunks = (0..).zip(bits.dirty()).peekable();
        while let Some((first, dirty)) = chunks.next() {
            if *dirty == 0 {
                continue;
            }
            let mut end = first + 1;
            while chunks.next_if(|(_, dirty)| **dirty > 0).is_some() {
                end += 1;
            }
            let stretch = &words[first * chunk_words..words.len().min(end * chunk_words)];
            let phase = (phase + first as u64 * self.chunk_pages) % granule_pages;
            count.add(Kernels::get().granules(stretch, granule_pages, phase));
        }
        count
    }
}
