//! One bit for each page of a RAM block, whose bits past the last page stay zero.

use std::alloc::{Layout, alloc_zeroed};

use super::generic::count_between;
use super::kernels::Kernels;
use super::line::{PAGES_PER_WORD, WORDS_PER_LINE, tail_mask, words_for};
use super::ranges::{PageRange, Ranges};
use crate::error::{Error, Result};

/// One bit for each page of a RAM block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageBitmap {
    words: Vec<u64>,
    pages: u64,
}

impl PageBitmap {
    /// A bitmap without set bits. It takes no memory until a bit is set, so that a block with few dirty pages takes
    /// little memory.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn try_new(pages: u64) -> Result<Self> {
        Ok(Self { words: try_zeroed(words_for(pages))?, pages })
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

    /// Clears `words` words from word `first` on, up to the bitmap's end. Lines that are zero already are not written,
    /// so untouched memory stays untouched.
    pub fn clear_words(&mut self, first: usize, words: usize) {
        let end = first.saturating_add(words).min(self.words.len());
        for line in self.words[first.min(end)..end].chunks_mut(WORDS_PER_LINE) {
            if line.iter().fold(0, |any, word| any | *word) != 0 {
                line.fill(0);
            }
        }
    }

    /// Sets the pages of `range` up to the bitmap's end. Returns how many of them were not set before.
    pub fn set_range(&mut self, range: PageRange) -> u64 {
        let end = range.end().min(self.pages);
        let mut page = range.first.min(end);
        let mut newly = 0;
        while page < end {
            let bit = page % PAGES_PER_WORD;
            let run = (PAGES_PER_WORD - bit).min(end - page);
            let mask = if run == PAGES_PER_WORD { u64::MAX } else { ((1 << run) - 1) << bit };
            let word = &mut self.words[(page / PAGES_PER_WORD) as usize];
            newly += u64::from((mask & !*word).count_ones());
            *word |= mask;
            page += run;
        }
        newly
    }

    /// Some of the words, to merge other words into them. The caller must not set a bit past the last page.
    pub(crate) fn words_mut(&mut self, words: std::ops::Range<usize>) -> &mut [u64] {
        &mut self.words[words]
    }

    /// Whether `page` is set; false past the end.
    pub fn contains(&self, page: u64) -> bool {
        page < self.pages && self.words[(page / PAGES_PER_WORD) as usize] >> (page % PAGES_PER_WORD) & 1 == 1
    }

    /// The number of set pages.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`Kernels::get`].
    pub fn count(&self) -> u64 {
        Kernels::get().count(&self.words)
    }

    /// The number of set pages in `pages`, which must not go past the last page.
    pub(crate) fn count_in(&self, pages: std::ops::Range<u64>) -> u64 {
        count_between(&self.words, pages.start, pages.end)
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

/// Makes words that are all zero, without touching their memory.
///
/// # Errors
///
/// [`Error::OutOfMemory`].
pub fn try_zeroed(words: usize) -> Result<Vec<u64>> {
    let refused = || Error::OutOfMemory { what: "a bitmap", bytes: words.saturating_mul(size_of::<u64>()) };
    if words == 0 {
        return Ok(Vec::new());
    }
    let layout = Layout::array::<u64>(words).map_err(|_| refused())?;
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        return Err(refused());
    }
    // SAFETY: the global allocator gave this memory for an array of `words` words, and all of them are zero.
    Ok(unsafe { Vec::from_raw_parts(memory.cast(), words, words) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around every boundary of a word, and one that is not near any.
    const SIZES: [u64; 9] = [1, 3, 63, 64, 65, 127, 128, 515, 262_147];

    #[test]
    fn set_all_sets_each_page_and_nothing_past_the_end() {
        for pages in SIZES {
            let mut bitmap = PageBitmap::try_new(pages).expect("memory");
            bitmap.set_all();
            assert_eq!(bitmap.count(), pages);
            assert!(bitmap.contains(pages - 1) && !bitmap.contains(pages));
            bitmap.clear_words(0, usize::MAX);
            assert_eq!(bitmap.count(), 0);
            // Where they would wrap around there is nothing.
            assert_eq!(bitmap.set_range(PageRange { first: 1, pages: u64::MAX }), pages - 1);
            assert_eq!(bitmap.set_range(PageRange { first: u64::MAX, pages: u64::MAX }), 0);
            bitmap.clear_words(usize::MAX, usize::MAX);
            assert_eq!(bitmap.count(), pages - 1);
            bitmap.clear_words(1, usize::MAX);
            assert_eq!(bitmap.count(), pages.min(64) - 1);
        }
    }

    #[test]
    fn clearing_words_clears_those_and_no_others() {
        for (first, words) in [(0, 1), (1, 2), (4000, 1000), (5000, 3)] {
            let mut bitmap = PageBitmap::try_new(262_147).expect("memory");
            bitmap.set_all();
            bitmap.clear_words(first, words);
            let cleared = first as u64 * 64..(first + words) as u64 * 64;
            for page in 0..262_147 {
                assert_eq!(bitmap.contains(page), !cleared.contains(&page));
            }
        }
    }

    #[test]
    fn memory_that_there_is_not_is_an_error() {
        for pages in [1 << 59, u64::MAX] {
            assert!(matches!(PageBitmap::try_new(pages), Err(Error::OutOfMemory { .. })), "{pages}");
        }
    }

    #[test]
    fn set_range_equals_page_by_page() {
        for pages in [1, 64, 130, 515] {
            for first in 0..pages + 2 {
                for length in [0, 1, 2, 63, 64, 65, 200] {
                    let mut bitmap = PageBitmap::try_new(pages).expect("memory");
                    bitmap.set_range(PageRange { first: first / 2, pages: length / 3 });
                    let before = bitmap.clone();
                    let newly = bitmap.set_range(PageRange { first, pages: length });
                    assert_eq!(newly, bitmap.count() - before.count());
                    for page in 0..pages {
                        let set = before.contains(page) || (first..first + length).contains(&page);
                        assert_eq!(bitmap.contains(page), set);
                    }
                }
            }
        }
    }
}
