//! Page sets that grow with what is in them, not with the guest.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Words in one region: 512 pages, which with pages of 4 KiB are 2 MiB of the guest.
pub const REGION_WORDS: usize = 8;
const REGION_PAGES: u64 = REGION_WORDS as u64 * u64::BITS as u64;

/// A set of pages, allocated by regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparsePages {
    regions: HashMap<u64, [u64; REGION_WORDS]>,
    pages: u64,
}

impl SparsePages {
    /// Adds a page; whether it is new.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the page is not added then.
    pub fn try_insert(&mut self, page: u64) -> Result<bool> {
        if self.regions.len() == self.regions.capacity() {
            self.reserve_regions(1)?;
        }
        let region = self.regions.entry(page / REGION_PAGES).or_default();
        let word = &mut region[(page % REGION_PAGES / 64) as usize];
        let bit = 1 << (page % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.pages += u64::from(new);
        Ok(new)
    }

    /// Makes room for all pages of another set, so that merging it cannot fail.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn reserve(&mut self, other: &Self) -> Result<()> {
        self.reserve_regions(other.regions.len())
    }

    fn reserve_regions(&mut self, regions: usize) -> Result<()> {
        let bytes = regions.saturating_mul(size_of::<(u64, [u64; REGION_WORDS])>());
        self.regions.try_reserve(regions).map_err(|_| Error::OutOfMemory { what: "a set of pages", bytes })
    }

    /// Takes all pages out, and keeps the room for as many.
    pub fn clear(&mut self) {
        self.regions.clear();
        self.pages = 0;
    }

    /// How many pages.
    pub fn len(&self) -> u64 {
        self.pages
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Whether a page is in it.
    pub fn contains(&self, page: u64) -> bool {
        let region = self.regions.get(&(page / REGION_PAGES));
        region.is_some_and(|region| region[(page % REGION_PAGES / 64) as usize] >> (page % 64) & 1 == 1)
    }

    /// Adds all pages of another set.
    pub fn merge(&mut self, other: &Self) {
        for (number, theirs) in &other.regions {
            let ours = self.regions.entry(*number).or_default();
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                self.pages += u64::from((theirs & !*ours).count_ones());
                *ours |= theirs;
            }
        }
    }

    /// Sets the bits of all pages in a bitmap; pages past its end are left out.
    pub fn set_in(&self, words: &mut [u64]) {
        for (number, region) in &self.regions {
            let first = *number as usize * REGION_WORDS;
            for (word, bits) in words.iter_mut().skip(first).zip(region) {
                *word |= bits;
            }
        }
    }

    /// The pages, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.regions.iter().flat_map(|(number, region)| {
            (0..REGION_PAGES)
                .filter(|bit| region[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
                .map(move |bit| number * REGION_PAGES + bit)
        })
    }

    /// How many pages are in more than one of `sets`.
    pub fn shared<'a>(sets: impl IntoIterator<Item = &'a Self>) -> u64 {
        let mut seen: HashMap<u64, ([u64; REGION_WORDS], [u64; REGION_WORDS])> = HashMap::new();
        for set in sets {
            for (number, region) in &set.regions {
                let (once, twice) = seen.entry(*number).or_default();
                for ((once, twice), bits) in once.iter_mut().zip(twice).zip(region) {
                    *twice |= *once & bits;
                    *once |= bits;
                }
            }
        }
        seen.values().flat_map(|(_, twice)| twice).map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Pages that collide in regions and words, and lie far apart.
    fn some(seed: u64) -> Vec<u64> {
        (0..2000u64).map(|i| (i * seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (40 + i % 20)).collect()
    }

    #[test]
    fn equals_a_set_of_numbers() {
        let (mut sparse, mut naive) = (SparsePages::default(), BTreeSet::new());
        for page in some(3).into_iter().chain(some(3)) {
            assert_eq!(sparse.try_insert(page).expect("memory"), naive.insert(page));
        }
        let mut other = SparsePages::default();
        some(5).into_iter().for_each(|page| {
            other.try_insert(page).expect("memory");
        });
        let both = naive.iter().filter(|page| other.contains(**page)).count() as u64;
        assert_eq!(SparsePages::shared([&sparse, &other, &SparsePages::default()]), both);
        sparse.reserve(&other).expect("memory");
        sparse.merge(&other);
        naive.extend(some(5));
        assert_eq!(sparse.len(), naive.len() as u64);
        assert_eq!(sparse.iter().collect::<BTreeSet<_>>(), naive);
        let mut words = vec![0; 1000];
        sparse.set_in(&mut words);
        for page in 0..64_000 {
            assert_eq!(words[page as usize / 64] >> (page % 64) & 1 == 1, naive.contains(&page));
        }
    }
}
