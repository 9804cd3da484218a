//! Sets of guest pages.

/// A set of guest page frame numbers (guest address / page size), sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet {
    frames: Vec<u64>,
}

impl PageSet {
    /// Number of pages.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frame numbers, in ascending order.
    pub fn iter(&self) -> std::iter::Copied<std::slice::Iter<'_, u64>> {
        self.frames.iter().copied()
    }

    /// The frame numbers, in ascending order and without repetition.
    pub fn as_slice(&self) -> &[u64] {
        &self.frames
    }

    /// Whether the frame is in the set.
    pub fn contains(&self, frame: u64) -> bool {
        self.frames.binary_search(&frame).is_ok()
    }

    /// The pages of either set.
    pub fn union(&self, other: &PageSet) -> PageSet {
        self.iter().chain(other.iter()).collect()
    }

    /// The pages of this set that are not in the other.
    pub fn difference(&self, other: &PageSet) -> PageSet {
        let mut rest = other.iter().peekable();
        let frames = self
            .iter()
            .filter(|&frame| {
                while rest.next_if(|&passed| passed < frame).is_some() {}
                rest.peek() != Some(&frame)
            })
            .collect();
        PageSet { frames }
    }

    /// Whether every page of this set is in the other.
    pub fn is_subset(&self, other: &PageSet) -> bool {
        self.len() <= other.len() && self.difference(other).is_empty()
    }
}

impl FromIterator<u64> for PageSet {
    fn from_iter<I: IntoIterator<Item = u64>>(frames: I) -> Self {
        frames.into_iter().collect::<Vec<_>>().into()
    }
}

impl From<Vec<u64>> for PageSet {
    /// Takes frame numbers in any order, repeated or not.
    fn from(mut frames: Vec<u64>) -> Self {
        // The stable sort is used, because it recognises runs: the input is a few sorted lists, one after the other.
        frames.sort();
        frames.dedup();
        PageSet { frames }
    }
}

impl<'a> IntoIterator for &'a PageSet {
    type Item = u64;
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, u64>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_tree() {
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for _ in 0..500 {
            let lengths = (draw() % 40, draw() % 40);
            let left: Vec<u64> = (0..lengths.0).map(|_| draw() % 50).collect();
            let right: Vec<u64> = (0..lengths.1).map(|_| draw() % 50).collect();
            let trees: (BTreeSet<u64>, BTreeSet<u64>) =
                (left.iter().copied().collect(), right.iter().copied().collect());
            let sets: (PageSet, PageSet) = (left.into(), right.into());
            let list = |set: &PageSet| set.iter().collect::<Vec<_>>();
            assert!(sets.0.iter().eq(trees.0.iter().copied()));
            assert!(sets.0.union(&sets.1).iter().eq(trees.0.union(&trees.1).copied()));
            assert_eq!(list(&sets.0.difference(&sets.1)), trees.0.difference(&trees.1).copied().collect::<Vec<_>>());
            assert_eq!(sets.0.is_subset(&sets.1), trees.0.is_subset(&trees.1));
            assert!((0..50).all(|frame| sets.0.contains(frame) == trees.0.contains(&frame)));
        }
    }
}
