//! Sets of pages whose memory grows with the number of their pages, and not with the size of the guest.
//!
//! A set is a tree of three levels, indexed by the page's number. With pages of 4 KiB, the *root* has one link for each
//! GiB of the guest, which leads to a *node*. A node has one link for each 2 MiB, which leads to a *region*, the bits
//! of 512 pages. Finding a page takes three loads and no hash, and a page in the same region as the last one takes a
//! single load. Regions are in the order of their pages.

use crate::error::{Error, Result};

/// Words in one region: 512 pages, which with pages of 4 KiB are 2 MiB of the guest.
pub const REGION_WORDS: usize = 8;
const REGION_PAGES: u64 = REGION_WORDS as u64 * u64::BITS as u64;
/// Regions below one node.
const NODE_REGIONS: u64 = 512;
/// The page numbers that a set can hold end here. A memory slot has fewer than 2^31 pages, and the root of a set has 4
/// bytes for each 2^18 pages below its last one.
const PAGES_END: u64 = 1 << 40;

/// The index of a region or of a node, plus one; 0 if there is none.
type Link = u32;
/// The bits of one region.
pub type Region = [u64; REGION_WORDS];
type Node = [Link; NODE_REGIONS as usize];

/// A set of pages, allocated by regions.
#[derive(Debug, Clone)]
pub struct SparsePages {
    root: Vec<Link>,
    nodes: Vec<Node>,
    regions: Vec<Region>,
    pages: u64,
    /// The number of the region of the last page that was added, and the index of this region.
    last: (u64, usize),
}

impl Default for SparsePages {
    fn default() -> Self {
        Self { root: Vec::new(), nodes: Vec::new(), regions: Vec::new(), pages: 0, last: NO_REGION }
    }
}

/// The value of [`SparsePages::last`] before a page is added.
const NO_REGION: (u64, usize) = (u64::MAX, 0);

impl PartialEq for SparsePages {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages && self.regions().eq(other.regions())
    }
}

impl Eq for SparsePages {}

impl SparsePages {
    /// Adds a page. Returns whether it was not in the set before.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; [`Error::Argument`] for a page number that is too large for any memory slot. The page is
    /// not added then.
    #[inline]
    pub fn try_insert(&mut self, page: u64) -> Result<bool> {
        let number = page / REGION_PAGES;
        let place = if self.last.0 == number { self.last.1 } else { self.go_to(number)? };
        let word = &mut self.regions[place][(page % REGION_PAGES / 64) as usize];
        let bit = 1 << (page % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.pages += u64::from(new);
        Ok(new)
    }

    /// The index of a region, which is made if there is none.
    fn go_to(&mut self, number: u64) -> Result<usize> {
        let place = match self.place(number) {
            Some(place) => place,
            None => {
                self.make_room(number)?;
                self.make_region(number)
            }
        };
        self.last = (number, place);
        Ok(place)
    }

    #[inline]
    fn place(&self, number: u64) -> Option<usize> {
        let node = self.root.get((number / NODE_REGIONS) as usize)?.checked_sub(1)?;
        let region = self.nodes[node as usize][(number % NODE_REGIONS) as usize].checked_sub(1)?;
        Some(region as usize)
    }

    /// Makes room for one more region.
    #[cold]
    fn make_room(&mut self, number: u64) -> Result<()> {
        if number >= PAGES_END / REGION_PAGES {
            return Err(Error::Argument(format!(
                "page {}: no memory slot has a page of this number, so no set of pages has one",
                number.saturating_mul(REGION_PAGES)
            )));
        }
        self.reserve_room((number / NODE_REGIONS) as usize + 1, 1, 1)
    }

    fn reserve_room(&mut self, root: usize, nodes: usize, regions: usize) -> Result<()> {
        let links = root.saturating_sub(self.root.len());
        let bytes = regions.saturating_mul(size_of::<Region>());
        let full = |_| Error::OutOfMemory { what: "a set of pages", bytes };
        self.root.try_reserve(links).map_err(full)?;
        self.nodes.try_reserve(nodes).map_err(full)?;
        self.regions.try_reserve(regions).map_err(full)
    }

    /// Makes a region that does not exist yet. There must be room for it.
    fn make_region(&mut self, number: u64) -> usize {
        let at = (number / NODE_REGIONS) as usize;
        if self.root.len() <= at {
            self.root.resize(at + 1, 0);
        }
        if self.root[at] == 0 {
            self.nodes.push([0; NODE_REGIONS as usize]);
            self.root[at] = self.nodes.len() as Link;
        }
        self.regions.push([0; REGION_WORDS]);
        self.nodes[self.root[at] as usize - 1][(number % NODE_REGIONS) as usize] = self.regions.len() as Link;
        self.regions.len() - 1
    }

    /// Makes room for all pages of another set, so that merging it cannot fail.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn reserve(&mut self, other: &Self) -> Result<()> {
        let missing = self.missing(other.regions().map(|(number, _)| number));
        self.reserve_missing(other, missing)
    }

    /// How many of `regions` the set does not have.
    pub fn missing(&self, regions: impl Iterator<Item = u64>) -> usize {
        regions.filter(|number| self.place(*number).is_none()).count()
    }

    /// Does what [`reserve`](Self::reserve) does, for a caller that knows how many regions of `other` are
    /// [missing](Self::missing) here.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn reserve_missing(&mut self, other: &Self, missing: usize) -> Result<()> {
        self.reserve_room(other.root.len(), other.nodes.len().min(missing), missing)
    }

    /// Removes all pages, and keeps the memory.
    pub fn clear(&mut self) {
        self.root.clear();
        self.nodes.clear();
        self.regions.clear();
        (self.pages, self.last) = (0, NO_REGION);
    }

    /// How many pages.
    pub fn len(&self) -> u64 {
        self.pages
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// How many bytes of memory the set takes, including the memory that it keeps for later.
    pub fn bytes(&self) -> usize {
        self.root.capacity() * size_of::<Link>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.regions.capacity() * size_of::<Region>()
    }

    /// Whether a page is in the set.
    pub fn contains(&self, page: u64) -> bool {
        let region = self.place(page / REGION_PAGES).map(|place| &self.regions[place]);
        region.is_some_and(|region| region[(page % REGION_PAGES / 64) as usize] >> (page % 64) & 1 == 1)
    }

    /// Adds all pages of another set. There must be [room](Self::reserve) for them.
    pub fn merge(&mut self, other: &Self) {
        for (number, theirs) in other.regions() {
            self.merge_region(number, theirs);
        }
    }

    /// Adds the pages of one region, and returns those that were not in the set before. There must be
    /// [room](Self::reserve) for the region.
    pub fn merge_region(&mut self, number: u64, theirs: &Region) -> Region {
        let place = self.place(number).unwrap_or_else(|| self.make_region(number));
        let mut new = [0; REGION_WORDS];
        for ((ours, theirs), new) in self.regions[place].iter_mut().zip(theirs).zip(&mut new) {
            *new = theirs & !*ours;
            *ours |= theirs;
            self.pages += u64::from(new.count_ones());
        }
        new
    }

    /// The bits of one region: all 0 if it has no page.
    pub fn region(&self, number: u64) -> Region {
        self.place(number).map_or([0; REGION_WORDS], |place| self.regions[place])
    }

    /// The regions that have pages, in order, each with its number and its bits: region `n` begins at page `512 n`.
    pub fn regions(&self) -> impl Iterator<Item = (u64, &Region)> + '_ {
        let nodes = (0..).zip(&self.root).filter(|(_, link)| **link != 0);
        nodes.flat_map(|(at, link): (u64, _)| {
            let links = (at * NODE_REGIONS..).zip(&self.nodes[*link as usize - 1]);
            let links = links.filter(|(_, link)| **link != 0);
            links.map(|(number, link)| (number, &self.regions[*link as usize - 1]))
        })
    }

    /// Sets the bits of all pages of this set in the bitmap `words`; pages past its end are left out.
    pub fn set_in(&self, words: &mut [u64]) {
        for (number, region) in self.regions() {
            let first = number as usize * REGION_WORDS;
            for (word, bits) in words.iter_mut().skip(first).zip(region) {
                *word |= bits;
            }
        }
    }

    /// The pages, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.regions().flat_map(|(number, region)| {
            (0..REGION_PAGES)
                .filter(|bit| region[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
                .map(move |bit| number * REGION_PAGES + bit)
        })
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

    fn set_of(pages: impl IntoIterator<Item = u64>) -> SparsePages {
        let mut set = SparsePages::default();
        pages.into_iter().for_each(|page| {
            set.try_insert(page).expect("memory");
        });
        set
    }

    #[test]
    fn equals_a_set_of_numbers() {
        let (mut sparse, mut naive) = (SparsePages::default(), BTreeSet::new());
        for page in some(3).into_iter().chain(some(3)) {
            assert_eq!(sparse.try_insert(page).expect("memory"), naive.insert(page));
        }
        let other = set_of(some(5));
        sparse.reserve(&other).expect("memory");
        let room = sparse.bytes();
        sparse.merge(&other);
        assert_eq!(sparse.bytes(), room, "what was reserved is enough");
        naive.extend(some(5));
        assert_eq!(sparse.len(), naive.len() as u64);
        assert!(sparse.iter().eq(naive.iter().copied()), "all pages, in order");
        let mut words = vec![0; 1000];
        sparse.set_in(&mut words);
        for page in 0..64_000 {
            assert_eq!(words[page as usize / 64] >> (page % 64) & 1 == 1, naive.contains(&page));
        }
    }

    #[test]
    fn a_set_that_was_emptied_is_as_a_new_one() {
        let mut set = set_of(some(3));
        set.clear();
        assert!(set.is_empty() && set == SparsePages::default() && !set.contains(some(3)[1]));
        // The last page's region is not there any more.
        assert!(set.try_insert(some(3)[1999]).expect("memory"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [some(3)[1999]]);
    }

    #[test]
    fn the_order_of_the_pages_makes_no_difference() {
        assert_eq!(set_of(some(3)), set_of(some(3).into_iter().rev()));
        assert_ne!(set_of(some(3)), set_of(some(5)));
    }

    #[test]
    fn a_set_takes_what_its_pages_take() {
        // The last page of the largest memory slot: 8 TiB.
        let set = set_of([(1 << 31) - 2]);
        assert!(set.bytes() < 64 << 10, "{} bytes for one page", set.bytes());
        assert!(set.contains((1 << 31) - 2) && !set.contains((1 << 31) - 3));
    }

    #[test]
    fn a_page_that_no_slot_has_is_refused() {
        let mut set = SparsePages::default();
        for page in [PAGES_END, u64::MAX] {
            assert!(matches!(set.try_insert(page), Err(Error::Argument(_))), "{page}");
            assert!(!set.contains(page) && set.is_empty());
        }
        assert!(set.try_insert(PAGES_END - 1).expect("the last one"));
        assert_eq!(set.iter().collect::<Vec<_>>(), [PAGES_END - 1]);
    }
}
