//! Sets of pages.

/// A set of pages of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    size: u64,
    words: Vec<u64>,
}

impl Pages {
    pub fn none(size: u64) -> Self {
        Self { size, words: vec![0; size.div_ceil(64) as usize] }
    }

    pub fn all(size: u64) -> Self {
        Self::between(size, 0, size)
    }

    pub fn between(size: u64, first: u64, end: u64) -> Self {
        let mut pages = Self::none(size);
        (first..end.min(size)).for_each(|page| pages.insert(page));
        pages
    }

    pub fn insert(&mut self, page: u64) {
        assert!(page < self.size);
        self.words[(page / 64) as usize] |= 1 << (page % 64);
    }

    pub fn contains(&self, page: u64) -> bool {
        self.words[(page / 64) as usize] >> (page % 64) & 1 == 1
    }

    pub fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    pub fn take_away(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    pub fn common(&self, other: &Self) -> Self {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        Self { size: self.size, words }
    }

    pub fn is_within(&self, other: &Self) -> bool {
        self.common(other) == *self
    }

    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.size).filter(|&page| self.contains(page))
    }
}
