//! Fetch, fan out, re-protect.

use std::time::{Duration, Instant};

use super::{CancelToken, Client, DirtyMemory, RingLoss};
use crate::bitmap::{PAGES_PER_WORD, generic, tail_mask, words_for};
use crate::error::Result;

/// What a sync cost, and brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// From the first call to the last, with the fan-out.
    pub elapsed: Duration,
    /// In the log's fetches.
    pub fetch: Duration,
    /// In the log's re-protections.
    pub reprotect: Duration,
    /// The longest single call: the longest that the kernel's lock was held.
    pub longest_call: Duration,
    /// Pages that the log named.
    pub pages: u64,
}

/// One block's fetch.
pub(super) struct Fetched {
    report: SyncReport,
    /// When the fetch returned: a page that is clean in it is seen from here on.
    ended: Instant,
}

impl SyncReport {
    fn add_fetch(&mut self, took: Duration) {
        self.fetch += took;
        self.longest_call = self.longest_call.max(took);
    }

    fn add_reprotect(&mut self, took: Duration) {
        self.reprotect += took;
        self.longest_call = self.longest_call.max(took);
    }

    fn add(&mut self, other: &Self) {
        self.fetch += other.fetch;
        self.reprotect += other.reprotect;
        self.longest_call = self.longest_call.max(other.longest_call);
        self.pages += other.pages;
    }
}

impl DirtyMemory {
    /// Step 4: for each block that is logged, fetches the log, hands the bits to every client that tracks, and protects
    /// the pages again.
    ///
    /// # Errors
    ///
    /// The log's refusal, or [`Error::Cancelled`](crate::Error::Cancelled) between two calls. What was fetched is with
    /// the clients, and the next sync delivers the rest.
    pub fn sync(&mut self, cancel: &CancelToken) -> Result<SyncReport> {
        self.run_sync(|memory, report| {
            for index in 0..memory.blocks.len() {
                if memory.blocks[index].logging {
                    cancel.check()?;
                    report.add(&memory.sync_block(index, cancel)?);
                }
            }
            Ok(())
        })
    }

    /// Step 2: ends the first round of each block whose logging has just gone on. Where the log begins all ones, those
    /// ones are no writes: they go to nobody, and every page is protected by hand, chunk by chunk. Every other block is
    /// synced.
    ///
    /// # Errors
    ///
    /// As of [`sync`](Self::sync); a chunk that was not reached stays in its first round.
    pub fn discard_initial_log(&mut self, cancel: &CancelToken) -> Result<SyncReport> {
        self.run_sync(|memory, report| {
            for index in 0..memory.blocks.len() {
                let block = &memory.blocks[index];
                if !block.logging {
                    continue;
                }
                cancel.check()?;
                // A discard that failed half-way leaves chunks of both kinds: first end what is initial, then sync.
                let fresh = block.chunks.iter().all(|chunk| chunk.initial);
                if block.has_initial_chunk() {
                    report.add(&memory.reprotect_initial_chunks(index, cancel)?);
                }
                if !fresh {
                    report.add(&memory.sync_block(index, cancel)?);
                }
            }
            Ok(())
        })
    }

    /// Step 3: empties the client's bits, and only this client's. Its window opens where the current round of each chunk
    /// began.
    ///
    /// # Errors
    ///
    /// A client that begins full holds its bits in place of a first round that is all ones: that round is ended first, and
    /// the log may refuse. Nothing is cleared then.
    pub fn clear(&mut self, client: Client) -> Result<()> {
        self.check_client(client)?;
        self.end_first_round_for(client)?;
        for block in self.blocks.iter_mut() {
            block.clear(client);
        }
        for block in &mut self.removed {
            block.bits.remove(&client);
        }
        self.removed.retain(|block| !block.bits.is_empty());
        self.tallies.clear(client);
        self.witness.open(client);
        Ok(())
    }

    /// Before a client that begins full gives bits away, the pages they stand for must be protected: a write after that
    /// is logged, one before it is covered by the bit that is being taken.
    pub(super) fn end_first_round_for(&mut self, client: Client) -> Result<()> {
        if !client.begins_full() {
            return Ok(());
        }
        let tracked: Vec<_> = (0..self.blocks.len()).filter(|&index| self.tracks(client, index)).collect();
        for index in tracked {
            self.reprotect_initial_chunks(index, &CancelToken::new())?;
        }
        Ok(())
    }

    /// Fetches a block's log and hands it out, without protecting its pages again: the last fetch before the log goes.
    pub(super) fn fetch_block(&mut self, index: usize) -> Result<Fetched> {
        let mut report = SyncReport::default();
        let block = &mut self.blocks[index];
        let words = block.info.words();
        if self.buffer.len() < words {
            self.buffer.resize(words, 0);
        }
        let fetched = &mut self.buffer[..words];
        let mut began = Instant::now();
        self.log.fetch(block.info.id, fetched)?;
        let mut ended = Instant::now();
        report.add_fetch(ended - began);
        if let Some(prepared) = self.prepared {
            (began, ended) = (prepared.closed, prepared.opened);
        }
        self.witness.fetched();
        if let Some(last) = fetched.last_mut() {
            *last &= tail_mask(block.info.pages);
        }
        report.pages = generic::count(fetched);
        block.fetched = Some(began);
        for (client, bits) in &mut block.bits {
            if client.follows_log() && client.tracks(&self.tracking, block.vga) {
                bits.bitmap.merge(fetched);
            }
        }
        let measuring = self.tracking.iter().copied().filter(|client| client.measures());
        self.tallies.add(measuring, block.info.id, &self.log.take_by_vcpu(block.info.id));
        if self.log.fetch_reprotects() {
            for chunk in &mut block.chunks {
                chunk.opened = ended;
            }
        }
        Ok(Fetched { report, ended })
    }

    /// Fetches a block's log, hands it out, and protects the pages again, in chunks. A clean chunk needs no call: its
    /// pages are protected as they are.
    pub(super) fn sync_block(&mut self, index: usize, cancel: &CancelToken) -> Result<SyncReport> {
        let Fetched { mut report, ended } = self.fetch_block(index)?;
        if self.log.fetch_reprotects() {
            return Ok(report);
        }
        let block = &mut self.blocks[index];
        let fetched = &self.buffer[..block.info.words()];
        let words_per_chunk = words_for(self.chunk_pages);
        for (number, (bits, chunk)) in fetched.chunks(words_per_chunk).zip(&mut block.chunks).enumerate() {
            let Some(extent) = generic::dirty_extent(bits) else {
                chunk.opened = ended;
                continue;
            };
            cancel.check()?;
            let first = number as u64 * self.chunk_pages + extent.start as u64 * PAGES_PER_WORD;
            let pages = (extent.len() as u64 * PAGES_PER_WORD).min(block.info.pages - first);
            let began = Instant::now();
            self.log.reprotect(block.info.id, first, pages, &bits[extent])?;
            chunk.opened = Instant::now();
            chunk.initial = false;
            report.add_reprotect(chunk.opened - began);
        }
        Ok(report)
    }

    /// Protects every page of the chunks that are in a first round of all ones, which goes to nobody.
    pub(super) fn reprotect_initial_chunks(&mut self, index: usize, cancel: &CancelToken) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let block = &mut self.blocks[index];
        if !block.has_initial_chunk() {
            return Ok(report);
        }
        let words = words_for(self.chunk_pages.min(block.info.pages));
        if self.buffer.len() < words {
            self.buffer.resize(words, 0);
        }
        self.buffer[..words].fill(u64::MAX);
        for (number, chunk) in block.chunks.iter_mut().enumerate().filter(|(_, chunk)| chunk.initial) {
            cancel.check()?;
            let first = number as u64 * self.chunk_pages;
            let pages = self.chunk_pages.min(block.info.pages - first);
            let began = Instant::now();
            self.log.reprotect(block.info.id, first, pages, &self.buffer[..words_for(pages)])?;
            chunk.opened = Instant::now();
            chunk.initial = false;
            report.add_reprotect(chunk.opened - began);
        }
        Ok(report)
    }

    /// The frame of a sync: its time, and the witness read at its edges.
    fn run_sync(&mut self, steps: impl FnOnce(&mut Self, &mut SyncReport) -> Result<()>) -> Result<SyncReport> {
        let mut report = SyncReport::default();
        let began = Instant::now();
        self.witness.begin();
        let outcome = self.prepare(&mut report).and_then(|()| steps(self, &mut report));
        self.prepared = None;
        self.witness.end(outcome.is_ok());
        report.elapsed = began.elapsed();
        outcome.map(|()| report)
    }

    /// The frame of what syncs some of the blocks only.
    pub(super) fn run_partial_sync(&mut self, steps: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.witness.begin();
        let outcome = self.prepare(&mut SyncReport::default()).and_then(|()| steps(self));
        self.prepared = None;
        self.witness.end(false);
        outcome
    }

    /// Has the log draw its edge.
    fn prepare(&mut self, report: &mut SyncReport) -> Result<()> {
        self.prepared = self.log.prepare()?;
        if let Some(prepared) = &self.prepared {
            report.add_fetch(prepared.took);
        }
        let loss = self.log.take_loss();
        if loss.iter().any(RingLoss::is_incomplete) {
            // A client that begins full must not miss a page: where any may be missing, it has them all again.
            for block in self.blocks.iter_mut().filter(|block| block.logging) {
                for (client, bits) in &mut block.bits {
                    if client.begins_full() && client.tracks(&self.tracking, block.vga) {
                        bits.bitmap.set_all();
                    }
                }
            }
        }
        let measuring = self.tracking.iter().copied().filter(|client| client.measures());
        self.tallies.lose(measuring, &loss);
        Ok(())
    }
}
