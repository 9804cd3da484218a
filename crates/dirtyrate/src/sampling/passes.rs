//! The passes over the samples: the first look, and the comparisons with it.

use std::ops::Range;
use std::time::{Duration, Instant};

use twox_hash::XxHash3_64;

use super::estimate::variance;
use super::plan::Plan;
use super::reader::{Contents, Look, PageReader};
use super::room::{filled, reserved};
use super::sampled::{BlockSampled, CellSampled, RegionSampled, Sampled};
use super::trace;
use crate::block::region_pages;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

/// How many samples share a time stamp and are read in one call, which a cancel does not interrupt.
const BATCH: usize = 64;

/// The hash of a sample whose contents no look has seen yet. A page has this hash once in 2^64, which is as likely as a
/// change that goes unnoticed.
const NOT_SEEN: u64 = 0;

/// When the looks of one batch began and ended. The middle counts as the time of all samples of the batch, so it is
/// wrong by at most half of the batch's duration.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    middle: Instant,
    half: Duration,
}

impl Stamp {
    fn since(began: Instant) -> Self {
        let half = began.elapsed() / 2;
        Self { middle: began + half, half }
    }
}

/// The samples of one block, by address, and what is known about each.
#[derive(Debug)]
struct BlockSamples {
    looks: Vec<Look>,
    hashes: Vec<u64>,
    changed: Vec<bool>,
    /// The time stamp of the first look, for each batch.
    opened: Vec<Stamp>,
    zero_pages: u64,
    untouched_pages: u64,
    unjudged: u64,
    /// The hits of the last comparison that was finished.
    reported: u64,
    /// When the block was removed.
    removed: Option<Instant>,
}

/// A look of a comparison that has not been traced yet.
pub struct UntracedLook {
    block: usize,
    sample: usize,
    hash: u64,
}

/// One measurement by sampling: [`begin`](Self::begin) hashes every sample, and [`compare`](Self::compare), at each
/// deadline, finds those whose contents are no longer what they were.
///
/// If tracing is on, QEMU's events of each look are emitted after the pass.
///
/// A sample takes 33 bytes, including its part of the plan: 16.7 MiB per TiB with 512 samples per GiB.
#[derive(Debug)]
pub struct Sampling<R> {
    reader: R,
    plan: Plan,
    blocks: Vec<BlockSamples>,
    hash_of_zeros: u64,
    began: Instant,
    first_pass: Duration,
}

impl<R: PageReader> Sampling<R> {
    /// Looks at every page of the plan for the first time.
    ///
    /// A sample's window opens at its own look. All passes go over the samples in the same order. So every window is
    /// about as long as the time from the beginning of this pass to the beginning of the comparison, however long a
    /// pass takes.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a plan that was made for other blocks, and for a reader whose page size is not a power
    /// of two; [`Error::OutOfMemory`]; [`Error::Cancelled`]; [`Error::State`] for a reader that shows other pages than
    /// it was asked for, or another number of bytes than a page has; those of the reader.
    pub fn begin(reader: R, plan: Plan, cancel: &CancelToken) -> Result<Self> {
        let sampling = Self::begin_untraced(reader, plan, cancel)?;
        sampling.trace_first_looks();
        Ok(sampling)
    }

    /// Does what [`begin`](Self::begin) does, but does not trace, because a listener may be slow.
    /// [`trace_first_looks`](Self::trace_first_looks) traces the looks afterwards.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin).
    pub fn begin_untraced(mut reader: R, plan: Plan, cancel: &CancelToken) -> Result<Self> {
        check_plan(&plan, &reader)?;
        let hash_of_zeros = hash_of_zeros(reader.page_size())?;
        let began = Instant::now();
        let mut blocks = Vec::with_capacity(plan.blocks().len());
        for (block, pages) in plan.blocks().iter().enumerate() {
            blocks.push(BlockSamples::begin(&mut reader, block, looks_at(pages)?, hash_of_zeros, cancel)?);
        }
        Ok(Self { reader, plan, blocks, hash_of_zeros, began, first_pass: began.elapsed() })
    }

    /// Adds the block that was last added to the reader. At `opened` the block was all zeros, and nothing could have
    /// written to it yet, as with RAM that is plugged in. This counts as the first look at its samples.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] unless exactly one block was added to the reader; those of [`Plan::add`].
    pub fn add_zeroed(&mut self, opened: Instant) -> Result<()> {
        let block = match self.reader.blocks().get(self.blocks.len()..) {
            Some([block]) => block,
            _ => return Err(Error::Argument("the reader has not gained one block".to_owned())),
        };
        self.plan.add(block, self.reader.page_size())?;
        let pages = &self.plan.blocks()[self.blocks.len()];
        self.blocks.push(BlockSamples::zeroed(looks_at(pages)?, self.hash_of_zeros, opened)?);
        Ok(())
    }

    /// Notes that block number `block` was removed at `at`. The block contributes what was written before, and the
    /// windows of its samples end there. A second call for the same block changes nothing.
    ///
    /// # Panics
    ///
    /// If there is no such block.
    pub fn remove(&mut self, block: usize, at: Instant) {
        self.blocks[block].removed.get_or_insert(at);
        trace::find_page_matched(&self.reader.blocks()[block].name);
    }

    /// Looks again at every sample that has not changed so far. A page that changed counts as changed even if it
    /// changes back, because the figures count the pages that were written at least once since the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`]; [`Error::State`] as in [`begin`](Self::begin); those of the reader. What was found until
    /// then is kept, and the next comparison reports it.
    pub fn compare(&mut self, cancel: &CancelToken) -> Result<Sampled> {
        let (sampled, looks) = self.compare_untraced(cancel)?;
        self.trace_looks(looks);
        Ok(sampled)
    }

    /// Does what [`compare`](Self::compare) does, but does not trace: [`trace_looks`](Self::trace_looks) traces the
    /// looks afterwards.
    ///
    /// # Errors
    ///
    /// Those of [`compare`](Self::compare).
    pub fn compare_untraced(&mut self, cancel: &CancelToken) -> Result<(Sampled, Vec<UntracedLook>)> {
        let began = Instant::now();
        let page_size = self.reader.page_size();
        let design = self.plan.options().design;
        let (mut shortest, mut longest, mut window_error) = (Duration::MAX, Duration::ZERO, Duration::ZERO);
        let mut found = Vec::with_capacity(self.blocks.len());
        let mut traced = trace::enabled().then(Vec::new);
        for (index, samples) in self.blocks.iter_mut().enumerate() {
            let mut sum = 0.0;
            for batch in 0..samples.opened.len() {
                cancel.check()?;
                let mut note = |sample, hash| {
                    if let Some(traced) = &mut traced {
                        traced.push(UntracedLook { block: index, sample, hash });
                    }
                };
                let closed = samples.compare_batch(&mut self.reader, index, batch, self.hash_of_zeros, &mut note)?;
                let closed = match samples.removed.filter(|&at| at < closed.middle) {
                    Some(at) => Stamp { middle: at, half: Duration::ZERO },
                    None => closed,
                };
                let opened = samples.opened[batch];
                let window = closed.middle.saturating_duration_since(opened.middle);
                sum += window.as_secs_f64() * samples.batch(batch).len() as f64;
                shortest = shortest.min(window);
                longest = longest.max(window);
                window_error = window_error.max(opened.half + closed.half);
            }
            let (block, count) = (&self.reader.blocks()[index], samples.looks.len() as u64);
            let hits = samples.changed.iter().filter(|&&changed| changed).count() as u64;
            found.push(BlockSampled {
                name: block.name.clone(),
                guest_address: block.guest_address,
                pages: block.pages,
                page_size,
                samples: count,
                hits,
                new_hits: hits - samples.reported,
                zero_pages: samples.zero_pages,
                untouched_pages: samples.untouched_pages,
                unjudged: samples.unjudged,
                window: Duration::from_secs_f64(sum / count as f64),
                removed: samples.removed.is_some(),
                standard_error: variance(design, &samples.changed).sqrt(),
                regions: samples.by_region(block.pages, page_size)?,
                cells: match self.plan.options().cell_bytes {
                    Some(bytes) => samples.by_cell(block.pages, bytes / page_size)?,
                    None => Vec::new(),
                },
            });
        }
        for (samples, block) in self.blocks.iter_mut().zip(&found) {
            samples.reported = block.hits;
        }
        let skew = longest.saturating_sub(shortest);
        let took = began.elapsed();
        let sampled = Sampled { skew, window_error, took, ..Sampled::new(page_size, found) };
        Ok((sampled, traced.unwrap_or_default()))
    }

    /// Traces the first looks.
    pub fn trace_first_looks(&self) {
        if !trace::enabled() {
            return;
        }
        for (block, samples) in self.reader.blocks().iter().zip(&self.blocks) {
            for (look, &hash) in samples.looks.iter().zip(&samples.hashes) {
                trace::get_ramblock_vfn_hash(&block.name, look.page, hash);
            }
        }
    }

    /// Traces the looks of a comparison.
    pub fn trace_looks(&self, looks: Vec<UntracedLook>) {
        for UntracedLook { block, sample, hash } in looks {
            let (name, samples) = (&self.reader.blocks()[block].name, &self.blocks[block]);
            trace::get_ramblock_vfn_hash(name, samples.looks[sample].page, hash);
            if hash != samples.hashes[sample] {
                trace::calc_page_dirty_rate(name, hash, samples.hashes[sample]);
            }
        }
    }

    /// When the first pass began, on CLOCK_MONOTONIC. In a comparison that begins some time later, the samples have
    /// windows of about that time.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How long the first pass took.
    pub fn first_pass(&self) -> Duration {
        self.first_pass
    }

    /// The reader.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The reader, to which a block may be added: see [`add_zeroed`](Self::add_zeroed).
    pub fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Ends the measurement and gives the reader back.
    pub fn into_reader(self) -> R {
        self.reader
    }
}

impl BlockSamples {
    /// The samples of each region of the block, which has `pages` pages.
    fn by_region(&self, pages: u64, page_size: u64) -> Result<Vec<RegionSampled>> {
        let region_pages = region_pages(page_size);
        let mut regions = reserved(pages.div_ceil(region_pages) as usize)?;
        let parts = self.by_part(pages, region_pages);
        regions.extend(parts.map(|(of, samples, hits)| RegionSampled {
            first_page: of.start,
            pages: of.end - of.start,
            samples: samples as u64,
            hits: hits as u64,
        }));
        Ok(regions)
    }

    /// The samples of each cell of `cell_pages` pages.
    fn by_cell(&self, pages: u64, cell_pages: u64) -> Result<Vec<CellSampled>> {
        let mut cells = reserved(pages.div_ceil(cell_pages) as usize)?;
        let parts = self.by_part(pages, cell_pages);
        cells.extend(parts.map(|(_, samples, hits)| CellSampled { samples: samples as u32, hits: hits as u32 }));
        Ok(cells)
    }

    /// The parts of `part_pages` pages of the block, which has `pages` pages: which pages each has, and how many
    /// samples and hits.
    fn by_part(&self, pages: u64, part_pages: u64) -> impl Iterator<Item = (Range<u64>, usize, usize)> {
        let mut from = 0;
        (0..pages).step_by(part_pages as usize).map(move |first| {
            let of = first..pages.min(first + part_pages);
            let end = from + self.looks[from..].partition_point(|look| look.page < of.end);
            let hits = self.changed[from..end].iter().filter(|&&changed| changed).count();
            (of, end - std::mem::replace(&mut from, end), hits)
        })
    }

    fn begin(
        reader: &mut impl PageReader,
        block: usize,
        looks: Vec<Look>,
        hash_of_zeros: u64,
        cancel: &CancelToken,
    ) -> Result<Self> {
        let count = looks.len();
        let mut samples = Self {
            looks,
            hashes: reserved(count)?,
            changed: filled(count, false)?,
            opened: reserved(count.div_ceil(BATCH))?,
            zero_pages: 0,
            untouched_pages: 0,
            unjudged: 0,
            reported: 0,
            removed: None,
        };
        let Self { looks, hashes, opened, .. } = &mut samples;
        let (mut zero_pages, mut untouched_pages) = (0, 0);
        let page_size = reader.page_size();
        let mut touched = [false; BATCH];
        let mut strange = Strange::No;
        for batch in looks.chunks_mut(BATCH) {
            cancel.check()?;
            let began = Instant::now();
            let (seen, asked) = (hashes.len(), batch.len());
            reader.read(block, batch, &mut |place, contents| {
                // A reader that shows a page twice, in another order, or that it was not asked for, is caught below,
                // and so is one that shows another number of bytes.
                strange.note(place != hashes.len() - seen || place >= asked, &contents, page_size);
                if strange != Strange::No {
                    return;
                }
                let found = hash_of(&contents, hash_of_zeros).unwrap_or(NOT_SEEN);
                touched[place] = matches!(contents, Contents::Bytes(_));
                untouched_pages += u64::from(matches!(contents, Contents::Untouched));
                // Comparing the hash with the hash of zeros is as good as comparing the page with zeros, because two
                // different pages have the same hash only once in 2^64, and the page is hashed in any case.
                zero_pages += u64::from(found == hash_of_zeros);
                hashes.push(found);
            })?;
            opened.push(Stamp::since(began));
            check_visited(hashes.len() - seen, asked, strange)?;
            for (look, touched) in batch.iter_mut().zip(touched) {
                look.touched = touched;
            }
        }
        Ok(Self { zero_pages, untouched_pages, ..samples })
    }

    fn zeroed(looks: Vec<Look>, hash_of_zeros: u64, opened: Instant) -> Result<Self> {
        let count = looks.len();
        Ok(Self {
            looks,
            hashes: filled(count, hash_of_zeros)?,
            changed: filled(count, false)?,
            opened: filled(count.div_ceil(BATCH), Stamp { middle: opened, half: Duration::ZERO })?,
            zero_pages: count as u64,
            untouched_pages: count as u64,
            unjudged: 0,
            reported: 0,
            removed: None,
        })
    }

    fn batch(&self, batch: usize) -> std::ops::Range<usize> {
        batch * BATCH..((batch + 1) * BATCH).min(self.looks.len())
    }

    fn compare_batch(
        &mut self,
        reader: &mut impl PageReader,
        block: usize,
        batch: usize,
        hash_of_zeros: u64,
        note: &mut impl FnMut(usize, u64),
    ) -> Result<Stamp> {
        let range = self.batch(batch);
        let mut looks = [Look { page: 0, touched: false }; BATCH];
        let mut places = [0; BATCH];
        let mut count = 0;
        for sample in range.filter(|&sample| !self.changed[sample]) {
            (looks[count], places[count]) = (self.looks[sample], sample);
            count += 1;
        }
        let began = Instant::now();
        if count == 0 {
            return Ok(Stamp::since(began));
        }
        let page_size = reader.page_size();
        let (mut visited, mut strange) = (0, Strange::No);
        reader.read(block, &looks[..count], &mut |place, contents| {
            strange.note(place != visited || place >= count, &contents, page_size);
            if strange != Strange::No {
                return;
            }
            let sample = places[place];
            visited += 1;
            let Some(found) = hash_of(&contents, hash_of_zeros) else { return };
            self.looks[sample].touched = matches!(contents, Contents::Bytes(_));
            if self.hashes[sample] == NOT_SEEN {
                self.hashes[sample] = found;
                self.unjudged += 1;
            }
            self.changed[sample] = found != self.hashes[sample];
            note(sample, found);
        })?;
        check_visited(visited, count, strange)?;
        Ok(Stamp::since(began))
    }
}

/// The hash of a page; none if its contents were not read.
fn hash_of(contents: &Contents<'_>, hash_of_zeros: u64) -> Option<u64> {
    match contents {
        Contents::Untouched => Some(hash_of_zeros),
        Contents::NotInMemory => None,
        Contents::Bytes(bytes) => Some(hash(bytes)),
    }
}

/// XXH3 with 64 bits, so that one change in 2^64 is missed. QEMU keeps 32 bits.
fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// First looks at these pages.
fn looks_at(pages: &[u64]) -> Result<Vec<Look>> {
    let mut looks = reserved(pages.len())?;
    looks.extend(pages.iter().map(|&page| Look { page, touched: false }));
    Ok(looks)
}

/// What a reader did that it must not do, the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strange {
    No,
    /// It showed a page that it was not asked for, or out of order.
    Place,
    /// It showed so many bytes as a page.
    Length(usize),
}

impl Strange {
    fn note(&mut self, wrong_place: bool, contents: &Contents<'_>, page_size: u64) {
        if *self == Self::No {
            *self = match contents {
                _ if wrong_place => Self::Place,
                Contents::Bytes(bytes) if bytes.len() as u64 != page_size => Self::Length(bytes.len()),
                _ => Self::No,
            };
        }
    }
}

fn check_visited(visited: usize, asked: usize, strange: Strange) -> Result<()> {
    match strange {
        Strange::Place => Err(Error::State(format!(
            "a reader of pages showed one that it was not asked for, or out of order, of {asked}"
        ))),
        Strange::Length(bytes) => {
            Err(Error::State(format!("a reader of pages showed {bytes} bytes as a page, which is not its page size")))
        }
        Strange::No if visited == asked => Ok(()),
        Strange::No => Err(Error::State(format!("a reader of pages showed {visited} pages of {asked}"))),
    }
}

/// The hash of a page of zeros.
fn hash_of_zeros(page_size: u64) -> Result<u64> {
    if !page_size.is_power_of_two() {
        return Err(Error::Argument(format!("pages of {page_size} bytes: the size of a page is a power of two")));
    }
    Ok(hash(&filled(usize::try_from(page_size).unwrap_or(usize::MAX), 0)?))
}

fn check_plan(plan: &Plan, reader: &impl PageReader) -> Result<()> {
    let blocks = reader.blocks();
    let fits = plan.blocks().len() == blocks.len()
        && plan.blocks().iter().zip(blocks).all(|(pages, block)| pages.last().is_some_and(|&last| last < block.pages));
    if fits { Ok(()) } else { Err(Error::Argument("the plan was made for other blocks than the reader's".to_owned())) }
}
