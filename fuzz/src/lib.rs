//! What the fuzz targets have in common: an input is a few numbers, and words.

use dirtyrate::bitmap::Kernels;

pub mod boot;

/// The bytes of an input, taken from its start.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of an input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number below `limit`; 0 from an input that is used up.
    pub fn below(&mut self, limit: u64) -> u64 {
        let (bytes, rest) = self.0.split_at(self.0.len().min(2));
        self.0 = rest;
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % limit
    }

    /// The next `count` bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(self.0.len().min(count));
        self.0 = rest;
        bytes
    }

    /// The rest as words, each of one byte said eight times or of eight bytes, behind up to seven words of ones that
    /// are not among them: words at any address.
    pub fn words(mut self) -> Words {
        let start = self.below(8) as usize;
        let mut all = vec![u64::MAX; start];
        while let Some((kind, rest)) = self.0.split_first() {
            let bytes = if kind % 4 == 0 { rest.len().min(8) } else { rest.len().min(1) };
            let (word, rest) = rest.split_at(bytes);
            self.0 = rest;
            let word = match word {
                [byte] => u64::from_ne_bytes([*byte; 8]),
                bytes => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
            // A stretch of the same word, so that few bytes make many lines.
            all.extend(std::iter::repeat_n(word, 1 + usize::from(kind / 4)));
        }
        Words { all, start }
    }
}

/// Words, somewhere in memory.
pub struct Words {
    all: Vec<u64>,
    start: usize,
}

impl Words {
    /// They.
    pub fn get(&self) -> &[u64] {
        &self.all[self.start..]
    }
}

/// Does a check of every backend that this CPU can run.
pub fn every_backend(check: impl Fn(&Kernels)) {
    Kernels::available().for_each(check);
}
