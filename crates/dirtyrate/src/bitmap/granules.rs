//! The kernel that counts granules: units of several pages, of which any dirty page makes the whole dirty. It is in
//! plain Rust and is compiled by each backend, as the kernels in `generic` are.

use super::generic::or;
use super::kernels::GranuleCount;
use super::line::WORDS_PER_LINE;

/// See [`Kernels::granules`](super::kernels::Kernels::granules).
#[inline(always)]
pub(super) fn granules(words: &[u64], pages_per_granule: u64, phase: u64, ask: impl Fn(&[u64])) -> GranuleCount {
    let is_aligned = phase == 0;
    match pages_per_granule {
        // Each size has its own loop, because the compiler then knows by how much it shifts.
        1 => within_words::<1>(words, ask),
        2 if is_aligned => within_words::<2>(words, ask),
        4 if is_aligned => within_words::<4>(words, ask),
        8 if is_aligned => within_words::<8>(words, ask),
        16 if is_aligned => within_words::<16>(words, ask),
        32 if is_aligned => within_words::<32>(words, ask),
        512 if is_aligned => of_lines(words, ask),
        pages if is_aligned && pages.is_multiple_of(64) => of_words(words, (pages / 64) as usize),
        pages => of_any_size(words, pages, phase),
    }
}

/// Granules of `PAGES` pages, a divisor of 64: each is a group of bits of one word.
#[inline(always)]
fn within_words<const PAGES: u32>(words: &[u64], ask: impl Fn(&[u64])) -> GranuleCount {
    let mut count = GranuleCount::default();
    // The last granule of the word before, as the lowest bit.
    let mut before = 0;
    for line in words.chunks(WORDS_PER_LINE) {
        ask(line);
        if or(line) == 0 {
            before = 0;
            continue;
        }
        for word in line {
            let dirty = lowest_of_groups::<PAGES>(*word);
            count.dirty += u64::from(dirty.count_ones());
            // A granule begins a run if the granule below it is clean. (A shift by 64 cannot happen: PAGES < 64.)
            count.extents += u64::from((dirty & !(dirty << PAGES | before)).count_ones());
            before = dirty >> (64 - PAGES);
        }
    }
    count
}

/// The lowest bit of each group of `PAGES` bits in which any bit is set.
#[inline(always)]
fn lowest_of_groups<const PAGES: u32>(mut word: u64) -> u64 {
    let mut shift = 1;
    while shift < PAGES {
        word |= word >> shift;
        shift *= 2;
    }
    // All ones divided by the ones of a group: one bit for each group.
    word & (u64::MAX / (u64::MAX >> (64 - PAGES)))
}

/// Granules of one line: 2 MiB with pages of 4 KiB.
#[inline(always)]
fn of_lines(words: &[u64], ask: impl Fn(&[u64])) -> GranuleCount {
    let mut runs = Runs::default();
    let (lines, rest) = words.as_chunks::<WORDS_PER_LINE>();
    for line in lines {
        ask(line);
        runs.next(or(line) != 0);
    }
    runs.next(or(rest) != 0);
    runs.count
}

/// Granules of a number of whole words.
#[inline(always)]
fn of_words(words: &[u64], words_per_granule: usize) -> GranuleCount {
    let mut runs = Runs::default();
    words.chunks(words_per_granule).for_each(|granule| runs.next(granule.iter().any(|word| *word != 0)));
    runs.count
}

/// Granules that follow each other.
#[derive(Default)]
struct Runs {
    count: GranuleCount,
    was_dirty: bool,
}

impl Runs {
    #[inline(always)]
    fn next(&mut self, is_dirty: bool) {
        self.count.dirty += u64::from(is_dirty);
        self.count.extents += u64::from(is_dirty & !self.was_dirty);
        self.was_dirty = is_dirty;
    }
}

/// Granules of any size and phase: goes to the first set bit, and from there on to the first one behind its granule.
#[inline(always)]
fn of_any_size(words: &[u64], pages_per_granule: u64, phase: u64) -> GranuleCount {
    let mut count = GranuleCount::default();
    // The granule behind the last dirty one.
    let mut next = None;
    let mut from = 0;
    while let Some(page) = first_set(words, from) {
        let granule = (page + phase) / pages_per_granule;
        count.dirty += 1;
        count.extents += u64::from(next != Some(granule));
        next = Some(granule + 1);
        from = (granule + 1).saturating_mul(pages_per_granule) - phase;
    }
    count
}

/// The first set bit at or behind `from`.
#[inline(always)]
fn first_set(words: &[u64], from: u64) -> Option<u64> {
    let mut number = usize::try_from(from / 64).ok()?;
    let first = words.get(number)? >> (from % 64);
    if first != 0 {
        return Some(from + u64::from(first.trailing_zeros()));
    }
    number += 1;
    while let Some(line) = words[number..].first_chunk::<WORDS_PER_LINE>().filter(|line| or(&line[..]) == 0) {
        number += line.len();
    }
    let (at, word) = words[number..].iter().enumerate().find(|(_, word)| **word != 0)?;
    Some((number + at) as u64 * 64 + u64::from(word.trailing_zeros()))
}
