//! Where a client's dirty pages are: by region and cell of a block, and in granules that are larger than a page.

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
    /// The size of the cells whose pages are counted, in bytes: a multiple of the page size.
    pub cell_bytes: Option<u64>,
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

    /// The same options with cells of another size in bytes, or without cells.
    pub fn with_cell_bytes(self, cell_bytes: Option<u64>) -> Self {
        Self { cell_bytes, ..self }
    }

    /// Whether every granule and every cell is a whole number of pages.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub(crate) fn check(&self, page_size: u64) -> Result<()> {
        if let Some(bytes) = self.granularities.iter().find(|bytes| **bytes == 0 || !bytes.is_multiple_of(page_size)) {
            return Err(Error::Argument(format!(
                "granules of {bytes} bytes: give a multiple of the page size, {page_size}"
            )));
        }
        self.cell_bytes.map_or(Ok(()), |bytes| check_cell(bytes, page_size).map(|_| ()))
    }
}

/// How many pages a cell of `bytes` has.
///
/// # Errors
///
/// [`Error::Argument`] unless it is a whole number of pages, and fewer than 2^32 of them.
pub(crate) fn check_cell(bytes: u64, page_size: u64) -> Result<u64> {
    match bytes / page_size {
        pages @ 1..=MOST_CELL_PAGES if bytes.is_multiple_of(page_size) => Ok(pages),
        _ => Err(Error::Argument(format!(
            "cells of {bytes} bytes: give a multiple of the page size, {page_size}, of less than 2^32 pages"
        ))),
    }
}

/// The pages of a cell are counted in 32 bits.
const MOST_CELL_PAGES: u64 = u32::MAX as u64;

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

    /// The dirty pages of each cell of `cell_pages` pages, counted from the start of the block. Clean chunks are not
    /// read.
    pub(super) fn cells(&self, bits: Option<&ClientBits>, cell_pages: u64) -> Result<Vec<u32>> {
        let cell_of = |page: u64| (page / cell_pages) as usize;
        let mut cells = try_collect((0..self.info.pages.div_ceil(cell_pages) as usize).map(|_| 0))?;
        let Some(bits) = bits else { return Ok(cells) };
        for (chunk, &dirty) in bits.dirty().iter().enumerate().filter(|(_, dirty)| **dirty > 0) {
            let mut first = chunk as u64 * self.chunk_pages;
            let end = first + self.pages_of(chunk);
            if self.chunk_pages.is_multiple_of(cell_pages) {
                let chunk_words = words_for(self.chunk_pages);
                let words = bits.bitmap().words().chunks(chunk_words).nth(chunk).unwrap_or_default();
                Kernels::get().heat(words, cell_pages, &mut cells[cell_of(first)..=cell_of(end - 1)]);
                continue;
            }
            if cell_of(first) == cell_of(end - 1) {
                cells[cell_of(first)] += dirty as u32;
                continue;
            }
            // Cells lie across the borders of chunks.
            while first < end {
                let next = end.min((cell_of(first) as u64 + 1) * cell_pages);
                cells[cell_of(first)] += bits.bitmap().count_in(first..next) as u32;
                first = next;
            }
        }
        Ok(cells)
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
