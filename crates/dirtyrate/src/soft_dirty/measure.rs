//! A measurement by soft-dirty bits, to a list of deadlines.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bits::SoftDirtyBits;
use super::clearing::Clearing;
use super::kept::KeptPages;
use super::kernel::has_soft_dirty;
use super::pages::WrittenPages;
use super::traps::{Traps, pages_of_huge};
use super::tripwire::Tripwire;
use crate::bitmap::GranuleCount;
use crate::block::region_pages;
use crate::dirty_memory::{GranularityReap, ReapOptions, RegionReap};
use crate::error::{Error, Result};
use crate::page_size::host_page_size;
use crate::sampling::process::{MappedRanges, Process, ProcessRange, STOPPED_WITHIN};
use crate::wait::{CancelToken, wait_until};

/// One range's share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoftDirtyBlock {
    /// The name of the range.
    pub name: String,
    /// Where the guest sees its first page; 0 if that is not known.
    pub guest_address: u64,
    /// Its size.
    pub bytes: u64,
    /// Distinct pages that the process wrote. If `huge`, not more than that.
    pub pages: u64,
    /// How many pages it wrote at least: `pages`, unless some of the memory is in huge pages.
    pub least_pages: u64,
    /// Whether some of the memory is in huge pages, all of which the first write marks.
    pub huge: bool,
    /// From the end of the clear to the end of the look at this range.
    pub window: Duration,
    /// The written pages of each region, in order; empty unless the caller asked for them.
    pub regions: Vec<RegionReap>,
    /// The written pages of each cell, in order; empty unless the caller asked for them.
    pub cells: Vec<u32>,
}

/// The look at one deadline.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SoftDirtyReport {
    /// The deadline, counted from the end of the clear.
    pub requested: Duration,
    /// How much later than the deadline the look began.
    pub late: Duration,
    /// How long the clear took: so long the process's page faults had to wait.
    pub clear: Duration,
    /// How long this look, and those before it, took.
    pub looking: Duration,
    /// How long this look took, and so how far the windows of two pages can be apart.
    pub skew: Duration,
    /// From the end of the clear to the end of the look.
    pub window: Duration,
    /// The ranges, in the order in which they were given.
    pub blocks: Vec<SoftDirtyBlock>,
    /// The same pages in granules, in the order in which the sizes were given.
    pub granularities: Vec<GranularityReap>,
    /// Bits have vanished within the window: somebody else has cleared them, the process has discarded memory, or the
    /// kernel has taken pages of a file away from it. The figures are lower bounds.
    pub vanished: bool,
    /// Another process has some of the same pages. Its writes are not counted, so the figures are lower bounds.
    pub shared: bool,
    /// The kernel may merge pages of the same contents, and loses their bits then. The figures are lower bounds.
    pub mergeable: bool,
    /// The bits had been cleared before this process measured for the first time.
    pub in_use: bool,
}

impl SoftDirtyReport {
    /// Distinct pages, all ranges together.
    pub fn pages(&self) -> u64 {
        self.blocks.iter().map(|block| block.pages).sum()
    }

    /// The sum of each range's bytes by its own window.
    pub fn bytes_per_second(&self) -> f64 {
        self.rate(|block| block.pages)
    }

    /// The same of the pages that were written at least.
    pub fn least_bytes_per_second(&self) -> f64 {
        self.rate(|block| block.least_pages)
    }

    fn rate(&self, pages: impl Fn(&SoftDirtyBlock) -> u64) -> f64 {
        let of = |block: &SoftDirtyBlock| (pages(block) * host_page_size()) as f64 / block.window.as_secs_f64();
        self.blocks.iter().map(of).sum()
    }
}

/// Clears the soft-dirty bits of `process`, and looks at those of `ranges` at each of `deadlines`, which are counted
/// from the end of the clear. The process is watched all the time, and at the end its mappings must still be those of
/// the beginning.
///
/// # Errors
///
/// [`Error::Unsupported`] on a kernel without soft-dirty bits; [`Error::ProcessPermission`] if this user may not clear
/// them; [`Error::ProcessBusy`] while another measurement of this kind runs on the process; [`Error::State`] for memory
/// that has no such bits, and if memory counts as written that was not: because the process maps memory beside the
/// ranges, or because merged pages are separated; [`Error::ProcessGone`] if the process ends, executes another program,
/// or unmaps or replaces some of the memory; [`Error::Paused`] if a signal or a debugger stops the process;
/// [`Error::Argument`] for a range that is no memory of the process; [`Error::Cancelled`]; [`Error::OutOfMemory`].
pub fn measure_soft_dirty_at(
    process: &Arc<Process>,
    ranges: &[ProcessRange],
    deadlines: &[Duration],
    cancel: &CancelToken,
) -> Result<Vec<SoftDirtyReport>> {
    measure_soft_dirty_at_with(process, ranges, deadlines, &ReapOptions::default(), cancel)
}

/// Does what [`measure_soft_dirty_at`] does, and counts what `options` say beside the pages of each range. Granules lie
/// at multiples of their size from guest address 0 on, so they mean something only if the guest addresses of the ranges
/// are known.
///
/// # Errors
///
/// The errors of [`measure_soft_dirty_at`], and [`Error::Argument`] if granules or cells are not whole pages.
pub fn measure_soft_dirty_at_with(
    process: &Arc<Process>,
    ranges: &[ProcessRange],
    deadlines: &[Duration],
    options: &ReapOptions,
    cancel: &CancelToken,
) -> Result<Vec<SoftDirtyReport>> {
    options.check(host_page_size())?;
    if !has_soft_dirty()? {
        let text = "mode soft-dirty: this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), as a page of this \
                    process shows";
        return Err(Error::Unsupported(text.to_owned()));
    }
    process.check_running("is stopped")?;
    let page_size = host_page_size();
    let maps = process.maps()?;
    let mapped = MappedRanges::new(Arc::clone(process), &maps, ranges, page_size)?;
    let clearing = Clearing::of(process)?;
    let before = Traps::of(process, &mapped)?;
    before.refuse(process.pid())?;
    let mut kept = KeptPages::of(process, &maps, ranges, &mapped)?;
    let in_use = before.cleared && !process.was_cleared();

    let began = Instant::now();
    clearing.clear()?;
    let opened = Instant::now();
    let mut window = Window {
        opened,
        clear: opened - began,
        looking: Duration::ZERO,
        bits: SoftDirtyBits::of(process),
        tripwire: RefCell::new(Tripwire::new(
            SoftDirtyBits::of(process),
            ranges.iter().map(ProcessRange::addresses).collect(),
        )),
        written: ranges.iter().map(|range| WrittenPages::new(&range.addresses(), page_size)).collect(),
    };
    let mut looks = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let mut look = window.look_at(requested, process, ranges, cancel)?;
        window.break_down(&mut look, ranges, options)?;
        looks.push(look);
    }
    mapped.check()?;
    let are_unmapped = kept.check()?;
    let after = Traps::of(process, &mapped)?;
    after.refuse(process.pid())?;
    if after.new {
        return Err(Error::State(format!(
            "process {} has mapped memory beside the memory that is measured, so that the kernel counts all of it as \
             written",
            process.pid()
        )));
    }
    if after.has_separated(&before) {
        return Err(Error::State(format!(
            "merged pages of process {} were separated (KSM), and the kernel may count them as written",
            process.pid()
        )));
    }
    for report in &mut looks {
        for ((block, before), after) in report.blocks.iter_mut().zip(&before.huge).zip(&after.huge) {
            block.huge = *before || *after;
            block.least_pages = if block.huge { block.least_pages } else { block.pages };
        }
        report.vanished |= are_unmapped;
        report.shared = before.shared || after.shared;
        report.mergeable = before.merges() || after.merges();
        report.in_use = in_use;
    }
    Ok(looks)
}

/// A measurement whose window is open.
struct Window<'a> {
    opened: Instant,
    clear: Duration,
    looking: Duration,
    bits: SoftDirtyBits<'a>,
    tripwire: RefCell<Tripwire<'a>>,
    written: Vec<WrittenPages>,
}

impl Window<'_> {
    fn look_at(
        &mut self,
        requested: Duration,
        process: &Process,
        ranges: &[ProcessRange],
        cancel: &CancelToken,
    ) -> Result<SoftDirtyReport> {
        let deadline = self
            .opened
            .checked_add(requested)
            .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
        wait_until(deadline, cancel, || {
            process.check_running(STOPPED_WITHIN)?;
            self.tripwire.borrow_mut().look()
        })?;
        let began = Instant::now();
        let mut blocks = Vec::with_capacity(ranges.len());
        let page_size = host_page_size();
        for (range, written) in ranges.iter().zip(&mut self.written) {
            let page = |address: u64| (address - range.start) / page_size;
            self.bits.each(range.addresses(), cancel, |run: Range<u64>| written.add(page(run.start)..page(run.end)))?;
            blocks.push(SoftDirtyBlock {
                name: range.name.clone(),
                guest_address: range.guest_address,
                bytes: range.bytes,
                pages: written.count(),
                least_pages: written.least(pages_of_huge(page_size)),
                huge: false,
                window: self.opened.elapsed(),
                regions: Vec::new(),
                cells: Vec::new(),
            });
        }
        // Whether these bits are still those of the same program, which has run until now.
        process.check_running(STOPPED_WITHIN)?;
        let skew = began.elapsed();
        self.looking += skew;
        Ok(SoftDirtyReport {
            requested,
            late: began.saturating_duration_since(deadline),
            clear: self.clear,
            looking: self.looking,
            skew,
            window: self.opened.elapsed(),
            blocks,
            granularities: Vec::new(),
            vanished: self.tripwire.borrow().is_tripped(),
            shared: false,
            mergeable: false,
            in_use: false,
        })
    }

    /// Adds to a look what `options` ask for. The window of the look has ended, so this takes nothing away from it.
    fn break_down(&self, look: &mut SoftDirtyReport, ranges: &[ProcessRange], options: &ReapOptions) -> Result<()> {
        let page_size = host_page_size();
        if options.by_region {
            for (block, written) in look.blocks.iter_mut().zip(&self.written) {
                block.regions = written.by_region(region_pages(page_size));
            }
        }
        if let Some(cell_bytes) = options.cell_bytes {
            for (block, written) in look.blocks.iter_mut().zip(&self.written) {
                let cells = written.by_region(cell_bytes / page_size);
                // A cell has fewer than 2^32 pages.
                block.cells = cells.iter().map(|cell| cell.pages as u32).collect();
            }
        }
        for &granule_bytes in &options.granularities {
            let pages = granule_bytes / page_size;
            let mut count = GranuleCount::default();
            for (range, written) in ranges.iter().zip(&self.written) {
                count.add(written.granules(pages, range.guest_address / page_size % pages)?);
            }
            look.granularities.push(GranularityReap { granule_bytes, count });
        }
        Ok(())
    }
}
