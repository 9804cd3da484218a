//! Runs of set bits.

use super::PAGES_PER_WORD;

/// Consecutive pages of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// The first page, counted from the block's start.
    pub first: u64,
    /// How many pages.
    pub pages: u64,
}

impl PageRange {
    /// The page after the last.
    pub fn end(&self) -> u64 {
        self.first + self.pages
    }
}

/// The maximal runs of set bits of a bitmap, in order.
#[derive(Debug, Clone)]
pub struct Ranges<'a> {
    words: &'a [u64],
    page: u64,
}

impl<'a> Ranges<'a> {
    /// The runs of `words`.
    pub fn new(words: &'a [u64]) -> Self {
        Self { words, page: 0 }
    }

    /// The runs at and after page `from`; one that it is in the middle of begins there.
    pub fn starting_at(words: &'a [u64], from: u64) -> Self {
        Self { words, page: from }
    }

    /// The first page at or after `from` whose bit, seen through `flip`, is set; `None` past the last word.
    fn next_bit(&self, from: u64, flip: u64) -> Option<u64> {
        let mut index = (from / PAGES_PER_WORD) as usize;
        let mut word = (self.words.get(index)? ^ flip) & (u64::MAX << (from % PAGES_PER_WORD));
        while word == 0 {
            index += 1;
            word = self.words.get(index)? ^ flip;
        }
        Some(index as u64 * PAGES_PER_WORD + u64::from(word.trailing_zeros()))
    }
}

impl Iterator for Ranges<'_> {
    type Item = PageRange;

    fn next(&mut self) -> Option<PageRange> {
        let first = self.next_bit(self.page, 0)?;
        let end = self.next_bit(first, u64::MAX).unwrap_or(self.words.len() as u64 * PAGES_PER_WORD);
        self.page = end;
        Some(PageRange { first, pages: end - first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_maximal_runs() {
        let words = [0b1011, 0, u64::MAX, u64::MAX, 1, 1 << 63];
        let ranges: Vec<_> = Ranges::new(&words).map(|range| (range.first, range.pages)).collect();
        assert_eq!(ranges, [(0, 2), (3, 1), (128, 129), (383, 1)]);
        assert_eq!(Ranges::new(&[]).count(), 0);
        assert_eq!(Ranges::new(&[0, 0]).count(), 0);
        assert_eq!(Ranges::new(&[u64::MAX]).collect::<Vec<_>>(), [PageRange { first: 0, pages: 64 }]);
    }
}
