//! The kernels, written once, in plain Rust.
//!
//! Each is a loop over lines of eight words in a shape that the compiler turns into the vectors of the instruction set it
//! compiles for. Every backend in `arch` is these functions, inlined below its `#[target_feature]`; what differs by
//! instruction set is handed in as `count` or `expand`, and only where measuring said so (`benches/RESULTS.md`). Compiled
//! for the baseline they are the backend that every CPU has.
//!
//! A line is the unit because it is what a cache moves, what a clean part of a log is skipped by, and, with pages of
//! 4 KiB, one 2 MiB region of the guest.

use std::ops::Range;

use super::kernels::Target;
use super::line::{Line, WORDS_PER_LINE};
use crate::prefetch;

/// Lines that a count takes at a time.
const BLOCK: usize = 8;

/// How many words ahead of itself a pass asks for, where it does: 2 KiB. The prefetcher of an Intel core stops at the end of each page
/// of 4 KiB and must then see a stream again; a hint across that end keeps it going. Where hints cost more than they bring
/// there are none: see [`Hints`](super::hints::Hints).
const AHEAD: usize = 256;

fn or(words: &[u64]) -> u64 {
    words.iter().fold(0, |any, word| any | word)
}

/// The number of set bits, where the CPU counts a word's, or a vector's, in one instruction.
#[inline(always)]
pub(super) fn count_by_word(words: &[u64], ask: impl Fn(&[u64])) -> u64 {
    let (blocks, rest) = words.as_chunks::<{ BLOCK * WORDS_PER_LINE }>();
    let mut count = 0;
    for block in blocks {
        ask(block);
        count += sum(block);
    }
    count + sum(rest)
}

#[inline(always)]
fn sum(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// With `HINTS`, asks for the lines that follow these words at some distance. The kernels are handed this function, as `ask`.
#[inline(always)]
pub(super) fn ask_ahead<const HINTS: bool>(words: &[u64]) {
    if !HINTS {
        return;
    }
    for line in words.chunks(WORDS_PER_LINE) {
        prefetch::into_l1(line.as_ptr().wrapping_add(AHEAD));
    }
}

/// Adds three bits of each place: the sum's low bits and its high ones.
#[inline(always)]
fn add(a: u64, b: u64, c: u64) -> (u64, u64) {
    let half = a ^ b;
    (half ^ c, (a & b) | (half & c))
}

/// The number of set bits, where counting a word takes a dozen instructions: eight lines are added bit by bit, in adders
/// made of logic, and only the carries out of the eights are counted (Harley and Seal; Warren, Hacker's Delight, 5-1).
#[inline(always)]
pub(super) fn count_carry_save(words: &[u64], ask: impl Fn(&[u64])) -> u64 {
    let (blocks, rest) = words.as_chunks::<{ BLOCK * WORDS_PER_LINE }>();
    let (mut ones, mut twos, mut fours, mut eights) =
        (Line::default(), Line::default(), Line::default(), Line::default());
    for block in blocks {
        ask(block);
        for lane in 0..WORDS_PER_LINE {
            let word = |line: usize| block[line * WORDS_PER_LINE + lane];
            let (sum, twos_a) = add(ones[lane], word(0), word(1));
            let (sum, twos_b) = add(sum, word(2), word(3));
            let (sum_of_twos, fours_a) = add(twos[lane], twos_a, twos_b);
            let (sum, twos_a) = add(sum, word(4), word(5));
            let (sum, twos_b) = add(sum, word(6), word(7));
            let (sum_of_twos, fours_b) = add(sum_of_twos, twos_a, twos_b);
            let (sum_of_fours, carry) = add(fours[lane], fours_a, fours_b);
            (ones[lane], twos[lane], fours[lane]) = (sum, sum_of_twos, sum_of_fours);
            eights[lane] += u64::from(carry.count_ones());
        }
    }
    let eights: u64 = eights.iter().sum();
    8 * eights + 4 * sum(&fours) + 2 * sum(&twos) + sum(&ones) + sum(rest)
}

/// See [`Kernels::merge`](super::kernels::Kernels::merge). The sums stay in their eight lanes, in each target's own memory: that any
/// number of targets is one loop costs nothing beside fetching their lines.
#[inline(always)]
pub(super) fn merge(source: &[u64], targets: &mut [Target<'_>], ask: impl Fn(&[u64])) -> u64 {
    let mut set = Line::default();
    let (lines, rest) = source.as_chunks::<WORDS_PER_LINE>();
    for (number, line) in lines.iter().enumerate() {
        ask(line);
        if or(line) == 0 {
            continue;
        }
        for lane in 0..WORDS_PER_LINE {
            set[lane] += u64::from(line[lane].count_ones());
        }
        for target in targets.iter_mut() {
            let words = &mut target.words.as_chunks_mut::<WORDS_PER_LINE>().0[number];
            ask(words);
            for lane in 0..WORDS_PER_LINE {
                target.newly[lane] += u64::from((line[lane] & !words[lane]).count_ones());
                words[lane] |= line[lane];
            }
        }
    }
    if or(rest) != 0 {
        for (number, word) in (lines.len() * WORDS_PER_LINE..).zip(rest) {
            set[0] += u64::from(word.count_ones());
            for target in targets.iter_mut() {
                target.newly[0] += u64::from((word & !target.words[number]).count_ones());
                target.words[number] |= word;
            }
        }
    }
    set.iter().sum()
}

/// See [`Kernels::extent`](super::kernels::Kernels::extent).
#[inline(always)]
pub(super) fn extent(words: &[u64]) -> Option<Range<usize>> {
    let (lines, rest) = words.as_chunks::<WORDS_PER_LINE>();
    let dirty = |word: &u64| *word != 0;
    let lines_end = lines.len() * WORDS_PER_LINE;
    let start = match lines.iter().position(|line| or(line) != 0) {
        Some(line) => line * WORDS_PER_LINE + lines[line].iter().position(dirty)?,
        None => lines_end + rest.iter().position(dirty)?,
    };
    let last = match rest.iter().rposition(dirty) {
        Some(word) => lines_end + word,
        None => {
            let line = lines.iter().rposition(|line| or(line) != 0)?;
            line * WORDS_PER_LINE + lines[line].iter().rposition(dirty)?
        }
    };
    Some(start..last + 1)
}

/// See [`Kernels::heat`](super::kernels::Kernels::heat).
#[inline(always)]
pub(super) fn heat(
    words: &[u64],
    pages_per_region: u64,
    into: &mut [u32],
    count: impl Fn(&[u64]) -> u64,
    ask: impl Fn(&[u64]),
) {
    let pages = words.len() as u64 * 64;
    let regions = into.len().min(pages.div_ceil(pages_per_region) as usize);
    let (into, beyond) = into.split_at_mut(regions);
    beyond.fill(0);
    if pages_per_region == 64 * WORDS_PER_LINE as u64 {
        // The 2 MiB region of 4 KiB pages: a length that the compiler knows.
        let (lines, rest) = words.as_chunks::<WORDS_PER_LINE>();
        for (pages, line) in into.iter_mut().zip(lines) {
            ask(line);
            *pages = line.iter().map(|word| word.count_ones()).sum();
        }
        if let Some(pages) = into.get_mut(lines.len()) {
            *pages = sum(rest) as u32;
        }
    } else if pages_per_region.is_multiple_of(64) {
        for (pages, region) in into.iter_mut().zip(words.chunks((pages_per_region / 64) as usize)) {
            *pages = count(region) as u32;
        }
    } else {
        for (region, dirty) in (0..).zip(into) {
            let first = region * pages_per_region;
            *dirty = count_between(words, first, (first + pages_per_region).min(pages)) as u32;
        }
    }
}

/// The number of set bits from page `first` to before `end`, which are not in that order only if there is none between.
#[inline(always)]
fn count_between(words: &[u64], first: u64, end: u64) -> u64 {
    let (from, to) = ((first / 64) as usize, end.div_ceil(64) as usize);
    let mut pages = 0;
    for (number, word) in (from as u64..).zip(&words[from..to]) {
        let low = first.saturating_sub(number * 64);
        let unused = ((number + 1) * 64).saturating_sub(end);
        pages += u64::from((word >> low << low << unused).count_ones());
    }
    pages
}

/// Writes the positions of a word's set bits, each with `base` added, in order; how many. What is behind them in `into` is
/// anything afterwards.
#[inline(always)]
pub(super) fn expand_by_bit(mut word: u64, base: u32, into: &mut [u32; 64]) -> usize {
    let mut count = 0;
    while word != 0 {
        into[count % 64] = base + word.trailing_zeros();
        word &= word - 1;
        count += 1;
    }
    count
}

/// As [`expand_by_bit`], where the CPU counts a word's bits in one instruction: always four positions at a time, the last of
/// them for nothing. A branch predictor cannot know how many bits a word has; that it has no more than four, it mostly can.
#[inline(always)]
pub(super) fn expand_by_four(mut word: u64, base: u32, into: &mut [u32; 64]) -> usize {
    let count = word.count_ones() as usize;
    for four in into.as_chunks_mut::<4>().0 {
        for slot in four {
            *slot = base.wrapping_add(word.trailing_zeros());
            word &= word.wrapping_sub(1);
        }
        if word == 0 {
            break;
        }
    }
    count
}

/// See [`Kernels::positions`](super::kernels::Kernels::positions).
#[inline(always)]
pub(super) fn positions(
    words: &[u64],
    from: u64,
    into: &mut [u32],
    expand: impl Fn(u64, u32, &mut [u32; 64]) -> usize,
    ask: impl Fn(&[u64]),
) -> usize {
    scan::<false>(words, from, into, expand, ask)
}

/// See [`Kernels::ranges`](super::kernels::Kernels::ranges). A run is two edges: its first page, and the page after its last.
#[inline(always)]
pub(super) fn ranges(
    words: &[u64],
    from: u64,
    into: &mut [[u32; 2]],
    expand: impl Fn(u64, u32, &mut [u32; 64]) -> usize,
    ask: impl Fn(&[u64]),
) -> usize {
    let edges = into.as_flattened_mut();
    let mut filled = scan::<true>(words, from, edges, expand, ask);
    if filled % 2 == 1 {
        edges[filled] = words.len() as u32 * 64;
        filled += 1;
    }
    let filled = &mut into[..filled / 2];
    for [first, end] in filled.iter_mut() {
        *end -= *first;
    }
    filled.len()
}

/// Writes the positions at and after `from` of the set bits, or with `EDGES` of the bits that differ from the one before,
/// where the bit before `from` is clear; how many.
#[inline(always)]
fn scan<const EDGES: bool>(
    words: &[u64],
    from: u64,
    into: &mut [u32],
    expand: impl Fn(u64, u32, &mut [u32; 64]) -> usize,
    ask: impl Fn(&[u64]),
) -> usize {
    let mut filled = 0;
    let mut number = (from / 64) as usize;
    let mut keep = u64::MAX << (from % 64);
    // With `EDGES`, the bit before the next word.
    let mut before = 0;
    while number < words.len() {
        // The first words may be cut and not on a line of `words`; after them, lines.
        let line = &words[number..words.len().min(number + WORDS_PER_LINE)];
        ask(line);
        let clean = if EDGES { 0_u64.wrapping_sub(before) } else { 0 };
        if keep == u64::MAX && line.iter().fold(0, |any, word| any | (word ^ clean)) == 0 {
            number += line.len();
            continue;
        }
        for word in line {
            let word = word & keep;
            keep = u64::MAX;
            let mut bits = word;
            if EDGES {
                bits ^= word << 1 | before;
                before = word >> 63;
            }
            let base = number as u32 * 64;
            number += 1;
            if let Some(room) = into[filled..].first_chunk_mut() {
                filled += expand(bits, base, room);
                continue;
            }
            while bits != 0 {
                let Some(slot) = into.get_mut(filled) else { return filled };
                *slot = base + bits.trailing_zeros();
                bits &= bits - 1;
                filled += 1;
            }
        }
    }
    filled
}
