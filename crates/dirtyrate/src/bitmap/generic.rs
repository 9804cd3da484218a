//! The passes over words, in plain Rust: the reference that any faster backend is tested against.

/// Words in one 64-byte line. With 4 KiB pages a line is one 2 MiB region of the guest.
pub const WORDS_PER_LINE: usize = 8;

/// The number of set bits.
pub fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// ORs `source` into each of `targets`, which are as long, and adds to `newly` how many bits that sets in each. Lines that are
/// all zero are skipped without touching a target: most of a log is clean, and an untouched part of a sparse bitmap stays
/// unallocated.
pub fn merge(source: &[u64], targets: &mut [&mut [u64]], newly: &mut [u64]) {
    for (line, from) in source.chunks(WORDS_PER_LINE).enumerate().filter(|(_, from)| !is_clean(from)) {
        let first = line * WORDS_PER_LINE;
        for (target, newly) in targets.iter_mut().zip(&mut *newly) {
            for (word, bits) in target[first..first + from.len()].iter_mut().zip(from) {
                *newly += u64::from((bits & !*word).count_ones());
                *word |= bits;
            }
        }
    }
}

/// Whether no bit is set.
pub fn is_clean(words: &[u64]) -> bool {
    words.iter().fold(0, |any, word| any | word) == 0
}

/// The words between the first and the last that are not zero; `None` when all are.
pub fn dirty_extent(words: &[u64]) -> Option<std::ops::Range<usize>> {
    let first = words.iter().position(|&word| word != 0)?;
    let last = words.iter().rposition(|&word| word != 0)?;
    Some(first..last + 1)
}

/// Dirty pages in each region of `pages_per_region` pages, as many regions as `into` has room for. The size of a
/// region is a multiple of 64 pages, or divides 64 (with pages of 64 KiB a region of 2 MiB is half a word).
pub fn heat(words: &[u64], pages_per_region: u64, into: &mut [u32]) {
    let pages = words.len() as u64 * u64::BITS as u64;
    for (region, count) in into.iter_mut().enumerate() {
        let first = region as u64 * pages_per_region;
        let end = (first + pages_per_region).min(pages);
        *count = if pages_per_region.is_multiple_of(64) {
            let (from, to) = ((first / 64) as usize, end.div_ceil(64) as usize);
            words.get(from..to).map_or(0, |words| self::count(words) as u32)
        } else {
            (first..end).filter(|page| words[(page / 64) as usize] >> (page % 64) & 1 == 1).count() as u32
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(length: usize) -> Vec<u64> {
        // A fixed mix of clean lines, single bits and full words.
        (0..length as u64)
            .map(|i| match i % 23 {
                0..=11 => 0,
                12 => u64::MAX,
                _ => i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            })
            .collect()
    }

    #[test]
    fn merge_equals_or_word_by_word() {
        for length in [0, 1, 7, 8, 9, 64, 1001] {
            let source = words(length);
            let mut first: Vec<u64> = source.iter().map(|word| word.rotate_left(7)).collect();
            let mut second = vec![0; length];
            let expected: Vec<u64> = first.iter().zip(&source).map(|(a, b)| a | b).collect();
            let mut newly = [count(&expected) - count(&first), count(&source)];
            let counted = std::mem::take(&mut newly);
            merge(&source, &mut [&mut first, &mut second], &mut newly);
            assert_eq!((first, second, newly), (expected, source, counted));
        }
    }

    #[test]
    fn extent_holds_every_set_bit_and_no_clean_end() {
        assert_eq!(dirty_extent(&[0, 0, 0]), None);
        assert_eq!(dirty_extent(&[0, 4, 0, 1, 0]), Some(1..4));
        assert_eq!(dirty_extent(&[1]), Some(0..1));
    }

    #[test]
    fn heat_equals_bit_by_bit() {
        let words = words(1001);
        for pages_per_region in [32, 64, 512] {
            let regions = (words.len() as u64 * 64).div_ceil(pages_per_region) as usize;
            let mut into = vec![0; regions];
            heat(&words, pages_per_region, &mut into);
            let mut naive = vec![0; regions];
            for page in 0..words.len() as u64 * 64 {
                naive[(page / pages_per_region) as usize] += (words[(page / 64) as usize] >> (page % 64) & 1) as u32;
            }
            assert_eq!(into, naive);
        }
    }
}
