//! Step 5: counting, and taking, a client's bits.

use std::time::{Duration, Instant};

use super::block::Block;
use super::{BlockInfo, Client, DirtyBits, DirtyMemory, WitnessedWindow};
use crate::bitmap::SparsePages;
use crate::error::Result;

/// One block's share of a [`Reap`].
#[derive(Debug, Clone, PartialEq)]
pub struct BlockReap {
    /// Which block.
    pub block: BlockInfo,
    /// Distinct pages written in the block's window.
    pub pages: u64,
    /// The block's own window: the mean of its chunks' (each from the end of its CLEAR to the block's GET), by their size.
    /// Zero before the first sync after the window opened.
    pub window: Duration,
    /// Dirty bytes over the window, summed chunk by chunk.
    pub bytes_per_second: f64,
    /// The block is gone; its last bits are here.
    pub removed: bool,
}

/// One vCPU's share of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VcpuReap {
    /// Distinct pages that this vCPU wrote.
    pub pages: u64,
    /// Entries of its ring that named them.
    pub entries: u64,
    /// Entries that named a page again: the kernel writes one for every write that it emulates.
    pub duplicates: u64,
}

/// What the rings tell of a window, beyond the pages. The entries add up: `entries` of all vCPUs are their pages and
/// duplicates, and beside them are those that were dropped or lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RingReap {
    /// By vCPU id.
    pub vcpus: Vec<VcpuReap>,
    /// Pages that more than one vCPU wrote.
    pub shared_pages: u64,
    /// Entries of memory that is not logged, or not there any more.
    pub dropped: u64,
    /// Entries that are known to be lost: the pages are a lower bound then.
    pub lost: u64,
    /// More may be lost, as a ring was full to the last entry: a lower bound as well.
    pub maybe_lost: bool,
}

/// What a client's bits say.
#[derive(Debug, Clone, PartialEq)]
pub struct Reap {
    /// Distinct pages over all blocks.
    pub pages: u64,
    /// Bytes in a page.
    pub page_size: u64,
    /// The sum of the blocks' rates.
    pub bytes_per_second: f64,
    /// From the first chunk's CLEAR to the last block's GET; zero before the first sync after the window opened.
    pub window: Duration,
    /// The longest chunk's window less the shortest one's.
    pub skew: Duration,
    /// Block by block, by guest address; blocks that are gone come last.
    pub blocks: Vec<BlockReap>,
    /// What the rings tell beyond the pages, where the log is one of rings.
    pub ring: Option<RingReap>,
    /// The guest's counters around the window, where there is a witness.
    pub witness: Option<WitnessedWindow>,
}

/// The span of all chunks' windows.
#[derive(Default)]
struct Span {
    first_opened: Option<Instant>,
    last_fetched: Option<Instant>,
    shortest: Option<Duration>,
    longest: Duration,
}

impl Span {
    fn add(&mut self, opened: Instant, fetched: Instant) -> Duration {
        let window = fetched.saturating_duration_since(opened);
        self.first_opened = Some(self.first_opened.map_or(opened, |first| first.min(opened)));
        self.last_fetched = Some(self.last_fetched.map_or(fetched, |last| last.max(fetched)));
        self.shortest = Some(self.shortest.map_or(window, |shortest| shortest.min(window)));
        self.longest = self.longest.max(window);
        window
    }

    /// From the first CLEAR to the last GET; zero while no block was fetched after its CLEAR.
    fn whole(&self) -> Duration {
        match (self.first_opened, self.last_fetched) {
            (Some(opened), Some(fetched)) if !self.longest.is_zero() => fetched.saturating_duration_since(opened),
            _ => Duration::ZERO,
        }
    }
}

impl Reap {
    /// Whether nothing is known to be missing; otherwise the pages are a lower bound.
    pub fn is_complete(&self) -> bool {
        self.ring.as_ref().is_none_or(|ring| ring.lost == 0 && !ring.maybe_lost)
    }
}

impl DirtyMemory {
    /// Step 5: counts the client's bits: see [`DirtyBits::reap`]. With `take` the bits are cleared at the same instant, and the
    /// client's next window opens where the current round began.
    ///
    /// # Errors
    ///
    /// As of [`clear`](Self::clear); nothing is taken then.
    pub fn reap(&mut self, client: Client, take: bool) -> Result<Reap> {
        self.bits().check_client(client)?;
        if take {
            self.end_first_round_for(client)?;
        }
        let mut bits = self.bits();
        let reap = bits.reap(client)?;
        if take {
            bits.clear(client);
        }
        Ok(reap)
    }
}

impl DirtyBits {
    /// What the client's bits say, block by block, over the blocks' own windows, as of the syncs until now. Takes none.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) for an accumulator that is not open.
    pub fn reap(&self, client: Client) -> Result<Reap> {
        self.check_client(client)?;
        let mut span = Span::default();
        let live = self.blocks.iter().map(|block| (block, false));
        let gone = self.removed.iter().map(|block| (block, true)).filter(|(block, _)| block.bits.contains_key(&client));
        let blocks: Vec<_> =
            live.chain(gone).map(|(block, removed)| self.reap_block(block, client, removed, &mut span)).collect();
        Ok(Reap {
            pages: blocks.iter().map(|block| block.pages).sum(),
            page_size: self.page_size,
            bytes_per_second: blocks.iter().map(|block| block.bytes_per_second).sum(),
            window: span.whole(),
            skew: span.longest - span.shortest.unwrap_or(span.longest),
            blocks,
            ring: self.reap_rings(client),
            witness: self.witness.window(client),
        })
    }

    /// When the client's first chunk opened its window; `None` without blocks or bits.
    pub(super) fn window_opened(&self, client: Client) -> Option<Instant> {
        self.blocks
            .iter()
            .filter_map(|block| block.bits.get(&client))
            .flat_map(|bits| bits.opened.iter().copied())
            .min()
    }

    fn reap_block(&self, block: &Block, client: Client, removed: bool, span: &mut Span) -> BlockReap {
        let mut reap =
            BlockReap { block: block.info.clone(), pages: 0, window: Duration::ZERO, bytes_per_second: 0.0, removed };
        let Some(bits) = block.bits.get(&client) else { return reap };
        let mut weighted = 0.0;
        for (number, ((chunk, &dirty), &opened)) in block.chunks.iter().zip(bits.dirty()).zip(&bits.opened).enumerate()
        {
            reap.pages += dirty;
            let Some(fetched) = chunk.fetched else { continue };
            let window = span.add(opened, fetched);
            if !window.is_zero() {
                reap.bytes_per_second += (dirty * self.page_size) as f64 / window.as_secs_f64();
            }
            weighted += window.as_secs_f64() * block.pages_of(number) as f64;
        }
        reap.window = Duration::from_secs_f64(weighted / block.info.pages as f64);
        reap
    }

    /// What the rings tell of the client's window; `None` where there are none, and for clients that do not measure: what may
    /// be missing to one that begins full, it was given.
    fn reap_rings(&self, client: Client) -> Option<RingReap> {
        if self.vcpus == 0 || !client.measures() {
            return None;
        }
        let mut reap = RingReap { vcpus: vec![VcpuReap::default(); self.vcpus], ..RingReap::default() };
        for block in self.blocks.iter().chain(&self.removed) {
            let Some(bits) = block.bits.get(&client) else { continue };
            for (reap, written) in reap.vcpus.iter_mut().zip(&bits.vcpus) {
                reap.pages += written.pages.len();
                reap.entries += written.entries;
            }
            reap.shared_pages += SparsePages::shared(bits.vcpus.iter().map(|written| &written.pages));
        }
        for vcpu in &mut reap.vcpus {
            vcpu.duplicates = vcpu.entries - vcpu.pages;
        }
        if let Some(loss) = self.losses.get(&client) {
            (reap.dropped, reap.lost, reap.maybe_lost) = (loss.dropped, loss.lost, loss.maybe_lost);
        }
        Some(reap)
    }
}
