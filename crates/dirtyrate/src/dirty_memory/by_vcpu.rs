//! What each vCPU wrote of one block in one client's window, if the log knows.

use std::ops::Range;

use super::log::VcpuPages;
use crate::bitmap::{REGION_WORDS, Region, SparsePages};
use crate::error::{Error, Result};

/// One set of pages for each vCPU, and the number of pages that are in more than one set. The number is updated when
/// pages are added, so that a reap only reads it.
#[derive(Debug, Default)]
pub(super) struct ByVcpu {
    vcpus: Vec<VcpuPages>,
    shared: u64,
}

impl ByVcpu {
    pub fn new(vcpus: Vec<VcpuPages>) -> Self {
        Self { vcpus, shared: 0 }
    }

    pub fn iter(&self) -> impl Iterator<Item = &VcpuPages> {
        self.vcpus.iter()
    }

    pub fn pages_of(&self, vcpu: usize) -> Option<&SparsePages> {
        self.vcpus.get(vcpu).map(|written| &written.pages)
    }

    /// Pages that more than one vCPU wrote.
    pub fn shared(&self) -> u64 {
        self.shared
    }

    /// How many of `regions` the set of a vCPU does not have yet.
    pub fn missing(&self, vcpu: usize, regions: impl Iterator<Item = u64>) -> usize {
        match self.vcpus.get(vcpu) {
            Some(written) => written.pages.missing(regions),
            None => regions.count(),
        }
    }

    /// Makes room for the pages of `other` in the set of a vCPU, which lacks `missing` of their regions. The vCPU may
    /// have been made after these sets.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn reserve(&mut self, vcpu: usize, other: &SparsePages, missing: usize) -> Result<()> {
        self.make_set(vcpu)?;
        self.vcpus[vcpu].pages.reserve_missing(other, missing)
    }

    /// Makes the set of a vCPU, unless there is one.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn make_set(&mut self, vcpu: usize) -> Result<()> {
        self.make_sets(vcpu.saturating_add(1))
    }

    fn make_sets(&mut self, vcpus: usize) -> Result<()> {
        let more = vcpus.saturating_sub(self.vcpus.len());
        let bytes = more.saturating_mul(size_of::<VcpuPages>());
        self.vcpus.try_reserve(more).map_err(|_| Error::OutOfMemory { what: "the pages of a vCPU", bytes })?;
        self.vcpus.extend((0..more).map(|_| VcpuPages::default()));
        Ok(())
    }

    /// Adds pages of one region that a vCPU wrote. There must be room for them.
    pub fn add_region(&mut self, vcpu: usize, number: u64, pages: &Region) {
        let new = self.vcpus[vcpu].pages.merge_region(number, pages);
        if self.vcpus.len() == 1 || new == [0; REGION_WORDS] {
            return;
        }
        // A page becomes shared when the second vCPU writes it.
        let (mut once, mut twice) = ([0; REGION_WORDS], [0; REGION_WORDS]);
        for (_, other) in self.vcpus.iter().enumerate().filter(|(other, _)| *other != vcpu) {
            for ((once, twice), bits) in once.iter_mut().zip(&mut twice).zip(other.pages.region(number)) {
                *twice |= *once & bits;
                *once |= bits;
            }
        }
        let shared = new.iter().zip(once).zip(twice).map(|((new, once), twice)| (new & once & !twice).count_ones());
        self.shared += u64::from(shared.sum::<u32>());
    }

    /// Adds to the number of entries in the ring of a vCPU that named its pages.
    pub fn add_entries(&mut self, vcpu: usize, entries: u64) {
        let of_vcpu = &mut self.vcpus[vcpu].entries;
        *of_vcpu = of_vcpu.saturating_add(entries);
    }

    /// Makes room for everything that `other` has of the same vCPUs.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn reserve_all(&mut self, other: &Self) -> Result<()> {
        self.make_sets(other.vcpus.len())?;
        self.vcpus.iter_mut().zip(&other.vcpus).try_for_each(|(ours, theirs)| ours.reserve(theirs))
    }

    /// Adds the pages that `other` has in `words` of the block's bitmap, and for each vCPU as many entries as it has
    /// pages there. The memory of these sets grows if there is no [room](Self::reserve_all).
    pub fn add_part(&mut self, other: &Self, words: Range<usize>) {
        let sets = self.vcpus.len().max(other.vcpus.len());
        self.vcpus.resize_with(sets, VcpuPages::default);
        for (vcpu, written) in other.vcpus.iter().enumerate() {
            for number in words.start / REGION_WORDS..words.end.div_ceil(REGION_WORDS) {
                let mut region = written.pages.region(number as u64);
                for (word, bits) in (number * REGION_WORDS..).zip(&mut region) {
                    *bits = if words.contains(&word) { *bits } else { 0 };
                }
                let pages = region.iter().map(|word| u64::from(word.count_ones())).sum();
                if pages > 0 {
                    self.add_region(vcpu, number as u64, &region);
                    self.add_entries(vcpu, pages);
                }
            }
        }
    }

    /// Adds the entries of `other` that named a page again, which [`add_part`](Self::add_part) leaves out.
    pub fn add_entries_again(&mut self, other: &Self) {
        for (ours, theirs) in self.vcpus.iter_mut().zip(&other.vcpus) {
            let again = theirs.entries.saturating_sub(theirs.pages.len());
            ours.entries = ours.entries.saturating_add(again);
        }
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.vcpus.iter_mut().for_each(VcpuPages::clear);
        self.shared = 0;
    }

    /// Returns everything, and is empty afterwards.
    pub fn take(&mut self) -> Self {
        let vcpus = self.vcpus.iter_mut().map(std::mem::take).collect();
        Self { vcpus, shared: std::mem::take(&mut self.shared) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shared_pages_are_those_in_two_sets_or_more(
            writes in vec((0..4_usize, vec(0..3000_u64, 0..40)), 0..30),
            part in 1..20_usize,
        ) {
            let mut by_vcpu = ByVcpu::new((0..4).map(|_| VcpuPages::default()).collect());
            let mut naive = vec![BTreeSet::new(); 4];
            for (vcpu, pages) in writes {
                let mut written = SparsePages::default();
                for page in pages {
                    written.try_insert(page).expect("memory");
                    naive[vcpu].insert(page);
                }
                let missing = by_vcpu.missing(vcpu, written.regions().map(|(number, _)| number));
                by_vcpu.reserve(vcpu, &written, missing).expect("memory");
                written.regions().for_each(|(number, pages)| by_vcpu.add_region(vcpu, number, pages));
                let in_two = |page: &u64| naive.iter().filter(|set| set.contains(page)).count() > 1;
                let shared = (0..3000).filter(in_two).count() as u64;
                prop_assert_eq!(by_vcpu.shared(), shared);
            }
            let taken = by_vcpu.take();
            prop_assert_eq!(by_vcpu.shared(), 0);
            by_vcpu.reserve_all(&taken).expect("memory");
            let bytes = by_vcpu.vcpus.iter().map(|written| written.pages.bytes()).sum::<usize>();
            for first in (0..3000 / 64 + 1).step_by(part) {
                by_vcpu.add_part(&taken, first..first + part);
            }
            let grown = by_vcpu.vcpus.iter().map(|written| written.pages.bytes()).sum::<usize>();
            prop_assert_eq!(grown, bytes, "there was room");
            prop_assert_eq!(by_vcpu.shared(), taken.shared());
            for (vcpu, set) in naive.iter().enumerate() {
                let pages = by_vcpu.pages_of(vcpu).expect("four vCPUs");
                prop_assert!(pages.iter().eq(set.iter().copied()));
            }
        }
    }
}
