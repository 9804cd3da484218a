//! The plan: which pages are looked at.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::reader::PageBlock;
use super::room::reserved;
use crate::dirty_memory::check_cell;
use crate::error::{Error, Result};
use crate::names;

/// The default number of samples for each GiB of memory: one per 2 MiB, as in QEMU.
pub const DEFAULT_SAMPLES_PER_GIB: u32 = 512;
/// The smallest number of samples for each GiB, as in QEMU (`MIN_SAMPLE_PAGE_COUNT`).
pub const LEAST_SAMPLES_PER_GIB: u32 = 128;
/// The largest number of samples for each GiB, as in QEMU (`MAX_SAMPLE_PAGE_COUNT`).
pub const MOST_SAMPLES_PER_GIB: u32 = 16384;

/// How samples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Design {
    /// One page from each of n equal parts (strata) of a block, at a random place within its part. The variance is
    /// never larger than a simple random sample's, and with dirty pages in runs much smaller.
    #[default]
    Stratified,
    /// n pages of a block, each drawn from all pages, with replacement. This is QEMU's design, except that QEMU never
    /// chooses the last page.
    SimpleRandom,
}

impl Design {
    /// All values, the default first.
    pub const ALL: [Self; 2] = [Self::Stratified, Self::SimpleRandom];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stratified => "stratified",
            Self::SimpleRandom => "simple-random",
        }
    }
}

impl FromStr for Design {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("design", name, &Self::ALL, Self::name)
    }
}

/// How to make a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Samples for each GiB: 128 to 16384.
    pub samples_per_gib: u32,
    /// How the pages are chosen.
    pub design: Design,
    /// The same seed and blocks make the same plan, in every version of this crate.
    pub seed: u64,
    /// The size of the cells for which each comparison counts the samples, in bytes: a multiple of the page size. It
    /// does not change which pages are chosen.
    pub cell_bytes: Option<u64>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { samples_per_gib: DEFAULT_SAMPLES_PER_GIB, design: Design::default(), seed: 0, cell_bytes: None }
    }
}

impl PlanOptions {
    /// The same options with another number of samples for each GiB.
    pub fn with_samples_per_gib(self, samples_per_gib: u32) -> Self {
        Self { samples_per_gib, ..self }
    }

    /// The same options with another design.
    pub fn with_design(self, design: Design) -> Self {
        Self { design, ..self }
    }

    /// The same options with another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same options with cells of another size in bytes, or without cells.
    pub fn with_cell_bytes(self, cell_bytes: Option<u64>) -> Self {
        Self { cell_bytes, ..self }
    }
}

/// A random seed. The standard library seeds its hashers from the system's random source.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The pages to look at, block by block, by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    options: PlanOptions,
    blocks: Vec<Vec<u64>>,
}

impl Plan {
    /// Chooses pages of `blocks`, of `page_size` bytes each.
    ///
    /// A block has n = ⌈bytes × samples per GiB / 1 GiB⌉ samples, but no more samples than pages. So every block has at
    /// least one sample, and no block has a smaller share of samples than was asked for. In both designs every page,
    /// also the last one, is expected to be drawn n / pages times. Strata are exactly equal parts of the block, so that
    /// a page can lie on a boundary; it can be drawn from both sides, and then counts twice.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for samples per GiB out of range, an empty block, one of 2^63 bytes and more, or
    /// cells that are not whole pages; [`Error::OutOfMemory`] where there is no memory for the samples.
    pub fn new(blocks: &[PageBlock], page_size: u64, options: PlanOptions) -> Result<Self> {
        let density = options.samples_per_gib;
        if !(LEAST_SAMPLES_PER_GIB..=MOST_SAMPLES_PER_GIB).contains(&density) {
            return Err(Error::Argument(format!(
                "{density} samples per GiB: give {LEAST_SAMPLES_PER_GIB} to {MOST_SAMPLES_PER_GIB}"
            )));
        }
        options.cell_bytes.map_or(Ok(0), |bytes| check_cell(bytes, page_size))?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
        let blocks = blocks.iter().map(|block| choose(&mut rng, block, page_size, options));
        Ok(Self { options, blocks: blocks.collect::<Result<_>>()? })
    }

    /// Chooses pages of one more block, as [`new`](Self::new) does. With the same seed and the same number of blocks
    /// before it, the choice is the same.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an empty block, or one of 2^63 bytes and more; [`Error::OutOfMemory`] where there is no
    /// memory for the samples.
    pub fn add(&mut self, block: &PageBlock, page_size: u64) -> Result<()> {
        let seed = self.options.seed.wrapping_add(self.blocks.len() as u64);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        self.blocks.push(choose(&mut rng, block, page_size, self.options)?);
        Ok(())
    }

    /// The options of this plan.
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// The pages of each block, in the order of the blocks. The pages of a block are in ascending order, and a page
    /// that was drawn twice is there twice.
    pub fn blocks(&self) -> &[Vec<u64>] {
        &self.blocks
    }

    /// Samples over all blocks.
    pub fn samples(&self) -> u64 {
        self.blocks.iter().map(|pages| pages.len() as u64).sum()
    }
}

fn choose(rng: &mut impl Rng, block: &PageBlock, page_size: u64, options: PlanOptions) -> Result<Vec<u64>> {
    let bytes = block.pages.checked_mul(page_size).filter(|&bytes| bytes > 0 && bytes <= i64::MAX as u64);
    let bytes = bytes.ok_or_else(|| {
        Error::Argument(format!("block '{}' cannot have {} pages of {page_size} bytes", block.name, block.pages))
    })?;
    let samples = (u128::from(bytes) * u128::from(options.samples_per_gib)).div_ceil(1 << 30) as u64;
    let samples = samples.min(block.pages);
    let mut chosen = reserved(samples as usize)?;
    match options.design {
        Design::Stratified => stratified(rng, block.pages, samples, &mut chosen),
        Design::SimpleRandom => simple_random(rng, block.pages, samples, &mut chosen),
    }
    Ok(chosen)
}

/// Stratum i is the i-th of `samples` equal parts of the block. In units of 1 / `samples` of a page, a stratum has
/// `pages` units and a page has `samples` units, so that all numbers are whole. Each unit is drawn with the same
/// probability, and each page has the same number of units.
fn stratified(rng: &mut impl Rng, pages: u64, samples: u64, chosen: &mut Vec<u64>) {
    let random = Below::new(pages);
    let (whole, rest) = (pages / samples, pages % samples);
    // The first page of stratum i, and how many units of the page are in stratum i - 1: i * pages, divided by samples.
    let (mut first, mut units) = (0, 0);
    for _ in 0..samples {
        chosen.push(first + (units + random.draw(rng)) / samples);
        (first, units) = (first + whole, units + rest);
        if units >= samples {
            (first, units) = (first + 1, units - samples);
        }
    }
}

fn simple_random(rng: &mut impl Rng, pages: u64, samples: u64, chosen: &mut Vec<u64>) {
    let random = Below::new(pages);
    chosen.extend((0..samples).map(|_| random.draw(rng)));
    chosen.sort_unstable();
}

/// Random numbers below a bound, each with the same probability (Lemire, "Fast random integer generation in an
/// interval", 2019). This is not the `rand` crate's function, because that crate does not promise the same numbers in
/// its next version.
struct Below {
    bound: u64,
    reject: u64,
}

impl Below {
    fn new(bound: u64) -> Self {
        Self { bound, reject: bound.wrapping_neg() % bound }
    }

    fn draw(&self, rng: &mut impl Rng) -> u64 {
        loop {
            let product = u128::from(rng.next_u64()) * u128::from(self.bound);
            if product as u64 >= self.reject {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pages: u64) -> PageBlock {
        PageBlock { name: format!("{pages}"), guest_address: 0, pages }
    }

    fn plan(pages: &[u64], samples_per_gib: u32, design: Design, seed: u64) -> Plan {
        let blocks: Vec<_> = pages.iter().copied().map(block).collect();
        Plan::new(&blocks, 4096, PlanOptions { samples_per_gib, design, seed, cell_bytes: None }).expect("a good plan")
    }

    #[test]
    fn a_gib_has_one_sample_in_each_2_mib_and_small_blocks_have_one_at_least() {
        let plan = plan(&[1 << 18, 1, 511, 512, 513, (1 << 18) + 1], 512, Design::Stratified, 7);
        let counts: Vec<_> = plan.blocks().iter().map(Vec::len).collect();
        assert_eq!(counts, [512, 1, 1, 1, 2, 513]);
        assert_eq!(plan.samples(), 512 + 1 + 1 + 1 + 2 + 513);
        for (stratum, page) in plan.blocks()[0].iter().enumerate() {
            assert_eq!(page / 512, stratum as u64);
        }
    }

    #[test]
    fn pages_are_in_order_and_within_their_block() {
        for design in [Design::Stratified, Design::SimpleRandom] {
            for samples_per_gib in [128, 1000, 16384] {
                let sizes = [1, 2, 15, 16, 17, 4099, 262_147, (1 << 22) + 1];
                let plan = plan(&sizes, samples_per_gib, design, 3);
                for (pages, size) in plan.blocks().iter().zip(sizes) {
                    assert!(!pages.is_empty() && pages.is_sorted() && *pages.last().expect("one") < size);
                    let exact = size as f64 * 4096.0 * f64::from(samples_per_gib) / f64::from(1 << 30);
                    assert!(pages.len() as f64 >= exact && (pages.len() as f64) < exact + 1.0);
                }
            }
        }
    }

    /// Every page, the last one too, is expected equally often. Over R plans, Σ (seen − expected)² / expected is at
    /// most that of as many independent uniform draws (strata only take variance away), which is χ² with pages − 1
    /// degrees of freedom d, about; P(χ² ≥ d + 2√(dx) + 2x) ≤ e^−x (Laurent and Massart 2000, lemma 1). x = 20: a false
    /// alarm in 5 × 10^8 runs.
    #[test]
    fn every_page_is_chosen_equally_often() {
        for design in [Design::Stratified, Design::SimpleRandom] {
            // Whole strata, strata with a fraction of a page, a block of less than two strata, and one less than a
            // stratum.
            for (pages, samples_per_gib) in [(1024, 4096), (997, 16384), (700, 512), (61, 512)] {
                let rounds = 40_000;
                let mut seen = vec![0_u32; pages as usize];
                let mut drawn = 0_u64;
                for seed in 0..rounds {
                    let plan = plan(&[pages], samples_per_gib, design, seed);
                    drawn += plan.samples();
                    for &page in &plan.blocks()[0] {
                        seen[page as usize] += 1;
                    }
                }
                let expected = drawn as f64 / pages as f64;
                let statistic: f64 = seen.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
                let (d, x) = (pages as f64 - 1.0, 20.0_f64);
                let limit = d + 2.0 * (d * x).sqrt() + 2.0 * x;
                assert!(statistic < limit, "{design:?}, {pages} pages: {statistic} is not below {limit}");
                // A page's own count is at most binomial in its variance: Bernstein's bound, the same e^−x on either
                // side.
                let off = (2.0 * x * expected).sqrt() + x / 3.0;
                let last = f64::from(*seen.last().expect("a page"));
                assert!(
                    (last - expected).abs() < off,
                    "{design:?}: the last of {pages} pages {last} times, not {expected}"
                );
            }
        }
    }

    /// The strata by their definition, with fractions of pages and without.
    #[test]
    fn a_sample_is_in_its_stratum() {
        for (pages, samples_per_gib) in
            [(1 << 18, 512), (262_147, 16384), ((1 << 22) - 1, 1000), (997, 128), (61, 16384)]
        {
            let plan = plan(&[pages], samples_per_gib, Design::Stratified, 11);
            let samples = plan.samples();
            for (stratum, &page) in (0_u128..).zip(&plan.blocks()[0]) {
                let (all, each) = (u128::from(pages), u128::from(samples));
                let (first, last) = (stratum * all / each, ((stratum + 1) * all - 1) / each);
                assert!((first..=last).contains(&u128::from(page)), "{page} in stratum {stratum} of {samples}");
            }
        }
    }

    #[test]
    fn a_seed_makes_the_same_plan_for_ever() {
        assert_eq!(plan(&[4096, 1], 1024, Design::Stratified, 1), plan(&[4096, 1], 1024, Design::Stratified, 1));
        assert_ne!(plan(&[1 << 18], 512, Design::Stratified, 1), plan(&[1 << 18], 512, Design::Stratified, 2));
        // What version 0.1 drew.
        let drawn = |design| plan(&[2048, 9], 1024, design, 1).blocks().to_vec();
        assert_eq!(drawn(Design::Stratified), [vec![207, 447, 537, 959, 1071, 1431, 1788, 1925], vec![0]]);
        assert_eq!(drawn(Design::SimpleRandom), [vec![205, 378, 1071, 1209, 1528, 1530, 1662, 2021], vec![0]]);
    }

    /// Samples of a memory that no machine has, which no machine has the memory for either.
    #[test]
    fn a_plan_that_does_not_fit_into_memory_is_an_error() {
        for design in [Design::Stratified, Design::SimpleRandom] {
            for pages in [1 << 50, (1 << 51) - 1] {
                let options = PlanOptions { samples_per_gib: 16384, design, seed: 1, cell_bytes: None };
                let refused = Plan::new(&[block(pages)], 4096, options);
                assert!(matches!(refused, Err(Error::OutOfMemory { .. })), "{pages} pages");
            }
        }
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        for samples_per_gib in [0, 127, 16385, u32::MAX] {
            let options = PlanOptions { samples_per_gib, ..PlanOptions::default() };
            let text = Plan::new(&[block(1)], 4096, options).expect_err("out of range").to_string();
            assert!(text.contains("128") && text.contains("16384"), "{text}");
        }
        for pages in [0, 1 << 52, u64::MAX] {
            assert!(Plan::new(&[block(pages)], 4096, PlanOptions::default()).is_err(), "{pages}");
        }
    }
}
