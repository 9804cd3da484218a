//! A sync: fetches the log, gives the bits to each client, and protects the pages again.

use std::time::{Duration, Instant};

use super::bits::DirtyBits;
use super::block::{Block, ClientBits};
use super::client::Client;
use super::log::VcpuPages;
use super::memory::DirtyMemory;
use super::shared_bits::SharedBits;
use crate::bitmap::{Kernels, PAGES_PER_WORD, REGION_WORDS, Region, SparsePages, tail_mask, words_for};
use crate::block::BlockId;
use crate::error::Result;
use crate::wait::CancelToken;

/// What a sync cost, and how many pages it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReport {
    /// The time from the first call to the last, including the fan-out.
    pub elapsed: Duration,
    /// The time in the log's fetches.
    pub fetch: Duration,
    /// The time in the log's re-protections.
    pub reprotect: Duration,
    /// The longest single call, which is the longest time for which the kernel's lock was held.
    pub longest_call: Duration,
    /// Pages that the log named.
    pub pages: u64,
}

/// A block whose log was fetched and given to the clients.
pub(super) struct Fetched {
    block: BlockId,
    /// How many pages a chunk has.
    chunk_pages: u64,
    pages: u64,
    report: SyncReport,
}

impl SyncReport {
    /// In all calls of the log together.
    pub fn calls(&self) -> Duration {
        self.fetch.saturating_add(self.reprotect)
    }

    fn add_fetch(&mut self, took: Duration) {
        self.fetch = self.fetch.saturating_add(took);
        self.longest_call = self.longest_call.max(took);
    }

    fn add_reprotect(&mut self, took: Duration) {
        self.reprotect = self.reprotect.saturating_add(took);
        self.longest_call = self.longest_call.max(took);
    }

    fn add(&mut self, other: &Self) {
        self.fetch = self.fetch.saturating_add(other.fetch);
        self.reprotect = self.reprotect.saturating_add(other.reprotect);
        self.longest_call = self.longest_call.max(other.longest_call);
        self.pages += other.pages;
    }
}

impl DirtyMemory {
    /// Step 4: for each block that is logged, fetches the log, hands the bits to every client that tracks, and protects
    /// the pages again. The sync of a bitmap log needs no memory.
    ///
    /// # Errors
    ///
    /// The log's error; [`Error::OutOfMemory`](crate::Error::OutOfMemory) with a log that knows which vCPU wrote a
    /// page; [`Error::Cancelled`](crate::Error::Cancelled) between two calls. The clients have what was fetched until
    /// then, and the next sync delivers the rest.
    pub fn sync(&mut self, cancel: &CancelToken) -> Result<SyncReport> {
        self.run_sync(|memory, report| {
            for index in 0..memory.block_count() {
                if memory.look_at(index, |block| block.logging) {
                    cancel.check()?;
                    report.add(&memory.sync_block(index, cancel)?);
                }
            }
            Ok(())
        })
    }

    /// Step 2: ends the first round of each block whose logging has just been turned on. If the log begins with all
    /// ones, these ones do not stand for writes: no client gets them, and this call protects every page, chunk by
    /// chunk. Every other block is synced.
    ///
    /// # Errors
    ///
    /// Those of [`sync`](Self::sync). A chunk that was not reached stays in its first round.
    pub fn discard_initial_log(&mut self, cancel: &CancelToken) -> Result<SyncReport> {
        self.run_sync(|memory, report| {
            for index in 0..memory.block_count() {
                // A discard that failed half-way leaves chunks of both kinds: first end what is initial, then sync.
                let (logging, fresh) =
                    memory.look_at(index, |block| (block.logging, block.chunks.iter().all(|chunk| chunk.initial)));
                if !logging {
                    continue;
                }
                cancel.check()?;
                report.add(&memory.reprotect_initial_chunks(index, cancel)?);
                if !fresh {
                    report.add(&memory.sync_block(index, cancel)?);
                }
            }
            Ok(())
        })
    }

    /// Step 3: empties the client's bits, and only this client's. Its window opens where the current round of each
    /// chunk began.
    ///
    /// # Errors
    ///
    /// The log's error: for a client that begins full, a first round that is all ones has to be ended before its bits
    /// are cleared. Nothing is cleared then.
    pub fn clear(&mut self, client: Client) -> Result<()> {
        self.bits().check_client(client)?;
        self.end_first_round_for(client)?;
        self.empty(client);
        Ok(())
    }

    /// Before bits are taken from a client that begins full, the pages of these bits must be protected. Then a later
    /// write is logged, and an earlier write is covered by the bit that is taken.
    pub(super) fn end_first_round_for(&mut self, client: Client) -> Result<()> {
        if !client.begins_full() {
            return Ok(());
        }
        self.run_event(|memory| {
            for index in 0..memory.block_count() {
                if memory.bits().tracks(client, index) {
                    memory.reprotect_initial_chunks(index, &CancelToken::new())?;
                }
            }
            Ok(())
        })
    }

    /// Fetches a block's log and gives the bits to the clients, without protecting the pages again. The last fetch
    /// before a log is turned off uses this.
    pub(super) fn fetch_block(&mut self, index: usize) -> Result<Fetched> {
        let mut report = SyncReport::default();
        let (id, pages) = self.look_at(index, |block| (block.info.id, block.info.pages));
        // There must be room for what each vCPU wrote before anything is taken out of the log.
        if let Some(rings) = self.log.vcpu_log() {
            rings.visit(id, &mut |vcpu, written| reserve_written(&self.bits, index, vcpu, written))?;
        }

        let clock = self.bits.lock().ledger.clock().clone();
        let fetched = &mut self.buffer[..words_for(pages)];
        let (began, mut closed) = (Instant::now(), clock.now());
        self.log.fetch(id, fetched)?;
        let mut opened = clock.now();
        report.add_fetch(began.elapsed());
        if let Some(prepared) = self.prepared {
            (closed, opened) = (clock.at(prepared.closed), clock.at(prepared.opened));
        }
        if let Some(last) = fetched.last_mut() {
            *last &= tail_mask(pages);
        }

        let (chunk_pages, closed, opened) = {
            let mut bits = self.bits.lock();
            bits.ledger.note_fetch();
            (bits.chunk_pages, bits.ledger.edge(closed), bits.ledger.edge(opened))
        };
        let reprotected = self.log.fetch_reprotects();
        self.dirty_chunks.clear();
        for (number, words) in fetched.chunks(words_for(chunk_pages)).enumerate() {
            let extent = Kernels::get().extent(words);
            // This lock is released after each chunk, so that readers of the bits do not wait for a whole block.
            let mut bits = self.bits.lock();
            let bits = &mut *bits;
            let block = &mut bits.blocks[index];
            let tracks = |client: Client, vga| client.follows_log() && client.tracks(&bits.tracking, vga);
            block.note_fetch(number, closed, tracks);
            if reprotected || extent.is_none() {
                // A chunk without dirty pages is still protected.
                block.chunks[number].opened = opened;
            }
            if let Some(extent) = extent {
                report.pages += block.merge(number, extent.start, &words[extent.clone()], tracks);
                self.dirty_chunks.push((number, extent));
            }
        }
        if let Some(rings) = self.log.vcpu_log() {
            rings.visit(id, &mut |vcpu, written| add_written(&self.bits, index, vcpu, written))?;
            rings.forget_pages(id);
        }
        Ok(Fetched { block: id, chunk_pages, pages, report })
    }

    /// Fetches a block's log, gives the bits to the clients, and protects the pages again, in chunks. A chunk without
    /// dirty pages needs no call, because its pages are still protected.
    pub(super) fn sync_block(&mut self, index: usize, cancel: &CancelToken) -> Result<SyncReport> {
        let Fetched { block, chunk_pages, pages, mut report } = self.fetch_block(index)?;
        if self.log.fetch_reprotects() {
            return Ok(report);
        }
        for (number, extent) in &self.dirty_chunks {
            cancel.check()?;
            let first_word = number * words_for(chunk_pages) + extent.start;
            let first = first_word as u64 * PAGES_PER_WORD;
            let count = (extent.len() as u64 * PAGES_PER_WORD).min(pages - first);
            let began = Instant::now();
            self.log.reprotect(block, first, count, &self.buffer[first_word..first_word + extent.len()])?;
            report.add_reprotect(began.elapsed());
            let mut bits = self.bits.lock();
            let opened = bits.ledger.edge_now();
            bits.blocks[index].begin_round(*number, opened);
        }
        Ok(report)
    }

    /// Protects every page of the chunks that are in a first round of all ones. No client gets these ones.
    pub(super) fn reprotect_initial_chunks(&mut self, index: usize, cancel: &CancelToken) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let (id, chunks, most) = self.look_at(index, |block| (block.info.id, block.chunks.len(), block.pages_of(0)));
        if !self.look_at(index, Block::has_initial_chunk) {
            return Ok(report);
        }
        self.buffer[..words_for(most)].fill(u64::MAX);
        let mut first = 0;
        for number in 0..chunks {
            let (initial, pages) = self.look_at(index, |block| (block.chunks[number].initial, block.pages_of(number)));
            if initial {
                cancel.check()?;
                let began = Instant::now();
                self.log.reprotect(id, first, pages, &self.buffer[..words_for(pages)])?;
                report.add_reprotect(began.elapsed());
                let mut bits = self.bits.lock();
                let bits = &mut *bits;
                let opened = bits.ledger.edge_now();
                let tracks = |client: Client, vga| client.follows_log() && client.tracks(&bits.tracking, vga);
                bits.blocks[index].drop_first_round(number, opened, tracks);
            }
            first += pages;
        }
        Ok(report)
    }

    fn look_at<T>(&self, index: usize, look: impl FnOnce(&Block) -> T) -> T {
        look(&self.bits().blocks[index])
    }

    /// Runs the steps of a sync as one event of the ledger, and measures their time.
    fn run_sync(&mut self, steps: impl FnOnce(&mut Self, &mut SyncReport) -> Result<()>) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let began = Instant::now();
        self.run_event(|memory| {
            let outcome = memory.prepare(&mut report).and_then(|()| steps(memory, &mut report));
            memory.prepared = None;
            outcome
        })?;
        report.elapsed = began.elapsed();
        Ok(report)
    }

    /// Runs steps that open or close windows, as one event of the ledger.
    pub(super) fn run_event<T>(&mut self, steps: impl FnOnce(&mut Self) -> T) -> T {
        self.bits().begin_event();
        let outcome = steps(self);
        self.bits().ledger.end_event();
        outcome
    }

    /// Runs steps that sync only some of the blocks.
    pub(super) fn run_partial_sync(&mut self, steps: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.run_sync(|memory, _| steps(memory)).map(drop)
    }

    /// If the log is one of rings, ends the window of all blocks, and notes what the rings lost.
    fn prepare(&mut self, report: &mut SyncReport) -> Result<()> {
        let Some(rings) = self.log.vcpu_log() else { return Ok(()) };
        let prepared = rings.prepare()?;
        report.add_fetch(prepared.took);
        // The VMM can make and attach a vCPU at any time.
        let (vcpus, loss) = (rings.vcpus(), rings.take_loss());
        self.prepared = Some(prepared);
        self.bits().vcpus = vcpus;
        self.bits().lose(&loss);
        // A client that begins full must not miss a page. So if any page may be missing, it gets all pages again.
        if loss.is_incomplete() {
            for (client, index) in Client::BEGIN_FULL
                .into_iter()
                .flat_map(|client| (0..self.block_count()).map(move |index| (client, index)))
            {
                if self.bits().tracks(client, index) && self.look_at(index, |block| block.logging) {
                    self.fill(client, index);
                }
            }
        }
        Ok(())
    }
}

/// Makes room for what a vCPU wrote of a block, in every client that wants to know which vCPU wrote a page.
fn reserve_written(bits: &SharedBits, block: usize, vcpu: usize, written: &VcpuPages) -> Result<()> {
    for client in 0.. {
        let mut missing = 0;
        for_each_batch(&written.pages, |regions| {
            let mut bits = bits.lock();
            let of_client = bits.measuring(block).nth(client);
            missing += of_client.map_or(0, |of| of.vcpus.missing(vcpu, regions.iter().map(|(number, _)| *number)));
        });
        let mut bits = bits.lock();
        let Some(of_client) = bits.measuring(block).nth(client) else { break };
        of_client.vcpus.reserve(vcpu, &written.pages, missing)?;
    }
    Ok(())
}

/// Adds what a vCPU wrote of a block, for every client that wants to know. With each batch of pages as many entries are
/// added, so that a thread that reads between two batches never finds fewer entries than pages. The entries that named
/// a page again are added last. A log that names a vCPU now, and did not name it when room was made, gets a set too.
fn add_written(bits: &SharedBits, block: usize, vcpu: usize, written: &VcpuPages) -> Result<()> {
    bits.lock().measuring(block).try_for_each(|of_client| of_client.vcpus.make_set(vcpu))?;
    let mut added = 0;
    for_each_batch(&written.pages, |regions| {
        let pages = regions.iter().flat_map(|(_, region)| region).map(|word| u64::from(word.count_ones())).sum();
        for of_client in bits.lock().measuring(block) {
            regions.iter().for_each(|(number, region)| of_client.vcpus.add_region(vcpu, *number, region));
            of_client.vcpus.add_entries(vcpu, pages);
        }
        added += pages;
    });
    let again = written.entries.saturating_sub(added);
    bits.lock().measuring(block).for_each(|of_client| of_client.vcpus.add_entries(vcpu, again));
    Ok(())
}

/// Calls `show` with the regions of a set, in batches. `show` releases its lock between two batches, so that readers of
/// the bits do not wait for a whole set.
fn for_each_batch(pages: &SparsePages, mut show: impl FnMut(&[(u64, Region)])) {
    const BATCH: usize = 256;
    let mut batch = [(0, [0; REGION_WORDS]); BATCH];
    let mut filled = 0;
    for (number, region) in pages.regions() {
        batch[filled] = (number, *region);
        filled += 1;
        if filled == BATCH {
            show(&batch);
            filled = 0;
        }
    }
    if filled > 0 {
        show(&batch[..filled]);
    }
}

impl DirtyBits {
    fn measuring(&mut self, block: usize) -> impl Iterator<Item = &mut ClientBits> {
        let tracking = &self.tracking;
        let bits = self.blocks[block].bits.iter_mut();
        bits.filter(|(client, _)| client.measures() && tracking.contains(client)).map(|(_, bits)| bits)
    }
}
