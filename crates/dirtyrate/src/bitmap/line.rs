//! The units of a bitmap: a word of 64 pages, and a line of eight words.

/// Pages in one word of a bitmap.
pub const PAGES_PER_WORD: u64 = u64::BITS as u64;

/// Words in one 64-byte line.
pub const WORDS_PER_LINE: usize = 8;

/// A line of 64 bytes. The kernels add lines word by word, so that each of the eight words is a lane of a sum.
pub(super) type Line = [u64; WORDS_PER_LINE];

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
