//! The oracle of the tests and fuzz targets: it computes page by page what each kernel must return. Each check panics
//! if a backend returns anything else.

use std::collections::BTreeSet;

use super::{Kernels, PAGES_PER_WORD, Target};

/// The pages at and after `from` whose bits are set.
fn pages(words: &[u64], from: u64) -> impl Iterator<Item = u64> + '_ {
    let all = words.len() as u64 * PAGES_PER_WORD;
    (from..all).filter(|page| words[(page / PAGES_PER_WORD) as usize] >> (page % PAGES_PER_WORD) & 1 == 1)
}

/// The runs of set bits at and after `from`.
fn runs(words: &[u64], from: u64) -> Vec<[u32; 2]> {
    let mut runs: Vec<[u32; 2]> = Vec::new();
    for page in pages(words, from) {
        match runs.last_mut() {
            Some([first, length]) if u64::from(*first + *length) == page => *length += 1,
            _ => runs.push([page as u32, 1]),
        }
    }
    runs
}

/// Checks that `count` is the number of pages.
pub fn check_count(kernels: &Kernels, words: &[u64]) {
    assert_eq!(kernels.count(words), pages(words, 0).count() as u64, "{kernels:?}");
}

/// Checks that after a `merge` each target has its own pages and the pages of the source, that each target knows how
/// many of them are new, and that the pages of the source were counted.
pub fn check_merge(kernels: &Kernels, source: &[u64], targets: &[&[u64]]) {
    let mut merged: Vec<_> = targets.iter().map(|words| words.to_vec()).collect();
    let mut into: Vec<_> = merged.iter_mut().map(|words| Target::new(words)).collect();
    assert_eq!(kernels.merge(source, &mut into), pages(source, 0).count() as u64, "{kernels:?}");
    let newly: Vec<_> = into.iter().map(Target::newly).collect();
    for ((target, merged), newly) in targets.iter().zip(&merged).zip(newly) {
        let both: Vec<_> = target.iter().zip(source).map(|(target, source)| target | source).collect();
        assert_eq!(*merged, both, "{kernels:?}");
        assert_eq!(newly, (pages(&both, 0).count() - pages(target, 0).count()) as u64, "{kernels:?}");
    }
}

/// Checks that `extent` goes from the first to the last word that has a page.
pub fn check_extent(kernels: &Kernels, words: &[u64]) {
    let dirty = || words.iter().enumerate().filter(|(_, word)| **word != 0).map(|(number, _)| number);
    let expected = dirty().min().zip(dirty().max()).map(|(first, last)| first..last + 1);
    assert_eq!(kernels.extent(words), expected, "{kernels:?}");
}

/// Checks that `heat` is the number of pages in each of the first `regions` regions.
pub fn check_heat(kernels: &Kernels, words: &[u64], pages_per_region: u64, regions: usize) {
    let mut expected = vec![0; regions];
    for page in pages(words, 0) {
        if let Some(count) = expected.get_mut((page / pages_per_region) as usize) {
            *count += 1;
        }
    }
    let mut heat = vec![u32::MAX; regions];
    kernels.heat(words, pages_per_region, &mut heat);
    assert_eq!(heat, expected, "{kernels:?}, regions of {pages_per_region} pages");
}

/// Checks that `granules` is the number of granules that have a page, and the number of those whose neighbour below has
/// none.
pub fn check_granules(kernels: &Kernels, words: &[u64], pages_per_granule: u64, phase: u64) {
    let dirty: BTreeSet<_> = pages(words, 0).map(|page| (page + phase) / pages_per_granule).collect();
    let begins = |granule: &&u64| granule.checked_sub(1).is_none_or(|below| !dirty.contains(&below));
    let extents = dirty.iter().filter(begins).count() as u64;
    let found = kernels.granules(words, pages_per_granule, phase);
    assert_eq!(
        (found.dirty, found.extents),
        (dirty.len() as u64, extents),
        "{kernels:?}, granules of {pages_per_granule} pages, the first begins {phase} before"
    );
}

/// Checks that `positions` are the pages from `from` on, also if they are read into a buffer with room for `room` pages
/// (not 0).
pub fn check_positions(kernels: &Kernels, words: &[u64], from: u64, room: usize) {
    let expected: Vec<_> = pages(words, from).map(|page| page as u32).collect();
    let (mut found, mut into, mut next) = (Vec::new(), vec![0; room], from);
    loop {
        let filled = kernels.positions(words, next, &mut into);
        found.extend_from_slice(&into[..filled]);
        if filled < room {
            break;
        }
        next = u64::from(into[filled - 1]) + 1;
    }
    assert_eq!(found, expected, "{kernels:?}, from {from}, {room} at a time");
}

/// Checks that `ranges` are the runs from `from` on, also if they are read into a buffer with room for `room` runs (not
/// 0).
pub fn check_ranges(kernels: &Kernels, words: &[u64], from: u64, room: usize) {
    let (mut found, mut into, mut next) = (Vec::new(), vec![[0; 2]; room], from);
    loop {
        let filled = kernels.ranges(words, next, &mut into);
        found.extend_from_slice(&into[..filled]);
        if filled < room {
            break;
        }
        next = into[filled - 1].map(u64::from).iter().sum();
    }
    assert_eq!(found, runs(words, from), "{kernels:?}, from {from}, {room} at a time");
}
