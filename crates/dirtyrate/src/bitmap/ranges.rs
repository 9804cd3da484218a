//! Runs of set bits.

use super::kernels::Kernels;

/// Consecutive pages of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// The first page, counted from the block's start.
    pub first: u64,
    /// How many pages.
    pub pages: u64,
}

impl PageRange {
    /// The page after the last one, or the largest number of 64 bits if the range goes on beyond it.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.pages)
    }
}

/// How many runs are found at a time: few, so that the first run comes soon, but enough for an efficient loop.
const BATCH: usize = 64;

/// The maximal runs of set bits of a bitmap, in order. [`Kernels::ranges`] gives the same into a buffer.
///
/// # Panics
///
/// Asking for the first run panics as [`Kernels::ranges`] and [`Kernels::get`] do.
#[derive(Debug, Clone)]
pub struct Ranges<'a> {
    words: &'a [u64],
    /// Where the next batch begins.
    from: u64,
    found: [[u32; 2]; BATCH],
    /// The part of `found` that has not been returned yet.
    ahead: std::ops::Range<usize>,
    /// `found` was full: there may be more.
    more: bool,
}

impl<'a> Ranges<'a> {
    /// The runs of `words`, which describe fewer than 2³² pages.
    pub fn new(words: &'a [u64]) -> Self {
        Self::starting_at(words, 0)
    }

    /// The runs at and after page `from`; one that it is in the middle of begins there.
    pub fn starting_at(words: &'a [u64], from: u64) -> Self {
        Self { words, from, found: [[0; 2]; BATCH], ahead: 0..0, more: true }
    }
}

impl Iterator for Ranges<'_> {
    type Item = PageRange;

    fn next(&mut self) -> Option<PageRange> {
        if self.ahead.is_empty() && self.more {
            let found = Kernels::get().ranges(self.words, self.from, &mut self.found);
            self.ahead = 0..found;
            self.more = found == BATCH;
        }
        let [first, pages] = self.found[self.ahead.next()?].map(u64::from);
        self.from = first + pages;
        Some(PageRange { first, pages })
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

    /// Around the size of a batch, the runs go on where the last batch ended.
    #[test]
    fn batches_join() {
        for runs in [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 5 * BATCH + 3] {
            let words = vec![0b110; runs];
            let expected = (0..runs as u64).map(|run| PageRange { first: run * 64 + 1, pages: 2 });
            assert!(Ranges::new(&words).eq(expected), "{runs} runs");
        }
    }
}
