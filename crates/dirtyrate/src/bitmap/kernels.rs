//! The kernels of one backend, as a table of functions and the methods that call them.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::hints::Hints;
use super::line::Line;
use crate::error::{Error, Result};

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// What every CPU of the architecture has.
    Generic,
    /// x86-64 with POPCNT (x86-64-v2).
    Popcnt,
    /// x86-64 with AVX2, BMI and POPCNT (x86-64-v3).
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, VBMI2 and VPOPCNTDQ (Ice Lake, Zen 4, and later), built with Rust 1.89 or later.
    Avx512,
    /// AArch64 with Advanced SIMD.
    Neon,
}

impl Backend {
    /// All backends, the slowest first, also those that this CPU cannot run.
    pub const ALL: [Self; 5] = [Self::Generic, Self::Popcnt, Self::Avx2, Self::Avx512, Self::Neon];

    /// The name, as `DIRTYRATE_BACKEND` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Popcnt => "popcnt",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| Error::Argument(format!("no backend '{name}' for bitmaps: there is {}", names(Self::ALL))))
    }
}

pub(super) fn names(backends: impl IntoIterator<Item = Backend>) -> String {
    backends.into_iter().map(Backend::name).collect::<Vec<_>>().join(", ")
}

/// One client's words in a [`merge`](Kernels::merge).
#[derive(Debug, Default)]
pub struct Target<'a> {
    pub(super) words: &'a mut [u64],
    pub(super) newly: Line,
}

impl<'a> Target<'a> {
    /// The words that a merge adds to.
    pub fn new(words: &'a mut [u64]) -> Self {
        Self { words, newly: Line::default() }
    }

    /// How many bits the merges so far have set that were not set before.
    pub fn newly(&self) -> u64 {
        self.newly.iter().sum()
    }
}

/// How much of a bitmap is dirty in units that are larger than a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GranuleCount {
    /// Granules with at least one dirty page.
    pub dirty: u64,
    /// Maximal runs of dirty granules.
    pub extents: u64,
}

impl GranuleCount {
    /// Adds the granules of another part of the memory, whose granules are not among those of this part.
    pub(crate) fn add(&mut self, other: Self) {
        self.dirty += other.dirty;
        self.extents += other.extents;
    }
}

/// The kernels of one backend, with hints or without. All backends give the same results, for any number of words at
/// any address.
pub struct Kernels {
    pub(super) backend: Backend,
    pub(super) hints: Hints,
    pub(super) count: unsafe fn(&[u64]) -> u64,
    pub(super) merge: unsafe fn(&[u64], &mut [Target<'_>]) -> u64,
    pub(super) extent: unsafe fn(&[u64]) -> Option<Range<usize>>,
    pub(super) heat: unsafe fn(&[u64], u64, &mut [u32]),
    pub(super) granules: unsafe fn(&[u64], u64, u64) -> GranuleCount,
    pub(super) positions: unsafe fn(&[u64], u64, &mut [u32]) -> usize,
    pub(super) ranges: unsafe fn(&[u64], u64, &mut [[u32; 2]]) -> usize,
}

impl Kernels {
    /// The backend of these kernels.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether these kernels use hints.
    pub fn hints(&self) -> Hints {
        self.hints
    }

    /// The number of set bits.
    pub fn count(&self, words: &[u64]) -> u64 {
        // SAFETY: this table was handed out by its backend, which does that only where the CPU has every feature that
        // its functions are compiled for. They ask for nothing else. The same holds of the calls below.
        unsafe { (self.count)(words) }
    }

    /// ORs `source` into each target, and adds the number of bits that were not set before to each target's
    /// [`newly`](Target::newly). Returns the number of set bits of `source`. Lines of 64 bytes that are all zero are
    /// skipped without touching a target, because most of a log is clean, and so that untouched parts of a sparse
    /// bitmap stay unallocated. This is one pass over `source` for any number of targets, also for none, and allocates
    /// nothing.
    ///
    /// # Panics
    ///
    /// If a target has another number of words than `source`.
    pub fn merge(&self, source: &[u64], targets: &mut [Target<'_>]) -> u64 {
        for target in targets.iter() {
            assert_eq!(target.words.len(), source.len(), "a target of another length than the source");
        }
        // SAFETY: as of `count`.
        unsafe { (self.merge)(source, targets) }
    }

    /// The range from the first word that is not zero to the last one; `None` if all words are zero.
    pub fn extent(&self, words: &[u64]) -> Option<Range<usize>> {
        // SAFETY: as of `count`.
        unsafe { (self.extent)(words) }
    }

    /// Counts the set bits in each region of `pages_per_region` pages, for as many regions as `into` has room for.
    /// Regions past the end of `words` get 0. With 512 pages of 4 KiB a region has 2 MiB; with pages of 16 or 64 KiB it
    /// is 128 or 32.
    ///
    /// # Panics
    ///
    /// If a region has no page, or 2³² pages or more.
    pub fn heat(&self, words: &[u64], pages_per_region: u64, into: &mut [u32]) {
        assert!((1..1 << 32).contains(&pages_per_region), "a region of {pages_per_region} pages");
        // SAFETY: as of `count`.
        unsafe { (self.heat)(words, pages_per_region, into) }
    }

    /// Counts the granules of `pages_per_granule` pages that have a set bit, and the maximal runs of such granules. The
    /// first granule begins `phase` pages before the first page of `words`: page `n` is in granule
    /// `(n + phase) / pages_per_granule`. So granules can lie at multiples of their size in the guest's address space,
    /// also where the memory that `words` describes does not begin at one. Powers of two up to 32, and multiples of 64,
    /// are counted by whole words where the granules begin at word borders; other granules by their first set bits.
    ///
    /// # Panics
    ///
    /// If a granule has no page, or if `phase` is not below `pages_per_granule`.
    pub fn granules(&self, words: &[u64], pages_per_granule: u64, phase: u64) -> GranuleCount {
        assert!(phase < pages_per_granule, "a granule of {pages_per_granule} pages that began {phase} pages ago");
        // SAFETY: as of `count`.
        unsafe { (self.granules)(words, pages_per_granule, phase) }
    }

    /// Writes the numbers of the pages at and after `from` whose bits are set, in order, as long as `into` has room,
    /// and returns how many it wrote. If `into` is not full, there are no more pages; if it is full, go on from the
    /// page after the last one. The rest of `into` is undefined afterwards.
    ///
    /// # Panics
    ///
    /// If `words` describes 2³² pages or more. (A memory slot has fewer than 2³¹: `KVM_MEM_MAX_NR_PAGES`.)
    pub fn positions(&self, words: &[u64], from: u64, into: &mut [u32]) -> usize {
        check_pages(words);
        // SAFETY: as of `count`.
        unsafe { (self.positions)(words, from, into) }
    }

    /// Writes the maximal runs of set bits at and after `from`, in order, each as its first page and its number of
    /// pages, as long as `into` has room, and returns how many it wrote. If `from` lies in the middle of a run, the run
    /// begins at `from`. If `into` is not full, there are no more runs; if it is full, go on from the end of the last
    /// one. The rest of `into` is undefined afterwards.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`positions`](Self::positions).
    pub fn ranges(&self, words: &[u64], from: u64, into: &mut [[u32; 2]]) -> usize {
        check_pages(words);
        // SAFETY: as of `count`.
        unsafe { (self.ranges)(words, from, into) }
    }
}

fn check_pages(words: &[u64]) {
    assert!(words.len() < (1 << 32) / 64, "{} words have pages past the last that 32 bits can name", words.len());
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.backend).field(&self.hints).finish()
    }
}
