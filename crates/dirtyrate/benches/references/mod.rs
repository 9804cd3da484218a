//! What the kernels over bitmaps are measured on, and beside: the limits of the machine, and what others do, each
//! written from its description.

// Each benchmark is a program of its own, and uses what it needs.
#![allow(dead_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use itertools::Itertools;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Bytes of bitmap for a guest's GiB, in pages of 4 KiB.
pub const BYTES_PER_GUEST_GIB: usize = 32 << 10;

/// Which pages are dirty.
#[derive(Clone, Copy, PartialEq)]
pub enum Density {
    /// Each page for itself, so many in a million.
    Random(u64),
    /// Whole regions of 2 MiB, so many in a million.
    Regions(u64),
    /// Every page.
    Full,
}

impl fmt::Display for Density {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(millionths) => write!(f, "{} % random", *millionths as f64 / 10_000.0),
            Self::Regions(millionths) => write!(f, "{} % in 2 MiB runs", *millionths as f64 / 10_000.0),
            Self::Full => f.write_str("100 %"),
        }
    }
}

/// A bitmap of `bytes`.
pub fn bitmap(bytes: usize, density: Density) -> Vec<u64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(bytes as u64);
    let mut words = vec![0_u64; bytes / 8];
    let pages = words.len() as u64 * 64;
    match density {
        Density::Random(millionths) => (0..pages * millionths / 1_000_000).for_each(|_| {
            let page = random.next_u64() % pages;
            words[(page / 64) as usize] |= 1 << (page % 64);
        }),
        Density::Regions(millionths) => (0..pages / 512 * millionths / 1_000_000).for_each(|_| {
            let line = (random.next_u64() % (pages / 512)) as usize;
            words[line * 8..line * 8 + 8].fill(u64::MAX);
        }),
        Density::Full => words.fill(u64::MAX),
    }
    // A bitmap that was never written is one page of zeros many times over, and no measure of a log that a kernel has
    // filled.
    words.iter_mut().step_by(512).for_each(|word| *word = std::hint::black_box(*word));
    words
}

/// Reads everything and does next to nothing with it: the limit of a pass.
pub fn stream(words: &[u64]) -> u64 {
    #[inline(always)]
    fn or(words: &[u64]) -> u64 {
        words.iter().fold(0, |any, word| any | word)
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512(words: &[u64]) -> u64 {
            or(words)
        }
        #[target_feature(enable = "avx2")]
        fn avx2(words: &[u64]) -> u64 {
            or(words)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has what the function is compiled for.
            return unsafe { avx512(words) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { avx2(words) };
        }
    }
    or(words)
}

/// Reads four bitmaps and writes three, and does next to nothing with them: the limit of a merge into three clients.
/// Written with vectors by hand, or with hints ahead of itself, it is no faster.
pub fn move_four(source: &[u64], targets: &mut [&mut [u64]; 3]) {
    #[inline(always)]
    fn or(source: &[u64], [a, b, c]: &mut [&mut [u64]; 3]) {
        for (((source, a), b), c) in source.iter().zip(a.iter_mut()).zip(b.iter_mut()).zip(c.iter_mut()) {
            *a |= source;
            *b |= source;
            *c |= source;
        }
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512(source: &[u64], targets: &mut [&mut [u64]; 3]) {
            or(source, targets)
        }
        #[target_feature(enable = "avx2")]
        fn avx2(source: &[u64], targets: &mut [&mut [u64]; 3]) {
            or(source, targets)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has what the function is compiled for.
            return unsafe { avx512(source, targets) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { avx2(source, targets) };
        }
    }
    or(source, targets)
}

/// The count that a build for the baseline has for nothing.
pub fn count_ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// The words of a client's map, as QEMU keeps them.
pub fn map(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Makes maps as clean as new ones.
pub fn empty(maps: &[Vec<AtomicU64>; 3]) {
    maps.iter().flatten().for_each(|word| word.store(0, Ordering::Relaxed));
}

/// As QEMU does it: word by word, what is not zero is added to the map of each of three clients by an atomic OR of its
/// own. Then the bits of the measuring client, the last, are counted, by what a distribution's build for the baseline
/// has.
pub fn qemu_shaped(source: &[u64], maps: &[Vec<AtomicU64>; 3]) -> u64 {
    let [vga, migration, dirty_rate] = maps;
    for (number, word) in source.iter().enumerate().filter(|(_, word)| **word != 0) {
        vga[number].fetch_or(*word, Ordering::SeqCst);
        migration[number].fetch_or(*word, Ordering::SeqCst);
        dirty_rate[number].fetch_or(*word, Ordering::SeqCst);
    }
    dirty_rate.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
}

/// As Cloud Hypervisor does it: an iterator over the positions of the set bits.
pub fn positions(words: &[u64]) -> impl Iterator<Item = u64> + '_ {
    (0..).zip(words).flat_map(|(number, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| u64::from(rest.trailing_zeros()))?;
            rest &= rest - 1;
            Some(number * 64 + bit)
        })
    })
}

/// As Cloud Hypervisor does it: those positions, each a range of one page, coalesced.
pub fn ranges(words: &[u64]) -> impl Iterator<Item = (u64, u64)> + '_ {
    positions(words)
        .map(|page| (page, page + 1))
        .coalesce(|before, next| if before.1 == next.0 { Ok((before.0, next.1)) } else { Err((before, next)) })
}

/// The time that this thread has had on a processor.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
