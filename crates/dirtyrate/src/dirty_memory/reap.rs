//! Step 5: counts a client's bits, or counts and takes them.

use std::time::Duration;

use super::bits::DirtyBits;
use super::block::{Block, try_collect};
use super::breakdown::{GranularityReap, ReapOptions, RegionReap};
use super::client::Client;
use super::memory::DirtyMemory;
use super::window::{Length, Window};
#[cfg(feature = "testing")]
use super::witness::WitnessedWindow;
use crate::bitmap::GranuleCount;
use crate::block::BlockInfo;
use crate::clock::Moment;
use crate::error::Result;
use crate::sum::sum;

/// One block's share of a [`Reap`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BlockReap {
    /// The block.
    pub block: BlockInfo,
    /// Distinct pages written in the block's window.
    pub pages: u64,
    /// The block's own window: the mean of its chunks' windows by their size. A chunk's window is from the end of its
    /// CLEAR to the last GET whose bits went to the client. Zero before the first sync after the window opened.
    pub window: Duration,
    /// The sum over all chunks of the dirty bytes, divided by the part of the chunk's window in which the guest ran.
    pub bytes_per_second: f64,
    /// Whether the block was removed. Its last bits are counted here.
    pub removed: bool,
    /// The block's pages by region, if [`ReapOptions`] asked for that: their sum is `pages`. Otherwise empty.
    pub regions: Vec<RegionReap>,
    /// The dirty pages of each cell, counted from the start of the block, if [`ReapOptions`] asked for that: their sum
    /// is `pages`. Otherwise empty.
    pub cells: Vec<u32>,
}

/// One vCPU's share of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct VcpuReap {
    /// Distinct pages that this vCPU wrote.
    pub pages: u64,
    /// The entries of its ring that named these pages.
    pub entries: u64,
    /// Entries that named a page again. The kernel writes an entry for every write that it emulates.
    pub duplicates: u64,
    /// The bytes of its pages over the time of the whole window in which the guest ran.
    pub bytes_per_second: f64,
}

/// What the rings say about a window, beside the pages. The entries add up: for each vCPU, `entries` is the sum of its
/// pages and its duplicates. Dropped and lost entries are counted beside these.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RingReap {
    /// By vCPU id.
    pub vcpus: Vec<VcpuReap>,
    /// Pages that more than one vCPU wrote.
    pub shared_pages: u64,
    /// Entries of memory that is not logged, or that was removed.
    pub dropped: u64,
    /// Entries that are known to be lost. If there are any, the pages are a lower bound.
    pub lost: u64,
    /// Whether more entries may be lost, because a ring was full to the last entry. The pages are a lower bound then,
    /// too.
    pub maybe_lost: bool,
}

impl RingReap {
    /// The entries of all vCPUs.
    pub fn entries(&self) -> u64 {
        self.vcpus.iter().fold(0, |sum, vcpu| sum.saturating_add(vcpu.entries))
    }

    /// The duplicates of all vCPUs.
    pub fn duplicates(&self) -> u64 {
        self.vcpus.iter().fold(0, |sum, vcpu| sum.saturating_add(vcpu.duplicates))
    }
}

/// The figures of a client's bits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reap {
    /// Distinct pages over all blocks.
    pub pages: u64,
    /// Bytes in a page.
    pub page_size: u64,
    /// The sum of the blocks' rates.
    pub bytes_per_second: f64,
    /// From the CLEAR of the first chunk to the last GET whose bits went to the client; zero before the first sync
    /// after the window opened. Time in which the client did not track is left out.
    pub window: Duration,
    /// For how much of the window the guest stood, because it was paused or had ended. Rates leave this time out.
    pub stood: Duration,
    /// The longest chunk's window less the shortest one's.
    pub skew: Duration,
    /// Block by block, by guest address; blocks that are gone come last.
    pub blocks: Vec<BlockReap>,
    /// What the rings say beside the pages, if the log is one of rings.
    pub ring: Option<RingReap>,
    /// The same pages in the granules that [`ReapOptions`] asked for.
    pub granularities: Vec<GranularityReap>,
    /// The guest's counters around the window, if there is a witness.
    #[cfg(feature = "testing")]
    pub witness: Option<WitnessedWindow>,
}

/// The span of all chunks' windows.
#[derive(Default)]
struct Span {
    first_opened: Option<Moment>,
    last_closed: Option<Moment>,
    /// The least time within a chunk's window in which the client did not track.
    least_gap: Option<Length>,
    shortest: Option<Duration>,
    longest: Duration,
}

impl Span {
    fn add(&mut self, window: &Window, closed: Moment) -> Length {
        let (opened, length) = (window.first_opened().at, window.length());
        self.first_opened = self.first_opened.into_iter().chain([opened]).reduce(earlier);
        self.last_closed =
            self.last_closed.into_iter().chain([closed]).reduce(|a, b| if a.is_before(b) { b } else { a });
        let gap = Length {
            elapsed: closed.since(opened).saturating_sub(length.elapsed),
            stood: closed.stood_since(opened).saturating_sub(length.stood),
        };
        self.least_gap = Some(self.least_gap.map_or(gap, |least| least.min(gap)));
        self.shortest = Some(self.shortest.map_or(length.elapsed, |shortest| shortest.min(length.elapsed)));
        self.longest = self.longest.max(length.elapsed);
        length
    }

    /// From the first CLEAR to the last GET; zero while no block was fetched after its CLEAR.
    fn whole(&self) -> Length {
        match (self.first_opened, self.last_closed, self.least_gap) {
            (Some(opened), Some(closed), Some(gap)) if !self.longest.is_zero() => Length {
                elapsed: closed.since(opened).saturating_sub(gap.elapsed),
                stood: closed.stood_since(opened).saturating_sub(gap.stood),
            },
            _ => Length::default(),
        }
    }
}

fn earlier(a: Moment, b: Moment) -> Moment {
    if b.is_before(a) { b } else { a }
}

impl Reap {
    /// The bytes of the distinct pages.
    pub fn dirty_bytes(&self) -> u64 {
        self.pages * self.page_size
    }

    /// The time by which rates are divided: the part of the window in which the guest ran. If the guest did not run at
    /// all, only the host can have written, and rates are divided by the whole window.
    pub fn ran(&self) -> Duration {
        Length { elapsed: self.window, stood: self.stood }.of_rate()
    }

    /// Whether all pages were counted, as far as is known. Otherwise the pages are a lower bound.
    pub fn is_complete(&self) -> bool {
        self.ring.as_ref().is_none_or(|ring| ring.lost == 0 && !ring.maybe_lost)
    }
}

impl DirtyMemory {
    /// Step 5: counts the client's bits, and leaves them as they are, as [`DirtyBits::reap`] does.
    ///
    /// # Errors
    ///
    /// Those of [`DirtyBits::reap`].
    pub fn reap(&mut self, client: Client) -> Result<Reap> {
        self.bits().reap(client)
    }

    /// Step 5: counts the client's bits as [`reap`](Self::reap) does, and clears them at the same instant. The client's
    /// next window opens where the current round began.
    ///
    /// # Errors
    ///
    /// Those of [`clear`](Self::clear); nothing is taken then.
    pub fn take(&mut self, client: Client) -> Result<Reap> {
        self.take_with(client, &ReapOptions::default())
    }

    /// The same as [`take`](Self::take), with what `options` ask for.
    ///
    /// # Errors
    ///
    /// Those of [`take`](Self::take) and of [`DirtyBits::reap_with`]; nothing is taken then.
    pub fn take_with(&mut self, client: Client, options: &ReapOptions) -> Result<Reap> {
        self.bits().check_client(client)?;
        self.end_first_round_for(client)?;
        let clean = self.bits().bitmaps_for_clear(client);
        let mut bits = self.bits();
        // Both happen under one lock, so that a write by the host is either in this window or in the next.
        let reap = bits.reap_with(client, options)?;
        let unused = bits.clear(client, clean);
        drop(bits);
        drop(unused);
        Ok(reap)
    }
}

impl DirtyBits {
    /// Counts the client's bits block by block, each over the block's own window, with what the syncs until now have
    /// brought. It takes no bits.
    ///
    /// # Errors
    ///
    /// [`Error::NotOpen`](crate::Error::NotOpen), and [`Error::OutOfMemory`](crate::Error::OutOfMemory) with a log that
    /// says that it has very many vCPUs.
    pub fn reap(&self, client: Client) -> Result<Reap> {
        self.reap_with(client, &ReapOptions::default())
    }

    /// The same as [`reap`](Self::reap), with what `options` ask for. Granules are counted from the bitmaps, and nobody
    /// else reads the bits meanwhile: 5 to 19 ms for each size of granules and TiB of guest
    /// memory (benches/RESULTS.md).
    ///
    /// # Errors
    ///
    /// Those of [`reap`](Self::reap), and [`Error::Argument`](crate::Error::Argument) for granules or cells that are no
    /// multiple of the page size.
    pub fn reap_with(&self, client: Client, options: &ReapOptions) -> Result<Reap> {
        self.check_client(client)?;
        options.check(self.page_size)?;
        let mut span = Span::default();
        let live = self.blocks.iter().map(|block| (block, false));
        let gone = self.removed.iter().map(|block| (block, true)).filter(|(block, _)| block.bits.contains_key(&client));
        let mut granularities = try_collect(
            options
                .granularities
                .iter()
                .map(|&granule_bytes| GranularityReap { granule_bytes, count: GranuleCount::default() }),
        )?;
        let mut blocks = Vec::new();
        for (block, removed) in live.chain(gone) {
            let mut reap = self.reap_block(block, client, removed, &mut span);
            let bits = block.bits.get(&client);
            if options.by_region {
                reap.regions = block.by_region(bits, self.page_size)?;
            }
            if let Some(bytes) = options.cell_bytes {
                reap.cells = block.cells(bits, bytes / self.page_size)?;
            }
            for of_size in &mut granularities {
                let pages = of_size.granule_bytes / self.page_size;
                bits.iter().for_each(|bits| of_size.count.add(block.granules(bits, self.page_size, pages)));
            }
            blocks.push(reap);
        }
        let whole = span.whole();
        Ok(Reap {
            pages: blocks.iter().map(|block| block.pages).sum(),
            page_size: self.page_size,
            bytes_per_second: sum(blocks.iter().map(|block| block.bytes_per_second)),
            window: whole.elapsed,
            stood: whole.stood,
            skew: span.longest - span.shortest.unwrap_or(span.longest),
            blocks,
            ring: self.reap_rings(client, whole)?,
            granularities,
            #[cfg(feature = "testing")]
            witness: self.witnessed_window(client),
        })
    }

    fn reap_block(&self, block: &Block, client: Client, removed: bool, span: &mut Span) -> BlockReap {
        let mut reap = BlockReap {
            block: block.info.clone(),
            pages: 0,
            window: Duration::ZERO,
            bytes_per_second: 0.0,
            removed,
            regions: Vec::new(),
            cells: Vec::new(),
        };
        let Some(bits) = block.bits.get(&client) else { return reap };
        let mut weighted = 0.0;
        for (number, (&dirty, window)) in bits.dirty().iter().zip(&bits.windows).enumerate() {
            reap.pages += dirty;
            let Some(closed) = window.last_closed() else { continue };
            let length = span.add(window, closed.at);
            reap.bytes_per_second += self.rate(dirty, length);
            weighted += length.elapsed.as_secs_f64() * block.pages_of(number) as f64;
        }
        reap.window = Duration::from_secs_f64(weighted / block.info.pages as f64);
        reap
    }

    /// What the rings say about the client's window. `None` if there are no rings, and for clients that do not measure:
    /// a client that begins full has got every page again that may have been lost.
    fn reap_rings(&self, client: Client, window: Length) -> Result<Option<RingReap>> {
        if self.vcpus == 0 || !client.measures() {
            return Ok(None);
        }
        let vcpus = try_collect((0..self.vcpus).map(|_| VcpuReap::default()))?;
        let mut reap = RingReap { vcpus, ..RingReap::default() };
        for block in self.blocks.iter().chain(&self.removed) {
            let Some(bits) = block.bits.get(&client) else { continue };
            for (reap, written) in reap.vcpus.iter_mut().zip(bits.vcpus.iter()) {
                reap.pages += written.pages.len();
                reap.entries = reap.entries.saturating_add(written.entries);
            }
            reap.shared_pages += bits.vcpus.shared();
        }
        for vcpu in &mut reap.vcpus {
            vcpu.duplicates = vcpu.entries.saturating_sub(vcpu.pages);
            vcpu.bytes_per_second = self.rate(vcpu.pages, window);
        }
        if let Some(loss) = self.losses.get(&client) {
            (reap.dropped, reap.lost, reap.maybe_lost) = (loss.dropped, loss.lost, loss.maybe_lost);
        }
        Ok(Some(reap))
    }

    /// The bytes of `pages` in a second of a window; 0 while that was not fetched.
    fn rate(&self, pages: u64, window: Length) -> f64 {
        let seconds = window.of_rate().as_secs_f64();
        if seconds > 0.0 { (pages * self.page_size) as f64 / seconds } else { 0.0 }
    }
}
