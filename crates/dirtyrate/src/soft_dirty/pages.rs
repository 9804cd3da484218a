//! The written pages of one block.

use std::ops::Range;

use crate::bitmap::{GranuleCount, Kernels, SparsePages};
use crate::dirty_memory::RegionReap;
use crate::error::{Error, Result};

/// Pages in one region of [`SparsePages`].
const REGION_PAGES: u64 = 512;

/// The written pages of one block, in regions of 512 pages whose borders are those of huge pages. A page that was found
/// once stays in the set: the process may discard it after it has written it.
#[derive(Debug, Default)]
pub struct WrittenPages {
    set: SparsePages,
    /// The number of the block's first page in the set.
    first: u64,
    pages: u64,
}

impl WrittenPages {
    /// None yet of the block at `addresses`.
    pub fn new(addresses: &Range<u64>, page_size: u64) -> Self {
        let first = addresses.start / page_size % REGION_PAGES;
        Self { set: SparsePages::default(), first, pages: (addresses.end - addresses.start) / page_size }
    }

    /// Adds pages, counted from the beginning of the block.
    pub fn add(&mut self, pages: Range<u64>) -> Result<()> {
        for page in pages {
            self.set.try_insert(self.first + page)?;
        }
        Ok(())
    }

    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.set.len()
    }

    /// How many pages were written at least, if the memory may be in huge pages of so many pages: the first write to a
    /// huge page marks all of it.
    pub fn least(&self, pages_of_huge: u64) -> u64 {
        if pages_of_huge != REGION_PAGES {
            return self.count().div_ceil(pages_of_huge.max(1));
        }
        let of_region = |(number, bits): (u64, &[u64; 8])| {
            let found = bits.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
            let (start, end) = (number * REGION_PAGES, (number + 1) * REGION_PAGES);
            let here = end.min(self.first + self.pages) - start.max(self.first);
            if found == here { 1 } else { found }
        };
        self.set.regions().map(of_region).sum()
    }

    /// The pages of each region of `region_pages`, counted from the beginning of the block.
    pub fn by_region(&self, region_pages: u64) -> Vec<RegionReap> {
        let region = |first_page| RegionReap { first_page, size: region_pages.min(self.pages - first_page), pages: 0 };
        let mut regions: Vec<_> = (0..self.pages).step_by(region_pages as usize).map(region).collect();
        for (number, words) in self.set.regions() {
            for (place, word) in (number * REGION_PAGES..).step_by(u64::BITS as usize).zip(words) {
                let mut left = *word;
                while left != 0 {
                    let page = place + u64::from(left.trailing_zeros()) - self.first;
                    let region = page / region_pages;
                    // A word has pages of two regions if the block does not begin where a word does.
                    let next = (region + 1) * region_pages + self.first - place;
                    let here = if next < u64::BITS.into() { left & ((1 << next) - 1) } else { left };
                    regions[region as usize].pages += u64::from(here.count_ones());
                    left &= !here;
                }
            }
        }
        regions
    }

    /// The granules of `granule_pages` pages that have a written page. The first page of the block is `phase` pages
    /// behind the beginning of its granule.
    pub fn granules(&self, granule_pages: u64, phase: u64) -> Result<GranuleCount> {
        // How many pages the first page of the set is behind the beginning of its granule.
        let phase = (phase + granule_pages - self.first % granule_pages) % granule_pages;
        let mut count = GranuleCount::default();
        let (mut begin, mut stretch) = (0, Vec::<u64>::new());
        let mut counted = |begin: u64, stretch: &[u64]| {
            let phase = (phase + begin * REGION_PAGES) % granule_pages;
            count.add(Kernels::get().granules(stretch, granule_pages, phase));
        };
        for (number, words) in self.set.regions() {
            let clean = number - begin - (stretch.len() / words.len()) as u64;
            // Between two stretches is at least one whole granule that is clean, so no granule is in both of them.
            if stretch.is_empty() || clean * REGION_PAGES >= 2 * granule_pages {
                counted(begin, &stretch);
                stretch.clear();
                begin = number;
            }
            let end = (number - begin + 1) as usize * words.len();
            let full = |_| Error::OutOfMemory { what: "the pages of granules", bytes: end * size_of::<u64>() };
            stretch.try_reserve(end - stretch.len()).map_err(full)?;
            stretch.resize(end - words.len(), 0);
            stretch.extend_from_slice(words);
        }
        counted(begin, &stretch);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn regions_and_granules_are_those_of_single_pages(
            first in 0_u64..600,
            pages in 1_u64..6000,
            runs in proptest::collection::vec((0_u64..6000, 1_u64..700), 0..12),
            region_pages in 1_u64..1500,
            granule_pages in prop_oneof![Just(1), Just(16), Just(512), 1_u64..3000],
            phase in any::<u64>(),
        ) {
            let phase = phase % granule_pages;
            let addresses = first * 4096..(first + pages) * 4096;
            let (mut written, mut naive) = (WrittenPages::new(&addresses, 4096), BTreeSet::new());
            for (from, count) in runs {
                let run = from.min(pages)..(from + count).min(pages);
                written.add(run.clone()).expect("memory");
                naive.extend(run);
            }
            let regions: Vec<_> = (0..pages.div_ceil(region_pages)).map(|number| {
                let (from, to) = (number * region_pages, pages.min((number + 1) * region_pages));
                RegionReap { first_page: from, size: to - from, pages: naive.range(from..to).count() as u64 }
            }).collect();
            prop_assert_eq!(written.by_region(region_pages), regions);
            let dirty: BTreeSet<u64> = naive.iter().map(|page| (page + phase) / granule_pages).collect();
            let starts = |granule: &&u64| granule.checked_sub(1).is_none_or(|before| !dirty.contains(&before));
            let extents = dirty.iter().filter(starts).count() as u64;
            let expected = GranuleCount { dirty: dirty.len() as u64, extents };
            prop_assert_eq!(written.granules(granule_pages, phase).expect("memory"), expected);
        }
    }

    #[test]
    fn a_huge_page_that_is_whole_counts_for_one_page_at_least() {
        // The block begins in the middle of a huge page, and ends in another one.
        let mut written = WrittenPages::new(&(0x7f00_0010_0000..0x7f00_0070_0000), 4096);
        written.add(0..256).expect("memory");
        assert_eq!((written.count(), written.least(512), written.least(8)), (256, 1, 32));
        written.add(256..768).expect("memory");
        written.add(300..400).expect("memory");
        assert_eq!((written.count(), written.least(512)), (768, 2));
        written.add(768..1279).expect("memory");
        assert_eq!((written.count(), written.least(512)), (1279, 2 + 511));
        written.add(1280..1536).expect("memory");
        assert_eq!((written.count(), written.least(512)), (1535, 3 + 511));
    }
}
