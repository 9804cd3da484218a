//! The results of a comparison, as numbers of samples and as figures.

use std::time::Duration;

use super::estimate::{Estimate, EstimatedPages, Part, combine};
use super::interval::{Interval, Intervals};
use crate::sum::sum;

/// A dirty rate with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Rate {
    /// The sum over the blocks of fraction × bytes / the block's own window.
    pub bytes_per_second: f64,
    /// The bounds of the rate, in bytes per second. They cover only the error of sampling; the rate of a longer window
    /// is another figure.
    pub interval: Interval,
}

/// One block's share of a [`Sampled`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BlockSampled {
    /// The block's name.
    pub name: String,
    /// The guest physical address of its first page.
    pub guest_address: u64,
    /// How many pages the block has.
    pub pages: u64,
    /// Bytes in a page.
    pub page_size: u64,
    /// How many samples the block has, at least one.
    pub samples: u64,
    /// How many of the samples have changed since the beginning.
    pub hits: u64,
    /// How many of the hits the comparison before this one did not find.
    pub new_hits: u64,
    /// How many samples were all zeros at the beginning, including untouched ones.
    pub zero_pages: u64,
    /// How many samples were untouched at the beginning.
    pub untouched_pages: u64,
    /// How many samples came into memory only after the first look, so that nobody knows whether they changed.
    pub unjudged: u64,
    /// The mean of the samples' own windows. Zero for a block that was removed before its samples were looked at.
    pub window: Duration,
    /// Whether the block was removed. It contributes what was written before its removal, and its window ends there.
    pub removed: bool,
    /// The standard error of hits / samples, on the safe side, as in [`Sampled::standard_error`].
    pub standard_error: f64,
    /// The block's regions, in order: together they are the block.
    pub regions: Vec<RegionSampled>,
    /// The block's cells, counted from its start, if [`PlanOptions`](super::PlanOptions) asked for them. Otherwise
    /// empty.
    pub cells: Vec<CellSampled>,
}

/// The samples in one cell of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CellSampled {
    /// How many samples lie in it. A cell may have none.
    pub samples: u32,
    /// How many of them have changed since the beginning.
    pub hits: u32,
}

/// One region of a block, which begins at a multiple of [`REGION_BYTES`](crate::REGION_BYTES) from the start of the
/// block.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RegionSampled {
    /// The number of its first page in the block.
    pub first_page: u64,
    /// How many pages it has. The last region of a block may have fewer than the others.
    pub pages: u64,
    /// How many samples lie in it. A small region may have none.
    pub samples: u64,
    /// How many of them have changed since the beginning.
    pub hits: u64,
}

/// What a comparison found: the samples that changed since the beginning, at least once and visibly.
///
/// The figures of several blocks weigh each block by its pages (or bytes per second): they are not hits / samples where
/// blocks differ in their share of samples, if only by rounding.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sampled {
    /// Bytes in a page.
    pub page_size: u64,
    /// Pages of all blocks.
    pub pages: u64,
    /// Samples.
    pub samples: u64,
    /// Samples found changed since the beginning, in this comparison or one before: one that changed stays changed.
    pub hits: u64,
    /// How many of the hits the comparison before this one did not find.
    pub new_hits: u64,
    /// How many samples were all zeros at the beginning, including untouched ones.
    pub zero_pages: u64,
    /// How many samples were untouched at the beginning.
    pub untouched_pages: u64,
    /// How many samples were in swap or on the disk at the first look, and came into memory after it. They count as
    /// unchanged, although they may have been written, so with such samples the figures are lower bounds.
    pub unjudged: u64,
    /// The mean of the samples' own windows, each from its first look to this one.
    pub window: Duration,
    /// The longest window of a sample less the shortest one's.
    pub skew: Duration,
    /// No sample's window is wrong by more than this: a batch of samples has one time, the middle of its looks.
    pub window_error: Duration,
    /// How long the looks of this comparison took.
    pub took: Duration,
    /// Block by block, in the reader's order.
    pub blocks: Vec<BlockSampled>,
}

impl Sampled {
    pub(super) fn new(page_size: u64, blocks: Vec<BlockSampled>) -> Self {
        let total = |of: fn(&BlockSampled) -> u64| blocks.iter().map(of).sum::<u64>();
        let samples = total(|block| block.samples);
        let windows = sum(blocks.iter().map(|block| block.samples as f64 * block.window.as_secs_f64()));
        Self {
            page_size,
            pages: total(|block| block.pages),
            samples,
            hits: total(|block| block.hits),
            new_hits: total(|block| block.new_hits),
            zero_pages: total(|block| block.zero_pages),
            untouched_pages: total(|block| block.untouched_pages),
            unjudged: total(|block| block.unjudged),
            window: Duration::from_secs_f64(windows / samples.max(1) as f64),
            skew: Duration::ZERO,
            window_error: Duration::ZERO,
            took: Duration::ZERO,
            blocks,
        }
    }

    /// The fraction of pages that changed since the beginning. Comparisons with one begin share their samples, and
    /// their errors: to tell how much was added between two, take [`increment`](Self::increment).
    pub fn dirty(&self, intervals: &Intervals) -> Estimate {
        self.by_pages(|block| block.hits, intervals)
    }

    /// The fraction of pages that were first found changed in this comparison.
    pub fn increment(&self, intervals: &Intervals) -> Estimate {
        self.by_pages(|block| block.new_hits, intervals)
    }

    /// How many pages changed since the begin: [`dirty`](Self::dirty) of all pages.
    pub fn dirty_pages(&self, intervals: &Intervals) -> EstimatedPages {
        self.dirty(intervals).of_pages(self.pages)
    }

    /// How many pages were first found changed in this comparison: [`increment`](Self::increment) of all pages.
    pub fn new_pages(&self, intervals: &Intervals) -> EstimatedPages {
        self.increment(intervals).of_pages(self.pages)
    }

    /// The fraction of pages that were all zeros at the beginning.
    pub fn zero(&self, intervals: &Intervals) -> Estimate {
        self.by_pages(|block| block.zero_pages, intervals)
    }

    /// How many pages of the memory were all zeros at the beginning: [`zero`](Self::zero) of all pages.
    pub fn zero_pages_of_memory(&self, intervals: &Intervals) -> EstimatedPages {
        self.zero(intervals).of_pages(self.pages)
    }

    /// Dirty bytes per second: fraction × bytes / window, by block, summed. A block without a window has no part in it.
    pub fn rate(&self, intervals: &Intervals) -> Rate {
        let watched = self.blocks.iter().filter(|block| !block.window.is_zero());
        let most = sum(watched.clone().map(BlockSampled::most_bytes_per_second));
        let weights = |block: &BlockSampled| block.part(block.most_bytes_per_second(), block.hits);
        rate(combine(watched.map(weights), intervals), most)
    }

    /// The standard error of the dirty fraction, on the safe side: by pairing neighbouring strata, or a simple random
    /// sample's. It shows what stratification gains on this memory. It is no replacement for the interval: with few
    /// hits it is itself a guess, and it is 0 where no neighbours differ.
    pub fn standard_error(&self) -> f64 {
        let share = |block: &BlockSampled| block.pages as f64 / self.pages as f64 * block.standard_error;
        sum(self.blocks.iter().map(|block| share(block).powi(2))).sqrt()
    }

    fn by_pages(&self, hits: fn(&BlockSampled) -> u64, intervals: &Intervals) -> Estimate {
        combine(self.blocks.iter().map(|block| block.part(block.pages as f64, hits(block))), intervals)
    }
}

impl BlockSampled {
    /// The fraction of the block's pages that changed since the beginning.
    pub fn dirty(&self, intervals: &Intervals) -> Estimate {
        combine([self.part(1.0, self.hits)].into_iter(), intervals)
    }

    /// How many of the block's pages changed since the begin.
    pub fn dirty_pages(&self, intervals: &Intervals) -> EstimatedPages {
        self.dirty(intervals).of_pages(self.pages)
    }

    /// How many pages of one of the block's regions changed since the beginning, by the region's own samples. The
    /// regions do not add up to [`dirty_pages`](Self::dirty_pages) exactly, because the samples of a region are not
    /// exactly in proportion to its pages. If no sample lies in the region, the fraction of the whole block is the
    /// estimate, and the interval is the whole region.
    pub fn region_pages(&self, region: &RegionSampled, intervals: &Intervals) -> EstimatedPages {
        let RegionSampled { hits, samples, .. } = *region;
        let of_region = if samples > 0 {
            combine([Part { weight: 1.0, hits, samples }].into_iter(), intervals)
        } else {
            Estimate { fraction: self.dirty(intervals).fraction, ..combine([].into_iter(), intervals) }
        };
        of_region.of_pages(region.pages)
    }

    /// How many pages of each cell changed since the beginning, where a cell has `cell_pages` pages: its pages × hits /
    /// samples, and 0 if it has no sample. The last cell may be smaller.
    pub fn cell_pages(&self, cell_pages: u64) -> impl Iterator<Item = f64> {
        (0..).zip(&self.cells).map(move |(number, CellSampled { samples, hits })| {
            let pages = cell_pages.min(self.pages - number * cell_pages);
            pages as f64 * f64::from(*hits) / f64::from((*samples).max(1))
        })
    }

    /// How large the block is.
    pub fn bytes(&self) -> u64 {
        self.pages * self.page_size
    }

    /// The block's dirty bytes per second.
    pub fn rate(&self, intervals: &Intervals) -> Rate {
        rate(self.dirty(intervals), self.most_bytes_per_second())
    }

    /// Where every page changes once.
    fn most_bytes_per_second(&self) -> f64 {
        self.bytes() as f64 / self.window.max(Duration::from_nanos(1)).as_secs_f64()
    }

    fn part(&self, weight: f64, hits: u64) -> Part {
        Part { weight, hits, samples: self.samples }
    }
}

fn rate(of: Estimate, most: f64) -> Rate {
    Rate { bytes_per_second: of.fraction * most, interval: of.interval.times(most) }
}
