//! The kernels, written once, in plain Rust.
//!
//! Each kernel is a loop over lines of eight words, in a form that the compiler turns into vector instructions of the
//! instruction set for which it compiles. Every backend in `arch` has these functions, inlined below its
//! `#[target_feature]`. `count` and `expand` differ by instruction set, because measurements showed a gain
//! (`benches/RESULTS.md`), and are passed as arguments. Compiled for the baseline, the kernels are the backend that
//! every CPU has.
//!
//! The unit is a line for three reasons: a cache moves whole lines, a clean part of a log is skipped line by line, and
//! with pages of 4 KiB a line describes one region of 2 MiB of the guest.

use std::ops::Range;

use super::kernels::Target;
use super::line::{Line, WORDS_PER_LINE};
use crate::prefetch;

/// Lines that a count takes at a time.
const BLOCK: usize = 8;

/// How many words ahead a pass with hints asks for memory: 2 KiB. The prefetcher of an Intel core stops at the end of
/// each page of 4 KiB, and then has to recognise the stream again; a hint across that end keeps the stream going. On
/// other processors hints cost more than they gain: see [`Hints`](super::hints::Hints).
const AHEAD: usize = 256;

#[inline(always)]
pub(super) fn or(words: &[u64]) -> u64 {
    words.iter().fold(0, |any, word| any | word)
}

/// The number of set bits, for a CPU that counts the bits of a word, or of a vector, in one instruction.
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

/// With `HINTS`, hints that the lines [`AHEAD`] of these words will be read. The kernels get this function as `ask`.
#[inline(always)]
pub(super) fn ask_ahead<const HINTS: bool>(words: &[u64]) {
    if !HINTS {
        return;
    }
    for line in words.chunks(WORDS_PER_LINE) {
        prefetch::into_l1(line.as_ptr().wrapping_add(AHEAD));
    }
}

/// Adds three bits in each position, and returns the low bits and the high bits of the sums.
#[inline(always)]
fn add(a: u64, b: u64, c: u64) -> (u64, u64) {
    let half = a ^ b;
    (half ^ c, (a & b) | (half & c))
}

/// The number of set bits, for a CPU that needs a dozen instructions to count the bits of a word. Eight lines are added
/// bit by bit with logical operations, and only the carries of the eights are counted (Harley and Seal; Warren,
/// Hacker's Delight, 5-1).
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

/// See [`Kernels::merge`](super::kernels::Kernels::merge). The sums stay in eight lanes in the memory of each target.
/// So one loop serves any number of targets, and this costs nothing, compared with fetching their lines.
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
        // A region of 2 MiB with pages of 4 KiB. It has its own loop, because the compiler knows its length.
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

/// The number of set bits from page `first` up to, but without, page `end`; 0 if `end` comes before `first`.
#[inline(always)]
pub(super) fn count_between(words: &[u64], first: u64, end: u64) -> u64 {
    let (from, to) = ((first / 64) as usize, end.div_ceil(64) as usize);
    let mut pages = 0;
    for (number, word) in (from as u64..).zip(&words[from..to]) {
        let low = first.saturating_sub(number * 64);
        let unused = ((number + 1) * 64).saturating_sub(end);
        pages += u64::from((word >> low << low << unused).count_ones());
    }
    pages
}

/// Writes the positions of a word's set bits in order, each with `base` added, and returns how many there are. The rest
/// of `into` is undefined afterwards.
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

/// Does what [`expand_by_bit`] does, for a CPU that counts the bits of a word in one instruction. It always writes four
/// positions at a time, even if the last ones are not needed. A branch predictor cannot guess how many bits a word has,
/// but it can mostly guess that a word has no more than four.
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

/// See [`Kernels::ranges`](super::kernels::Kernels::ranges). A run is two edges: its first page, and the page after its
/// last.
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

/// Writes the positions of the set bits at and after `from`, and returns how many there are. With `EDGES` it writes the
/// positions of the bits that differ from the bit before them, where the bit before `from` counts as clear.
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
    // With `EDGES`, this is the bit before the next word.
    let mut before = 0;
    while number < words.len() {
        // The first words can begin in the middle of a word, and not at a line of `words`. Whole lines follow.
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
