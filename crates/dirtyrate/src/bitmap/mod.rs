//! Page bitmaps: one bit per guest page, in the kernel's layout (bit `n % 64` of word `n / 64` is page `n` of the
//! block). [`PageBitmap`] keeps the promise that no bit past the block's last page is ever set; [`generic`] holds the
//! passes over words, [`ranges`] the runs of set bits.

pub mod generic;
pub mod ranges;
mod sparse;

pub use ranges::{PageRange, Ranges};
pub use sparse::SparsePages;

/// Pages in one word of a bitmap.
pub const PAGES_PER_WORD: u64 = u64::BITS as u64;

/// The number of words that hold one bit for each of `pages` pages.
pub const fn words_for(pages: u64) -> usize {
    pages.div_ceil(PAGES_PER_WORD) as usize
}

/// The valid bits of the last word of a bitmap of `pages` pages.
pub const fn tail_mask(pages: u64) -> u64 {
    match pages % PAGES_PER_WORD {
        0 => u64::MAX,
        rest => (1 << rest) - 1,
    }
}

/// One bit for each page of a RAM block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBitmap {
    words: Vec<u64>,
    pages: u64,
}

impl PageBitmap {
    /// A clean bitmap. Its memory is zero pages until a bit is set, so that a sparse block costs what is dirty.
    pub fn new(pages: u64) -> Self {
        Self { words: vec![0; words_for(pages)], pages }
    }

    /// The number of pages that this bitmap describes.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The words, in the kernel's layout; bits past the last page are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Sets every page.
    pub fn set_all(&mut self) {
        self.words.fill(u64::MAX);
        self.mask_tail();
    }

    /// Clears every page. Words that are zero already are not written, so untouched memory stays untouched.
    pub fn clear_all(&mut self) {
        for word in &mut self.words {
            if *word != 0 {
                *word = 0;
            }
        }
    }

    /// Sets `range`, cut to the bitmap's end.
    pub fn set_range(&mut self, range: PageRange) {
        let end = range.end().min(self.pages);
        let mut page = range.first.min(end);
        while page < end {
            let bit = page % PAGES_PER_WORD;
            let run = (PAGES_PER_WORD - bit).min(end - page);
            let mask = if run == PAGES_PER_WORD { u64::MAX } else { ((1 << run) - 1) << bit };
            self.words[(page / PAGES_PER_WORD) as usize] |= mask;
            page += run;
        }
    }

    /// Adds the set bits of `source`, a bitmap of the same block.
    pub fn merge(&mut self, source: &[u64]) {
        generic::merge(source, &mut self.words);
        self.mask_tail();
    }

    /// Adds the set bits of `source`, which begins at word `first_word` of this bitmap.
    pub fn merge_at(&mut self, first_word: usize, source: &[u64]) {
        generic::merge(source, &mut self.words[first_word..first_word + source.len()]);
        self.mask_tail();
    }

    /// Whether `page` is set; false past the end.
    pub fn contains(&self, page: u64) -> bool {
        page < self.pages && self.words[(page / PAGES_PER_WORD) as usize] >> (page % PAGES_PER_WORD) & 1 == 1
    }

    /// The number of set pages.
    pub fn count(&self) -> u64 {
        generic::count(&self.words)
    }

    /// The runs of set pages, in order.
    pub fn ranges(&self) -> Ranges<'_> {
        Ranges::new(&self.words)
    }

    fn mask_tail(&mut self) {
        if let Some(last) = self.words.last_mut() {
            *last &= tail_mask(self.pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around every boundary of a word, and one that is not near any.
    const SIZES: [u64; 9] = [1, 3, 63, 64, 65, 127, 128, 515, 262_147];

    #[test]
    fn set_all_sets_each_page_and_nothing_past_the_end() {
        for pages in SIZES {
            let mut bitmap = PageBitmap::new(pages);
            bitmap.set_all();
            assert_eq!(bitmap.count(), pages);
            assert!(bitmap.contains(pages - 1) && !bitmap.contains(pages));
            bitmap.clear_all();
            assert_eq!(bitmap.count(), 0);
        }
    }

    #[test]
    fn merging_ones_past_the_end_does_not_count_them() {
        for pages in SIZES {
            let mut bitmap = PageBitmap::new(pages);
            bitmap.merge(&vec![u64::MAX; words_for(pages)]);
            assert_eq!(bitmap.count(), pages);
        }
    }

    #[test]
    fn set_range_equals_page_by_page() {
        for pages in [1, 64, 130, 515] {
            for first in 0..pages + 2 {
                for length in [0, 1, 2, 63, 64, 65, 200] {
                    let mut bitmap = PageBitmap::new(pages);
                    bitmap.set_range(PageRange { first, pages: length });
                    for page in 0..pages {
                        assert_eq!(bitmap.contains(page), page >= first && page < first + length);
                    }
                }
            }
        }
    }
}
