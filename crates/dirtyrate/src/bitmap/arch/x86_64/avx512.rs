//! AVX-512. VPOPCNTDQ counts the bits of eight words in one instruction, and VBMI2 finds the positions of a word's bits
//! in one.

#![expect(clippy::incompatible_msrv, reason = "only compiled where the compiler has it: see build.rs")]

use std::arch::x86_64::*;

use crate::bitmap::arch::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;
use crate::bitmap::line::WORDS_PER_LINE;

backend!(
    Backend::Avx512,
    is_x86_feature_detected:
        ["avx512f", "avx512bw", "avx512vl", "avx512vbmi2", "avx512vpopcntdq", "avx2", "bmi1", "bmi2", "lzcnt", "popcnt"],
    count: count_by_line,
    expand: expand
);

/// Counts as [`generic::count_by_word`] does, but keeps four sums side by side until the end. In the generic version
/// the compiler adds the sums up after each block, which takes twice as long if the words are in a cache.
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
fn count_by_line(words: &[u64], ask: impl Fn(&[u64])) -> u64 {
    let (blocks, rest) = words.as_chunks::<{ 4 * WORDS_PER_LINE }>();
    let mut sums = [_mm512_setzero_si512(); 4];
    for block in blocks {
        ask(block);
        for (sum, line) in sums.iter_mut().zip(block.as_chunks::<WORDS_PER_LINE>().0) {
            // SAFETY: a line is as many bytes as a vector has; the load asks for no alignment.
            let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
            *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(line));
        }
    }
    let sum = sums.into_iter().fold(_mm512_setzero_si512(), |sum, more| _mm512_add_epi64(sum, more));
    _mm512_reduce_add_epi64(sum) as u64 + generic::count_by_word(rest, ask)
}

/// Does what [`generic::expand_by_bit`] does. From the numbers 0 to 63, VPCOMPRESSB keeps the numbers whose bits are
/// set. These are widened, sixteen at a time, and `base` is added to them.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
fn expand(word: u64, base: u32, into: &mut [u32; 64]) -> usize {
    #[rustfmt::skip]
    let all = _mm512_set_epi8(
        63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32,
        31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
    );
    let count = word.count_ones() as usize;
    let kept = _mm512_maskz_compress_epi8(word, all);
    let base = _mm512_set1_epi32(base as i32);
    let quarters = [
        _mm512_castsi512_si128(kept),
        _mm512_extracti32x4_epi32::<1>(kept),
        _mm512_extracti32x4_epi32::<2>(kept),
        _mm512_extracti32x4_epi32::<3>(kept),
    ];
    for ((number, quarter), slots) in quarters.into_iter().enumerate().zip(into.as_chunks_mut::<16>().0) {
        if number > 0 && count <= 16 * number {
            break;
        }
        let positions = _mm512_add_epi32(_mm512_cvtepu8_epi32(quarter), base);
        // SAFETY: `slots` is sixteen numbers of four bytes, as many as a vector has; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(slots.as_mut_ptr().cast(), positions) };
    }
    count
}
