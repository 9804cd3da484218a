//! The written pages of one block.

use std::ops::Range;

use crate::bitmap::SparsePages;
use crate::error::Result;

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
}

#[cfg(test)]
mod tests {
    use super::*;

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
